"""The import contracts of pyproject.toml catch an import that runs the wrong way.

Each case is a small package laid out like ours with one import planted, and `lint-imports` with our contracts
must name the contract that it breaks.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINT_IMPORTS = Path(sys.executable).parent / "lint-imports"

PACKAGES = ["core", "store", "flows", "gateway", "inbound", "outbound", "http", "modelserver", "simulator"]
LEAVES = [
    *[
        "main",
        "settings",
        "setting_keys",
        "setting_kinds",
        "toml_lines",
        "core/money",
        "store/ledger",
        "flows/credits",
        "gateway/relay",
    ],
    *["inbound/api", "inbound/worker", "inbound/courier", "outbound/mail", "http/server", "modelserver/app"],
    "simulator/run",
]
MODULES = ["__init__", *[f"{package}/__init__" for package in PACKAGES], *LEAVES]

ALLOWED = {
    "main": "purser.gateway.relay purser.inbound.worker purser.outbound.mail purser.http.server purser.simulator.run",
    "simulator/run": "purser.gateway.relay purser.inbound.worker purser.outbound.mail purser.flows.credits asyncio",
    "settings": "purser.core.money",
    "inbound/worker": "purser.outbound.mail purser.flows.credits purser.store.ledger purser.settings",
    "inbound/courier": "purser.outbound.mail purser.flows.credits purser.store.ledger",
    "inbound/api": "purser.flows.credits purser.core.money litestar cyclopts jinja2",
    "gateway/relay": "purser.flows.credits purser.http.server purser.settings uvloop asyncio",
    "flows/credits": "purser.store.ledger purser.core.money purser.settings",
    "store/ledger": "purser.core.money purser.settings sqlalchemy sqlite3",
    "outbound/mail": "purser.core.money",
    "modelserver/app": "purser.http.server",
}

WAYS = "Imports run one way"
PLANTED = [
    ("core/money", "purser.store.ledger", WAYS),
    ("store/ledger", "purser.flows.credits", WAYS),
    ("flows/credits", "purser.inbound.api", WAYS),
    ("gateway/relay", "purser.inbound.api", WAYS),
    ("inbound/api", "purser.gateway.relay", WAYS),
    ("inbound/api", "purser.main", WAYS),
    ("simulator/run", "purser.main", WAYS),
    ("gateway/relay", "purser.simulator.run", WAYS),
    ("outbound/mail", "purser.simulator.run", "only main runs the simulator"),
    ("simulator/run", "sqlalchemy", "SQL is in store alone"),
    ("settings", "purser.store.ledger", "settings know core only"),
    ("core/money", "purser.settings", "core knows nothing of ours"),
    ("core/money", "sqlalchemy", "core knows nothing of ours"),
    ("core/money", "asyncio", "core knows nothing of ours"),
    ("outbound/mail", "purser.store.ledger", "outbound knows core"),
    ("outbound/mail", "purser.settings", "outbound knows core"),
    ("inbound/api", "purser.outbound.mail", "only the worker (and main) calls out"),
    ("flows/credits", "purser.outbound.mail", "only the worker (and main) calls out"),
    ("http/server", "purser.core.money", "http imports nothing of ours"),
    ("modelserver/app", "purser.core.money", "the bundled model server knows http only"),
    ("flows/credits", "purser.http.server", "flows and store call nobody"),
    ("flows/credits", "asyncio", "flows and store call nobody"),
    ("store/ledger", "litestar", "flows and store call nobody"),
    ("inbound/api", "sqlalchemy", "SQL is in store alone"),
    ("gateway/relay", "sqlite3", "SQL is in store alone"),
]


def lint(folder: Path, imports: dict[str, str]) -> str:
    """What lint-imports says about a package laid out like ours with these imports."""
    shutil.copy(ROOT / "pyproject.toml", folder)
    for module in MODULES:
        file = folder / "purser" / f"{module}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text("".join(f"import {name}\n" for name in imports.get(module, "").split()))
    done = subprocess.run(
        [LINT_IMPORTS, "--no-logo", "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def broken(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.endswith("BROKEN")]


def test_what_the_house_allows_breaks_no_contract(tmp_path: Path) -> None:
    output = lint(tmp_path, ALLOWED)
    assert "0 broken" in output, output


@pytest.mark.parametrize(("module", "planted", "contract"), PLANTED)
def test_an_import_the_wrong_way_breaks_its_contract(tmp_path: Path, module: str, planted: str, contract: str) -> None:
    output = lint(tmp_path, {module: planted})
    assert any(line.startswith(contract) for line in broken(output)), output
