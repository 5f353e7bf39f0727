"""The verb ``report``: the whole evaluation of a model as one page, from its bundle alone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from accomplice.data.errors import InputError
from accomplice.data.files import check_beside, check_file, write_text, written_beside
from accomplice.training.cli.arguments import Model
from accomplice.training.cli.terminal import relative

if TYPE_CHECKING:
    from accomplice.training.bundle import Bundle


REPORT = """\
the whole evaluation of a model as one page

Writes the whole evaluation of a model as one page that opens without a network: does it rank
patients, does it beat simple models, do its probabilities come true, what would it do to decisions,
does it hold in subgroups, what drives it, could it be a leak; figures, and their numbers as tables.
All comes from the model itself: no patient is needed. The numbers go to a .json beside it.

  accomplice report model
  accomplice report models:/accomplice-NAME@champion --out report.html --card card.md

--card writes a model card drafted by TRIPOD+AI items; what only a person can know is marked so.
"""


def report(
    model: Model,
    *,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="ends in .html; STUDY-report.html if absent"),
    ] = None,
    card: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="write the model card too, in Markdown"),
    ] = None,
) -> None:
    """Write the page, its numbers as JSON beside it, and the model card if asked for."""
    from accomplice.training.tracking.store import find_bundle

    if card is not None:
        check_file(card)
    if out is not None:
        check_beside(out, (".html",))
    folder = find_bundle(model)

    from accomplice.training.bundle import Bundle
    from accomplice.training.reports.model_card import model_card
    from accomplice.training.reports.page import render
    from accomplice.training.reports.review.page import review_page

    bundle = Bundle.load(folder)
    if not judged(bundle):
        raise InputError(
            f"{model}: the model holds no review, as older ones do not: train it again with "
            f"this version"
        )
    named = re.sub(r"[^A-Za-z0-9._-]+", "_", bundle.study.name)
    out = check_beside(out or Path(f"{named}-report.html"), (".html",))
    page = review_page(bundle)
    with written_beside(out, json.dumps(numbers(bundle), indent=2, allow_nan=False) + "\n") as part:
        part.write_text(render(page), encoding="utf-8")
    if card is not None:
        write_text(card, model_card(bundle))
    if page.banner:
        print(page.banner)
    print(page.lead)
    for section in page.sections:
        print(f"{section.heading}\n  {section.verdict.label}  {section.verdict.text}")
    print(f"report   {relative(out)}")
    print(f"data     {relative(out.with_suffix('.json'))}")
    if card is not None:
        print(f"card     {relative(card)}")


def judged(bundle: Bundle) -> bool:
    """Say whether a bundle holds what a page is made of."""
    from accomplice.training.evaluation.record import REVIEW

    return not bundle.survival or REVIEW in bundle.metrics


def numbers(bundle: Bundle) -> dict[str, Any]:
    """Return all that the page is made of, as plain data."""
    from accomplice.training.estimators.intervals import plain

    found: dict[str, Any] = plain(
        {"metrics": dict(bundle.metrics), "provenance": dict(bundle.provenance)}
    )
    return found
