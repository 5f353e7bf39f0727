"""The verb ``evaluate``: external validation of a model, and its update."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from accomplice.data.cells.rounding import month_text
from accomplice.data.errors import InputError
from accomplice.data.escaping import say
from accomplice.data.files import check_beside
from accomplice.training.cli.arguments import Force, Model, Pair, count, natural, option, pair
from accomplice.training.cli.preparation import ctrl_c_heeded, inputs_of
from accomplice.training.cli.terminal import (
    quoted,
    relative,
    say_cohort,
    say_files,
    say_replaced,
    shown,
)
from accomplice.training.reports.wording import SYNTHETIC

if TYPE_CHECKING:
    from accomplice.training.bundle import Bundle
    from accomplice.training.config import Config
    from accomplice.training.estimators.intervals import Estimate
    from accomplice.training.validation.validation import Validation


def evaluate(
    model: Model,
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="study file of the other cohort")],
    *,
    endpoint: Annotated[
        str | None,
        option(
            "ENDPOINT",
            "survival endpoint of STUDY; the model's own if STUDY has it, else STUDY's first",
        ),
    ] = None,
    pairs: Annotated[
        list[Pair] | None,
        option(
            "A=B", "the model's feature A is STUDY's feature B; may be repeated", pair, name="--map"
        ),
    ] = None,
    recalibrate: Annotated[
        bool, typer.Option("--recalibrate", help="update level and slope; write the new model")
    ] = False,
    out_model: Annotated[
        Path | None,
        option("FOLDER", "where the updated model goes; under mlruns/bundles if absent"),
    ] = None,
    force: Force = False,
    out: Annotated[
        Path | None, option("FILE", "ends in .html; evaluate-MODEL-STUDY.html if absent")
    ] = None,
    seed: Annotated[
        int | None, option("SEED", "of bootstraps and folds; the model's if absent", natural)
    ] = None,
    bootstraps: Annotated[
        int | None,
        option("N", "draws behind each interval; as many as in training if absent", count),
    ] = None,
) -> None:
    """Validate a model on another cohort; update it for that cohort.

    Predicts for the patients of another cohort, which has a study file of its own, and judges
    discrimination and calibration, beside the training run's. Writes one page that opens
    without a network and its figures as JSON, and logs both to mlruns/ beside the model's runs.

      accomplice evaluate model other/study.yaml
      accomplice evaluate model other/study.yaml --map stage_raw=stage --map CD8A=CD8_RNA
      accomplice evaluate model other/study.yaml --recalibrate --out-model model-for-other

    The model's features are looked for in STUDY by name, by column, and by the panels:
    genes by their aliases, stage and the like by their levels, sex however it is spelt. Features
    without a certain match are left missing and listed; --map A=B names the match. Kinds must
    agree; units too, where both are stated. Expression is ranked among the cohort's own patients
    where 50 or more have it, as in training.

    --recalibrate updates the model for this centre: the level, and where held-out patients are
    better predicted so, the slope and the course over time of its log cumulative hazard. It is
    checked on held-out patients, and the new bundle records the cohort of the update. It takes 20
    events at least. At any one month patients keep their order.
    """
    with ctrl_c_heeded():
        from accomplice.training.tracking.store import check_stores

        check_stores()
        from accomplice.data.loading import load_cohort
        from accomplice.data.study import load_study
        from accomplice.training.bundle import Bundle
        from accomplice.training.models.manifest import check_place, readable
        from accomplice.training.tracking.external_validation import log_validation
        from accomplice.training.tracking.sketches import find_sketch
        from accomplice.training.tracking.store import find_bundle, open_store
        from accomplice.training.validation.external import choose_endpoint, refuse_seen
        from accomplice.training.validation.validation import trained_figures, validate
        from accomplice.training.validation.verdicts import verdicts

        if out_model is not None and not recalibrate:
            raise InputError("--out-model: where the updated model goes: add --recalibrate")
        content = find_bundle(model)
        bundle = Bundle.of(content)
        own, judged_on = choose_endpoint(bundle, load_study(study), endpoint)
        cohort = load_cohort(study, judged_on)
        named = Path(f"evaluate-{bundle.study.name}-{cohort.study.name}.html")
        out, read = out or named, [content.path, *inputs_of(study)]
        replaced = check_beside(out, (".html",), read)
        if out_model is not None and check_place(out_model, read, force=force):
            replaced.append(out_model)
        refuse_seen(bundle, cohort, str(study))
        with readable(content.path):
            config = config_of(bundle, seed, bootstraps)
            trained_figures(bundle, own)
        mapped, sketch = named_features(pairs or []), find_sketch(bundle)
    say_cohort(cohort)
    with shown("evaluate") as tick:
        found = validate(
            *(bundle, own, cohort, config, mapped), sketch=sketch, update=recalibrate, tick=tick
        )
    logged = log_validation(
        *(open_store(), found, config),
        model=model,
        digest=content.digest,
        out=out,
        out_model=out_model,
    )
    say_replaced(replaced)
    say_validation(found)
    say_files(out)
    if logged.bundle is not None:
        say(f"bundle   {relative(logged.bundle)}")
    say(f"run      {logged.run_id}")
    if logged.bundle is not None:
        say(f"next     accomplice predict {quoted(logged.bundle)} TABLE --out predictions.csv")
    elif verdicts(found)["calibration"].tone == "alarm" and found.overlap.status != "fired":
        say(f"next     accomplice evaluate {shlex.quote(model)} {quoted(study)} --recalibrate")


def config_of(bundle: Bundle, seed: int | None, bootstraps: int | None) -> Config:
    """Return the model's configuration, with another seed and number of bootstraps where given.

    Args:
        bundle: the model.
        seed: seed of bootstraps and folds; None: the model's.
        bootstraps: draws for each interval; None: as many as in training.
    """
    from accomplice.training.config import unflat, with_settings

    asked = {"seed": seed, "evaluation.bootstraps": bootstraps}
    given = {key: value for key, value in asked.items() if value is not None}
    return with_settings(unflat(bundle.config), given)


def named_features(pairs: list[Pair]) -> dict[str, str]:
    """Return the pairs of ``--map`` as a mapping from the model's features to the study's.

    Raises:
        InputError: a feature of the model or of the study is named twice.
    """
    for side in zip(*pairs, strict=True):
        twice = next((name for name in side if side.count(name) > 1), None)
        if twice is not None:
            raise InputError(f"--map: '{twice}' is named twice: name it once")
    return dict(pairs)


def say_validation(found: Validation) -> None:
    """Print warnings on the cohort, its scores next to those of the training run, and verdicts."""
    from accomplice.training.metrics.table import deciding, label
    from accomplice.training.models.predictions import MODEL
    from accomplice.training.validation.validation import MARKS
    from accomplice.training.validation.verdicts import verdicts

    if found.trained.synthetic and not found.cohort.study.synthetic:
        say(f"the model was trained on {SYNTHETIC}")
    if found.overlap.status != "clear":
        say(f"{found.overlap.sentinel}: {found.overlap.text}")
    for match in found.external.matching.doubtful:
        say(f"{match.feature}: {match.how}: settle it with --map {match.feature}=…")
    here, trained = found.evaluation.scores[MODEL], found.trained
    middle = found.calibration[len(MARKS) // 2]
    slope = "–" if math.isnan(trained.slope) else f"{trained.slope:.3f}"
    if slope != "–":
        slope += f" at {month_text(trained.slope_month)} months"
    at = f" at {month_text(middle.month)} months"
    rows = [
        *((label(m), _written(trained.figures[m]), here.figures[m]) for m in deciding()),
        (
            "expected of the case mix",
            _written(trained.expected.uno_c),
            _written(found.review.expected_concordance.uno_c),
        ),
        ("calibration slope", slope, f"{middle.slope}{at}"),
        ("observed/expected", "–", f"{middle.observed_expected}{at}"),
    ]
    width = max(len(name) for name, *_ in rows) + 2
    say(f"  {'':<{width}}{'training, out of fold':<28}{found.cohort.study.name}")
    for name, before, now in rows:
        say(f"  {name:<{width}}{before:<28}{now}")
    for verdict in verdicts(found).values():
        say(f"{verdict.label}  {verdict.text}")
    for name, response in found.responses.items():
        say(f"{name}: {response.verdict}")
    for name, why in found.unjudged.items():
        say(f"{name}: not judged: {why}")


def _written(estimate: Estimate) -> str:
    """Return an estimate as text; a dash if it is undefined."""
    return "–" if math.isnan(estimate.value) else str(estimate)
