"""The fitted model of one survival endpoint: risk, curves, and the treatment's effect.

The learners do not use the treatment; its effect is fitted separately, and each model has both.
Horizon, effect and reasons to abstain are those of the endpoint.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accomplice.data.arrays import Array
from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.data.preprocessing.training_range import TrainingRange
from accomplice.data.rows.treatment import eligible, treated
from accomplice.data.study import Study
from accomplice.training.estimators.hazard import TimeGrid, log_risk, restricted_mean, survival
from accomplice.training.learners.network.inference import Networks
from accomplice.training.learners.registry import LEARNERS, registered
from accomplice.training.learners.stack import Stack
from accomplice.training.models.baselines import Baseline
from accomplice.training.models.ensemble import Ensemble
from accomplice.training.models.fold_model import FoldModel
from accomplice.training.models.risk_centiles import centile, group
from accomplice.training.models.survival_interval import LEAST, LogHazards, SurvivalInterval, ends
from accomplice.training.treatment.benefit import (
    Benefit,
    Prognosis,
    abstain,
    advise,
    arms,
    benefit_horizon,
    benefit_of,
    under,
)
from accomplice.training.treatment.effect import Effect, PatientEffect

Column = Array | NDArray[np.str_]

#: Names of a survival and of a restricted mean survival time, each with the ends of its interval.
CURVE = ("survival", "survival_low", "survival_high")
RMST = ("rmst", "rmst_low", "rmst_high")


@dataclass(frozen=True)
class SurvivalAnswer:
    """A model's predictions of n patients, from which survival at any month can be read."""

    grid: TimeGrid
    cumulative: Array
    """(n, j + 1) cumulative hazard under the treatment that the patient has; that of similar
    patients, treated or not, if the treatment is unknown or the model has no effect."""
    risk: Array
    """(n,) higher is worse; 0 is the average training patient."""
    benefit: Benefit | None
    """Benefit of the treatment; None if the study has no treatment."""
    advice: NDArray[np.str_] | None
    """(n,) advice by the benefit, or the reason why the model abstains; None as ``benefit``."""
    benefit_horizon: float
    """Months at which the benefit is given, and to which the restricted mean survival time is."""
    risk_reference: Array
    """Quantiles of the training patients' risks, out of fold."""
    ends: Array | None
    """Cumulative hazards (2, n, j + 1) at the ends of the patients' 80 % intervals, the lower one
    first; None if the model has no interval."""

    def curve(self, times: Sequence[float]) -> Array:
        """Return survival at months (t,), and the low and high end of its 80 % interval (n, t, 3).

        Without an interval it is survival alone (n, t, 1).

        See ``models.survival_interval``.
        """
        curves = self.cumulative[:, None]
        if self.ends is not None:
            low, high = self.ends
            curves = np.stack([self.cumulative, high, low], axis=1)
        found = survival(self.grid.at(curves, np.array(times, dtype=float)))
        return found.transpose(0, 2, 1)

    def survival(self, times: Sequence[float]) -> Array:
        """Return survival (n, t) at months (t,)."""
        return survival(self.grid.at(self.cumulative, np.array(times, dtype=float)))

    def columns(self, times: Sequence[float], prefix: str = "") -> dict[str, Column]:
        """Return risk, survival, benefit and advice by the names of ``predict``'s columns.

        Each name has the prefix. Benefit and advice are left out if the study has no treatment.

        Args:
            times: (t,) months of survival.
            prefix: beginning of each name.
        """
        found: dict[str, Column] = {"risk": self.risk}
        curve = self.curve(times)
        for j, time in enumerate(times):
            for name, column in zip(CURVE, curve[:, j].T, strict=False):
                found[f"{name}@{as_months(time)}"] = column
        if self.benefit is not None and self.advice is not None:
            names = ("benefit", "benefit_low", "benefit_high", "rmst_gain")
            at = f"{self.benefit_horizon:g}"
            found |= {f"{name}@{at}": self.benefit[i] for i, name in enumerate(names)}
            found |= {"p_benefit": self.benefit.p_benefit, "advice": self.advice}
        return {prefix + name: column for name, column in found.items()}

    def summaries(self, prefix: str = "") -> dict[str, Column]:
        """Return name -> summary (n,) of each patient's prediction, each name with a prefix.

        They are the restricted mean survival time in months, with the ends of its 80 % interval if
        the model has one, and the group and the centile of the risk among the training patients.
        """
        centiles = centile(self.risk, self.risk_reference)
        curves = self.cumulative[None]
        if self.ends is not None:
            curves = np.concatenate([curves, self.ends[::-1]])
        months = restricted_mean(self.grid, curves, self.benefit_horizon)
        return {
            **{
                f"{prefix}{name}@{self.benefit_horizon:g}": column
                for name, column in zip(RMST, months, strict=False)
            },
            f"{prefix}risk_group": group(centiles),
            f"{prefix}risk_centile": centiles,
        }


@dataclass(frozen=True)
class SurvivalModel:
    """A fitted model of one survival endpoint."""

    study: Study
    """Describes the features, the treatment among them."""
    endpoint: str
    ensemble: Ensemble
    """Learners that do not use the treatment."""
    effect: Effect | None
    """The treatment's effect; None if none was estimated."""
    no_effect: str
    """The reason why no effect was estimated; empty if one was."""
    distrust: str
    """The reason why no advice can rest on the effect; empty if there is none."""
    risk_centre: float
    """Mean of the training patients' :func:`hazard.log_risk`, which is subtracted from the risk."""
    risk_reference: Array
    """Quantiles of the training patients' risks, out of fold; see ``models.risk_centiles``."""
    baselines: tuple[Baseline, ...] = ()
    """The simple models that the run was compared with, fitted on the same folds."""
    followed: float = math.inf
    """Months to which training patients were followed, rounded up; infinite in older bundles, which
    do not record it."""
    interval: SurvivalInterval | None = None
    """Interval of a patient's survival; None where ``survival_interval`` was off, and in older
    bundles."""

    @property
    def horizon(self) -> float:
        """Months up to which the model answers."""
        return self.ensemble.grid.horizon

    @property
    def benefit_horizon(self) -> float:
        """Months at which the treatment's benefit is given."""
        return benefit_horizon(self.study, self.endpoint, self.horizon)

    @property
    def preprocessors(self) -> tuple[Preprocessor, ...]:
        """Preprocessor of each fold model."""
        return tuple(fold.preprocessor for fold in self.ensemble.folds)

    @cached_property
    def _range(self) -> TrainingRange:
        return TrainingRange.of(self.study, self.preprocessors)

    def answer(self, values: Array, centre: NDArray[np.str_] | None) -> SurvivalAnswer:
        """Predict from coded features (n, p), the treatment among them, and centres (n,).

        Args:
            values: NaN is missing.
            centre: empty text where unknown; None where no centre is known.
        """
        grid, treatment = self.ensemble.grid, self.study.treatment
        read = None if self.interval is None else self.interval.terms.of
        forward = self.ensemble.forward(self.blind(values), centre, read)
        blind = self.ensemble.pooled(forward)
        cumulative, found, advice = blind, None, None
        if treatment is not None and self.effect is None:
            found, advice = abstain(len(values), self.no_effect)
        own, status = self.effect_of(values, centre)
        log_hz = None
        if self.interval is not None and forward.terms is not None:
            log_hz = self.interval.log_hazards(blind, forward.terms)
        if treatment is not None and own is not None and status is not None:
            both = arms(blind, own)
            cumulative = both.of(status, blind)
            found = benefit_of(
                both, self._prognosis(blind, log_hz), grid, self.benefit_horizon, own
            )
            option = eligible(self.study, values)
            _, whole = self._range.outside(values, centre)
            outside = np.asarray(whole.any(axis=1))
            advice = advise(found, own, option, treatment, self.distrust, outside)
        risk = log_risk(cumulative) - self.risk_centre
        ends = None if log_hz is None else self._ends(log_hz, own, status)
        if ends is not None:
            ends = np.stack([np.minimum(ends[0], cumulative), np.maximum(ends[1], cumulative)])
        return SurvivalAnswer(
            grid,
            cumulative,
            risk,
            found,
            advice,
            self.benefit_horizon,
            self.risk_reference,
            ends,
        )

    def _ends(self, log_hz: LogHazards, own: PatientEffect | None, status: Array | None) -> Array:
        """Return the cumulative hazards (2, n, j + 1) at the ends of the patients' intervals.

        The treatment's posterior adds its own variance: a treatment t shifts the log cumulative
        hazard by (t − e) log HR, with e the propensity.
        """
        if own is not None and status is not None:
            centre = np.zeros((len(log_hz.centre), log_hz.centre.shape[1] + 1))
            np.exp(log_hz.centre, out=centre[:, 1:])
            moved = np.log(np.maximum(under(centre, own, status)[:, 1:], LEAST))
            part = np.nan_to_num(status - own.propensity)
            log_hz = LogHazards(moved, log_hz.variance + ((part * own.sd) ** 2)[:, None])
        return ends(log_hz)

    def _prognosis(self, blind: Array, log_hz: LogHazards | None) -> Prognosis:
        """Return the blind cumulative hazards (n,) at the benefit's horizon, and their uncertainty.

        Args:
            blind: (n, j + 1) cumulative hazards that the ensemble predicts.
            log_hz: centre and variance of their logarithm; None if the model has no interval.
        """
        grid, horizon = self.ensemble.grid, self.benefit_horizon
        if log_hz is None:
            return Prognosis(grid.at(blind, np.array([horizon]))[:, 0], np.zeros(len(blind)))
        return Prognosis(*log_hz.at(grid, horizon))

    def risk(self, values: Array, centre: NDArray[np.str_] | None) -> Array:
        """Return the risk (n,) alone, as :meth:`answer` gives it.

        Args:
            values: (n, p) coded features, the treatment among them; NaN is missing.
            centre: (n,) hospital, empty text where unknown; None where no hospital is known.
        """
        cumulative = self.ensemble.cumulative(self.blind(values), centre)
        own, status = self.effect_of(values, centre)
        if own is not None and status is not None:
            cumulative = under(cumulative, own, status)
        return log_risk(cumulative) - self.risk_centre

    def effect_of(
        self, values: Array, centre: NDArray[np.str_] | None
    ) -> tuple[PatientEffect | None, Array | None]:
        """Return the effect on n patients and the treatment (n,) they have, NaN where unknown.

        Both are None if the study has no treatment or the model no effect.

        Args:
            values: (n, p) coded features, the treatment among them; NaN is missing.
            centre: (n,) hospital, empty text where unknown; None where no hospital is known.
        """
        status = treated(self.study, values)
        if self.effect is None or status is None:
            return None, None
        return self.effect.of(self.blind(values), centre), status

    def blind(self, values: Array) -> Array:
        """Return coded features (n, p) without the treatment."""
        return values.take(self.study.prognostic_features, axis=1)

    def baseline_curves(
        self, values: Array, centre: NDArray[np.str_] | None = None
    ) -> dict[str, Array]:
        """Return each baseline's cumulative hazards (n, j + 1) at the ensemble's edges, by name.

        Args:
            values: (n, p) coded features without the treatment.
            centre: (n,) hospital; None where no hospital is known.
        """
        return {b.name: b.cumulative(self.ensemble, values, centre) for b in self.baselines}

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Draw synthetic coded features (n, p) without the treatment."""
        return self.ensemble.folds[0].preprocessor.sample(n, rng)

    def replay(self, values: Array) -> Array:
        """Return predictions side by side (n, q) from features (n, p) without the treatment.

        They are the cumulative hazard, then centre and variance of the interval's log-hazards, if
        the model has an interval, then the effect's parts, if it has an effect.
        """
        read = None if self.interval is None else self.interval.terms.of
        forward = self.ensemble.forward(values, read=read)
        parts = [self.ensemble.pooled(forward)]
        if self.interval is not None and forward.terms is not None:
            parts += self.interval.log_hazards(parts[0], forward.terms)
        if self.effect is not None:
            parts.append(np.stack(self.effect.of(values), axis=1))
        return np.concatenate(parts, axis=1)

    def to_json(self) -> dict[str, Any]:
        """Return the state except preprocessing and arrays, as plain data."""
        ensemble = self.ensemble
        return {
            "risk_centre": self.risk_centre,
            **({} if math.isinf(self.followed) else {"followed": self.followed}),
            "risk_reference": self.risk_reference.tolist(),
            "grid": ensemble.grid.edges.tolist(),
            "stack": ensemble.stack.to_json(),
            "net": ensemble.net.shape.to_json(),
            "effect": None if self.effect is None else self.effect.to_json(),
            "no_effect": self.no_effect,
            "distrust": self.distrust,
            "baselines": [baseline.to_json() for baseline in self.baselines],
            "folds": [
                {"grid": fold.grid.edges.tolist()}
                | {name: learner.to_json() for name, learner in fold.learners.items()}
                for fold in ensemble.folds
            ],
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of the network, the other learners and the interval, by name."""
        weights = self.ensemble.net.weights
        found: dict[str, NDArray[Any]] = {f"net/{name}": w for name, w in weights.items()}
        for k, fold in enumerate(self.ensemble.folds):
            for name, learner in fold.learners.items():
                found |= {f"{name}/{k}/{a}": v for a, v in learner.arrays().items()}
        if self.interval is not None:
            found |= {f"interval/{name}": each for name, each in self.interval.arrays().items()}
        return found

    @classmethod
    def from_json(
        cls,
        study: Study,
        endpoint: str,
        raw: Mapping[str, Any],
        preprocessing: Sequence[dict[str, Any]],
        arrays: Mapping[str, NDArray[Any]],
    ) -> SurvivalModel:
        """Rebuild from :meth:`to_json`, the preprocessors' own, and :meth:`arrays`.

        Raises:
            InputError: a learner is not registered here.
        """
        blind = study.prognostic()
        net = Networks.read(raw["net"], below("net/", arrays))
        folds = tuple(
            FoldModel(
                Preprocessor.from_json(blind, prepared),
                TimeGrid(np.array(fold["grid"])),
                {
                    name: LEARNERS[name].from_json(fold[name], below(f"{name}/{k}/", arrays))
                    for name in registered(fold.keys() - {"grid"})
                },
            )
            for k, (fold, prepared) in enumerate(zip(raw["folds"], preprocessing, strict=True))
        )
        grid, interval = TimeGrid(np.array(raw["grid"])), below("interval/", arrays)
        return cls(
            study=study,
            endpoint=endpoint,
            ensemble=Ensemble(folds, net, grid, Stack.from_json(raw["stack"])),
            effect=None if raw["effect"] is None else Effect.from_json(blind, raw["effect"]),
            no_effect=raw["no_effect"],
            distrust=raw["distrust"],
            risk_centre=float(raw["risk_centre"]),
            risk_reference=np.array(raw["risk_reference"]),
            baselines=tuple(Baseline.from_json(each) for each in raw["baselines"]),
            followed=float(raw.get("followed", math.inf)),
            interval=SurvivalInterval.from_arrays(interval) if interval else None,
        )


def as_months(time: float) -> str:
    """Return months as text, as in ``survival@12``; different months have different texts."""
    short = f"{time:g}"
    return short if float(short) == time else repr(float(time))


def below(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the arrays whose names begin with a prefix, without it.

    Args:
        prefix: beginning of the names.
        arrays: arrays by name.
    """
    return {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}
