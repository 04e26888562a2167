"""Checks of credit codes: every redemption has its credit, every such credit its redemption, none too many."""

from __future__ import annotations

from purser.store.checks import Findings, Invariant, each, usd
from purser.store.db import Connection

_REDEEMED = """
SELECT r.account, r.code, r.amount, c.amount AS offered, g.granted, g.kind, g.source FROM code_redemptions r
LEFT JOIN credit_codes c ON c.id = r.code
LEFT JOIN grants g ON g.account = r.account AND g.id = r.credit
WHERE c.id IS NULL OR g.id IS NULL OR c.amount <> r.amount OR g.granted <> r.amount OR g.kind <> 'promotional'
    OR g.source <> r.code
"""
_GIVEN = """
SELECT g.account, g.id, g.source, g.granted FROM grants g
LEFT JOIN code_redemptions r ON r.account = g.account AND r.code = g.source AND r.credit = g.id
WHERE substr(g.source, 1, 5) = 'code_' AND r.code IS NULL
"""
_COUNTED = """
SELECT * FROM (
    SELECT c.id, c.redeemed, c.redemptions, (SELECT COUNT(*) FROM code_redemptions r WHERE r.code = c.id) AS counted
    FROM credit_codes c
) s WHERE redeemed <> counted OR redeemed > redemptions
"""


def _codes_gave_what_they_offer(conn: Connection, found: Findings) -> None:
    found.count(conn, "credit_codes", "code_redemptions")
    for row in each(conn, _REDEEMED):
        where = f"account {row.account}, credit code {row.code}"
        if row.offered is None:
            found.blame(where, "it was redeemed, but there is no such code")
        elif row.granted is None or row.source != row.code:
            found.blame(where, f"it was redeemed for {usd(row.amount)}, but no credit came of it")
        elif row.kind != "promotional":
            found.blame(where, f"what came of it is {row.kind} credit; a code gives promotional credit")
        else:
            words = f"it offers {usd(row.offered)}, was redeemed for {usd(row.amount)}"
            found.blame(where, f"{words}, and {usd(row.granted)} were granted")
    for row in each(conn, _GIVEN):
        where = f"account {row.account}, credit grant {row.id}"
        found.blame(where, f"{usd(row.granted)} were granted for code {row.source}, which was not redeemed for it")
    for row in each(conn, _COUNTED):
        found.blame(
            f"credit code {row.id}",
            f"it says that {row.redeemed} of {row.redemptions} have redeemed it, {row.counted} accounts have",
        )


CHECKS = (Invariant("codes", "Credit codes gave what they offer, to each account once", _codes_gave_what_they_offer),)
