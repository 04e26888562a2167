"""Dumps: every row of small books at one version of the tables, kept to show that later versions take them over.

`python -m tests.store.dumps` writes the one of the newest version; a commit that adds a migration runs it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from purser.store import upgrade as upgrading
from purser.store.db import Database

FOLDER = Path(__file__).with_name("dumps")
Dump = dict[str, list[dict[str, Any]]]  # the rows of each table, by its name
_COUNTED = {"writers": "id", "changes": "n"}  # columns whose values a database gives out itself


def kept() -> dict[str, Dump]:
    """Every dump that is kept, by the version of its tables."""
    return {path.stem: _from_json(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def take(db: Database) -> Dump:
    """Every row that a database holds, whatever the version of its tables."""
    tables = sa.MetaData()
    with db.read() as conn:
        tables.reflect(conn)
        return {
            name: [dict(row._mapping) for row in conn.execute(sa.select(table).order_by(*table.primary_key))]
            for name, table in sorted(tables.tables.items())
            if name != "sqlite_sequence"
        }


def put(db: Database, dump: Dump) -> None:
    """Write the rows into tables that are empty."""
    with db.engine.begin() as conn:
        for name, rows in dump.items():
            if rows and name != "alembic_version":
                conn.execute(sa.insert(sa.table(name, *map(sa.column, rows[0]))), rows)
        if not db.is_sqlite:
            for name, column in _COUNTED.items():
                conn.exec_driver_sql(
                    f"SELECT setval(pg_get_serial_sequence('{name}', '{column}'), max({column})) FROM {name}"
                )


def upgrade_to(db: Database, revision: str) -> None:
    """Bring a database to an older version of the tables."""
    with db.engine.connect().execution_options(immediate=True) as conn, conn.begin():
        config = _config()
        config.attributes["connection"] = conn
        command.upgrade(config, revision)


def newest() -> str:
    """The newest version of the tables."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(upgrading.__file__).with_name("migrations")))
    return config


def _from_json(text: str) -> Dump:
    return {
        table: [dict(zip(told["columns"], map(_value, row), strict=True)) for row in told["rows"]]
        for table, told in json.loads(text).items()
    }


def _value(value: object) -> object:
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) else value


def _as_json(dump: Dump) -> str:
    def spell(value: object) -> str:
        return json.dumps({"hex": value.hex()} if isinstance(value, bytes) else value, ensure_ascii=False)

    tables = []
    for name, rows in dump.items():
        columns = json.dumps(list(rows[0]) if rows else [])
        lines = ",\n".join(f"[{', '.join(map(spell, row.values()))}]" for row in rows)
        tables.append(f'"{name}": {{"columns": {columns}, "rows": [\n{lines}\n]}}')
    return "{\n" + ",\n".join(tables) + "\n}\n"


def main(folder: Path) -> None:
    """Tell the story of the small books, and write down what it leaves."""
    from tests.store.small_books import Books, tell_story

    books = Books(f"sqlite:///{folder / 'purser.db'}")
    tell_story(books)
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{newest()}.json").write_text(_as_json(take(books.db)))
    books.close()


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        main(Path(scratch))
    sys.stdout.write(f"written: {FOLDER / newest()}.json\n")
