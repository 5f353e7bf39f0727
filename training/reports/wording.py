"""Sentences that stand on every page, figure and answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


SYNTHETIC = "SYNTHETIC patients: nothing here says anything about real ones"


RESEARCH_USE = "For research use only; not a medical device."
