"""The audit: every named invariant checked over the whole database in one snapshot, beside live traffic or at rest."""

from __future__ import annotations

from dataclasses import dataclass

from purser.store import (
    checks_abuse,
    checks_books,
    checks_chain,
    checks_codes,
    checks_deployments,
    checks_documents,
    checks_file,
    checks_headroom,
    checks_messages,
    checks_usage,
)
from purser.store.checks import Violation, search
from purser.store.db import Connection

INVARIANTS = (
    *checks_headroom.CHECKS,
    *checks_books.CHECKS,
    *checks_codes.CHECKS,
    *checks_abuse.CHECKS,
    *checks_deployments.CHECKS,
    *checks_chain.CHECKS,
    *checks_usage.CHECKS,
    *checks_documents.CHECKS,
    *checks_messages.CHECKS,
    *checks_file.CHECKS,
)


@dataclass(frozen=True, slots=True)
class Check:
    """An invariant that was checked: its name (correctness §3), what it says, and how many rows it looked at."""

    name: str
    title: str
    rows: int


@dataclass(frozen=True, slots=True)
class Audit:
    """Every check made, and every place where one does not hold; none is what is expected."""

    checks: tuple[Check, ...]
    violations: tuple[Violation, ...]


def audit(conn: Connection) -> Audit:
    """Check every invariant over the snapshot that `conn` reads; it changes nothing and blocks nobody.

    Of what one check finds at most the first hundred are listed, the rest counted in a last one.
    """
    checks, violations = [], []
    for invariant, found in zip(INVARIANTS, search(conn, *INVARIANTS), strict=True):
        checks.append(Check(invariant.name, invariant.title, found.rows))
        violations += found.violations()
    return Audit(tuple(checks), tuple(violations))
