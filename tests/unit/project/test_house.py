"""The rules of the house that no linter knows."""

from __future__ import annotations

import ast
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.sharing import LONG

ROOT = Path(__file__).parents[3]
LONGEST = 300
"""Lines in a file of the product."""
PRODUCT = sorted(path.relative_to(ROOT) for part in ("bridge", "sinks") for path in (ROOT / part).rglob("*.py"))
TESTS = sorted(path.relative_to(ROOT) for path in (ROOT / "tests").rglob("*.py"))
LONGER = {Path("tests/broken/mutations.py"), Path("tests/support/oracle.py")}
"""Files of the tests that may be longer: a table, and what has to be read at a sitting with nothing else."""
IN_TESTS = {"broken", "compose", "faults", "integration", "matrix", "simulation", "support", "unit"}
"""Folders of the tests; a helper is in `support`."""
NO_BEGINNING = ("What", "Whatever", "Whether", "Which", "Who", "Whoever", "Whose", "When", "Where", "Why", "How", "One")
NO_BEGINNING += (
    "Of",
    "Those",
    "That",
    "So",
    "As",
    "By",
    "In",
    "With",
    "Without",
    "While",
    "Until",
    "To",
    "From",
    "At",
    "For",
)
NO_BEGINNING += ("It", "They", "These", "This", "There", "Not", "Never", "Nothing", "None", "If", "On", "Up")
"""First words of a docstring that make readers stumble: a noun or a verb comes first."""
ARTICLES = ("The", "A", "An", "All")
"""First words with which a function's docstring would name a thing: a function does something, or returns it."""
STUMBLES = ("What", "Whether", "Which", "Who", "When", "Where", "Why", "How", "One", "Of", "Those", "That", "So")
STUMBLES += ("It", "They")
"""The same for what is written below an attribute, which may begin with `By key: ...`."""
# In halves, so that this file does not break its own rule.
REGISTRIES = ["py" + "pi.org", "python" + "hosted.org", "repo1." + "maven.org", "repo." + "maven.apache.org"]
REGISTRIES += ["npm" + "js.org", "npm" + "js.com", "crates" + ".io", "ruby" + "gems.org", "proxy." + "golang.org"]


def statements(source: str) -> Iterator[ast.AST]:
    """A module and all statements in it, those of a block after it; no expressions, which are ten times as many."""
    waiting: list[ast.AST] = [ast.parse(source)]
    for node in waiting:
        yield node
        for block in ("body", "handlers", "orelse", "finalbody", "cases"):
            waiting += getattr(node, block, [])


def undescribed(source: str) -> Iterator[str]:
    """Names of the test functions whose first statement is no docstring that ends with a period."""
    for node in statements(source):
        is_test = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
        if is_test and not (ast.get_docstring(node) or "").endswith("."):
            yield node.name


def imported(source: str) -> Iterator[str]:
    """Names of the modules that are imported anywhere in a source, and of what is imported from them."""
    for node in statements(source):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


def begins_badly(source: str) -> Iterator[str]:
    """First lines of the docstrings that begin with a word which says neither what a thing is nor what it does."""
    for node in statements(source):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = (ast.get_docstring(node) or "").partition("\n")[0]
            articles = ARTICLES if is_function(node) else ()
            if re.match(rf"({'|'.join((*NO_BEGINNING, *articles))})\b", first):
                yield first


def is_function(node: ast.AST) -> bool:
    """Return whether something is done by it: no property, which is a thing, and no test, which is a sentence."""
    if not isinstance(node, ast.FunctionDef) or node.name.startswith("test_"):
        return False
    return not any("property" in ast.unparse(decorator) for decorator in node.decorator_list)


def text(path: Path) -> str:
    """Return the text of a file of ours."""
    return (ROOT / path).read_text(encoding="utf-8")


def attributes_that_begin_badly(source: str) -> Iterator[str]:
    """First lines of what is written below an attribute or a constant, where they make readers stumble."""
    for node in statements(source):
        for one in getattr(node, "body", ()):
            text = one.value.value if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant) else None
            if isinstance(text, str) and re.match(rf"({'|'.join(STUMBLES)})\b", text):
                yield text.partition("\n")[0]


def hosts_in(content: bytes) -> list[str]:
    """The registries that are named in a file, however they are spelled."""
    return [host for host in REGISTRIES if host.encode() in content.lower()]


def tracked() -> list[Path]:
    """The files that git knows and that are there."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_a_file_is_short_enough_to_be_read() -> None:
    """No file of the product or of the tests is longer than people read at a sitting: one that is, is two."""
    lines = {path: len(text(path).splitlines()) for path in {*PRODUCT, *TESTS} - LONGER}
    assert {} == {str(path): count for path, count in lines.items() if count > LONGEST}


def test_a_docstring_begins_with_a_noun_or_a_verb() -> None:
    """It says what a thing is, or what it does, from the first word on."""
    assert {} == {str(path): found for path in PRODUCT if (found := list(begins_badly((ROOT / path).read_text())))}
    sources = {path: (ROOT / path).read_text() for path in PRODUCT}
    assert {} == {str(path): found for path in PRODUCT if (found := list(attributes_that_begin_badly(sources[path])))}


def test_every_test_says_what_holds() -> None:
    """Each test begins with a sentence."""
    assert {} == {str(path): found for path in TESTS if (found := list(undescribed(text(path))))}


def test_no_test_imports_from_another() -> None:
    """What two tests need is a helper, in tests/support, or a fixture, in a conftest.py."""
    ours = {path: [name for name in imported(text(path)) if name.startswith("tests.")] for path in TESTS}
    assert {} == {str(path): found for path, names in ours.items() if (found := [n for n in names if ".test_" in n])}


def test_helpers_are_in_one_package() -> None:
    """Nothing is loose in tests/, and in a folder of tests there is nothing but tests and fixtures."""
    allowed = {"__init__.py", "conftest.py"}
    loose = [path for path in TESTS if len(path.parts) == 2 and path.name not in allowed]
    loose += [path for path in TESTS if len(path.parts) > 2 and path.parts[1] not in IN_TESTS]
    loose += [
        path
        for path in TESTS
        if path.parts[1] in ("unit", "integration", "compose")
        and path.name not in allowed
        and not path.name.startswith("test_")
    ]
    assert [] == loose


def test_no_two_modules_of_the_tests_have_one_name() -> None:
    """Else a traceback, a docstring and a reader say the one and mean the other."""
    names = Counter(path.name for path in TESTS if path.name not in ("__init__.py", "__main__.py", "conftest.py"))
    assert [] == [name for name, count in names.items() if count > 1]


def test_the_unit_tests_have_the_rooms_of_the_product() -> None:
    """A folder for each that has tests, and two more: of the project, and of the tests' own helpers."""
    rooms = {path.parent.relative_to("bridge/celery_event_bridge") for path in PRODUCT if path.parts[0] == "bridge"}
    rooms |= {path.parent.relative_to("sinks/celery_event_sinks") for path in PRODUCT if path.parts[0] == "sinks"}
    rooms |= {Path("sinks") / room for room in rooms} | {Path("project"), Path("support")}
    unit = {path.parent.relative_to("tests/unit") for path in TESTS if path.match("tests/unit/**/test_*.py")}
    assert set() == unit - rooms - {Path()}


def test_the_longest_tests_are_files() -> None:
    """A name that is none shares out nothing first."""
    files = {path.stem.removeprefix("test_") for path in TESTS if path.parts[1] == "integration"}
    assert [] == [name for name in LONG if name not in files]


def test_no_package_registry_is_named() -> None:
    """Where packages come from is the business of whoever installs them: no file names a host."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout: there is no list of the files that are ours")
    files = tracked()
    assert Path(__file__).resolve().parent in {path.parent for path in files}
    assert {} == {str(path.relative_to(ROOT)): hosts for path in files if (hosts := hosts_in(path.read_bytes()))}


def test_the_rules_find_what_breaks_them() -> None:
    """A rule that nothing can break protects nothing."""
    source = '''
def test_nothing(): pass
def test_no_period():
    """It holds"""
def test_late():
    x = 1
    """It holds."""
class TestThings:
    async def test_inside(self): pass
    def test_good(self):
        """It holds."""
def helper(): pass
'''
    assert ["test_nothing", "test_no_period", "test_late", "test_inside"] == list(undescribed(source))
    assert REGISTRIES == [host for name in REGISTRIES for host in hosts_in(f"https://X.{name.upper()}/".encode())]
    source = '''
"""What it is."""
class A:
    """Ones."""
    def b(self):
        """Whether so.

        More."""
    async def c(self):
        """Return whether so."""
def d():
    """Of it."""
def e():
    """The value."""
@property
def f(self):
    """The value of a property."""
'''
    assert {"What it is.", "Whether so.", "Of it.", "The value."} == set(begins_badly(source))
    assert ["Whether so."] == list(attributes_that_begin_badly('x = 1\n"""Whether so."""\ny = 2\n"""By key."""\n'))
    source = "import a.b, c\ndef d():\n    from e.f import g\n"
    assert ["a.b", "c", "e.f", "e.f.g"] == list(imported(source))
    assert [] == hosts_in(b"https://packages.example.org/simple")
    assert Path("bridge/celery_event_bridge/forward/relay.py") in PRODUCT
    assert Path("tests/unit/project/test_house.py") in TESTS
