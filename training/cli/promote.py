"""The verb ``promote``: a model becomes champion if it passes the gate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from accomplice.data.errors import InputError
from accomplice.data.escaping import say
from accomplice.training.cli.arguments import JudgedOn, Model, option
from accomplice.training.cli.preparation import ctrl_c_heeded
from accomplice.training.reports.wording import SYNTHETIC

#: Exit code if the gate refuses.
REFUSED = 3
#: Maximum number of characters of a reason.
MOST_REASON = 500


def promote(
    model: Model,
    *,
    name: Annotated[
        str | None, option("REGISTERED", "registered model; accomplice-STUDY if absent")
    ] = None,
    study: JudgedOn = None,
    force: Annotated[
        str | None, option("REASON", "promote whatever the gate says; the reason is recorded")
    ] = None,
    sign: Annotated[
        Path | None, option("KEY", "private Ed25519 key (PEM) that signs the model")
    ] = None,
) -> int:
    """Make a model champion, if it passes the gate.

    Moves the registry's alias champion to the model, if every rule of the gate holds:

      it predicts the same endpoint of the same study as the champion
      a champion of real patients is not replaced by a model of synthetic ones
      no loss against the champion is seen on the same patients: Uno's C is not lower by more than
        0.03, 1.4 standard errors of the paired difference, or 0.37 / √events, nor the integrated
        Brier score worse by more than 0.01 or for certain; less is tolerated of a model that is
        not the first to be compared on these patients
      nor against the best champion so far, so that small losses do not add up
      it has learnt something: Uno's C above 0.5 and a gain over Kaplan-Meier, both for certain
      it is calibrated: calibration slope and observed/expected agree with 0.8 to 1.25 by
        their 95 % intervals, the slope itself is within 0.6 to 1.67, the ratio within 0.8 to 1.25
      no leak sentinel fired

    The first four ask about champions and are left out where there is none. Each rule is printed
    with its figures, and with the loss that is not excluded.

      accomplice promote models:/accomplice-NAME/3
      accomplice promote recalibrated --study study.yaml
      accomplice promote runs:/ID --force "external validation of March; the slope is known"

    A bundle that is not in the registry is registered first. Exit code 0: it is champion; 3: the
    gate refuses, and only the try is recorded; 2: the input is wrong. --force promotes all the
    same; the reason, the time and the rules that failed are kept with the model's version, where
    MLflow shows them.

    --sign keeps a signature with the version, without which serve --trust does not serve it;
    accomplice package --help says how keys are made.
    """
    if force is not None and not 0 < len(force.strip()) <= MOST_REASON:
        raise InputError(f"--force: give the reason, in 1 to {MOST_REASON} characters")
    with ctrl_c_heeded():
        from accomplice.serving.deployment.signatures import sign as signed
        from accomplice.training.tracking.store import check_stores

        check_stores()
        from mlflow import MlflowClient

        from accomplice.training.models.manifest import MANIFEST, read_folder, readable
        from accomplice.training.tracking import gate, promotion, registry
        from accomplice.training.tracking.challenge import judge, registered_name
        from accomplice.training.tracking.contenders import contender
        from accomplice.training.tracking.store import open_store
        from accomplice.training.tracking.stores.recorded import SIGNATURE
    challenger = contender(model)
    with readable(challenger.folder):
        gate.Challenger.of(challenger.bundle)
    name = name or registered_name(model) or registry.model_name(challenger.bundle.study.name)
    store, client = open_store(), MlflowClient()
    manifest = read_folder(challenger.folder, challenger.digest).files[MANIFEST]
    signature = None if sign is None else signed(manifest, sign).hex()
    champion = promotion.champion_of(client, name)
    version = promotion.version_of(client, name, challenger.digest, model)
    if champion is not None and version == str(champion.version):
        if signature is not None:
            client.set_model_version_tag(name, version, SIGNATURE, signature)
        say(f"models:/{name}/{version} is champion already")
        return 0
    decision = judge(challenger, champion, study, forced=force is not None)
    now = "there is none" if champion is None else f"now version {champion.version}"
    say(f"{model} for models:/{name}@champion, {now}:")
    for line in gate.lines(decision):
        say(f"  {line}")
    if challenger.bundle.study.synthetic:
        say(SYNTHETIC)
    if not decision.passed and force is None:
        failed = len(decision.failed)
        say(f'refused: {failed} of {len(decision.rules)} rules fail; --force "the reason"')
        return REFUSED
    if version is None:
        version = registry.register_bundle(store, name, challenger.bundle, challenger.folder)
    if signature is not None:
        client.set_model_version_tag(name, version, SIGNATURE, signature)
    over = None if champion is None else str(champion.version)
    promotion.promote(store, name, version, over, decision, force)
    how = "" if decision.passed else " by force; the reason and the failed rules are on record"
    replaced = "" if over is None else f", in place of version {over}"
    say(f"promoted models:/{name}/{version}{replaced}{how}")
    return 0
