"""A metric of one's own: the cumulative/dynamic AUC at half the horizon."""

import numpy as np

from accomplice.training.metrics.auc_and_concordance_draws import auc_contributions, drawn_auc
from accomplice.training.metrics.score import Score


class AucScore(Score):
    """Of two patients, one with and one without the event by then: how often risk tells which."""

    def whole(self, outcome, model):  # noqa: D102
        return self.contributions(outcome, model).mean(axis=1)

    def contributions(self, outcome, model):  # noqa: D102
        month = outcome.horizon / 2
        return auc_contributions(outcome.event, outcome.time, model.risk, month, outcome.weights)[
            None
        ]

    def draws(self, outcome, models, counts):  # noqa: D102
        month, risks = outcome.horizon / 2, np.stack([each.risk for each in models])
        found = drawn_auc(outcome.event, outcome.time, risks, month, outcome.weights, counts)
        return found[:, None]
