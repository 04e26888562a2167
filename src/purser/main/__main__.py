"""`python -m purser.main`, the same as the `purser` command."""

from purser.main import run

run()
