"""The verb ``report``: the whole evaluation of a model as one page, from its bundle alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from accomplice.data.errors import InputError
from accomplice.data.files import check_beside, check_file, write_text, written_beside
from accomplice.training.cli.arguments import Model, option
from accomplice.training.cli.terminal import relative, say_answers


def report(
    model: Model,
    *,
    out: Annotated[
        Path | None, option("FILE", "ends in .html; STUDY-report.html if absent")
    ] = None,
    card: Annotated[Path | None, option("FILE", "write the model card too, in Markdown")] = None,
) -> None:
    """The whole evaluation of a model as one page.

    Writes the whole evaluation of a model as one page that opens without a network: does it rank
    patients, does it beat simple models, do its probabilities come true, what would it do to
    decisions, does it hold in subgroups, what drives it, could it be a leak; figures, and their
    numbers as tables. All comes from the model itself: no patient is needed. The numbers go to a
    .json beside it.

      accomplice report model
      accomplice report models:/accomplice-NAME@champion --out report.html --card card.md

    --card writes a model card drafted by TRIPOD+AI items; what only a person can know is marked so.
    """
    from accomplice.training.tracking.store import find_bundle

    if card is not None:
        check_file(card)
    if out is not None:
        check_beside(out, (".html",))
    folder = find_bundle(model)

    from accomplice.training.bundle import Bundle
    from accomplice.training.estimators.intervals import plain
    from accomplice.training.evaluation.record import REVIEW
    from accomplice.training.reports.model_card import model_card
    from accomplice.training.reports.page import render
    from accomplice.training.reports.review.page import review_page

    bundle = Bundle.load(folder)
    if bundle.survival and REVIEW not in bundle.metrics:
        raise InputError(
            f"{model}: the model holds no review, as older ones do not: train it again with "
            f"this version"
        )
    out = check_beside(out or Path(f"{bundle.study.name}-report.html"), (".html",))
    page = review_page(bundle)
    numbers = plain({"metrics": dict(bundle.metrics), "provenance": dict(bundle.provenance)})
    with written_beside(out, json.dumps(numbers, indent=2, allow_nan=False) + "\n") as part:
        part.write_text(render(page), encoding="utf-8")
    if card is not None:
        write_text(card, model_card(bundle))
    if page.banner:
        print(page.banner)
    print(page.lead)
    say_answers(page, out)
    if card is not None:
        print(f"card     {relative(card)}")
