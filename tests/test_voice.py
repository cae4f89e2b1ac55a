"""The sources speak with one voice: documented, short, and one name for one thing."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import xarray_dicom

PACKAGE = Path(xarray_dicom.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
IDS = [module.relative_to(PACKAGE).as_posix() for module in MODULES]

#: Words that a first line does not open with: it is an imperative, or names the thing.
QUESTIONS = {"what", "where", "whether", "how", "those", "that", "who", "which", "why", "when"}

LINES_OF_A_MODULE = 400
LINES_OF_A_FUNCTION = 60

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef


def definitions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, Definition]]:
    """All classes and functions below a node, with their qualified names."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Definition):
            name = f"{prefix}{child.name}"
            yield name, child
            yield from definitions(child, f"{name}.")
        else:
            yield from definitions(child, prefix)


def public(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, Definition]]:
    """Public classes and functions of a module, and public methods of its public classes."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Definition):
            if child.name.startswith("_") or is_setter(child):
                continue
            name = f"{prefix}{child.name}"
            yield name, child
            if isinstance(child, ast.ClassDef):
                yield from public(child, f"{name}.")
        elif not isinstance(child, ast.expr):
            yield from public(child, prefix)


def is_setter(node: Definition) -> bool:
    """True for the setter of a property, whose getter has the docstring."""
    return any(isinstance(d, ast.Attribute) and d.attr == "setter" for d in node.decorator_list)


def parse(module: Path) -> ast.Module:
    return ast.parse(module.read_text())


every_module = pytest.mark.parametrize("module", MODULES, ids=IDS)


@every_module
def test_no_docstring_opens_with_a_question(module: Path) -> None:
    tree = parse(module)
    documented = [("module", tree), *definitions(tree)]
    docstrings = {name: ast.get_docstring(node) or "" for name, node in documented}
    assert not [
        f"{name}: {text.splitlines()[0]}"
        for name, text in docstrings.items()
        if text.split() and text.split()[0].strip(",;:").lower() in QUESTIONS
    ]


@every_module
def test_every_public_definition_has_a_docstring(module: Path) -> None:
    tree = parse(module)
    assert ast.get_docstring(tree)
    assert not [name for name, node in public(tree) if not ast.get_docstring(node)]


@every_module
def test_modules_and_functions_are_short(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= LINES_OF_A_MODULE
    assert not [
        f"{name}: {node.end_lineno - node.lineno + 1} lines"
        for name, node in definitions(parse(module))
        if isinstance(node, Function)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > LINES_OF_A_FUNCTION
    ]


def test_no_two_classes_share_a_name() -> None:
    homes = defaultdict(list)
    for module, name in zip(MODULES, IDS, strict=True):
        for _, node in definitions(parse(module)):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(name)
    assert not {name: modules for name, modules in homes.items() if len(modules) > 1}
