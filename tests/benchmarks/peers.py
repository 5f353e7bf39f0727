"""The peers: scikit-survival's learners and pycox's network, tuned as a careful analyst would.

A learner is fitted on training rows and returns a function that predicts. All tuning happens on the
training rows. Coxnet, ridge and boosting are tuned by cross-validated partial likelihood, which
has less noise than a concordance and looks at the scale of the risk too.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from accomplice.data.arrays import Array
from tests.benchmarks.cohorts import EVENT, TIME, features

Predict: TypeAlias = Callable[[pd.DataFrame, Array], tuple[Array, Array]]
"""Risk (n,), higher is worse, and survival (n, a) of n rows at the times (a,)."""
Learner: TypeAlias = Callable[[pd.DataFrame], Predict]

FOLDS = 5
#: Above so many columns, trees look at a random part of them at each split.
WIDE = 500
#: Above so many rows, boosting takes larger steps.
MANY = 1000


def absent(name: str) -> str | None:
    """Say which package a peer lacks; None if it has all."""
    wanted = {"pycox": ("sklearn", "pycox")}.get(name, ("sksurv",))
    lacking = [package for package in wanted if not find_spec(package)]
    return f"the package {lacking[0]} is not installed" if lacking else None


def ridge(train: pd.DataFrame) -> Predict:
    """Cox's model with a ridge."""
    from sksurv.linear_model import CoxPHSurvivalAnalysis

    columns = Columns(train)
    X, y = columns.read(train), outcome(train)
    n, p = X.shape
    # With more columns than rows, the rows' principal components give the same model, sooner.
    turn = np.linalg.svd(X, full_matrices=False)[2].T if p > n else np.eye(p)
    X = X @ turn
    alphas = n * max(1, p / n) * np.array([1e-4, 1e-3, 0.01, 0.03, 0.1, 0.3, 1, 3])

    def model(alpha: float) -> Any:
        return CoxPHSurvivalAnalysis(alpha=alpha, ties="efron")

    def linear(rows: NDArray[np.int_]) -> Array:
        scores = np.full((n, len(alphas)), np.nan)
        for j, alpha in enumerate(alphas):
            try:
                scores[:, j] = model(alpha).fit(X[rows], y[rows]).predict(X)
            except (ValueError, np.linalg.LinAlgError):
                continue  # too little penalty for Newton's method: this alpha is not chosen
        return scores

    best = model(alphas[_choose(cross_validated(linear, y))]).fit(X, y)
    return lambda test, times: _answer(best, columns.read(test) @ turn, times)


def coxnet(train: pd.DataFrame) -> Predict:
    """Cox's model with an elastic net."""
    from sksurv.linear_model import CoxnetSurvivalAnalysis

    columns = Columns(train)
    X, y = columns.read(train), outcome(train)

    def path(rows: NDArray[np.int_], l1_ratio: float, alphas: Array | None, **more: Any) -> Any:
        while True:
            try:
                model = CoxnetSurvivalAnalysis(l1_ratio=l1_ratio, alphas=alphas, **more)
                return model.fit(X[rows], y[rows])
            except ArithmeticError:  # the end of the path has too little penalty
                if alphas is None:
                    # scikit-survival's own path without its last part.
                    more["alpha_min_ratio"] = more.get("alpha_min_ratio", 1e-4) * 10
                else:
                    alphas = alphas[: len(alphas) * 3 // 4]

    everyone = np.arange(len(X))
    tried: list[tuple[float, float, Array]] = []
    for l1_ratio in (0.1, 0.5, 0.9):
        alphas = path(everyone, l1_ratio, None).alphas_

        def linear(
            rows: NDArray[np.int_], l1_ratio: float = l1_ratio, alphas: Array = alphas
        ) -> Array:
            scores = X @ path(rows, l1_ratio, alphas).coef_
            # A path ends early where less penalty changes nothing any more.
            rest = len(alphas) - scores.shape[1]
            return np.pad(scores, ((0, 0), (0, rest)), mode="edge")

        likelihood = cross_validated(linear, y)
        best = _choose(likelihood)
        tried.append((float(likelihood[best]), l1_ratio, alphas[: best + 1]))
    _, l1_ratio, alphas = max(tried, key=lambda one: one[0])
    model = path(everyone, l1_ratio, alphas, fit_baseline_model=True)
    return lambda test, times: _answer(model, columns.read(test), times)


def rsf(train: pd.DataFrame) -> Predict:
    """A random survival forest; its leaves' size by the out-of-bag concordance."""
    from sksurv.ensemble import RandomSurvivalForest

    columns = Columns(train)
    X, y = columns.read(train), outcome(train)
    forests = (
        RandomSurvivalForest(
            n_estimators=300,
            min_samples_leaf=leaf,
            max_features="sqrt",
            oob_score=True,
            random_state=0,
            n_jobs=1,
        ).fit(X, y)
        for leaf in (5, 15)
    )
    best = max(forests, key=lambda forest: forest.oob_score_)
    return lambda test, times: _answer(best, columns.read(test), times)


def gbsa(train: pd.DataFrame) -> Predict:
    """Gradient boosted trees under Cox's loss; their depth and number by cross-validation.

    The rate is fixed, since half as many trees at twice the rate do the same; with many rows, where
    a small rate gains nothing, that halves the hours.
    """
    from sksurv.ensemble import GradientBoostingSurvivalAnalysis

    columns = Columns(train)
    X, y = columns.read(train), outcome(train)
    stages, rate = np.array([25, 50, 100, 200, 400]), 0.05
    if len(X) > MANY:
        stages, rate = stages // 2, 2 * rate

    def model(depth: int, trees: int) -> Any:
        return GradientBoostingSurvivalAnalysis(
            learning_rate=rate,
            n_estimators=trees,
            max_depth=depth,
            subsample=0.5,
            min_samples_leaf=5,
            max_features="sqrt" if X.shape[1] > WIDE else None,
            random_state=0,
        )

    tried: list[tuple[float, int, int]] = []
    for depth in (1, 2, 3):
        # Trees fit their own rows too well for the linear models' kind of cross-validation.
        held = np.empty((len(X), len(stages)))
        for rows, out in folds(y):
            fitted = model(depth, stages[-1]).fit(X[rows], y[rows])
            staged = np.array(list(fitted.staged_predict(X[out])))
            held[out] = staged[stages - 1].T
        likelihood = partial_likelihood(held, y)
        best = _choose(likelihood)
        tried.append((float(likelihood[best]), depth, int(stages[best])))
    _, depth, trees = max(tried)
    chosen = model(depth, trees).fit(X, y)
    return lambda test, times: _answer(chosen, columns.read(test), times)


def pycox(train: pd.DataFrame) -> Predict:
    """pycox's LogisticHazard: a small network, the best of several by its validation rows."""
    import torch
    import torchtuples
    from pycox.models import LogisticHazard
    from sklearn.model_selection import train_test_split

    columns = Columns(train)
    X = columns.read(train).astype(np.float32)
    event, time = train[EVENT].to_numpy(), train[TIME].to_numpy()
    bins = int(np.clip(event.sum() // 5, 5, 20))
    cuts = LogisticHazard.label_transform(bins, scheme="quantiles")
    y = cuts.fit_transform(time, event)
    fit, stop = train_test_split(np.arange(len(X)), test_size=0.2, random_state=0, stratify=event)
    held = (X[stop], tuple(part[stop] for part in y))
    batch = min(256, max(16, len(fit) // 8))
    batch += len(fit) % batch == 1  # batch normalisation takes no batch of one row

    tried: list[tuple[float, Any]] = []
    for width, dropout, decay in ((32, 0.1, 0.0), (32, 0.4, 0.01), (128, 0.1, 0.01), (128, 0.5, 0)):
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002 - torchtuples shuffles with it
        net = torchtuples.practical.MLPVanilla(
            X.shape[1], [width, width], cuts.out_features, batch_norm=True, dropout=dropout
        )
        optimizer = torchtuples.optim.AdamW(lr=3e-3, decoupled_weight_decay=decay)
        model = LogisticHazard(net, optimizer, duration_index=cuts.cuts)
        with TemporaryDirectory() as folder:
            stopping = torchtuples.callbacks.EarlyStopping(
                patience=20, file_path=str(Path(folder, "best.pt"))
            )
            model.fit(
                X[fit],
                tuple(part[fit] for part in y),
                batch_size=batch,
                epochs=500,
                callbacks=[stopping],
                verbose=False,
                val_data=held,
            )
        tried.append((model.score_in_batches(*held)["loss"], model))
    best = min(tried, key=lambda one: one[0])[1]

    def predict(test: pd.DataFrame, times: Array) -> tuple[Array, Array]:
        table = best.interpolate(10).predict_surv_df(columns.read(test).astype(np.float32))
        known, curves = table.index.to_numpy(), table.to_numpy().T.astype(np.float64)
        survival = np.array([np.interp(times, known, curve) for curve in curves])
        return -curves.mean(axis=1), np.clip(survival, 0, 1)

    return predict


PEERS: dict[str, Learner] = {
    "ridge": ridge,
    "coxnet": coxnet,
    "rsf": rsf,
    "gbsa": gbsa,
    "pycox": pycox,
}


class Columns:
    """What turns rows into the peers' columns; all of it is learned from the training rows.

    Numbers are imputed by the median, flagged where missing and standardised; categories become
    one column a level, of which missing is one.
    """

    def __init__(self, train: pd.DataFrame) -> None:
        from sklearn.compose import make_column_transformer
        from sklearn.feature_selection import VarianceThreshold
        from sklearn.impute import SimpleImputer
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder, StandardScaler

        frame = features(train)
        self.categories = [
            name
            for name, cells in frame.items()
            if str(name).startswith("fac_") or not pd.api.types.is_numeric_dtype(cells)
        ]
        numbers = [name for name in frame.columns if name not in set(self.categories)]
        levels = OneHotEncoder(drop="if_binary", handle_unknown="ignore", sparse_output=False)
        self.steps = make_pipeline(
            make_column_transformer(
                (
                    make_pipeline(
                        SimpleImputer(strategy="median", add_indicator=True), StandardScaler()
                    ),
                    numbers,
                ),
                (levels, self.categories),
            ),
            VarianceThreshold(),
        )
        with _quietly():
            self.steps.fit(self._texts(frame))

    def read(self, frame: pd.DataFrame) -> Array:
        """Return the columns (n, p) of a frame's rows."""
        with _quietly():
            return np.asarray(self.steps.transform(self._texts(features(frame))), dtype=np.float64)

    def _texts(self, frame: pd.DataFrame) -> pd.DataFrame:
        texts = frame[self.categories].astype(object)
        texts = texts.where(texts.notna(), "missing").astype(str)
        return pd.concat([frame.drop(columns=self.categories), texts], axis=1)


def outcome(frame: pd.DataFrame) -> Any:
    """Return the outcome as scikit-survival takes it."""
    from sksurv.util import Surv

    return Surv.from_arrays(frame[EVENT] == 1, frame[TIME], name_event=EVENT, name_time=TIME)


def folds(y: Any) -> Iterator[tuple[NDArray[np.int_], NDArray[np.int_]]]:
    """Yield the rows to fit on and those held out, as many events in each fold."""
    from sklearn.model_selection import StratifiedKFold

    split = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    yield from split.split(np.zeros(len(y)), y[EVENT])


def cross_validated(linear: Callable[[NDArray[np.int_]], Array], y: Any) -> Array:
    """Return the cross-validated partial log-likelihood (k,) of k settings.

    Args:
        linear: fits on some rows and returns everybody's linear predictor (n, k).
        y: outcome.

    Returns:
        Σ over folds of l(all) − l(fitted on), which scores the held-out rows among everybody
        (Verweij & van Houwelingen 1993); NaN where a setting could not be fitted.
    """
    total: Any = 0.0
    for rows, _ in folds(y):
        scores = linear(rows)
        total += partial_likelihood(scores, y) - partial_likelihood(scores[rows], y[rows])
    return np.asarray(total)


def partial_likelihood(scores: Array, y: Any) -> Array:
    """Return Breslow's partial log-likelihood (k,) of linear predictors (n, k)."""
    order = np.argsort(-y[TIME], kind="stable")
    time, event, scores = y[TIME][order], y[EVENT][order], scores[order]
    with np.errstate(invalid="ignore"):
        at_risk = np.logaddexp.accumulate(scores, axis=0)
    # Those of one time are at risk together.
    last = np.searchsorted(-time, -time, side="right") - 1
    return np.asarray((scores - at_risk[last])[event].sum(axis=0))


def _choose(likelihood: Array) -> int:
    return int(np.argmax(np.where(np.isfinite(likelihood), likelihood, -np.inf)))


def _answer(model: Any, X: Array, times: Array) -> tuple[Array, Array]:
    """Return risk and survival of a scikit-survival model."""
    known = model.unique_times_
    curves = model.predict_survival_function(X, return_array=True)
    step = np.searchsorted(known, times, side="right")
    survival = np.column_stack((np.ones(len(X)), curves))[:, step]
    return np.asarray(model.predict(X)), np.clip(survival, 0, 1)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep scikit-learn from warning of levels that only test rows have."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
