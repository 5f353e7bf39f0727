"""Addresses of the pages that matter, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from mlflow import MlflowClient
from mlflow.entities import Experiment

from accomplice.training.tracking.promotion import champion_of
from accomplice.training.tracking.registry import model_name
from accomplice.training.tracking.views import (
    MODELS,
    TAG,
    TRIALS,
    address,
    run_page,
    runs_page,
    trials_page,
    version_page,
)


def links(port: int, token: str = "") -> list[str]:
    """Return lines of text with the addresses of each experiment's main pages.

    MLflow's experiment ``Default`` is left out. Without another, one line says how to log a run.

    Args:
        port: port of ``accomplice ui``.
        token: its secret, which opens the pages in a browser that has not seen it.
    """
    lines = [
        line
        for each in MlflowClient().search_experiments()
        if each.name != "Default"
        for line in (
            each.name,
            *(f"  {name:<10}{address(page, port, token)}" for name, page in _pages(each)),
        )
    ]
    return lines or ["nothing is logged yet: accomplice train STUDY"]


def _pages(experiment: Experiment) -> Iterator[tuple[str, str]]:
    """Yield name and path of each main page: runs, and latest study, trials and champion if any."""
    client, key = MlflowClient(), str(experiment.experiment_id)
    yield "runs", runs_page(key, view=TAG + MODELS in experiment.tags)
    last = client.search_runs([key], "tags.stage = 'study'", max_results=1)
    if last:
        yield "study", run_page(key, last[0].info.run_id)
    if TAG + TRIALS in experiment.tags:
        yield "trials", trials_page(key)
    name = model_name(experiment.name)
    champion = champion_of(client, name)
    if champion is not None:
        yield "champion", version_page(name, str(champion.version))
