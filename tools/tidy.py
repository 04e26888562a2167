"""The house rules as pure functions over source text; tests/test_tidy.py applies them to the repository.

A rule looks at one file and yields a line number and a sentence for each place that breaks it: what is wrong,
and what would be right. Only `unused_modules` looks at all files at once.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tools.architecture import first_sentence

MODULE_LINES = 400
FUNCTION_LINES = 60

# Modules that may be longer than MODULE_LINES, each with the reason why it cannot be split along a noun.
LONG_MODULES: dict[str, str] = {}

BANNED_WORDS = frozenset(
    "manager service helper util handler processor common base misc wrapper impl".split()
)  # fmt: skip

# Words of the compatible API and its ecosystem that contain a banned one and keep their names.
API_WORDS = (("exception", "handler"), ("service", "account"), ("service", "tier"), ("base", "url"), ("base", "model"))

FOLDERS = ("src", "tests", "tools", "bench", "docs", ".ci")
TOP_FILES = ("*.md", "*.toml", "*.txt", "Makefile", ".gitignore")
TEXT_SUFFIXES = frozenset(
    "py md toml txt sql mako ini cfg sh yml yaml json story html jinja j2 css js".split()
)  # fmt: skip

Place = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Source:
    """A file of the repository: its path from the root with slashes, and its text, parsed if Python."""

    path: str
    text: str
    tree: ast.Module = field(init=False, repr=False)
    _nodes: tuple[ast.AST, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        text = self.text if self.path.endswith(".py") else ""
        object.__setattr__(self, "tree", ast.parse(text, self.path))
        object.__setattr__(self, "_nodes", tuple(ast.walk(self.tree)))

    def nodes(self) -> Iterator[ast.AST]:
        """Every syntax node of a Python file, none of another."""
        return iter(self._nodes)


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule, printed as file:line so that editors can follow it."""

    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: its name, the files it holds for, and the function that yields the places that break it."""

    name: str
    holds_for: Callable[[str], bool]
    places: Callable[[Source], Iterable[Place]]

    def findings(self, source: Source) -> list[Finding]:
        """What breaks this rule in one file; nothing where the rule does not hold for it."""
        if not self.holds_for(source.path):
            return []
        return [Finding(source.path, line, text) for line, text in sorted(self.places(source))]


def repository(root: Path) -> list[Source]:
    """Every text file of the checkout that the rules look at, found without asking git."""
    paths = [path for folder in FOLDERS for path in (root / folder).rglob("*")]
    paths += [path for pattern in TOP_FILES for path in root.glob(pattern)]
    return [
        Source(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))
        for path in sorted(paths)
        if path.is_file() and _is_text(path.relative_to(root))
    ]


# Size


def module_length(source: Source) -> Iterator[Place]:
    """A module stays under MODULE_LINES lines, unless LONG_MODULES names it."""
    lines = len(source.text.splitlines())
    if lines > MODULE_LINES and source.path not in LONG_MODULES:
        yield MODULE_LINES + 1, f"{lines} lines; split the module along a noun, {MODULE_LINES} at most"


def function_length(source: Source) -> Iterator[Place]:
    """A function stays under FUNCTION_LINES lines, its docstring not counted."""
    for node in source.nodes():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if ast.get_docstring(node) is not None:
                lines -= (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
            if lines > FUNCTION_LINES:
                yield (
                    node.lineno,
                    f"{node.name} has {lines} lines; give its steps names, {FUNCTION_LINES} lines at most",
                )


# Names and words


def banned_names(source: Source) -> Iterator[Place]:
    """No file, folder, class, function or method carries a word that says nothing; tests' sentences may."""
    for part in source.path.removesuffix(".py").split("/"):
        if word := banned_word(part):
            yield 1, f"the path's {part!r} contains {word!r}; name it after the noun it is about"
    for node in source.nodes():
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            is_test = source.path.startswith("tests/") and node.name.startswith("test_")
            if not is_test and (word := banned_word(node.name)):
                yield node.lineno, f"{node.name!r} contains {word!r}; say what it is or does (a verb, a noun)"


def banned_word(name: str) -> str | None:
    """The first banned word (or its plural) among the parts of a snake_case or CamelCase name."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[^A-Za-z0-9]+", " ", name)
    words = [word.lower().removesuffix("s") for word in spaced.split()]
    known = {word for pair in itertools.pairwise(words) if pair in API_WORDS for word in pair}
    return next((word for word in words if word in BANNED_WORDS and word not in known), None)


def docstring(source: Source) -> Iterator[Place]:
    """Every module says in one sentence, ended by a period, what it is."""
    text = ast.get_docstring(source.tree)
    if text is None:
        yield 1, "no docstring; say in one sentence what the module is"
    elif first_sentence(text) is None:
        yield 1, "the docstring's first sentence has no period; the architecture table is built from it"


def unfinished(source: Source) -> Iterator[Place]:
    """No note about work left over: it is done now or written down where it is planned."""
    yield from _lines_with(source, r"\b(?:TO[D]O|FIX[M]E|X[X]X)\b", "a note about unfinished work; finish it")


def machine_paths(source: Source) -> Iterator[Place]:
    """No path of one particular machine."""
    pattern = r"(?<![\w.\-/}])/(?:work|root|(?:home|Users)/\w+)(?![\w\-])"
    yield from _lines_with(source, pattern, "an absolute path of one machine; make it relative or a setting")


def registry_hosts(source: Source) -> Iterator[Place]:
    """No package registry by its host: people install from the one they use."""
    pattern = r"\b(?:pypi|npmjs|rubygems|anaconda|pythonhosted|unpkg|jsdelivr)\.(?:org|com|net)\b|\bcrates\.io\b"
    yield from _lines_with(source, pattern, "names a package registry's host; leave the choice to the user")


# What core, store and flows are told instead of finding out


def integers_only(source: Source) -> Iterator[Place]:
    """core computes with integers: no float literal, no float, no `/`, no round()."""
    for node in source.nodes():
        match node:
            case ast.Constant(value=float() | complex()):
                yield (
                    node.lineno,
                    f"the float {node.value!r}; money and shares are integers (nanos, per million)",
                )
            case ast.Name(id="float"):
                yield node.lineno, "float; core computes with integers only"
            case ast.Call(func=ast.Name(id="round")):
                yield node.lineno, "round(); rounding has one place in core/money.py and works on integers"
            case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
                yield (
                    node.lineno,
                    "the operator / makes a float; use // or divmod and say which way it rounds",
                )


_CLOCKS = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.time_ns"}
_MONOTONIC = {f"time.{name}" for name in ("monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "sleep")}
_RANDOM = {"os.urandom", "uuid.uuid1", "uuid.uuid4"}
_RANDOM_MODULES = {"random", "secrets"}


def told(source: Source) -> Iterator[Place]:
    """core, store and flows are told the time, ids and randomness; only store may measure a wait."""
    banned = _CLOCKS | _RANDOM
    if not source.path.startswith("src/purser/store/"):
        banned = banned | _MONOTONIC
    for name, line in _dotted_names(source):
        last_two = ".".join(name.split(".")[-2:])
        if last_two in banned:
            yield line, f"{last_two}; take the instant, the id or the random bytes as an argument"
        elif name in _RANDOM_MODULES:
            yield line, f"imports {name}; take ids and random bytes as arguments (hmac has compare_digest)"


# What source code does not do


def no_assert(source: Source) -> Iterator[Place]:
    """No assert statement in the program: it vanishes under -O."""
    for node in source.nodes():
        if isinstance(node, ast.Assert):
            yield node.lineno, "assert vanishes under -O; raise a named error"


def no_print(source: Source) -> Iterator[Place]:
    """Only the command line prints."""
    for node in source.nodes():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield node.lineno, "print(); only inbound/cli and main talk to the terminal, others log or answer"


def no_bare_except(source: Source) -> Iterator[Place]:
    """An except clause names what it catches."""
    for node in source.nodes():
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield node.lineno, "a bare except also catches Ctrl-C and exit; name what is expected"


def sql_in_store(source: Source) -> Iterator[Place]:
    """Only store imports the database's libraries."""
    for name, line in {(name.split(".")[0], line) for name, line in _imports(source)}:
        if name in {"sqlalchemy", "alembic", "sqlite3", "psycopg"}:
            yield line, f"imports {name}; SQL lives in purser.store, which answers with core values"


# Tests


def tests_assert(source: Source) -> Iterator[Place]:
    """Every test checks something: an assert, a raises, or a call to check_…, expect_… or assert_…."""
    if not source.path.rsplit("/", 1)[-1].startswith("test_"):
        return
    if not _asserts(source.tree):
        yield 1, "no assertion in the whole file; a test that cannot fail proves nothing"
    for node in source.nodes():
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if name.startswith("test_"):
                if not _asserts(node):
                    yield node.lineno, f"{name} asserts nothing; assert, use pytest.raises or call check_…"


def unused_modules(sources: Iterable[Source]) -> list[Finding]:
    """Modules of the program that no other imports and nothing starts; a text "purser.x.y:z" counts too."""
    code = [source for source in sources if source.path.startswith("src/purser/") and source.path.endswith(".py")]
    modules = {module_name(source.path): source for source in code}
    used: set[str] = set()
    for name, source in modules.items():
        used |= {imported for imported, _ in _imports(source)} - {name}
        used |= set(_module_texts(source))
    return [
        Finding(source.path, 1, f"nothing imports {name}; use it, or delete it")
        for name, source in sorted(modules.items())
        if name not in used and not _is_started(source.path)
    ]


def module_name(path: str) -> str:
    """`src/purser/core/money.py` as `purser.core.money`; a package by its folder's name."""
    return path.removeprefix("src/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")


# Where each rule holds


def python(*prefixes: str, without: tuple[str, ...] = ()) -> Callable[[str], bool]:
    """Python files whose path starts with one of these prefixes and contains none of the other texts."""

    def holds_for(path: str) -> bool:
        return path.endswith(".py") and path.startswith(prefixes) and not any(text in path for text in without)

    return holds_for


def text_of_ours(path: str) -> bool:
    """Every text file but those that others wrote."""
    return "/vendor/" not in path and ".min." not in path


ALL = python("")
SOURCE = python("src/purser/")
SOURCE_AND_TOOLS = python("src/purser/", "tools/", "bench/")
SIZED = python("src/purser/", "tools/", "bench/", without=("/migrations/versions/",))
TOLD = python("src/purser/core/", "src/purser/store/", "src/purser/flows/")
SILENT = python("src/purser/", without=("purser/inbound/cli", "purser/main"))

RULES = (
    Rule("module length", SIZED, module_length),
    Rule("function length", SIZED, function_length),
    Rule("banned names", ALL, banned_names),
    Rule("docstring", SOURCE_AND_TOOLS, docstring),
    Rule("unfinished", text_of_ours, unfinished),
    Rule("machine paths", text_of_ours, machine_paths),
    Rule("registry hosts", text_of_ours, registry_hosts),
    Rule("integers only", python("src/purser/core/"), integers_only),
    Rule("told", TOLD, told),
    Rule("no assert", SOURCE, no_assert),
    Rule("no print", SILENT, no_print),
    Rule("no bare except", ALL, no_bare_except),
    Rule("sql in store", python("src/purser/", without=("purser/store/",)), sql_in_store),
    Rule("tests assert", python("tests/"), tests_assert),
)


# Reading source text


def _is_text(relative: Path) -> bool:
    hidden = "__pycache__" in relative.parts
    return not hidden and (relative.suffix.removeprefix(".") in TEXT_SUFFIXES or not relative.suffix)


def _lines_with(source: Source, pattern: str, text: str) -> Iterator[Place]:
    expression = re.compile(pattern)
    for number, line in enumerate(source.text.splitlines(), start=1):
        if found := expression.search(line):
            yield number, f"{found.group()!r}: {text}"


def _imports(source: Source) -> Iterator[tuple[str, int]]:
    """Every imported module in full, with its line; `from a import b` counts as both a and a.b."""
    package = module_name(source.path).split(".")
    if not source.path.endswith("/__init__.py"):
        package = package[:-1]
    for node in source.nodes():
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*above, node.module] if node.module else above)
            yield origin, node.lineno
            yield from ((f"{origin}.{alias.name}", node.lineno) for alias in node.names)


def _dotted_names(source: Source) -> Iterator[tuple[str, int]]:
    """Imports and attribute chains alike: `import random`, `from time import time` and `datetime.now`."""
    yield from _imports(source)
    for node in source.nodes():
        if isinstance(node, ast.Attribute):
            yield ast.unparse(node), node.lineno


def _module_texts(source: Source) -> Iterator[str]:
    for node in source.nodes():
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = re.fullmatch(r"(purser(?:\.\w+)+)(?::\w+)?", node.value)
            if found:
                yield found.group(1)


def _is_started(path: str) -> bool:
    """Whether something other than an import starts this module: the script, `python -m`, or Alembic."""
    return (
        path == "src/purser/main.py"
        or path.endswith(("/__init__.py", "/__main__.py"))
        or path.startswith("src/purser/store/migrations/")
    )


def _asserts(tree: ast.AST) -> bool:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            callee = node.func
            name = callee.attr if isinstance(callee, ast.Attribute) else getattr(callee, "id", "")
            if name in {"raises", "warns", "fail"} or name.lstrip("_").startswith(("check", "expect", "assert")):
                return True
    return False
