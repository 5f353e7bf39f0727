"""Scaled and coded features of a whole cohort, for models that describe it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from accomplice.data.arrays import Array
from accomplice.data.cohort import Cohort
from accomplice.data.errors import InputError, some
from accomplice.data.preprocessing.preprocessor import Preprocessor
from accomplice.training.estimators.imputation.multiple import impute

#: Standard deviation below which a column is constant.
CONSTANT = 1e-9

#: Designs of the same columns (n, q), one for each imputed data set; one if nothing was missing.
Designs = tuple[Array, ...]


@dataclass(frozen=True)
class Covariates:
    """Features of n patients, with preprocessing fitted on the same patients."""

    preprocessor: Preprocessor
    """The fitted preprocessing."""
    cohort: Cohort
    """The patients."""

    @classmethod
    def of(cls, cohort: Cohort) -> Self:
        """Scale and code the features of a cohort."""
        return cls(Preprocessor.fit(cohort.study, cohort.values, cohort.centre, bins=1), cohort)

    @cached_property
    def z(self) -> Array:
        """(n, p) scaled features, NaN where missing or a category."""
        return self.preprocessor.scale(self.cohort.values, self.cohort.centre)

    def score(self, features: tuple[str, ...]) -> Array:
        """Return the standardised mean (n,) of the features that a patient has, NaN without any.

        A category counts as missing.

        Raises:
            InputError: no patient has a value of any of the features, categories aside.
        """
        names = list(self.preprocessor.study.features)
        z = self.z[:, [names.index(name) for name in features]]
        count = (~np.isnan(z)).sum(axis=1)
        known = count > 0
        if not known.any():
            raise InputError(f"no patient with the marker has a value of {some(features)}")
        mean = np.where(known, np.nansum(z, axis=1) / np.maximum(count, 1), np.nan)
        mean -= mean[known].mean()
        return np.asarray(mean / (mean[known].std() or 1.0))


@dataclass(frozen=True)
class Adjustments:
    """Columns that are adjusted for, without missing values, in each imputed data set."""

    preprocessor: Preprocessor
    """The fitted preprocessing, which describes the columns."""
    place: dict[int, int]
    """Column that is of one feature alone in the linear design -> the same column in ``drawn``."""
    drawn: Array
    """(m, n, c) columns; the last is the score."""
    imputed: tuple[str, ...]
    """Features of which a value was missing."""

    @classmethod
    def of(
        cls,
        covariates: Covariates,
        features: Iterable[str],
        score: Array | None,
        with_it: Array,
        seed: int,
    ) -> Self:
        """Impute the features that are adjusted for, and a score.

        The treatment is in the models of the imputation too.

        Args:
            covariates: features of n patients.
            features: names of the features that are adjusted for.
            score: (n,) score that is adjusted for, NaN where missing; None if there is none.
            with_it: (n, k) further columns of the model, which are not adjusted for, NaN where
                missing.
            seed: seed of the draws.
        """
        cohort, fitted = covariates.cohort, covariates.preprocessor
        wanted = set(fitted.read_for(features))
        feature_of = [column.features[0] for column in fitted.single_columns()]
        listed = [i for i, name in enumerate(feature_of) if name in wanted]
        columns = fitted.singles(cohort.values, cohort.centre)[:, listed]
        missing = np.asarray(np.isnan(columns).any(axis=0))
        if score is None:
            score = np.zeros(len(cohort))
        columns = np.column_stack([columns, score])
        place = {i: k for k, i in enumerate(listed)}
        if not np.isnan(columns).any():
            return cls(fitted, place, columns[None], ())
        time, event = cohort.outcome
        treated = [] if cohort.treated is None else [cohort.treated]
        joint = np.column_stack([columns, with_it, *treated])
        drawn = impute(joint, time, event, seed)[:, :, : columns.shape[1]]
        names = dict.fromkeys(feature_of[listed[k]] for k in np.flatnonzero(missing))
        return cls(fitted, place, drawn, tuple(names))

    def columns(self, features: Iterable[str], *, score: bool = False) -> Designs:
        """Return the linear design made of these features alone, without constants.

        Args:
            features: names, all of them among those that were imputed.
            score: whether the score is a column too.
        """
        wanted = set(self.preprocessor.read_for(features))
        left, right = self.preprocessor.pairs
        own = [k for i, k in self.place.items() if self._feature_of[i] in wanted]
        pairs = [
            (self.place[a], self.place[b])
            for a, b in zip(left.tolist(), right.tolist(), strict=True)
            if {self._feature_of[a], self._feature_of[b]} <= wanted
        ]
        first, second = np.array(pairs, dtype=np.intp).reshape(-1, 2).T
        found = []
        for drawn in self.drawn:
            parts = [drawn[:, own], drawn[:, first] * drawn[:, second]]
            X = np.concatenate([*parts, *([drawn[:, -1:]] if score else [])], axis=1)
            found.append(X[:, X.std(axis=0) > CONSTANT])
        return tuple(found)

    @cached_property
    def _feature_of(self) -> list[str]:
        """Feature of each column that is of one feature alone."""
        return [column.features[0] for column in self.preprocessor.single_columns()]
