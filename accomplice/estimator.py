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
from accomplice.data.errors import InputError, expect, nearest
from accomplice.data.matching.columns import refuse_unfit
from accomplice.data.panels.panel import load_panel
from accomplice.data.rows.identifiers import read_centre
from accomplice.data.study import Study, load_study, parse_study
from accomplice.data.study_parts import Endpoints, SurvivalEndpoint
from accomplice.training.config import Config, known_keys, with_settings
from accomplice.training.metrics.concordance import harrell_c
from accomplice.training.models.survival import SurvivalAnswer

#: Columns of follow-up and event in the frame that joins X and y.
TIME, EVENT = "y.time", "y.event"
#: Beginnings of settings that are no parameters: the seed is ``random_state``, y is one endpoint,
#: and fits are not evaluated.
_EXCLUDED = ("seed", "further_endpoints", "evaluation.")
#: Parameter -> setting, such as ``net__members`` -> ``net.members``.
SETTINGS = {key.replace(".", "__"): key for key in known_keys() if not key.startswith(_EXCLUDED)}
#: Names of all parameters of the estimator.
PARAMETERS = ("study", "random_state", *SETTINGS)
#: Upper bound (exclusive) of the seeds drawn from a random state.
SEEDS = 2**31 - 1


def _with_parameters(init: Callable[..., None]) -> Callable[..., None]:
    """Give a constructor a signature that lists ``PARAMETERS``, which scikit-learn reads."""
    listed = [Parameter(name, Parameter.KEYWORD_ONLY, default=None) for name in PARAMETERS]
    first = Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)
    init.__signature__ = Signature([first, *listed])  # type: ignore[attr-defined]
    return init


class SurvivalEstimator(BaseEstimator):
    """A survival model, fitted as by ``accomplice.train``; at one seed the folds are the same.

    Its parameters are the settings of a run, with two underscores for the dot: ``net__members=4``
    is ``--set net.members=4``; None is the default. Settings of the evaluation are no parameters.
    Values of X may be missing; columns of a frame may hold text.

    Args:
        study: a study or the path of its file, which describes the columns of X; those of its
            treatment and hospital must be among them. If absent, the columns are described as by
            ``accomplice data init``, and columns that reveal the outcome are left out.
        random_state: seed of folds and initial weights; None is seed 0, so that two fits agree;
            from a ``RandomState`` each fit draws a new one.
        **settings: the parameters listed by ``get_params()``.

    Raises:
        TypeError: there is no parameter of that name.

    Attributes:
        study_: description of the columns of X; ``study_.ignored`` names the columns left out.
        model_: the fitted :class:`accomplice.training.models.survival.SurvivalModel`.
        unique_times_: (t,) months, rising: the distinct event times of the training patients.
        n_features_in_: number of columns of X.
        feature_names_in_: (p,) names of the columns of X, if all are text.

    Example:
        >>> from sklearn.model_selection import cross_val_score
        >>> estimator = SurvivalEstimator(net__members=4, random_state=1)
        >>> cross_val_score(estimator, X, y, cv=5)  # doctest: +SKIP
    """

    n_features_in_: int

    @_with_parameters
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
        """Fit the learners on folds, and the weights that combine their predictions.

        Args:
            X: (n, p) a frame, whose columns may hold text, or an array of numbers, whose columns
                get the names x0, x1, …; NaN is missing.
            y: (n,) structured array of two fields, as made by scikit-survival's ``Surv``: whether
                the event was observed (bool), and follow-up in months.

        Returns:
            This estimator.

        Raises:
            InputError: no column can be a feature, a column, y, the study or a setting is invalid,
                a frame has an infinite number, two columns of one name or fewer than 2 rows, or
                there are fewer than 10 events up to the study's horizon.
            ValueError: X is an array that scikit-learn refuses: not (n, p), of text, with an
                infinity or with fewer than 2 rows.
        """
        # Torch, which only fitting needs.
        from accomplice.training.fitting.fit import fit
        from accomplice.training.fitting.prepare import prepare
        from accomplice.training.fitting.survival_model import survival_model

        frame = self._frame(X, reset=True)
        event, time = outcome(y, len(frame))
        if not event.any():
            raise InputError(f"y: no event among {len(event)} patients: all are censored")
        refuse_infinite(frame)
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
        """Return the risk (n,), a log-hazard: higher is worse, 0 is the average training patient.

        Args:
            X: (n, p) as for :meth:`fit`; invalid values count as missing.

        Raises:
            InputError: all values of a column are missing or invalid, and at least 5 are no numbers
                or unknown levels; or a frame has no row or two columns of one name.
            NotFittedError: the estimator is not fitted.
            ValueError: the columns of X are not those of :meth:`fit`, or X is an array that
                scikit-learn refuses.
        """
        return self._answer(X).risk

    def predict_survival_function(self, X: Any, return_array: bool = False) -> NDArray[Any]:
        """Return the survival function of each row.

        Args:
            X: (n, p) as for :meth:`predict`.
            return_array: whether values are returned in place of functions.

        Returns:
            (n,) functions of months, see :class:`accomplice.curves.Curve`; or with
            ``return_array`` their values (n, t) at ``unique_times_``.

        Raises:
            InputError, NotFittedError, ValueError: as for :meth:`predict`.
        """
        return self._curves(X, return_array, survival=True)

    def predict_cumulative_hazard_function(
        self, X: Any, return_array: bool = False
    ) -> NDArray[Any]:
        """Return the cumulative hazard function of each row.

        Args:
            X: (n, p) as for :meth:`predict`.
            return_array: whether values (n, t) at ``unique_times_`` are returned in place of
                functions (n,).

        Raises:
            InputError, NotFittedError, ValueError: as for :meth:`predict`.
        """
        return self._curves(X, return_array, survival=False)

    def score(self, X: Any, y: NDArray[np.void]) -> float:
        """Return Harrell's concordance index of the risk: 0.5 is chance, 1 is perfect ranking.

        See Harrell et al., "Evaluating the yield of medical tests", JAMA 1982.

        Args:
            X: (n, p) as for :meth:`predict`.
            y: (n,) structured array, as for :meth:`fit`.

        Raises:
            InputError: as for :meth:`predict`, or y is invalid.
            NotFittedError: the estimator is not fitted.
            ValueError: as for :meth:`predict`, or no two patients can be compared.
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
        return with_settings(Config(), chosen, prefix="setting")

    def _frame(self, X: Any, *, reset: bool) -> pd.DataFrame:
        """Return X as a frame with named columns, checked as scikit-learn checks inputs.

        Args:
            X: a frame or an array (n, p).
            reset: whether the names of X are stored (in a fit) or compared with the stored ones.

        Raises:
            InputError: a frame has two columns of one name or too few rows.
            ValueError: scikit-learn refuses X.
        """
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
        """Return the names of the columns of X: its own if all are text, else x0, x1, …."""
        numbered = [f"x{j}" for j in range(self.n_features_in_)]
        return list(getattr(self, "feature_names_in_", numbered))

    def _answer(self, X: Any) -> SurvivalAnswer:
        check_is_fitted(self)
        frame = self._frame(X, reset=False)
        coded = code(self.study_, frame)
        flags = Counter(flag for row in Flagger(self.study_)(coded) for flag in row)
        refuse_unfit(self.study_, flags, len(frame))
        return self.model_.answer(coded.values, read_centre(self.study_, frame))

    def _curves(self, X: Any, return_array: bool, *, survival: bool) -> NDArray[Any]:
        answer = self._answer(X)
        times, grid = self.unique_times_, answer.grid
        if return_array:
            cumulative = grid.at(answer.cumulative, times)
            return np.asarray(np.exp(-cumulative) if survival else cumulative)
        curves = np.empty(len(answer.cumulative), dtype=object)
        curves[:] = [Curve(times, grid, row, survival) for row in answer.cumulative]
        return curves


def outcome(y: ArrayLike | None, n: int) -> tuple[Bools, Array]:
    """Return event (n,) and time in months (n,) of a structured outcome.

    Args:
        y: (n,) structured array, as for :meth:`SurvivalEstimator.fit`.
        n: number of rows of X.

    Raises:
        InputError: y is None, has other fields or another length, or a time is missing, infinite
            or not above 0.
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


def refuse_infinite(frame: pd.DataFrame) -> None:
    """Refuse a frame (n, p) that has an infinite number.

    Raises:
        InputError: a column of numbers holds an infinity; the text names the column.
    """
    numbers = frame.infer_objects().select_dtypes("number")
    infinite = np.isinf(numbers.to_numpy(dtype=float, na_value=np.nan)).sum(axis=0)
    for name, count in zip(numbers.columns, infinite, strict=True):
        if count:
            raise InputError(
                f"X: column '{name}': {count} values are infinite: correct or empty them"
            )


def declared_study(study: Study | str | PathLike[str], endpoint: str | None) -> tuple[Study, str]:
    """Return a study with one survival endpoint, read from y, and the endpoint's name.

    Args:
        study: a study, or the path of its file.
        endpoint: name of one of its survival endpoints; its first if absent.

    Raises:
        InputError: the study is of another type, its file describes none, or it has no such
            survival endpoint.
    """
    expect("study", study, (Study, str, PathLike), "a study or the path of its file")
    described = study if isinstance(study, Study) else load_study(Path(study))
    name, declared = described.survival_endpoint(endpoint)
    from_y = SurvivalEndpoint(time=TIME, event=EVENT, horizon=declared.horizon)
    update = {"id": None, "endpoints": Endpoints(survival={name: from_y})}
    return described.model_copy(update=update), name


def inferred_study(frame: pd.DataFrame, event: Bools, time: Array) -> Study:
    """Return a study that describes a frame's columns as ``accomplice data init`` does.

    Args:
        frame: (n, p) possible features.
        event: (n,) whether the event was observed.
        time: (n,) follow-up in months.

    Raises:
        InputError: no column can be a feature; the text says why. Or the columns make no valid
            study.
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
