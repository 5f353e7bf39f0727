"""The examples in docstrings of estimators, metrics and losses: each public function has one."""

from __future__ import annotations

import doctest
import inspect
import pkgutil
from importlib import import_module

import pytest

from accomplice.training import estimators, metrics

MODULES = [
    "accomplice.training.learners.network.losses",
    *(
        module.name
        for room in (estimators, metrics)
        for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}.")
    ),
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_right(name):
    failed, _ = doctest.testmod(import_module(name))
    assert failed == 0


@pytest.mark.parametrize("name", MODULES)
def test_each_public_function_has_an_example(name):
    module = import_module(name)
    own = {
        function: found.__doc__ or ""
        for function, found in inspect.getmembers(module, inspect.isfunction)
        if found.__module__ == name and not function.startswith("_")
    }
    assert [function for function, text in own.items() if ">>>" not in text] == []
