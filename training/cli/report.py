"""The command ``report``: the whole evaluation of a model as one page, from its bundle alone."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accomplice.data.errors import InputError
from accomplice.data.files import check_beside, check_file, write_text, written_beside
from accomplice.training.cli.terminal import relative

if TYPE_CHECKING:
    from accomplice.training.bundle import Bundle


def report(args: argparse.Namespace) -> None:
    """Write the page, its numbers as JSON beside it, and the model card if asked for."""
    from accomplice.training.tracking.store import find_bundle

    card = None if args.card is None else Path(args.card)
    if card is not None:
        check_file(card)
    if args.out is not None:
        check_beside(Path(args.out), (".html",))
    folder = find_bundle(args.model)

    from accomplice.training.bundle import Bundle
    from accomplice.training.reports.model_card import model_card
    from accomplice.training.reports.page import render
    from accomplice.training.reports.review.page import review_page

    bundle = Bundle.load(folder)
    if not judged(bundle):
        raise InputError(
            f"{args.model}: the model holds no review, as older ones do not: train it again with "
            f"this version"
        )
    named = re.sub(r"[^A-Za-z0-9._-]+", "_", bundle.study.name)
    out = check_beside(Path(args.out or f"{named}-report.html"), (".html",))
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
    from accomplice.training.reports.page import plain

    found: dict[str, Any] = plain(
        {"metrics": dict(bundle.metrics), "provenance": dict(bundle.provenance)}
    )
    return found
