"""The command ``evaluate``: a model judged on another cohort, and updated for it if asked to."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accomplice.data.errors import InputError
from accomplice.data.files import check_beside, written_beside
from accomplice.training.cli.terminal import relative, say_cohort
from accomplice.training.cli.train import ctrl_c_heeded
from accomplice.training.reports.wording import SYNTHETIC

if TYPE_CHECKING:
    from accomplice.data.cohort import Cohort
    from accomplice.training.bundle import Bundle
    from accomplice.training.config import Config
    from accomplice.training.estimators.intervals import Estimate
    from accomplice.training.validation.validation import Validation


def evaluate(args: argparse.Namespace) -> None:
    """Judge a model on a cohort that it was not trained on."""
    with ctrl_c_heeded():
        from accomplice.data.cohort import load_cohort
        from accomplice.data.study import load_study
        from accomplice.training.bundle import Bundle
        from accomplice.training.models.manifest import check_place, digest_of
        from accomplice.training.tracking import runs as tracking
        from accomplice.training.tracking.store import find_bundle, open_store
        from accomplice.training.validation.external import choose_endpoint

        if args.out_model is not None and not args.recalibrate:
            raise InputError("--out-model: where the updated model goes: add --recalibrate")
        folder = find_bundle(args.model)
        bundle, digest = Bundle.load(folder), digest_of(folder)
        endpoint, judged_on = choose_endpoint(bundle, load_study(Path(args.study)), args.endpoint)
        cohort = load_cohort(Path(args.study), judged_on)
        named = f"evaluate-{bundle.study.name}-{cohort.study.name}.html"
        out = check_beside(Path(args.out or named), (".html",))
        if args.out_model is not None:
            check_place(Path(args.out_model))
        refuse_seen(bundle, cohort, args.study)
        config = config_of(bundle, args)
        from accomplice.training.cli.progress_bar import shown
        from accomplice.training.validation.validation import validate
        from accomplice.training.validation.verdicts import verdicts

        mapped = named_features(args.map)
    say_cohort(cohort)
    with shown("evaluate") as tick:
        found = validate(
            bundle, endpoint, cohort, config, mapped, update=args.recalibrate, tick=tick
        )
    store = open_store()
    asked = {
        "model": args.model,
        "endpoint": cohort.endpoint,
        "seed": config.seed,
        "bootstraps": config.evaluation.bootstraps,
        "recalibrate": args.recalibrate,
    }
    made = None
    with tracking.run(
        store, cohort, "evaluate", f"evaluate on {cohort.study.name}", experiment=bundle.study.name
    ) as run_id:
        tags = {"model_digest": digest, "model_study": bundle.study.name}
        if args.recalibrate:
            updated = updated_bundle(found, digest, config, run_id)
            made = Path(args.out_model or store.bundles / default_name(updated)).absolute()
            updated.save(made)
            tags["updated_digest"] = digest_of(made)
        keep(found, out, run_id, asked, tags, digest)
    say(found)
    print(f"report   {relative(out)}")
    print(f"data     {relative(out.with_suffix('.json'))}")
    if made is not None:
        print(f"bundle   {relative(made)}")
    print(f"run      {run_id}")
    if made is not None:
        print(f"next     accomplice predict {relative(made)} TABLE --out predictions.csv")
    elif verdicts(found)["calibration"].tone == "alarm":
        print(f"next     accomplice evaluate {args.model} {args.study} --recalibrate")


def refuse_seen(bundle: Bundle, cohort: Cohort, path: str) -> None:
    """Refuse the cohort that a model was trained on, or updated by.

    Raises:
        InputError: it is that cohort.
    """
    own = cohort.fingerprint()
    if own == bundle.provenance.get("cohort_fingerprint"):
        raise InputError(
            f"{path}: the model was trained on this very cohort: evaluate takes another one; how "
            "the model did on its own, out of fold, is in its run"
        )
    if own in [update["cohort_fingerprint"] for update in bundle.provenance.get("updates", ())]:
        raise InputError(
            f"{path}: the model was updated by this very cohort: evaluate takes another one; how "
            "its patients fared when held out of the update is in the bundle's metrics"
        )


def config_of(bundle: Bundle, args: argparse.Namespace) -> Config:
    """The model's own configuration, with the seed and the bootstraps asked for."""
    from accomplice.training.config import unflat, with_settings

    asked = {"seed": args.seed, "evaluation.bootstraps": args.bootstraps}
    given = {key: value for key, value in asked.items() if value is not None}
    return with_settings(unflat(bundle.config), given)


def named_features(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Check ``--map``: each of the model's features is named once, and so is each of the study's.

    Raises:
        InputError: one is named twice.
    """
    for place in (0, 1):
        names = [pair[place] for pair in pairs]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise InputError(f"--map: '{twice}' is named twice: name it once")
    return dict(pairs)


def keep(
    found: Validation,
    out: Path,
    run_id: str,
    asked: dict[str, Any],
    tags: dict[str, str],
    digest: str,
) -> None:
    """Write the page and its figures, and log both to the run."""
    from accomplice.training.models.provenance import git_commit
    from accomplice.training.reports.page import render
    from accomplice.training.tracking import runs as tracking
    from accomplice.training.validation.page import data, make_page, note
    from accomplice.training.validation.validation import headline

    source = {
        "model": digest[:16],
        "cohort_fingerprint": found.cohort.fingerprint(),
        "git_commit": git_commit(),
        "run": run_id,
        "seed": asked["seed"],
    }
    page = make_page(found, source)
    files = {out.name: render(page), out.with_suffix(".json").name: data(found, page, source)}
    with written_beside(out, files[out.with_suffix(".json").name]) as part:
        part.write_text(files[out.name], encoding="utf-8")
    tracking.log_report(
        run_id, found.cohort, asked, headline(found), note(page), files, "external", tags
    )


def updated_bundle(found: Validation, digest: str, config: Config, run_id: str) -> Bundle:
    """Return the bundle with the judged model updated, and with what it was updated on.

    Its expression is read on the new cohort's scale, and its risk is 0 for that cohort's mean.
    """
    from accomplice.training.estimators.hazard import log_risk
    from accomplice.training.evaluation.record import Finding
    from accomplice.training.evaluation.review import review
    from accomplice.training.models.predictions import MODEL
    from accomplice.training.models.provenance import git_commit
    from accomplice.training.validation.recalibration import updated
    from accomplice.training.validation.validation import BEFORE, external_json
    from accomplice.training.validation.verdicts import of_update

    if found.repaired is None:
        raise ValueError("nothing was updated")
    external, cohort, repaired = found.external, found.cohort, found.repaired
    made, name = repaired.recalibration, external.model.endpoint
    curves = external.finish(made.update.apply(external.predicted.blind))
    model = replace(
        external.model,
        ensemble=updated(external.model.ensemble, made.update),
        risk_centre=float(log_risk(curves).mean()),
    )
    time, event = external.predicted.outcome
    origin = {
        "endpoint": name,
        "model": digest,
        "study": cohort.study.name,
        "study_endpoint": cohort.endpoint,
        "cohort_fingerprint": cohort.fingerprint(),
        "synthetic": cohort.study.synthetic,
        "patients": len(time),
        "events": int(event.sum()),
        "expression_ranked_in_cohort": list(external.ranked),
        **made.update.to_json(),
        "seed": config.seed,
        "git_commit": git_commit(),
        "run": run_id,
    }
    bundle = external.bundle
    whole = json.dumps(
        [bundle.provenance.get("fit_id"), {k: v for k, v in origin.items() if k != "run"}]
    )
    history = [*bundle.provenance.get("updates", ()), origin]
    provenance = {
        **bundle.provenance,
        "fit_id": hashlib.sha256(whole.encode()).hexdigest()[:16],
        "synthetic": found.synthetic,
        "updates": history,
    }
    judged = external_json(repaired.evaluation) | {
        "protocol": "updated for another cohort; each patient held out of the update",
        "verdict": of_update(repaired).text,
    }
    before = external.predicted.curves[MODEL]
    predicted = replace(
        external.predicted,
        curves={MODEL: repaired.recalibration.held_out},
        baselines={**external.predicted.baselines, BEFORE: before},
    )
    watched = bundle.metrics["review"]["sentinels"]
    sentinels = (*map(Finding.model_validate, watched), found.overlap)
    reviewed = review(predicted, repaired.evaluation, model.ensemble, config)
    reviewed = reviewed.model_copy(update={"sentinels": sentinels})
    judged["review"] = reviewed.model_dump(mode="json")
    metrics = {k: v for k, v in bundle.metrics.items() if k not in ("review", "treatment")}
    if name == bundle.target:
        metrics |= judged
    else:
        metrics["further"] = {**metrics.get("further", {}), name: judged}
    return replace(
        bundle,
        study=bundle.study.model_copy(update={"synthetic": found.synthetic}),
        survival={**bundle.survival, name: model},
        metrics=metrics,
        provenance=provenance,
    )


def default_name(bundle: Bundle) -> str:
    """Name of the folder of an updated bundle that no one gave a place."""
    update = bundle.provenance["updates"][-1]
    return f"{bundle.study.name}-{bundle.provenance['fit_id']}-for-{update['study']}"


def say(found: Validation) -> None:
    """Print the figures beside the training run's, and what they mean."""
    from accomplice.training.models.predictions import MODEL
    from accomplice.training.validation.validation import MARKS
    from accomplice.training.validation.verdicts import verdicts

    if found.trained.synthetic and not found.cohort.study.synthetic:
        print(f"the model was trained on {SYNTHETIC}")
    if found.overlap.status != "clear":
        print(f"{found.overlap.sentinel}: {found.overlap.text}")
    for match in found.external.matching.doubtful:
        print(f"{match.feature}: {match.how}: settle it with --map {match.feature}=…")
    here, trained = found.evaluation.scores[MODEL], found.trained
    middle = found.calibration[len(MARKS) // 2]
    slope = "–" if math.isnan(trained.slope) else f"{trained.slope:.3f}"
    if slope != "–":
        slope += f" at {trained.slope_month:.0f} months"
    rows = [
        ("Uno's C", _written(trained.uno_c), here.uno_c),
        ("integrated Brier", _written(trained.ibs), here.ibs),
        ("calibration slope", slope, f"{middle.slope} at {middle.month:.0f} months"),
        ("observed/expected", "–", f"{middle.observed_expected} at {middle.month:.0f} months"),
    ]
    print(f"  {'':<20}{'training, out of fold':<28}{found.cohort.study.name}")
    for name, before, now in rows:
        print(f"  {name:<20}{before:<28}{now}")
    for verdict in verdicts(found).values():
        print(f"{verdict.label}  {verdict.text}")
    for name, response in found.responses.items():
        print(f"{name}: {response.verdict}")
    for name, why in found.unjudged.items():
        print(f"{name}: not judged: {why}")


def _written(figure: Estimate) -> str:
    return "–" if math.isnan(figure.value) else str(figure)
