"""The order of the rooms: what may import what, without circles, in few floors."""

from __future__ import annotations

import pytest

from tests.integration.rooms import (
    circles,
    floors,
    imports,
    module_graph,
    modules,
    room_graph,
    room_of,
)

#: Each room, in an order in which it may import those of the lines before.
ORDER = (
    ("data",),
    ("training.budget", "training.progress"),
    ("training.config", "training.databases", "training.estimators", "training.processes"),
    ("training.metrics", "training.learners", "training.second_process"),
    ("training.treatment",),
    ("training.models",),
    ("training.bundle", "training.fitting"),
    ("training.evaluation", "serving"),
    ("training.leakage", "training.search", "training.reports"),
    ("training.run", "training.validation", "training.marker", "training.power"),
    ("training.tracking",),
    ("training.cli",),
)
#: Of training, serving imports these alone.
FOR_SERVING = {
    *("data", "training.models", "training.treatment", "training.bundle", "training.processes"),
}


def test_every_room_is_in_the_order():
    assert sorted(room_graph()) == sorted(room for line in ORDER for room in line)


def test_rooms_import_only_those_before_them():
    allowed: set[str] = set()
    for line in ORDER:
        for room in line:
            assert room_graph()[room] <= allowed, room
        allowed |= {*line}


def test_no_module_imports_itself_through_others():
    assert circles(module_graph()) == []


def test_a_chain_of_imports_is_short():
    assert max(floors(module_graph()).values()) <= 20


def test_serving_knows_neither_registry_nor_reports():
    assert room_graph()["serving"] <= FOR_SERVING


def test_folders_are_small():
    held: dict[str, int] = {}
    for path in modules().values():
        if path.name != "__init__.py":
            folder = path.parent.name if path.parent.name == "training" else str(path.parent)
            held[folder] = held.get(folder, 0) + 1
    assert held["training"] <= 8
    assert max(held.values()) <= 16


def test_imports_are_seen_wherever_they_are():
    source = (
        "import accomplice.data.study\nif TYPE_CHECKING:\n    from accomplice.training import run\n"
        "def f():\n    from accomplice.serving.client import Client\n"
    )
    assert set(imports(source)) == {"data.study", "training.run", "serving.client.Client"}


@pytest.mark.parametrize(
    ("graph", "found"),
    [
        ({"a": frozenset("b"), "b": frozenset()}, []),
        ({"a": frozenset("b"), "b": frozenset("a"), "c": frozenset("a")}, [("a", "b")]),
    ],
)
def test_circles_are_found(graph, found):
    assert circles(graph) == found


def test_rooms_of_modules():
    assert room_of("training.cli.main") == "training.cli"
    assert room_of("training.learners.network.model") == "training.learners"
    assert room_of("data.readers.tables") == "data"
    assert room_of("training.run") == "training.run"
