"""Response endpoints: the probability of a positive label, such as response to a drug.

Labels are known for tens of patients, features of many more and with gaps. So all patients are used
where no label is needed (scales, imputation), and only the labelled ones in the likelihood. The
model is a ridge logistic regression on few inputs. Its penalty is chosen by cross-validated
likelihood under a prior: without it, the choice from few labels varies from no model to hardly any
penalty (Van Calster et al., "Regression shrinkage methods for clinical prediction models do not
guarantee improved performance", Stat Methods Med Res 2020). The model is calibrated on held-out
predictions; where the rate of positives differs, the intercept is moved (Janssen et al., "Updating
methods improved the performance of a clinical prediction model", J Clin Epidemiol 2008).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array, Bools, Ints
from accomplice.data.cohort import Patients
from accomplice.data.errors import InputError
from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.data.preprocessing.scaling import zeroed
from accomplice.data.splits import stratified_folds
from accomplice.data.study import Study
from accomplice.training.estimators.imputation.gaussian import Gaussian
from accomplice.training.estimators.logistic import Logistic, expit, fit_logistic, log_likelihood
from accomplice.training.estimators.policy import LABELS_TO_TRAIN

#: Maximum number of folds, both to choose the penalty and calibrate, and to judge; each needs both
#: labels.
FOLDS = 5
#: Prior standard deviations of the log-odds that are tried. The penalty p / spread² gives p
#: independent standardised columns together this standard deviation.
SPREADS = tuple(float(x) for x in np.geomspace(0.15, 3.0, 11))
#: Median of the spread's lognormal prior: an AUROC of about 0.75.
TYPICAL = 1.0
#: Standard deviation of that prior on the log scale, as a factor.
FACTOR = 1.6
#: Standard deviation of the calibration slope's normal prior around 1.
SLOPE_SD = 0.15
#: Maximum number of features that are imputed jointly. If the study has more, its other features do
#: not help to impute the inputs; if the inputs alone are more, gaps are filled with the mean.
JOINT = 60
#: Maximum number of groups of patients whose mean log-odds represent the training cohort.
GROUPS = 41
#: Minimum number of patients of such a group, where there are as many.
GROUP_SIZE = 5
#: Maximum number of cached shifts, one for each local rate.
RATES = 16


class Calibration(NamedTuple):
    """Linear calibration of log-odds around a centre."""

    slope: float
    """Factor of the distance from the centre; below 1 it shrinks differences between patients."""
    level: float
    """Log-odds added to every patient."""
    centre: float
    """Mean of the held-out log-odds that it was fitted to."""

    def apply(self, log_odds: Array) -> Array:
        """Return the calibrated log-odds, of any shape."""
        return self.centre + self.level + self.slope * (log_odds - self.centre)


@dataclass(frozen=True)
class ResponseModel:
    """A fitted model of the probability of a positive label."""

    study: Study
    """Describes the features."""
    features: tuple[str, ...]
    """Features in use: the inputs, and those that help to impute the inputs' gaps."""
    preprocessor: Preprocessor
    """Fitted on ``features`` alone."""
    joint: Gaussian | None
    """Joint distribution that imputes gaps; None: they are filled with the mean."""
    columns: tuple[int, ...]
    """Inputs, as indices of the preprocessor's columns of one feature each."""
    logistic: Logistic
    """Ridge logistic regression on the inputs."""
    calibration: Calibration
    """Calibration of the log-odds by ``logistic``."""
    cohort: Array
    """(g,) log-odds that represent the training cohort: means of groups of patients."""
    labelled: int
    """Number of training patients with a label."""
    positive: int
    """Number of training patients with a positive label."""

    def log_odds(self, values: Array, centre: NDArray[np.str_] | None = None) -> Array:
        """Return the calibrated log-odds (n,) at the training patients' rate of positives.

        The arguments are those of :meth:`probability`.
        """
        single = self.preprocessor.singles(values[:, self._feature_positions], centre)
        inputs = _filled(self.joint, single, self.columns)
        return self.calibration.apply(self.logistic.log_odds(inputs))

    def probability(
        self,
        values: Array,
        centre: NDArray[np.str_] | None = None,
        local_rate: float | None = None,
    ) -> Array:
        """Return the probability (n,) of a positive label.

        Args:
            values: (n, p) coded features of the study, NaN is missing.
            centre: (n,) hospital, whose own expression scale is used where it is known.
            local_rate: rate of positives where the model is used, in (0, 1). The intercept is moved
                so that the mean prediction for the training cohort is this rate. None: it stays.
        """
        log_odds = self.log_odds(values, centre)
        if local_rate is not None:
            log_odds = log_odds + self._shift(local_rate)
        return expit(log_odds)

    def _shift(self, rate: float) -> float:
        """Return :func:`shift_to_rate` of the training cohort, cached."""
        if rate not in self._shifts:
            if len(self._shifts) >= RATES:
                self._shifts.clear()
            self._shifts[rate] = shift_to_rate(self.cohort, rate)
        return self._shifts[rate]

    @cached_property
    def _shifts(self) -> dict[float, float]:
        return {}

    def weights(self) -> dict[str, float]:
        """Return each input's log odds ratio for one unit of its column, by the column's label."""
        labels = [c.label for c in self.preprocessor.single_columns()]
        beta = self.calibration.slope * self.logistic.beta
        return {labels[i]: float(b) for i, b in zip(self.columns, beta, strict=True)}

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Draw synthetic coded features (n, p), NaN for those that the model does not use.

        Args:
            n: number of rows.
            rng: source of the random numbers.
        """
        values = np.full((n, len(self.study.features)), np.nan)
        values[:, self._feature_positions] = self.preprocessor.sample(n, rng)
        return values

    def replay(self, values: Array) -> Array:
        """Return the calibrated log-odds (n, 1) of features (n, p); see ``models.golden_rows``."""
        return self.log_odds(values)[:, None]

    def to_json(self) -> dict[str, Any]:
        """Return the fitted state as plain data; the study is kept beside it."""
        return {
            "features": list(self.features),
            "preprocessor": self.preprocessor.to_json(),
            "joint": None if self.joint is None else self.joint.to_json(),
            "columns": list(self.columns),
            "logistic": self.logistic.to_json(),
            "calibration": self.calibration._asdict(),
            "cohort": self.cohort.tolist(),
            "labelled": self.labelled,
            "positive": self.positive,
        }

    @classmethod
    def from_json(cls, study: Study, raw: dict[str, Any]) -> ResponseModel:
        """Rebuild from :meth:`to_json` and the study it was fitted for."""
        features = tuple(raw["features"])
        return cls(
            study=study,
            features=features,
            preprocessor=Preprocessor.from_json(_narrow(study, features), raw["preprocessor"]),
            joint=None if raw["joint"] is None else Gaussian.from_json(raw["joint"]),
            columns=tuple(raw["columns"]),
            logistic=Logistic.from_json(raw["logistic"]),
            calibration=Calibration(**raw["calibration"]),
            cohort=np.array(raw["cohort"], dtype=float),
            labelled=raw["labelled"],
            positive=raw["positive"],
        )

    @cached_property
    def _feature_positions(self) -> list[int]:
        return _positions(self.study, self.features)


def why_no_model(label: Array) -> str | None:
    """Return the reason if labels (n,) are too few for a model, else None; NaN is no label."""
    positive, negative = int((label == 1).sum()), int((label == 0).sum())
    if min(positive, negative) >= LABELS_TO_TRAIN:
        return None
    return (
        f"{positive} positive and {negative} negative labels are too few to learn from: "
        f"a model needs {LABELS_TO_TRAIN} of each"
    )


def check_labels(patients: Patients) -> None:
    """Refuse patients with too few labels of every binary endpoint.

    Raises:
        InputError: no binary endpoint has enough labels; the text gives the counts of each.
    """
    reasons = {name: why_no_model(label) for name, label in patients.binary.items()}
    if all(reason is not None for reason in reasons.values()):
        listed = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise InputError(f"study '{patients.study.name}' has nothing to train on: {listed}")


def fit_response(
    study: Study,
    values: Array,
    centre: NDArray[np.str_] | None,
    label: Array,
    features: Sequence[str] | None = None,
    seed: int = 0,
) -> ResponseModel:
    """Fit a model of the response to all patients given, labelled or not.

    Args:
        study: study that describes the p features.
        values: (n, p) coded features, NaN is missing.
        centre: (n,) hospital; None where no hospital is known.
        label: (n,) 1, 0, or NaN for unlabelled patients.
        features: names of the inputs; None: all features of the study but the treatment.
        seed: seed of the folds.

    Raises:
        InputError: fewer than five positive or five negative labels; see :func:`why_no_model`.
    """
    if (reason := why_no_model(label)) is not None:
        raise InputError(reason)
    return _fit(study, values, centre, label, features, seed)


def out_of_fold(
    study: Study,
    values: Array,
    centre: NDArray[np.str_] | None,
    label: Array,
    features: Sequence[str] | None = None,
    seed: int = 0,
) -> Array:
    """Predict each labelled patient by a model that was fitted without them.

    Arguments and errors are those of :func:`fit_response`. In each fold all steps are refitted:
    preprocessing, imputation, penalty, coefficients and calibration.

    Returns:
        (n,) probability of a positive label, NaN for unlabelled patients.
    """
    if (reason := why_no_model(label)) is not None:
        raise InputError(reason)
    labelled = np.flatnonzero(~np.isnan(label))
    fold = _folds(label[labelled] == 1, seed)
    found = np.full(len(label), np.nan)
    for k in range(fold.max() + 1):
        out = labelled[fold == k]
        train = np.ones(len(label), dtype=bool)
        train[out] = False
        model = _fit(study, values[train], _take(centre, train), label[train], features, seed)
        found[out] = model.probability(values[out], _take(centre, out))
    return found


def shift_to_rate(log_odds: Array, rate: float) -> float:
    """Return the shift s for which the mean of expit(η + s) over log-odds η (g,) is ``rate``.

    Args:
        log_odds: (g,) log-odds η.
        rate: mean probability to reach, in (0, 1).
    """
    low, high = -60.0 - log_odds.max(), 60.0 - log_odds.min()
    for _ in range(80):
        middle = (low + high) / 2
        if expit(log_odds + middle).mean() < rate:
            low = middle
        else:
            high = middle
    return float(middle)


def _fit(
    study: Study,
    values: Array,
    centre: NDArray[np.str_] | None,
    label: Array,
    features: Sequence[str] | None,
    seed: int,
) -> ResponseModel:
    usable = _inputs(study)
    chosen = frozenset(usable if features is None else features)
    read = usable if len(usable) <= JOINT else tuple(chosen)
    narrow = _narrow(study, read)
    values = values[:, _positions(study, read)]
    preprocessor = Preprocessor.fit(narrow, values, centre)
    single = preprocessor.singles(values, centre)
    joint = Gaussian.fit(single) if len(read) <= JOINT else None
    named = preprocessor.single_columns()
    wanted = set(preprocessor.read_for(chosen))
    columns = tuple(i for i, c in enumerate(named) if c.features[0] in wanted)
    inputs = _filled(joint, single, columns)
    labelled = ~np.isnan(label)
    logistic, calibration = _learn(inputs[labelled], label[labelled] == 1, seed)
    return ResponseModel(
        study=study,
        features=tuple(narrow.features),
        preprocessor=preprocessor,
        joint=joint,
        columns=columns,
        logistic=logistic,
        calibration=calibration,
        cohort=_stand_ins(calibration.apply(logistic.log_odds(inputs))),
        labelled=int(labelled.sum()),
        positive=int((label == 1).sum()),
    )


def _learn(X: Array, positive: Bools, seed: int) -> tuple[Logistic, Calibration]:
    """Choose the penalty, fit, and calibrate on held-out log-odds.

    Args:
        X: (n, p) design of the labelled patients.
        positive: (n,) whether their label is positive.
        seed: seed of the folds.
    """
    fold = _folds(positive, seed)
    penalties = [max(X.shape[1], 1) / spread**2 for spread in SPREADS]
    held_out = np.zeros((len(penalties), len(X)))
    for k in range(fold.max() + 1):
        inside, found = fold != k, None
        for j, penalty in enumerate(penalties):
            found = fit_logistic(X[inside], positive[inside], penalty, found)
            held_out[j, ~inside] = found.log_odds(X[~inside])
    prior = -((np.log(SPREADS) - np.log(TYPICAL)) ** 2) / (2 * np.log(FACTOR) ** 2)
    score = [log_likelihood(positive, log_odds).sum() for log_odds in held_out]
    best = int(np.argmax(np.array(score) + prior))
    return fit_logistic(X, positive, penalties[best]), _calibrate(held_out[best], positive)


def _calibrate(log_odds: Array, positive: Bools) -> Calibration:
    """Fit slope and level to held-out log-odds (n,), the slope under its prior."""
    centre = float(log_odds.mean())
    deviation = (log_odds - centre)[:, None]
    found = fit_logistic(deviation, positive, 1 / SLOPE_SD**2, offset=log_odds)
    return Calibration(1.0 + float(found.beta[0]), found.intercept, centre)


def _stand_ins(log_odds: Array) -> Array:
    """Return the mean log-odds (g,) of groups of patients with similar log-odds (n,)."""
    groups = int(np.clip(len(log_odds) // GROUP_SIZE, 1, GROUPS))
    return np.array([part.mean() for part in np.array_split(np.sort(log_odds), groups)])


def _folds(positive: Bools, seed: int) -> Ints:
    folds = min(FOLDS, int(positive.sum()), int((~positive).sum()))
    return stratified_folds(positive, np.zeros(len(positive)), folds, seed)


def _filled(joint: Gaussian | None, single: Array, columns: tuple[int, ...]) -> Array:
    """Return the given columns (n, p) of ``single`` (n, q), with their gaps filled."""
    wanted = np.array(columns, dtype=int)
    if joint is None:
        return zeroed(single[:, wanted])
    return joint.condition(single, wanted)[0]


def _inputs(study: Study) -> tuple[str, ...]:
    """Return the features that a response may be predicted from: all but the treatment."""
    treatment = None if study.treatment is None else study.treatment.column
    return tuple(name for fs in study.modalities.values() for name in fs if name != treatment)


def _narrow(study: Study, features: Sequence[str]) -> Study:
    """Return the study with the given features alone, and without references to others."""
    wanted = set(features)
    kept = {
        modality: {name: f for name, f in fs.items() if name in wanted}
        for modality, fs in study.modalities.items()
    }
    update: dict[str, Any] = {"treatment": None, "interactions": (), "baselines": {}}
    update["modalities"] = {modality: fs for modality, fs in kept.items() if fs}
    return study.model_copy(update=update)


def _positions(study: Study, features: Sequence[str]) -> list[int]:
    """Return the positions of the given features among the study's, in the study's order."""
    wanted = set(features)
    return [j for j, name in enumerate(study.features) if name in wanted]


def _take(centre: NDArray[np.str_] | None, rows: Bools | Ints) -> NDArray[np.str_] | None:
    return None if centre is None else centre[rows]
