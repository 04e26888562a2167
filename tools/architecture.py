"""Writes the module table of docs/architecture.md from the modules' own first sentences.

`python tools/architecture.py` rewrites the table between the two markers; `--check` writes nothing and fails
when the page is out of date.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "architecture.md"
PACKAGE = ROOT / "src" / "purser"
BEGIN = "<!-- modules: begin (written by make architecture, do not edit) -->"
END = "<!-- modules: end -->"

# The order of the table: the direction of the imports, then what stands beside it.
ORDER = (
    "main", "inbound", "gateway", "flows", "store", "settings", "core", "outbound", "http", "modelserver"
)  # fmt: skip

_SENTENCE_END = re.compile(r"\.(?=\s|$)")
_NOT_AN_END = re.compile(r"\b(?:e\.g|i\.e|vs|cf)\.$", re.IGNORECASE)


def first_sentence(docstring: str | None) -> str | None:
    """The first sentence of a docstring on one line, its period included; None where there is none.

    A sentence ends at a period before a space or the paragraph's end; abbreviations such as "e.g." end none.
    """
    if not docstring or not docstring.strip():
        return None
    paragraph = " ".join(re.split(r"\n\s*\n", docstring.strip(), maxsplit=1)[0].split())
    for end in _SENTENCE_END.finditer(paragraph):
        sentence = paragraph[: end.end()]
        if not _NOT_AN_END.search(sentence):
            return sentence
    return None


def sentence_of(module: Path) -> str:
    """The first sentence of the module in this file, or a dash (the tidy test names those without)."""
    return first_sentence(ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))) or "–"


def table(package: Path = PACKAGE) -> str:
    """The table as Markdown: a row for each package in bold, and below it one for each of its modules."""
    rows = ["| module | what it is |", "|---|---|"]
    for module in sorted(_modules(package), key=lambda path: _place(path.relative_to(package))):
        relative = module.relative_to(package)
        if relative.name == "__init__.py":
            name = "**" + (relative.parent.as_posix() if relative.parent.parts else "purser") + "**"
        else:
            name = f"`{relative.as_posix()}`"
        sentence = sentence_of(module).replace("|", "\\|")
        rows.append(f"| {name} | {sentence} |")
    return "\n".join(rows)


def filled(page: str, rows: str) -> str:
    """The page with its table replaced by these rows; raises ValueError where a marker is missing."""
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise ValueError(f"the page must hold {BEGIN!r} and then {END!r}, each once")
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{rows}\n{END}{rest.split(END)[1]}"


def run(arguments: list[str]) -> int:
    """Write the table, or with --check compare it; the exit code."""
    page = PAGE.read_text(encoding="utf-8")
    wanted = filled(page, table())
    if "--check" not in arguments:
        PAGE.write_text(wanted, encoding="utf-8")
        return 0
    if page == wanted:
        return 0
    old, new = set(page.splitlines()), set(wanted.splitlines())
    for line in page.splitlines():
        if line not in new:
            print(f"- {line}", file=sys.stderr)
    for line in wanted.splitlines():
        if line not in old:
            print(f"+ {line}", file=sys.stderr)
    print("docs/architecture.md is out of date: run `make architecture` and commit it too", file=sys.stderr)
    return 1


def _modules(package: Path) -> list[Path]:
    """The package's modules, without single migrations (the schema's past is not its architecture)."""
    return [path for path in package.rglob("*.py") if "versions" not in path.parts]


def _place(relative: Path) -> tuple[int, list[tuple[int, str]]]:
    """Where a module stands in the table: by ORDER, then by folder, a package before its modules."""
    top = relative.parts[0].removesuffix(".py")
    if top == "__init__":
        return -1, []
    rank = ORDER.index(top) if top in ORDER else len(ORDER)
    return rank, [(0 if part == "__init__.py" else 1, part) for part in relative.parts]


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
