"""Lost runs: end runs whose processes were killed, which would otherwise stay open."""

from __future__ import annotations

from mlflow import MlflowClient

from accomplice.training.processes import has_ended, this_process

#: Prefix of the tags of a run that name the processes that write it.
PROCESS_TAG = "process."


def process_tag() -> dict[str, str]:
    """Return the tag by which a run is known as this process's."""
    name, _, began = this_process().rpartition(".")
    return {PROCESS_TAG + name: began}


def end_lost_runs() -> None:
    """End the runs whose processes were of this machine and have ended, as killed."""
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
