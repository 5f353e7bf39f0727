"""Scaled and coded features of a whole cohort, for models that describe it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from accomplice.data.arrays import Array
from accomplice.data.cohort import Cohort
from accomplice.data.errors import InputError, some
from accomplice.data.preprocessing.preprocessor import Preprocessor

#: Standard deviation below which a column is constant.
CONSTANT = 1e-9


@dataclass(frozen=True)
class Covariates:
    """Features of n patients, with preprocessing fitted on the same patients."""

    preprocessor: Preprocessor
    """The fitted preprocessing."""
    z: Array
    """(n, p) scaled features, NaN where missing or a category."""
    X: Array
    """(n, c) linear design; missing values are imputed by the mean and have indicator columns."""

    @classmethod
    def of(cls, cohort: Cohort) -> Covariates:
        """Scale and code the features of a cohort."""
        fitted = Preprocessor.fit(cohort.study, cohort.values, cohort.centre, bins=1)
        return cls(
            fitted,
            fitted.scale(cohort.values, cohort.centre),
            fitted.linear(cohort.values, cohort.centre),
        )

    def columns(self, features: Iterable[str]) -> Array:
        """Return the design's columns (n, q) made of these features alone, without constants."""
        wanted = set(features)
        listed = self.preprocessor.linear_columns()
        X = self.X[:, [i for i, c in enumerate(listed) if set(c.features) <= wanted]]
        return X[:, X.std(axis=0) > CONSTANT]

    def score(self, features: tuple[str, ...]) -> Array:
        """Return a score of several features as columns (n, 0 to 2).

        The first is the standardised mean of the features that the patient has, 0 without any; a
        category counts as missing. The second is the centred indicator that the patient has any.
        Constant columns are left out.

        Raises:
            InputError: no patient has a value of any of the features, categories aside.
        """
        names = list(self.preprocessor.study.features)
        z = self.z[:, [names.index(name) for name in features]]
        count = (~np.isnan(z)).sum(axis=1)
        known = count > 0
        if not known.any():
            raise InputError(f"no patient with the marker has a value of {some(features)}")
        mean = np.nansum(z, axis=1) / np.maximum(count, 1)
        centred = np.where(known, mean - mean[known].mean(), 0.0)
        found = np.stack([centred / (centred[known].std() or 1.0), known - known.mean()], axis=1)
        return found[:, found.std(axis=0) > CONSTANT]
