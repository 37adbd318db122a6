"""The part of a module on which one of its classes or functions rests."""

from __future__ import annotations

import ast
from collections.abc import Iterator

DYNAMIC = {"globals", "locals", "vars", "eval", "exec", "__import__"}
"""Functions that reach names which no syntax tree shows."""
HARMLESS = {"hookimpl", "dataclass"}
"""Decorators that change nothing outside the class or function that they decorate."""
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


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
                used |= {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
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
