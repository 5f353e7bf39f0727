"""Promotion: the alias ``champion`` in the registry, and tags on promotions and comparisons."""

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
from accomplice.training.tracking.gate import NOT_WORSE, Decision
from accomplice.training.tracking.store import Store
from accomplice.training.tracking.stores.recorded import recorded_digest

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
#: Tag of a promoted version: the best champion so far, which may be this version.
BEST = "best_so_far"
#: Tag of a promoted version: the gate's rule ``NOT_WORSE`` on the champion before it, in words.
COMPARED = "compared_with_champion"
#: Prefix of a registered model's tags, one for each model that was compared on a cohort.
TRIED = "compared"
#: Number of characters of a fingerprint or digest in such a tag.
SHORT = 12
#: Maximum length of a version's description, in characters, that every database takes.
LONGEST = 5000


def champion_of(client: MlflowClient, name: str) -> ModelVersion | None:
    """Return the champion of a registered model.

    None if there is none, or if the registry cannot be read.
    """
    try:
        return client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException:
        return None


def version_of(client: MlflowClient, name: str, digest: str, model: str) -> str | None:
    """Return the version of a registered model with a given bundle.

    Of several such versions it is the champion, or else the one of the address ``model``, or else
    the newest; None if there is none.

    Args:
        client: client of the registry.
        name: name of the registered model.
        digest: digest of the bundle.
        model: address of the model, as the user gave it.
    """
    versions = client.search_model_versions(f"name='{name}'")
    same = [
        str(each.version)
        for each in versions
        if recorded_digest(client, model, each.run_id, each.tags) == digest
    ]
    champion = champion_of(client, name)
    preferred = "" if champion is None else str(champion.version)
    for version in (preferred, model.removeprefix(f"models:/{name}/")):
        if version in same:
            return version
    return max(same, key=int, default=None)


def best_of(client: MlflowClient, champion: ModelVersion) -> str:
    """Return the version that is the best champion so far.

    A challenger becomes the best if it is significantly better than the champion, or is promoted by
    force. If the champion has no tag ``BEST``, it is the first of the champions that it replaced,
    or the last one promoted by force.
    """
    version, seen = champion, {str(champion.version)}
    with contextlib.suppress(MlflowException):
        while BEST not in version.tags and FORCED not in version.tags:
            before = version.tags.get(REPLACED, "none")
            if before == "none" or before in seen:
                break
            seen.add(before)
            version = client.get_model_version(champion.name, before)
    return str(version.tags.get(BEST, version.version))


def count_tries(client: MlflowClient, name: str, cohort: str, digest: str) -> int:
    """Record that a model was compared with the champion, and count such models.

    Args:
        client: client of the registry.
        name: name of the registered model.
        cohort: fingerprint of the cohort on which they were compared.
        digest: digest of the challenger's bundle.

    Returns:
        Number of different models compared on the cohort, this one included.
    """
    prefix = f"{TRIED}.{cohort[:SHORT]}."
    key = prefix + digest[:SHORT]
    tags = client.get_registered_model(name).tags
    if key not in tags:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        client.set_registered_model_tag(name, key, now)
    return len({each for each in tags if each.startswith(prefix)} | {key})


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
        anew = champion is None or decision.better or not decision.passed
        best = version if anew or champion is None else best_of(client, champion)
        tags = {PROMOTED_AT: now, REPLACED: over or "none", BEST: best}
        compared = [rule.why for rule in decision.rules if rule.name == NOT_WORSE]
        tags |= {COMPARED: "; ".join(compared)} if compared else {}
        if not decision.passed:
            tags |= {FORCED: reason or "", FAILED: ", ".join(r.name for r in decision.failed)}
        for key, value in tags.items():
            client.set_model_version_tag(name, version, key, value)
        made = client.get_model_version(name, version)
        for key in (FORCED, FAILED, COMPARED):
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
