"""Shapley values: attribution of a patient's risk to the features; the parts add up exactly.

The risk is a log-hazard. Shapley values share out the difference between a patient's and that of a
typical patient (:func:`reference`) over the features in which the two differ. A feature gets the
mean, over orders in which the features are changed from the typical patient's to the patient's own,
of the difference by that change (Štrumbelj and Kononenko, "Explaining prediction models and
individual predictions with feature contributions", Knowl Inf Syst 2014; Lundberg and Lee, "A
unified approach to interpreting model predictions", NeurIPS 2017). A modality gets the sum over its
features.

Integrated gradients would share out the same difference, but half of the learners are trees, which
have no gradients, and a missing value or a level is not on the way from one number to another.

Orders are drawn with their reverses (Mitchell et al., "Sampling permutations for Shapley value
estimation", JMLR 2022). However few they are, the parts add up to the risk, a feature that the
model does not look at gets exactly nothing, and the values are exact for a model that is a sum over
single features and pairs of them: within a pair of orders each of two features comes once after
the other, so their interaction is halved between them. Only interactions of three and more features
are left to chance, and the chance is fixed: the same patient is explained the same way again, alone
or among others.

The treatment is a feature, and a typical patient is untreated. A missing value is a value: its part
is the difference of the model between a missing and a typical value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.coding import untreated
from accomplice.data.study import Study
from accomplice.training.models.survival import SurvivalModel
from accomplice.training.progress import Tick, silent

Score = Callable[[Array, NDArray[np.str_] | None], Array]
"""Log-hazards (…, n) for coded features (n, p) and centres (n,)."""

#: Orders of a patient's features, each with its reverse; fewer where they would take more steps
#: than this, but one.
PAIRS, STEPS = 4, 1000
SEED = 20


@dataclass(frozen=True, eq=False)
class Attribution:
    """The parts of n patients' risks, which add up to them."""

    study: Study
    base: Array
    """(n,) risk of a typical patient, on the scale of the patient's assay."""
    features: Array
    """(n, p) each feature's part; 0 where the patient has the typical value."""

    @property
    def risk(self) -> Array:
        """The risk (n,)."""
        return np.asarray(self.base + self.features.sum(axis=1))

    @property
    def modalities(self) -> Array:
        """Part of each modality (n, m) of the study's blocks."""
        return by_modality(self.study, self.features)

    def columns(self) -> dict[str, Array]:
        """Return risk and parts by name: ``risk, base, feature.NAME…, modality.NAME…``."""
        names = self.study.features
        features = {f"feature.{name}": a for name, a in zip(names, self.features.T, strict=True)}
        modalities = zip(self.study.blocks, self.modalities.T, strict=True)
        found = {"risk": self.risk, "base": self.base, **features}
        return found | {f"modality.{name}": a for name, a in modalities}


def attribute(
    model: SurvivalModel,
    values: Array,
    centre: NDArray[np.str_] | None,
    pairs: int = PAIRS,
    tick: Tick = silent,
) -> Attribution:
    """Attribute the risks of n patients to the features.

    Args:
        model: whose risk it is.
        values: (n, p) coded features, the treatment among them; NaN is missing.
        centre: (n,) hospital, if known.
        pairs: of orders; more leave less to chance.
        tick: progress callback.
    """
    typical = reference(model, centre, len(values))
    features, base = np.zeros(values.shape), np.zeros(len(values))
    # A patient is a pass of its own: the order of summation in a matrix product depends on its
    # size, and a patient's attributions must not depend on the other rows.
    for i in range(len(values)):
        tick("patients", i, len(values))
        one = slice(i, i + 1)
        parts, start = shapley(
            model.risk, values[one], typical[one], None if centre is None else centre[one], pairs
        )
        features[one], base[one] = parts, start
    tick("patients", len(values), len(values))
    return Attribution(model.study, base, features)


def reference(model: SurvivalModel, centre: NDArray[np.str_] | None, n: int) -> Array:
    """Return the typical patient (n, p) that n patients are compared with.

    Numbers are the training mean on the scale on which the model takes them (a geometric mean, a
    median rank), levels the most usual, ordinals the nearest to the mean rank; the treatment is
    not given. Expression is what the patient's own centre would have measured. All of it is made
    from what the bundle's preprocessing keeps; no patient is copied.
    """
    study, preprocessor = model.study, model.preprocessors[0]
    found = np.empty((n, len(study.features)))
    typical = np.tile(preprocessor.typical(), (n, 1))
    found[:, list(study.prognostic_features)] = preprocessor.on_assay(typical, centre)
    if study.treatment is not None:
        found[:, study.treatment_position] = untreated(study)
    return found


def by_modality(study: Study, features: Array) -> Array:
    """Sum attributions (…, p) of features over each modality (…, m) of the study's blocks."""
    return np.stack([features[..., list(b)].sum(axis=-1) for b in study.blocks.values()], axis=-1)


def shapley(
    score: Score,
    values: Array,
    typical: Array,
    centre: NDArray[np.str_] | None,
    pairs: int = PAIRS,
) -> tuple[Array, Array]:
    """Attribute a score of n patients to the features, in one pass.

    Args:
        score: one or several log-hazards of rows of features.
        values: (n, p) coded features, NaN is missing.
        typical: (n, p) those of the patient each is compared with.
        centre: (n,) hospital, if known.
        pairs: of orders.

    Returns:
        Attributions (…, n, p), and the score (…, n) of ``typical`` to which they add up; the
        leading dimensions are the score's.
    """
    # NaN differs from every number and not from NaN.
    differs = (values != typical) & ~(np.isnan(values) & np.isnan(typical))
    ways = [list(_ways(np.flatnonzero(own), pairs)) for own in differs]
    rows, owner = [], []
    for i, (own, way) in enumerate(zip(values, ways, strict=True)):
        changed = np.concatenate([_steps(order, len(own)) for order in way])
        # All ways begin at the typical patient and end at the patient's own values.
        changed = np.concatenate([np.zeros((1, len(own)), bool), differs[i : i + 1], changed])
        rows.append(np.where(changed, own, typical[i]))
        owner.append(np.full(len(changed), i))
    of = np.concatenate(owner)
    scores = score(np.concatenate(rows), None if centre is None else centre[of])
    found = np.zeros((*scores.shape[:-1], *values.shape))
    base = np.empty((*scores.shape[:-1], len(values)))
    for i, way in enumerate(ways):
        own = scores[..., of == i]
        base[..., i] = own[..., 0]
        if not len(way[0]):
            continue
        steps = len(way[0]) - 1
        for k, order in enumerate(way):
            inner = own[..., 2 + k * steps : 2 + (k + 1) * steps]
            along = np.concatenate([own[..., :1], inner, own[..., 1:2]], axis=-1)
            found[..., i, order] += np.diff(along, axis=-1) / len(way)
    return found, base


def _ways(differing: Ints, pairs: int) -> Iterator[Ints]:
    """Orders of the features that differ, each followed by its reverse."""
    rng = np.random.default_rng((SEED, len(differing)))
    # One or two features have no more orders than one pair.
    affordable = max(1, min(pairs, STEPS // max(2 * len(differing), 1)))
    for _ in range(affordable if len(differing) > 2 else 1):
        order = rng.permutation(differing)
        yield order
        yield order[::-1]


def _steps(order: Ints, p: int) -> Bools:
    """Which of p features have been changed (d - 1, p) at each step of an order but the ends."""
    place = np.full(p, len(order))
    place[order] = np.arange(len(order))
    return np.asarray(place < np.arange(1, len(order))[:, None])
