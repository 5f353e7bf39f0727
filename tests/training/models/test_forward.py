"""The ensemble run side by side says what its parts say one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from accomplice.training.estimators.hazard import accumulate, bin_hazard, survival
from accomplice.training.learners.boosting import Boosting
from accomplice.training.learners.network.inputs import net_columns
from accomplice.training.learners.registry import NET
from accomplice.training.learners.trees import Trees
from accomplice.training.models import forward as abreast
from accomplice.training.models.ensemble import Ensemble, on_grid


@pytest.fixture(scope="module")
def ensemble(tiny_trained) -> Ensemble:
    return tiny_trained.bundle.primary.ensemble


@pytest.fixture
def some(tiny_trained):
    model = tiny_trained.bundle.primary
    values = model.sample(37, np.random.default_rng(5))
    names = sorted({name for p in model.preprocessors for name in p.reference} | {"elsewhere"})
    return values, np.random.default_rng(6).choice(names, len(values))


def one_by_one(ensemble, values, centre):
    inputs = [fold.preprocessor.transform(values, centre) for fold in ensemble.folds]
    columns = [net_columns(fold.preprocessor, fold.anchor.beta) for fold in ensemble.folds]
    x, present = [], np.stack([made.present.T for made in inputs])
    for (order, scale), made in zip(columns, inputs, strict=True):
        x.append(np.concatenate([made.linear, made.embedded], axis=1)[:, order].T * scale[:, None])
    logits = ensemble.net.logits(*(np.float32(a) for a in (x, present)))
    learners, members = [], []
    for fold, made, own in zip(ensemble.folds, inputs, logits, strict=True):

        def curves(cumulative, fold=fold):
            return survival(on_grid(fold.grid, cumulative, ensemble.grid))

        members.append(curves(accumulate(bin_hazard(own[..., : fold.grid.bins]))))
        each = {name: curves(m.cumulative(made.linear)) for name, m in fold.learners.items()}
        each[NET] = members[-1].mean(axis=0)
        learners.append(np.stack([each[name] for name in ensemble.names]))
    return np.stack(learners), np.stack(members)


def assert_same(ensemble, values, centre):
    learners, members = one_by_one(ensemble, values, centre)
    made = ensemble.forward(values, centre)
    net = ensemble.names.index(NET)
    others = np.arange(len(ensemble.names)) != net
    np.testing.assert_allclose(made.learners[:, others], learners[:, others], rtol=0, atol=1e-12)
    # The network's products are in single precision: sums in another order differ.
    np.testing.assert_allclose(made.learners[:, net], learners[:, net], rtol=0, atol=1e-6)
    np.testing.assert_allclose(made.members, members, rtol=0, atol=1e-5)


@pytest.mark.parametrize("n", [1, 2, 37])
@pytest.mark.parametrize("known", [True, False])
def test_curves_are_those_of_the_parts(ensemble, some, n, known):
    values, centre = some[0][:n], some[1][:n] if known else None
    assert_same(ensemble, values, centre)


def test_patients_come_in_blocks(ensemble, some, monkeypatch):
    whole = ensemble.forward(*some, read=np.copy)
    monkeypatch.setattr(abreast, "BLOCK", 10)
    parted = ensemble.forward(*some, read=np.copy)
    np.testing.assert_array_equal(whole.terms, parted.terms)
    for one, other in zip(whole[:2], parted[:2], strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


def test_what_one_is_told_does_not_hang_on_who_else_is_asked_about(ensemble, some):
    values, centre = some
    together = ensemble.forward(values, centre)
    for size in (1, 2, 5, 16):
        for start in range(0, len(values), size):
            part = slice(start, start + size)
            alone = ensemble.forward(values[part], centre[part])
            for whole, own in zip(together[:2], alone[:2], strict=True):
                np.testing.assert_allclose(whole[:, :, part], own, rtol=0, atol=1e-12)


def test_nobody_has_no_curves(ensemble, some):
    made = ensemble.forward(some[0][:0], some[1][:0], np.copy)
    whole = ensemble.forward(*some, read=np.copy)
    assert made.terms.shape == (0, whole.terms.shape[1])
    for none, all_ in zip(made[:2], whole[:2], strict=True):
        assert none.shape == (*all_.shape[:2], 0, all_.shape[3])


def test_members_without_trees_and_of_other_numbers(ensemble, some):
    """A fold may have kept no round, or have fewer members than another."""
    first, second, *rest = ensemble.folds
    own, other = first.learners["boosting"], second.learners["boosting"]
    empty = np.empty(0, np.int32)
    none = Boosting(
        own.members,
        own.columns,
        Trees(0, empty, np.empty(0), empty),
        np.empty(0),
        np.zeros(own.members),
        own.baseline,
    )
    leaf = np.array([-1, -1], np.int32)
    two = Boosting(
        2,
        other.columns,
        Trees(2, leaf, np.zeros(2), np.zeros(2, np.int32)),
        np.array([0.25, -0.5]),
        np.array([0.1, 0.2]),
        other.baseline,
    )
    given = zip((first, second), (none, two), strict=True)
    folds = [replace(f, learners={**f.learners, "boosting": made}) for f, made in given]
    assert_same(replace(ensemble, folds=(*folds, *rest)), *some)
