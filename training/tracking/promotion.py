"""Move the alias ``champion`` in the registry; record when, in place of which version, and why."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from accomplice.data.errors import InputError
from accomplice.training.tracking.gate import Decision
from accomplice.training.tracking.store import Store

CHAMPION = "champion"
#: Tags of a promoted version.
PROMOTED_AT, REPLACED = "promoted_at", "replaced_version"
FORCED, FAILED = "forced_because", "forced_over"
#: Tag of a version that names its bundle's content.
DIGEST = "bundle_digest"
#: Maximum of characters of a version's description in every database.
LONGEST = 5000


def champion_of(client: MlflowClient, name: str) -> ModelVersion | None:
    """Return the version of a registered model that is champion."""
    try:
        return client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException:
        return None


def version_of(client: MlflowClient, name: str, digest: str, model: str) -> str | None:
    """Return the version of a registered model that holds a bundle, by its digest.

    Where several hold the same one it is the champion among them, or else the one that ``model``
    names, or else the newest.
    """
    versions = client.search_model_versions(f"name='{name}'")
    same = [str(each.version) for each in versions if _digest(client, each) == digest]
    champion = champion_of(client, name)
    preferred = "" if champion is None else str(champion.version)
    for version in (preferred, model.removeprefix(f"models:/{name}/")):
        if version in same:
            return version
    return max(same, key=int, default=None)


def _digest(client: MlflowClient, version: ModelVersion) -> str | None:
    if DIGEST in version.tags or not version.run_id:
        return version.tags.get(DIGEST)
    # Without the tag, that of its run.
    with contextlib.suppress(MlflowException):
        return client.get_run(version.run_id).data.tags.get(DIGEST)
    return None


def promote(
    store: Store,
    name: str,
    version: str,
    over: str | None,
    decision: Decision,
    reason: str | None = None,
) -> None:
    """Make a version champion and record it.

    Args:
        store: that is open.
        name: of the registered model.
        version: that becomes champion.
        over: version that it was judged against; None where there was no champion.
        decision: of the gate.
        reason: why it is promoted although the gate refuses.

    Raises:
        InputError: another version became champion since.
    """
    client = MlflowClient()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with _alone(store):
        champion = champion_of(client, name)
        current = None if champion is None else str(champion.version)
        if current != over:
            now = "no version" if current is None else f"version {current}"
            raise InputError(
                f"{name}: {now} is champion now, and was not when the models were compared: run "
                "the same command again"
            )
        client.set_registered_model_alias(name, CHAMPION, version)
        tags = {PROMOTED_AT: now, REPLACED: over or "none"}
        if not decision.passed:
            tags |= {FORCED: reason or "", FAILED: ", ".join(r.name for r in decision.failed)}
        for key, value in tags.items():
            client.set_model_version_tag(name, version, key, value)
        made = client.get_model_version(name, version)
        for key in (FORCED, FAILED):
            # Of an earlier promotion of this version.
            if key in made.tags and key not in tags:
                client.delete_model_version_tag(name, version, key)
    if not decision.passed:
        words = "; ".join(f"{rule.asks} ({rule.why})" for rule in decision.failed)
        text = f"**Promoted by force** on {now}: {reason}\n\nRules that did not hold: {words}.\n\n"
        client.update_model_version(name, version, (text + (made.description or ""))[:LONGEST])


@contextmanager
def _alone(store: Store) -> Iterator[None]:
    """Lock the store, so that promotions are one after the other; a server orders its own."""
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        yield
        return
    folder = os.open(store.root, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
