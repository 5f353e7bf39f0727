"""Exponential regression as a learner: a constant hazard given the design, under a ridge."""

from dataclasses import dataclass

import numpy as np

from accomplice.training.estimators.hazard import hazard_ratio
from accomplice.training.estimators.newton import climb
from accomplice.training.learners.learner import Learner


@dataclass(frozen=True)
class Exponential(Learner):
    """Hazard a month ``exp(b0 + X @ b)``; ``edges`` are those of the fold's grid."""

    beta: np.ndarray
    edges: np.ndarray

    @classmethod
    def fit(cls, data, config, budget):  # noqa: D102, ARG003
        design = np.column_stack([np.ones(len(data.X)), data.X])
        ridge = np.append(0.0, np.full(data.X.shape[1], 0.1 * data.event.sum()))
        start = np.append(np.log(data.event.sum() / data.time.sum()), np.zeros(data.X.shape[1]))

        def value(beta):
            expected = data.time @ hazard_ratio(design @ beta)
            return float(data.event @ design @ beta - expected - ridge @ beta**2 / 2)

        def step(beta):
            expected = data.time * hazard_ratio(design @ beta)
            information = design.T @ (design * expected[:, None]) + np.diag(ridge)
            return np.linalg.solve(information, design.T @ (data.event - expected) - ridge * beta)

        return cls(climb(value, step, start), data.grid.edges)

    def cumulative(self, X):  # noqa: D102
        return hazard_ratio(self.beta[0] + X @ self.beta[1:])[:, None] * self.edges

    def to_json(self):  # noqa: D102
        return {"beta": self.beta.tolist(), "edges": self.edges.tolist()}

    @classmethod
    def from_json(cls, raw, arrays):  # noqa: D102, ARG003
        return cls(np.array(raw["beta"]), np.array(raw["edges"]))
