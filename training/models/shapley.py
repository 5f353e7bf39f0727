"""Shapley values: attribution of a patient's risk to the features.

The risk is a log-hazard. Shapley values divide the difference between a patient's risk and that of
a typical patient (:func:`reference`) among the features in which the two differ. The features are
changed one after the other from the typical patient's to the patient's own; a feature's attribution
is the change of the risk by its own step, averaged over orders of the features (Štrumbelj and
Kononenko, "Explaining prediction models and individual predictions with feature contributions",
Knowl Inf Syst 2014; Lundberg and Lee, "A unified approach to interpreting model predictions",
NeurIPS 2017). A modality's attribution is the sum over its features.

Integrated gradients would divide the same difference, but half of the learners are trees, which
have no gradients, and missing values and levels do not lie between two numbers.

Orders are drawn with their reverses (Mitchell et al., "Sampling permutations for Shapley value
estimation", JMLR 2022). With any number of orders the attributions add up to the difference of
risk, a feature that the model does not use gets exactly 0, and the values are exact for a sum of
functions of one or two features: in an order and its reverse each of two features once follows the
other, so their interaction is halved between them. Only interactions of three and more features
depend on the drawn orders. These are fixed by a seed: a patient's attributions are the same each
time, alone or among others.

The treatment is a feature, and the typical patient is untreated. A missing value is a value: its
attribution is the model's difference between the missing and the typical value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.rows.treatment import untreated
from accomplice.data.study import Study
from accomplice.training.models.survival import SurvivalModel
from accomplice.training.progress import Tick, silent

Score = Callable[[Array, NDArray[np.str_] | None], Array]
"""Function from coded features (n, p) and centres (n,) to log-hazards (…, n)."""

#: Default maximum number of orders of a patient's features, each taken with its reverse.
PAIRS = 4
#: Maximum number of steps along all orders of a patient; it may reduce the pairs, but not below
#: one.
STEPS = 1000
#: Seed of the orders.
SEED = 20


@dataclass(frozen=True, eq=False)
class Attribution:
    """Attributions of n patients' risks to the features, in log-hazard."""

    study: Study
    base: Array
    """(n,) risk of the typical patient, whose expression is on the scale of the patient's assay."""
    features: Array
    """(n, p) attribution to each feature; 0 where the patient has the typical value."""

    @property
    def risk(self) -> Array:
        """The patients' risks (n,): the base plus all attributions."""
        return np.asarray(self.base + self.features.sum(axis=1))

    @property
    def modalities(self) -> Array:
        """Attributions (n, m) to the modalities, in the order of the study's blocks."""
        return by_modality(self.study, self.features)

    def columns(self) -> dict[str, Array]:
        """Return arrays (n,) by name: ``risk, base, feature.NAME…, modality.NAME…``."""
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
        model: the model that predicts the risks.
        values: (n, p) coded features, the treatment among them; NaN is missing.
        centre: (n,) hospital; None where no hospital is known.
        pairs: maximum number of orders, each with its reverse; more give less sampling error.
        tick: progress callback.
    """
    typical = reference(model, centre, len(values))
    features, base = np.zeros(values.shape), np.zeros(len(values))
    # Each patient is predicted alone: rounding in a matrix product depends on its size, and a
    # patient's attributions must not depend on the other rows.
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
    """Return the coded features (n, p) of the typical patient that each of n is compared with.

    Numbers are the training mean on the scale on which the model takes them (a geometric mean, a
    median rank), categories the most frequent level, ordinals the level nearest to the mean rank;
    the patient is untreated. Expression is on the scale of each patient's own centre. The values
    are made from the preprocessing of the model's first fold; no patient is copied.

    Args:
        model: the model that predicts the risks.
        centre: (n,) hospital; None where no hospital is known.
        n: number of patients.
    """
    study, preprocessor = model.study, model.preprocessors[0]
    found = np.empty((n, len(study.features)))
    typical = np.tile(preprocessor.typical(), (n, 1))
    found[:, list(study.prognostic_features)] = preprocessor.on_assay(typical, centre)
    if study.treatment is not None:
        found[:, study.treatment_position] = untreated(study)
    return found


def by_modality(study: Study, features: Array) -> Array:
    """Sum attributions (…, p) of features over each modality (…, m) of the study's blocks.

    Args:
        study: study of the p features.
        features: (…, p) attributions to the features.
    """
    return np.stack([features[..., list(b)].sum(axis=-1) for b in study.blocks.values()], axis=-1)


def shapley(
    score: Score,
    values: Array,
    typical: Array,
    centre: NDArray[np.str_] | None,
    pairs: int = PAIRS,
) -> tuple[Array, Array]:
    """Attribute a score of n patients to the features, with one call of the score.

    Args:
        score: function that gives one or several log-hazards of each row of features.
        values: (n, p) coded features, NaN is missing.
        typical: (n, p) coded features of the patient that each is compared with.
        centre: (n,) hospital; None where no hospital is known.
        pairs: maximum number of orders, each with its reverse.

    Returns:
        Attributions (…, n, p), and the score (…, n) of ``typical`` to which they add up; the
        leading dimensions are the score's.
    """
    # NaN differs from every number, but not from NaN.
    differs = (values != typical) & ~(np.isnan(values) & np.isnan(typical))
    orders = [list(_orders(np.flatnonzero(own), pairs)) for own in differs]
    rows, patient_of_rows = [], []
    for i, (own, of_patient) in enumerate(zip(values, orders, strict=True)):
        changed = np.concatenate([_steps(order, len(own)) for order in of_patient])
        # All orders begin at the typical patient and end at the patient's own values.
        changed = np.concatenate([np.zeros((1, len(own)), bool), differs[i : i + 1], changed])
        rows.append(np.where(changed, own, typical[i]))
        patient_of_rows.append(np.full(len(changed), i))
    patient = np.concatenate(patient_of_rows)
    scores = score(np.concatenate(rows), None if centre is None else centre[patient])
    found = np.zeros((*scores.shape[:-1], *values.shape))
    base = np.empty((*scores.shape[:-1], len(values)))
    for i, of_patient in enumerate(orders):
        own = scores[..., patient == i]
        base[..., i] = own[..., 0]
        if not len(of_patient[0]):
            continue
        steps = len(of_patient[0]) - 1
        for k, order in enumerate(of_patient):
            inner = own[..., 2 + k * steps : 2 + (k + 1) * steps]
            along = np.concatenate([own[..., :1], inner, own[..., 1:2]], axis=-1)
            found[..., i, order] += np.diff(along, axis=-1) / len(of_patient)
    return found, base


def _orders(differing: Ints, pairs: int) -> Iterator[Ints]:
    """Yield random orders of the features that differ, each followed by its reverse."""
    rng = np.random.default_rng((SEED, len(differing)))
    # One or two features have no more orders than one pair.
    affordable = max(1, min(pairs, STEPS // max(2 * len(differing), 1)))
    for _ in range(affordable if len(differing) > 2 else 1):
        order = rng.permutation(differing)
        yield order
        yield order[::-1]


def _steps(order: Ints, p: int) -> Bools:
    """Return whether each of p features is changed (d - 1, p) after 1 … d - 1 steps of an order."""
    place = np.full(p, len(order))
    place[order] = np.arange(len(order))
    return np.asarray(place < np.arange(1, len(order))[:, None])
