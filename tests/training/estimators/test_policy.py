"""The thresholds that decide what is said stand in one table."""

from __future__ import annotations

import ast

from accomplice.training.estimators import policy
from tests.integration.rooms import modules


def assigned(source):
    """Names of a module's own constants."""
    targets = [t for n in ast.parse(source).body if isinstance(n, ast.Assign) for t in n.targets]
    return {each.id for t in targets for each in ast.walk(t) if isinstance(each, ast.Name)}


def test_is_the_only_place_that_sets_them():
    named = {name for name in vars(policy) if name.isupper()}
    assert len(named) > 25
    for module, path in modules().items():
        if module != "training.estimators.policy" and module.startswith("training."):
            assert not named & assigned(path.read_text(encoding="utf-8")), module


def test_fewest_events_are_set_nowhere_else():
    for module, path in modules().items():
        if module.startswith("training.") and module != "training.estimators.policy":
            names = assigned(path.read_text(encoding="utf-8"))
            assert not {name for name in names if name.startswith("FEWEST_EVENTS")}, module
