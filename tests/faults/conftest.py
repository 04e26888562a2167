"""The small books for the tests of what a machine can do to them."""

from tests.store.conftest import books, copied, spoilt

__all__ = ["books", "copied", "spoilt"]
