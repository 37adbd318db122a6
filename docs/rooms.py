"""Draws the rooms of lth_bench, as the imports of its modules make them, into docs/architecture.md and CONTRIBUTING.md.

python docs/rooms.py            writes both pages
python docs/rooms.py --check    exit status 1 if one of them is out of date
"""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from pathlib import Path

import grimp
import networkx

ROOT = Path(__file__).parent.parent
PACKAGES = {"lth_bench": ROOT / "lth_bench", "lth_bench_plugins": ROOT / "plugins"}
GROUND = "ground"
PLUGINS = "plugins"


def imports() -> networkx.DiGraph:
    """An arrow from each room to every room whose modules it imports."""
    modules = grimp.build_graph(*PACKAGES, cache_dir=None)
    arrows = networkx.DiGraph()
    for importer in sorted(modules.modules):
        for imported in sorted(modules.find_modules_directly_imported_by(importer)):
            if (one := room(importer)) != (other := room(imported)) and {one, other} <= rooms().keys():
                arrows.add_edge(one, other)
    return arrows


def room(module: str) -> str:
    """The room that a module stands in."""
    package, *rest = module.split(".")
    if package == "lth_bench_plugins":
        return PLUGINS
    return rest[0] if rest and (PACKAGES[package] / rest[0]).is_dir() else GROUND if rest else ""


@cache
def rooms() -> dict[str, str]:
    """Every room and its description, its own docstring."""
    folders = sorted(path.parent for path in PACKAGES["lth_bench"].glob("*/__init__.py"))
    ground = sorted(path.stem for path in PACKAGES["lth_bench"].glob("[a-z]*.py"))
    return {
        PLUGINS: docstring(PACKAGES["lth_bench_plugins"] / "__init__.py"),
        **{folder.name: docstring(folder / "__init__.py") for folder in folders},
        GROUND: f"Single modules that everything may import: {', '.join(ground)}.",
    }


def docstring(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0].replace("\n", " ")


def picture(arrows: networkx.DiGraph) -> str:
    """Mermaid's picture; an arrow is left out where other arrows lead to the same room."""
    boxes = [f'    {name}["{name}"]' for name in networkx.topological_sort(arrows)]
    lines = [f"    {one} --> {other}" for one, other in networkx.transitive_reduction(arrows).edges]
    discovery = [f"    {PLUGINS} -. are found through entry points by .-> experiments"]
    return "\n".join(["```mermaid", "flowchart TD", *boxes, *sorted(lines), *discovery, "```"])


def table(arrows: networkx.DiGraph, start: str) -> str:
    """One row a room, from the top of the house to its ground."""
    places = {name: f"{start}{name}/" if name == PLUGINS else f"{start}lth_bench/{name}/" for name in rooms()}
    places[GROUND] = f"{start}lth_bench/"
    rows = [f"| [`{name}`]({places[name]}) | {rooms()[name]} |" for name in networkx.topological_sort(arrows)]
    return "\n".join(["| room | contents |", "|---|---|", *rows])


def filled(page: str, name: str, content: str) -> str:
    """A page with new content between the marks of this name."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    return pattern.sub(lambda marks: f"{marks[1]}\n{content}\n\n{marks[2]}", page)


def main() -> None:
    arrows, outdated = imports(), []
    contents = {
        ROOT / "docs" / "architecture.md": {"picture": picture(arrows), "rooms": table(arrows, "../")},
        ROOT / "CONTRIBUTING.md": {"rooms": table(arrows, "")},
    }
    for path, parts in contents.items():
        before = page = path.read_text(encoding="utf-8")
        for name, content in parts.items():
            page = filled(page, name, content)
        if page != before:
            outdated.append(path)
            if "--check" not in sys.argv:
                path.write_text(page, encoding="utf-8")
    if outdated and "--check" in sys.argv:
        names = ", ".join(path.name for path in outdated)
        sys.exit(f"out of date: {names}; python docs/rooms.py brings the picture and the rooms up to date")


if __name__ == "__main__":
    main()
