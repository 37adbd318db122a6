"""The part of a module on which one of its classes or functions rests."""

from __future__ import annotations

import ast
from collections.abc import Iterator

DYNAMIC = {"globals", "locals", "vars", "eval", "exec", "__import__"}
"""Functions that reach names which no syntax tree shows."""
HARMLESS = {"hookimpl", "dataclass"}
"""Decorators that change nothing outside the class or function that they decorate."""
SAID = {"title", "family", "paper"}
"""Attributes that say what something is, for tables and lists; nothing is computed with them."""
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def unsaid(tree: ast.Module) -> ast.Module:
    """A module without what it only says of its methods, models and data sets, and without imports for that alone."""
    before = _names(tree)
    tree.body = [statement for statement in tree.body if not _says(statement)]
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef):
            statement.body = [part for part in statement.body if not _says(part)] or [ast.Pass()]
        elif isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call):
            statement.value.keywords = [word for word in statement.value.keywords if word.arg not in SAID]
    unused = before - _names(tree)
    for statement in tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            statement.names = [alias for alias in statement.names if (alias.asname or alias.name) not in unused]
    tree.body = [part for part in tree.body if not isinstance(part, ast.Import | ast.ImportFrom) or part.names]
    return tree


def _says(statement: ast.stmt) -> bool:
    """Whether a statement of a class or module only says what something is."""
    if isinstance(statement, ast.FunctionDef):
        decorators = [node.id for node in statement.decorator_list if isinstance(node, ast.Name)]
        return statement.name in SAID and decorators == ["property"]
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    names = [target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "") for target in targets]
    return bool(names) and SAID.issuperset(names)


def _names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def resting(tree: ast.Module, name: str) -> ast.Module:
    """The statements that define a name at the top of a module, and all that they use; the module if that is unclear.

    Statements that do more than to define names belong to every part.
    """
    defining = [(statement, set(_defined(statement))) for statement in tree.body]
    used, before = {name}, set[str]()
    while used != before:
        before = set(used)
        for statement, names in defining:
            if not names or names & used:
                used |= _names(statement)
    if used & DYNAMIC or not any(name in names for _, names in defining):
        return tree
    return ast.Module([statement for statement, names in defining if not names or names & used], tree.type_ignores)


def _defined(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement defines; none if it may do more than that."""
    if isinstance(statement, Definition):
        decorators = (node.func if isinstance(node, ast.Call) else node for node in statement.decorator_list)
        if all(isinstance(node, ast.Name) and node.id in HARMLESS for node in decorators):
            yield statement.name
    elif isinstance(statement, ast.Import | ast.ImportFrom):
        if all(alias.name != "*" for alias in statement.names):
            yield from ((alias.asname or alias.name).partition(".")[0] for alias in statement.names)
    elif isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        parts = [part for target in targets for part in (target.elts if isinstance(target, ast.Tuple) else [target])]
        if all(isinstance(part, ast.Name) for part in parts):
            yield from (part.id for part in parts if isinstance(part, ast.Name))
