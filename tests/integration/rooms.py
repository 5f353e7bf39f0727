"""The structure of the product's code: which room imports which, on how many floors.

Rooms are ``data``, ``serving``, each folder of ``training`` and each of its own modules. A room
stands on a floor above all that it imports. Imports inside functions and for type checkers count as
others do. ``python -m tests.integration.rooms`` prints the floors, and the circles that stand in
their way.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("data", "training", "serving")

Graph = Mapping[str, frozenset[str]]


def modules() -> dict[str, Path]:
    """Return each module of the product, by its name below the package."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
            found[name.removesuffix(".__init__")] = path
    return found


def imports(source: str) -> Iterator[str]:
    """Yield every name of the product that a source text imports, wherever it does."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.startswith("accomplice."):
                yield name.removeprefix("accomplice.")


@cache
def module_graph() -> Graph:
    """Return which module imports which; packages of one docstring are left out."""
    known = {name: path for name, path in modules().items() if path.name != "__init__.py"}
    graph = {}
    for name, path in known.items():
        found = set()
        for imported in imports(path.read_text(encoding="utf-8")):
            for module in (imported, imported.rpartition(".")[0]):
                if module in known:
                    found.add(module)
                    break
        graph[name] = frozenset(found - {name})
    return graph


def room_of(module: str) -> str:
    """Return the room of a module: ``data``, ``serving``, or what it is in below ``training``."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "training" else parts[0]


@cache
def room_graph() -> Graph:
    """Return which room imports which."""
    graph: dict[str, set[str]] = {}
    for module, imported in module_graph().items():
        rooms = graph.setdefault(room_of(module), set())
        rooms |= {room_of(other) for other in imported} - {room_of(module)}
    return {room: frozenset(others) for room, others in graph.items()}


def circles(graph: Graph) -> list[tuple[str, ...]]:
    """Return the sets of nodes that import each other, directly or not."""
    above = {node: _reached(graph, node) for node in graph}
    found = {
        tuple(sorted({node, *(other for other in above[node] if node in above[other])}))
        for node in graph
        if node in above[node]
    }
    return sorted(found)


def _reached(graph: Graph, start: str) -> frozenset[str]:
    seen: set[str] = set()
    waiting = [*graph[start]]
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += graph[node]
    return frozenset(seen)


def floors(graph: Graph) -> dict[str, int]:
    """Return the floor of each node of a graph without circles, from 1: above all it imports."""

    @cache
    def floor(node: str) -> int:
        return 1 + max((floor(other) for other in graph[node]), default=0)

    return {node: floor(node) for node in graph}


def main() -> None:
    """Print the floors of the rooms, and the longest chain of modules."""
    for name, graph in (("rooms", room_graph()), ("modules", module_graph())):
        found = circles(graph)
        for circle in found:
            print(f"circle of {name}: {', '.join(circle)}")
            for one in circle:
                print(f"  {one} -> {', '.join(sorted(graph[one] & {*circle}))}")
        if not found:
            height = floors(graph)
            print(f"{len(graph)} {name} on {max(height.values())} floors")
            if name == "rooms":
                for floor in range(1, max(height.values()) + 1):
                    print(f"  {floor}: {', '.join(sorted(r for r in graph if height[r] == floor))}")


if __name__ == "__main__":
    main()
