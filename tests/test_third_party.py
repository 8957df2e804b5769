"""Private parts of other libraries are used by one module alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import wdtui

SOURCE = Path(wdtui.__file__).parent
HOME = SOURCE / "support" / "third_party.py"
DOCUMENTED = {"_exit", "_fields", "_make", "_replace"}
"""Of `os` and of named tuples: public in spite of the underscore."""


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def defined(tree: ast.AST) -> set[str]:
    """The private names that a module gives to functions, classes, variables and attributes of its own."""
    names = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                names.add(name)
    return set(filter(private, names))


def foreign(tree: ast.AST, own: set[str], everywhere: set[str]) -> Iterator[str]:
    """The private names that a module uses and wdtui does not define: of `self` anywhere, of others in this module."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (one.name for one in names if any(map(private, one.name.split("."))))
            case ast.ImportFrom(module=module, names=names):
                where = (module or "").split(".")
                yield from (f"{module}.{one.name}" for one in names if any(map(private, [*where, one.name])))
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name):
                if private(name) and name not in everywhere | DOCUMENTED:
                    yield f"self.{name}"
            case ast.Attribute(value=value, attr=name):
                if private(name) and name not in own | DOCUMENTED:
                    yield f"{ast.unparse(value)}.{name}"


def test_only_one_module_uses_private_parts_of_other_libraries() -> None:
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCE.rglob("*.py")}
    names = {path: defined(tree) for path, tree in trees.items()}
    everywhere = set().union(*names.values())
    found = {
        f"{path.relative_to(SOURCE)}: {name}"
        for path, tree in trees.items()
        for name in foreign(tree, names[path], everywhere)
        if path != HOME
    }
    assert not found


def test_the_search_finds_a_private_name() -> None:
    text = "import a._b\nfrom c._d import e\nfrom f import _g\nh._i()\nself._j = self._k = 1\nself._l()\nm._k\n"
    tree = ast.parse(text)
    own = defined(tree)
    assert set(foreign(tree, own, own)) == {"a._b", "c._d.e", "f._g", "self._l", "h._i"}


def test_only_documented_names_of_plotext_are_used() -> None:
    found = {path.name for path in SOURCE.rglob("*.py") if "plotext._" in path.read_text(encoding="utf-8")}
    assert not found
