"""Lost runs: those whose processes were killed, which MLflow would list as running."""

from __future__ import annotations

from mlflow import MlflowClient

from accomplice.training.processes import has_ended, this_process

#: Prefix of a run's tags that name the processes writing it.
PROCESS_TAG = "process."


def process_tag() -> dict[str, str]:
    """Return the tag that marks a run as written by this process."""
    name, _, began = this_process().rpartition(".")
    return {PROCESS_TAG + name: began}


def end_lost_runs() -> None:
    """Mark as killed the running runs whose processes, on this machine, have all ended."""
    client = MlflowClient()
    experiments = [each.experiment_id for each in client.search_experiments()]
    for run in client.search_runs(experiments, "attributes.status = 'RUNNING'"):
        processes = [
            f"{key.removeprefix(PROCESS_TAG)}.{value}"
            for key, value in run.data.tags.items()
            if key.startswith(PROCESS_TAG)
        ]
        if processes and all(map(has_ended, processes)):
            client.set_terminated(run.info.run_id, "KILLED")
