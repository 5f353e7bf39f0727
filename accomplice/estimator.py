"""The model as a scikit-learn estimator, with scikit-survival's structured outcome."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from inspect import Parameter, Signature
from os import PathLike
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from accomplice.curves import Curve
from accomplice.data.arrays import Array, Bools
from accomplice.data.coding import Flagger, code
from accomplice.data.cohort import build_cohort
from accomplice.data.drafting.features import choose, ignored_by_reason
from accomplice.data.errors import InputError, nearest
from accomplice.data.matching.columns import refuse_unfit
from accomplice.data.panels.panel import load_panel
from accomplice.data.study import Study, load_study, parse_study
from accomplice.data.study_parts import Endpoints, SurvivalEndpoint
from accomplice.training.bundle import read_centre
from accomplice.training.config import Config, known_keys, with_settings
from accomplice.training.metrics.concordance import harrell_c
from accomplice.training.models.survival import SurvivalAnswer

#: Columns of the outcome in the joint frame with X.
TIME, EVENT = "y.time", "y.event"
#: Settings without a parameter: the seed is ``random_state``, y is one endpoint, and fits are not
#: evaluated.
_OTHERS = ("seed", "further_endpoints", "evaluation.")
#: Parameter -> setting.
SETTINGS = {key.replace(".", "__"): key for key in known_keys() if not key.startswith(_OTHERS)}
PARAMETERS = ("study", "random_state", *SETTINGS)
#: Upper bound (exclusive) of the seeds drawn from a random state.
SEEDS = 2**31 - 1


def _lists_settings(init: Callable[..., None]) -> Callable[..., None]:
    """Give a constructor the signature that scikit-learn reads its parameters from."""
    listed = [Parameter(name, Parameter.KEYWORD_ONLY, default=None) for name in PARAMETERS]
    own = Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)
    init.__signature__ = Signature([own, *listed])  # type: ignore[attr-defined]
    return init


class SurvivalEstimator(BaseEstimator):
    """A survival model that is fitted as ``accomplice.train`` does it, on the same folds.

    Its parameters are the settings of a run, with two underscores for the dot: ``net__members=4``
    is ``--set net.members=4``, and None is the default. Settings that only judge a run have none.
    Values of X may be missing; columns of text are taken as they are.

    Args:
        study: a study or the path of its file, which says what the columns of X are; the column of
            a treatment or a hospital must then be among them. Without, kinds are inferred as
            ``accomplice data init`` does, and a column that gives the outcome away is left out.
        random_state: seed of folds and initial weights; None is the seed 0, so that two fits agree.
        **settings: see ``get_params()``.

    Attributes:
        study_: the study that X was read by; ``study_.ignored`` says which columns were left out.
        model_: the fitted :class:`accomplice.training.models.survival.SurvivalModel`.
        unique_times_: (t,) distinct times of events in the training patients.
        n_features_in_: columns of X.
        feature_names_in_: (p,) their names, where all are text.

    Example:
        >>> from sklearn.model_selection import cross_val_score
        >>> estimator = SurvivalEstimator(net__members=4, random_state=1)
        >>> cross_val_score(estimator, X, y, cv=5)  # doctest: +SKIP
    """

    n_features_in_: int

    @_lists_settings
    def __init__(
        self,
        *,
        study: Study | str | PathLike[str] | None = None,
        random_state: int | np.random.RandomState | None = None,
        **settings: Any,
    ) -> None:
        self.study = study
        self.random_state = random_state
        for name in settings:
            if name not in SETTINGS:
                raise TypeError(f"unexpected parameter '{name}'{nearest(name, SETTINGS)}")
        for name in SETTINGS:
            setattr(self, name, settings.get(name))

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name, such as ``net__members``.

        Raises:
            InputError: there is no parameter of that name.
        """
        for name, value in params.items():
            if name not in PARAMETERS:
                raise InputError(
                    f"Invalid parameter '{name}' for estimator {type(self).__name__}"
                    f"{nearest(name, PARAMETERS)}"
                )
            setattr(self, name, value)
        return self

    def fit(self, X: Any, y: NDArray[np.void]) -> Self:
        """Fit the learners on folds, and how their predictions are combined.

        Args:
            X: (n, p) a frame, whose columns may hold text, or an array of numbers, whose columns
                are then called x0, x1, …; NaN is missing.
            y: (n,) structured: whether the event was seen (bool), then the time in months, as
                scikit-survival's ``Surv`` makes it.

        Raises:
            InputError: no column can be a feature, a column does not fit the study, or there are
                fewer than 10 events.
        """
        # Torch, which only fitting needs.
        from accomplice.training.fitting.fit import fit
        from accomplice.training.fitting.prepare import prepare
        from accomplice.training.run import survival_model

        frame = self._frame(X, reset=True)
        event, time = outcome(y, len(frame))
        config = self._config()
        if self.study is None:
            study, endpoint = inferred_study(frame, event, time), config.endpoint
        else:
            study, endpoint = declared_study(self.study, config.endpoint)
        cohort = build_cohort(study, frame.assign(**{TIME: time, EVENT: event}), endpoint)
        fitted = fit(prepare(cohort, config), config)
        self.study_ = study
        self.model_ = survival_model(fitted)
        self.unique_times_ = np.unique(cohort.outcome.time[cohort.outcome.event])
        return self

    def predict(self, X: Any) -> Array:
        """Return the risk (n,): higher is worse, 0 is the average training patient.

        Args:
            X: (n, p) as :meth:`fit` takes it; values that do not fit are missing.

        Raises:
            InputError: a column has five cells or more of which none is what its feature takes.
        """
        return self._answer(X).risk

    def predict_survival_function(self, X: Any, return_array: bool = False) -> NDArray[Any]:
        """Return the survival function of each row.

        Args:
            X: (n, p) as :meth:`fit` takes it.
            return_array: whether to return its values instead.

        Returns:
            (n,) functions of time, see :class:`accomplice.curves.Curve`; or their values (n, t) at
            ``unique_times_``.
        """
        return self._curves(X, return_array, survival=True)

    def predict_cumulative_hazard_function(
        self, X: Any, return_array: bool = False
    ) -> NDArray[Any]:
        """Return the cumulative hazard of each row; see :meth:`predict_survival_function`."""
        return self._curves(X, return_array, survival=False)

    def score(self, X: Any, y: NDArray[np.void]) -> float:
        """Return Harrell's concordance index of the risk: 0.5 is chance, 1 is perfect ranking.

        Args:
            X: (n, p) as :meth:`fit` takes it.
            y: (n,) as :meth:`fit` takes it.

        Raises:
            ValueError: no two patients can be compared.
        """
        risk = self.predict(X)
        event, time = outcome(y, len(risk))
        return harrell_c(event, time, risk)

    def __sklearn_tags__(self) -> Any:
        tags: Any = super().__sklearn_tags__()  # type: ignore[no-untyped-call]
        tags.target_tags.required = True
        tags.input_tags.allow_nan = True
        return tags

    def _config(self) -> Config:
        given = {key: getattr(self, name) for name, key in SETTINGS.items()}
        if isinstance(self.random_state, np.random.RandomState):
            given["seed"] = int(check_random_state(self.random_state).randint(SEEDS))
        else:
            given["seed"] = self.random_state
        chosen = {key: value for key, value in given.items() if value is not None}
        return with_settings(Config(), chosen, said="setting")

    def _frame(self, X: Any, *, reset: bool) -> pd.DataFrame:
        """Return X as a frame whose columns have names, all checked as scikit-learn does it."""
        fewest = 2 if reset else 1
        if not isinstance(X, pd.DataFrame):
            checked = {"ensure_all_finite": "allow-nan", "ensure_min_samples": fewest}
            array = validate_data(self, X, reset=reset, **checked)
            return pd.DataFrame(array, columns=self._names())
        if not X.columns.is_unique:
            raise InputError("X: two columns have the same name: rename one")
        validate_data(self, X, reset=reset, skip_check_array=True)
        frame = X.reset_index(drop=True)
        if not hasattr(self, "feature_names_in_"):
            frame.columns = pd.Index(self._names())
        if len(frame) < fewest:
            raise InputError(f"X: {len(frame)} rows: at least {fewest} are needed")
        return frame

    def _names(self) -> list[str]:
        """Return the names that the columns of X have, or are given."""
        numbered = [f"x{j}" for j in range(self.n_features_in_)]
        return list(getattr(self, "feature_names_in_", numbered))

    def _answer(self, X: Any) -> SurvivalAnswer:
        check_is_fitted(self)
        frame = self._frame(X, reset=False)
        coded = code(self.study_, frame)
        flags = Counter(flag for own in Flagger(self.study_)(coded) for flag in own)
        refuse_unfit(self.study_, flags, len(frame))
        return self.model_.answer(coded.values, read_centre(self.study_, frame))

    def _curves(self, X: Any, return_array: bool, *, survival: bool) -> NDArray[Any]:
        answer = self._answer(X)
        times, grid = self.unique_times_, answer.grid
        if return_array:
            found = grid.at(answer.cumulative, times)
            return np.asarray(np.exp(-found) if survival else found)
        curves = np.empty(len(answer.cumulative), dtype=object)
        curves[:] = [Curve(times, grid, own, survival) for own in answer.cumulative]
        return curves


def outcome(y: ArrayLike | None, n: int) -> tuple[Bools, Array]:
    """Return event (n,) and time (n,) of a structured outcome.

    Raises:
        InputError: it is not structured so, or a time is missing or not above 0.
    """
    if y is None:
        raise InputError(
            "SurvivalEstimator requires y to be passed, but the target y is None: give a "
            "structured array of event and time"
        )
    given = np.asarray(y)
    names = given.dtype.names
    if names is None or len(names) != 2 or given.ndim != 1:
        raise InputError(
            "y: a structured array of two fields is expected: whether the event was seen, then the "
            "time"
        )
    event, time = given[names[0]], given[names[1]]
    if event.dtype != bool:
        raise InputError(
            f"y: the first field, '{names[0]}', must be bool: whether the event was seen"
        )
    if time.dtype.kind not in "iuf":
        raise InputError(
            f"y: the second field, '{names[1]}', must hold numbers: the time in months"
        )
    if len(given) != n:
        raise InputError(f"y: {len(given)} outcomes of {n} rows of X")
    time = time.astype(np.float64)
    usable = np.isfinite(time) & (time > 0)
    if not usable.all():
        count = int((~usable).sum())
        raise InputError(f"y: {count} of {n} times are not numbers above 0: leave those rows out")
    return event, time


def declared_study(study: Study | str | PathLike[str], endpoint: str | None) -> tuple[Study, str]:
    """Return a study whose one endpoint is read from y, and the endpoint's name.

    Raises:
        InputError: the file is no study, or has no such survival endpoint.
    """
    described = study if isinstance(study, Study) else load_study(Path(study))
    name, own = described.survival_endpoint(endpoint)
    ours = SurvivalEndpoint(time=TIME, event=EVENT, horizon=own.horizon)
    update = {"id": None, "endpoints": Endpoints(survival={name: ours})}
    return described.model_copy(update=update), name


def inferred_study(frame: pd.DataFrame, event: Bools, time: Array) -> Study:
    """Describe the columns of a frame (n, p) as ``accomplice data init`` does.

    Args:
        frame: the features.
        event: (n,) whether the event was seen.
        time: (n,) follow-up in months.

    Raises:
        InputError: no column can be a feature; the text says why.
    """
    outcomes = {TIME: time, EVENT: event.astype(np.float64)}
    chosen = choose(frame, time, event, None, outcomes, {}, load_panel())
    if not chosen.found:
        raise InputError(
            f"X: no column can be a feature: {'; '.join(ignored_by_reason(chosen.ignored))}"
        )
    described = {
        "name": "frame",
        "source": {"files": ["frame"]},
        "endpoints": {"survival": {"survival": {"time": TIME, "event": EVENT}}},
        "modalities": chosen.describe(),
        "ignored": chosen.ignored,
    }
    return parse_study(described, "X")
