"""MLflow's run and registered version of a packed bundle, in a file next to the bundle's folder."""

from __future__ import annotations

import json
from pathlib import Path

#: Name of the file: JSON with ``run_id`` and ``version``.
ORIGIN_FILE = "origin.json"
#: Maximum number of characters read of the run, and of the version.
LONGEST = 256


def read_origin(bundle_path: Path) -> dict[str, str | None]:
    """Return ``run_id`` and ``version`` of a packed bundle, each None if unknown.

    Args:
        bundle_path: the bundle's folder, in whose parent folder the file is.
    """
    try:
        raw = json.loads((bundle_path.parent / ORIGIN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raw = {}
    given = raw if isinstance(raw, dict) else {}
    known = {name: given.get(name) for name in ("run_id", "version")}
    return {k: str(v)[:LONGEST] if isinstance(v, (str, int)) else None for k, v in known.items()}


def origin_json(run_id: str | None, version: str | None) -> str:
    """Return the file's text for a run and a version; empty if both are None.

    Args:
        run_id: run that made the bundle; None if unknown.
        version: version in the registry; None if unknown.
    """
    if run_id is None and version is None:
        return ""
    return json.dumps({"run_id": run_id, "version": version})
