"""From where in MLflow a served bundle came: the run that made it and its registered version."""

from __future__ import annotations

import json
from pathlib import Path

#: File beside a packed bundle that says so: JSON with ``run_id`` and ``version``.
ORIGIN_FILE = "origin.json"
#: Longest text taken of either.
LONGEST = 256


def origin(bundle_path: Path) -> dict[str, str | None]:
    """Return MLflow's run and version of the bundle at a path, null where they are not known."""
    try:
        raw = json.loads((bundle_path.parent / ORIGIN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raw = {}
    given = raw if isinstance(raw, dict) else {}
    known = {name: given.get(name) for name in ("run_id", "version")}
    return {k: str(v)[:LONGEST] if isinstance(v, (str, int)) else None for k, v in known.items()}


def written(run_id: str | None, version: str | None) -> str:
    """Return what :func:`origin` reads; nothing where neither is known."""
    if run_id is None and version is None:
        return ""
    return json.dumps({"run_id": run_id, "version": version})
