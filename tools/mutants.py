"""Mutation tests of the money core: every small fault in a module's code must be noticed by the module's own tests.

`python -m tools.mutants` makes one fault after another in the modules below and runs the module's tests of tests/core
against each; no file is changed. What they do not notice must be argued in docs/mutants.md: a survivor that is not
fails, and so does an argument about code that is gone, or that a test notices by now. `--guards`: comparisons alone.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import importlib.abc
import importlib.machinery
import os
import re
import resource
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "mutants.md"
MODULES = ("lease", "money", "rating", "standing", "admission", "budget", "limits", "credits", "journal")
_AT_ONCE = 2
_CPU_SECONDS = 60  # a fault may make an endless loop
_SURVIVED = 0
# Nothing but what core's tests need: a thousand processes begin with it.
_OPTIONS = ("-x", "--assert=plain", "--noconftest", "-p", "_hypothesis_pytestplugin", "-p", "no:cacheprovider")

_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_CALCULATED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr,
}
_SWAPPED = {"min": "max", "max": "min", "any": "all", "all": "any"}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault: where it is, the code before and after it, and what compiles the module with it."""

    module: str
    line: int
    function: str
    before: str
    after: str
    guard: bool
    compiled: Callable[[], CodeType]

    @property
    def path(self) -> str:
        return f"src/purser/core/{self.module}.py"

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What an argument in docs/mutants.md names it by."""
        return f"core/{self.module}.py", self.function, self.before, self.after

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.function}: {self.before} → {self.after}"


# ── making faults ────────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class _Place:
    """Where a node hangs in its tree, and the function or class that it is in."""

    node: ast.AST
    parent: ast.AST
    field: str
    index: int | None
    function: str


_OUTSIDE = {"decorator_list", "annotation", "returns", "type_params", "bases"}  # they decide nothing about money


def _places(parent: ast.AST, function: str = "") -> Iterator[_Place]:
    """Every node below one, with where it hangs; texts for people, decorators and types are left out."""
    for field, value in ast.iter_fields(parent):
        if field in _OUTSIDE or (field == "keywords" and isinstance(parent, ast.ClassDef)):
            continue
        for index, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(node, ast.AST) and not isinstance(node, ast.JoinedStr | ast.Import | ast.ImportFrom):
                yield _Place(node, parent, field, index, function)
                named = isinstance(node, ast.FunctionDef | ast.ClassDef)
                yield from _places(node, f"{function}.{node.name}".lstrip(".") if named else function)  # type: ignore[attr-defined]


def _faults(node: ast.AST) -> Iterator[ast.AST]:
    """What could stand wrongly in place of a node."""
    match node:
        case ast.Compare():
            for place, op in enumerate(node.ops):
                wrong = copy.deepcopy(node)
                wrong.ops[place] = _COMPARED[type(op)]()
                yield wrong
        case ast.BinOp() | ast.AugAssign() if type(node.op) in _CALCULATED:
            yield _with(node, op=_CALCULATED[type(node.op)]())
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.FloorDiv):  # rounded the other way
                yield ast.UnaryOp(ast.USub(), _with(node, left=ast.UnaryOp(ast.USub(), node.left)))
        case ast.BoolOp():
            yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield node.operand
        case ast.If() | ast.IfExp() if not isinstance(node.test, ast.Compare | ast.BoolOp | ast.UnaryOp):
            yield _with(node, test=ast.UnaryOp(ast.Not(), node.test))
        case ast.Constant(value=bool(said)):
            yield ast.Constant(not said)
        case ast.Constant(value=int(number)):
            yield from (ast.Constant(number + 1), ast.Constant(number - 1))
        case ast.Call(func=ast.Name(id=name)) if name in _SWAPPED:
            yield _with(node, func=ast.Name(_SWAPPED[name], ast.Load()))
        case ast.Call(func=ast.Name(id="replace")):
            for left_out in node.keywords:
                yield _with(node, keywords=[one for one in node.keywords if one is not left_out])
    match node:
        case ast.Return(value=ast.expr()) if ast.unparse(node) != "return None":
            yield ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Call()) | ast.Assign() | ast.AugAssign() | ast.Raise() | ast.Break() | ast.Continue():
            yield ast.Pass()


def _with(node: Any, **fields: Any) -> Any:
    wrong = copy.copy(node)
    for name, value in fields.items():
        setattr(wrong, name, value)
    return wrong


def _shown(node: ast.AST) -> str:
    """A node in one line; of an if-statement only its head."""
    text = f"if {ast.unparse(node.test)}" if isinstance(node, ast.If) else ast.unparse(node)
    return " ".join(text.split())


def mutants(module: str, source: str) -> Iterator[Mutant]:
    """Every fault of a module of core, given its source."""
    tree = ast.parse(source)
    known_as: Counter[tuple[str, str, str]] = Counter()
    for place in _places(tree):
        for wrong in _faults(place.node) if place.function or not isinstance(place.node, ast.Assign) else ():
            before, after = _shown(place.node), _shown(wrong)
            known_as[place.function, before, after] += 1
            times = known_as[place.function, before, after]
            yield Mutant(
                module,
                getattr(place.node, "lineno", 0),
                place.function,
                before if times == 1 else f"{before} #{times}",
                after,
                isinstance(place.node, ast.Compare),
                partial(_compiled, tree, place, wrong, f"{module}.py"),
            )


def _compiled(tree: ast.Module, place: _Place, wrong: ast.AST, name: str) -> CodeType:
    _put(place, wrong)
    try:
        return compile(ast.fix_missing_locations(tree), name, "exec")
    finally:
        _put(place, place.node)


def _put(place: _Place, node: ast.AST) -> None:
    if place.index is None:
        setattr(place.parent, place.field, node)
    else:
        getattr(place.parent, place.field)[place.index] = node


def read(module: str) -> list[Mutant]:
    """Every fault of a module of core."""
    return list(mutants(module, (ROOT / f"src/purser/core/{module}.py").read_text(encoding="utf-8")))


# ── running tests against them ───────────────────────────────────────────────────────────────────────────────────────
class _Planted(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives whoever imports the module the code with the fault."""

    def __init__(self, mutant: Mutant) -> None:
        self._name, self._mutant = f"purser.core.{mutant.module}", mutant

    def find_spec(self, name: str, path: object, target: object = None) -> importlib.machinery.ModuleSpec | None:
        """The module's own spec, with this loader."""
        return importlib.machinery.ModuleSpec(name, self) if name == self._name else None

    def exec_module(self, module: ModuleType) -> None:
        """Run the code with the fault."""
        exec(self._mutant.compiled(), module.__dict__)


def _run_tests(module: str, mutant: Mutant | None) -> int:
    """In a process of its own: pytest's exit code."""
    import pytest

    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("purser", "tests")]:
        del sys.modules[name]  # to be imported anew, with the fault
    if mutant is not None:
        sys.meta_path.insert(0, _Planted(mutant))
    return int(pytest.main([*_OPTIONS, f"tests/core/test_{module}.py"]))


def _start(module: str, mutant: Mutant | None) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 3
    try:
        code = _run_tests(module, mutant)
    finally:
        os._exit(code)


def survivors(given: Iterable[Mutant], progress: Callable[[int], None] = lambda done: None) -> Iterator[Mutant]:
    """Those that no test notices, as they are found; raises RuntimeError where tests fail without any fault."""
    for name in (
        "hypothesis.stateful",
        "_hypothesis_pytestplugin",
        "pytest",
    ):  # or every child imports for itself what they use
        importlib.import_module(name)
    waiting = list(given)
    for module in sorted({mutant.module for mutant in waiting}):
        if os.waitstatus_to_exitcode(os.waitpid(_start(module, None), 0)[1]) != _SURVIVED:
            raise RuntimeError(f"the tests of {module} fail without any fault")
    running: dict[int, Mutant] = {}
    done = 0
    waiting.reverse()
    while waiting or running:
        while waiting and len(running) < _AT_ONCE:
            mutant = waiting.pop()
            running[_start(mutant.module, mutant)] = mutant
        pid, status = os.wait()
        mutant = running.pop(pid)
        done += 1
        progress(done)
        if os.waitstatus_to_exitcode(status) == _SURVIVED:
            yield mutant


# ── what is argued ───────────────────────────────────────────────────────────────────────────────────────────────────
def argued(page: str) -> dict[tuple[str, str, str, str], str]:
    """The arguments of docs/mutants.md, by module, function, and the code before and after the fault."""
    rows = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        if len(cells) == 5 and cells[0].startswith("`core/"):
            module, function, before, after = (cell.strip("`").replace("\\|", "|") for cell in cells[:4])
            rows[module, function, before, after] = cells[4]
    return rows


def unknown_arguments(page: str) -> list[str]:
    """Arguments about code that is not there any more, or without a reason."""
    known = {mutant.key for module in MODULES for mutant in read(module)}
    return [" | ".join(key) for key, why in argued(page).items() if key not in known or not why]


def main(arguments: Sequence[str]) -> int:
    """Try them; the exit code."""
    from purser.inbound.cli.show import counting

    parser = argparse.ArgumentParser(description="Mutation tests of the money core.")
    parser.add_argument("modules", nargs="*", default=MODULES, help=f"of {', '.join(MODULES)}")
    parser.add_argument("--guards", action="store_true", help="comparisons only")
    options = parser.parse_args(arguments)
    os.chdir(ROOT)
    tried = [one for module in options.modules for one in read(module) if one.guard or not options.guards]
    reasons, found, bare = argued(PAGE.read_text(encoding="utf-8")), set(), 0
    with counting("faults", len(tried)) as progress:
        for mutant in survivors(tried, progress):
            found.add(mutant.key)
            if mutant.key not in reasons:
                bare += 1
                print(f"no test notices {mutant}", flush=True)
    noticed = {mutant.key for mutant in tried} - found
    gone = [f"argued, but noticed by a test: {' | '.join(key)}" for key in sorted(noticed & set(reasons))]
    gone += [f"argued, but not there: {one}" for one in unknown_arguments(PAGE.read_text(encoding="utf-8"))]
    print("\n".join([*gone, f"{len(tried)} faults: {bare} that nobody notices or argues about"]))
    return 1 if bare or gone else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
