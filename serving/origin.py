"""From where in MLflow a served bundle came: the run that made it and its registered version."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

#: File beside a packed bundle, and environment variable of a server's process, that say so: JSON
#: with ``run_id`` and ``version``. The variable wins.
ORIGIN_FILE, ORIGIN_VARIABLE = "origin.json", "ACCOMPLICE_ORIGIN"
#: Longest text taken of either.
LONGEST = 256


def origin(bundle_path: Path, environ: Mapping[str, str] = os.environ) -> dict[str, str | None]:
    """Return MLflow's run and version of the bundle at a path, null where they are not known."""
    text = environ.get(ORIGIN_VARIABLE, "")
    if not text:
        try:
            text = (bundle_path.parent / ORIGIN_FILE).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            text = "{}"
    try:
        raw = json.loads(text)
    except ValueError:
        raw = {}
    given = raw if isinstance(raw, dict) else {}
    known = {name: given.get(name) for name in ("run_id", "version")}
    return {k: str(v)[:LONGEST] if isinstance(v, (str, int)) else None for k, v in known.items()}


def written(run_id: str | None, version: str | None) -> str:
    """Return what :func:`origin` reads; nothing where neither is known."""
    if run_id is None and version is None:
        return ""
    return json.dumps({"run_id": run_id, "version": version})
