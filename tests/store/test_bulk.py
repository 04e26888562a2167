"""Rows put in straight through the driver come out as they were, whatever is in them."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from purser.store.bulk import BYTES, INT, TEXT, ForEach, Insert
from purser.store.db import Database
from tests import databases

_ROWS = st.lists(
    st.tuples(
        st.none()
        | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
        | st.sampled_from("{},NULL"),
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.binary(),
    ),
    max_size=8,
)
_PUT = Insert("things", {"n": INT, "text": TEXT, "number": INT, "bytes": BYTES})
_FIND = ForEach(
    (TEXT, INT),
    sqlite="SELECT n FROM things WHERE text = ? AND number = ?",
    postgresql="SELECT n FROM {v} JOIN things ON text = c1 AND number = c2",
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=_ROWS)
def test_rows_come_out_as_they_went_in(tmp_path: Path, rows: list[tuple[str | None, int | None, bytes | None]]) -> None:
    db = Database(databases.at(tmp_path / "bulk.db"))
    kind = "BLOB" if db.is_sqlite else "bytea"
    with db.engine.connect() as conn, conn.begin() as transaction:
        conn.exec_driver_sql(f"CREATE TABLE things (n bigint, text text, number bigint, bytes {kind})")
        _PUT.run(conn, [(n, *row) for n, row in enumerate(rows)])
        there = conn.execute(sa.text("SELECT text, number, bytes FROM things ORDER BY n"))
        assert [tuple(row) for row in there] == rows
        asked = [(text, number) for text, number, _ in rows]
        found = {n for (n,) in _FIND.fetch(conn, asked)} if asked else set()
        assert found == {n for n, pair in enumerate(asked) if None not in pair}
        transaction.rollback()
    db.dispose()
