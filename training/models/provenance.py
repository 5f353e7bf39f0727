"""Provenance of a fit: its identifier, cohort, versions of packages and commit."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from accomplice.data.cohort import Cohort, Patients

#: Options of subprocesses whose output is read.
QUIETLY: Any = {"capture_output": True, "text": True, "check": True}
#: Packages whose versions are recorded.
VERSIONS = ("accomplice", "numpy", "pandas", "torch", "pytorch-lightning")
#: Key of an updated model's provenance: identifier of the fit before all updates.
TRAINED = "trained_fit_id"


def provenance(
    patients: Patients,
    settings: Mapping[str, Any],
    cuts: Sequence[str] = (),
    cumulative: bytes = b"",
) -> dict[str, Any]:
    """Return a fit's identifier, cohort, versions of packages and commit.

    ``fit_id`` is a digest of settings, cohort, versions and commit, which determine the fit: two
    equal runs have the same one, and MLflow's run carries it as a tag. A fit that a deadline cut
    short depends on the clock too, so its digest includes the out-of-fold predictions.

    Args:
        patients: the training patients.
        settings: settings of the fit, as plain data.
        cuts: stages that the deadline cut short.
        cumulative: bytes of the out-of-fold cumulative hazards, used only with ``cuts``.
    """
    made_from: dict[str, Any] = {
        "cohort_fingerprint": patients.fingerprint(),
        **patients.counts,
        "left_out": patients.left_out,
        "synthetic": patients.study.synthetic,
        "git_commit": git_commit(),
        "versions": {name: version(name) for name in VERSIONS},
    }
    decided = json.dumps([made_from, dict(settings)], sort_keys=True).encode()
    if cuts:
        made_from["cut_short"] = list(cuts)
        decided += cumulative
    made_from["endpoint_fingerprints"] = endpoint_fingerprints(patients)
    made_from["notes"] = list(notes_of(patients))
    return {"fit_id": hashlib.sha256(decided).hexdigest()[:16], **made_from}


def trained_fit(made: Mapping[str, Any]) -> str:
    """Return the identifier of the fit to the training patients from a bundle's provenance."""
    return str(made.get(TRAINED, made["fit_id"]))


def notes_of(patients: Patients) -> tuple[str, ...]:
    """Return the patients' notes, those of further endpoints included; each once."""
    further = patients.further.values() if isinstance(patients, Cohort) else ()
    return tuple(dict.fromkeys(note for each in (patients, *further) for note in each.notes))


def endpoint_fingerprints(patients: Patients) -> list[str]:
    """Return the fingerprint of the cohort of each survival endpoint, loaded by itself."""
    if not isinstance(patients, Cohort):
        return []
    alone = replace(patients, further={})
    return [each.fingerprint() for each in (alone, *patients.further.values())]


def git_commit() -> str | None:
    """Return the commit of this source tree; None where git does not track this file, or is absent.

    An installed package inside another repository does not get that repository's commit.
    """
    here = Path(__file__)
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}  # as in a git hook
    git = ["git", "-C", str(here.parent)]
    try:
        subprocess.run([*git, "ls-files", "--error-unmatch", here.name], **QUIETLY, env=env)
        return str(subprocess.run([*git, "rev-parse", "HEAD"], **QUIETLY, env=env).stdout).strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def updates_of(provenance: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the updates after training that changed the model, from a bundle's provenance."""
    return [each for each in provenance.get("updates", ()) if each.get("form") != "nothing"]
