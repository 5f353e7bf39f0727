"""Predictions of a bundle's models, from which tables and JSON are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from accomplice.data.arrays import Array
from accomplice.data.study_parts import RESPONSE
from accomplice.training.models.survival import Column, SurvivalAnswer


@dataclass(frozen=True)
class Answer:
    """Predictions for n patients, by endpoint, from which tables and JSON are made."""

    survival: Mapping[str, SurvivalAnswer]
    """Survival endpoint -> its predictions; the primary endpoint is the first."""
    responses: Mapping[str, Array]
    """Binary endpoint -> probability (n,) of a positive label; NaN where there is no model."""

    def columns(self, times: Sequence[float]) -> dict[str, Column]:
        """Return columns (n,) of ``Bundle.predict`` by name, survival at ``times`` in months.

        The primary endpoint's columns have no prefix. Those of a further survival endpoint begin
        with its name, and leave out times beyond its own horizon.
        """
        found: dict[str, Column] = {}
        for place, (name, answer) in enumerate(self.survival.items()):
            if place == 0:
                found |= answer.columns(times)
            else:
                within = [time for time in times if time <= answer.grid.horizon]
                found |= answer.columns(within, f"{name}.")
        found |= {f"{RESPONSE}.{name}": chance for name, chance in self.responses.items()}
        for place, (name, answer) in enumerate(self.survival.items()):
            found |= answer.summaries(f"{name}." if place else "")
        return found
