"""Promotion: the alias ``champion`` in the registry, with tags that record each move."""

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

#: Alias of the version in use.
CHAMPION = "champion"
#: Tag of a promoted version: the time of its promotion.
PROMOTED_AT = "promoted_at"
#: Tag of a promoted version: the version that it replaced.
REPLACED = "replaced_version"
#: Tag of a version promoted by force: the reason.
FORCED = "forced_because"
#: Tag of a version promoted by force: the names of the rules that failed.
FAILED = "forced_over"
#: Tag of a version: the SHA-256 that names its bundle's content.
DIGEST = "bundle_digest"
#: Maximum length of a version's description, in characters, that every database takes.
LONGEST = 5000


def champion_of(client: MlflowClient, name: str) -> ModelVersion | None:
    """Return the version of a registered model that is champion.

    None if there is none, or if the registry cannot be read.
    """
    try:
        return client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException:
        return None


def version_of(client: MlflowClient, name: str, digest: str, model: str) -> str | None:
    """Return the version of a registered model that holds a bundle, by its digest.

    Of several such versions it is the champion, or else the one that the address ``model`` names,
    or else the newest; None if there is none.
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
    # A version without the tag has the digest of its run.
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
        store: the open store.
        name: name of the registered model.
        version: version that becomes champion.
        over: version that it was judged against; None where there was no champion.
        decision: decision of the gate.
        reason: reason for a promotion that the gate refuses.

    Raises:
        InputError: another version became champion since.
        MlflowException: MLflow does not know the version, or cannot write.
    """
    client = MlflowClient()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with _locked(store):
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
            # The tag is of an earlier promotion of this version.
            if key in made.tags and key not in tags:
                client.delete_model_version_tag(name, version, key)
    if not decision.passed:
        words = "; ".join(f"{rule.asks} ({rule.why})" for rule in decision.failed)
        text = f"**Promoted by force** on {now}: {reason}\n\nRules that did not hold: {words}.\n\n"
        client.update_model_version(name, version, (text + (made.description or ""))[:LONGEST])


@contextmanager
def _locked(store: Store) -> Iterator[None]:
    """Lock the store's folder, so that promotions from it run one after the other.

    On a system without such locks, as Windows is, nothing is locked.
    """
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
