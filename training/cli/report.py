"""The verb ``report``: the whole evaluation of a model as one page, from its bundle alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from accomplice.data.errors import InputError
from accomplice.data.escaping import say
from accomplice.data.files import (
    GENERATOR,
    check_beside,
    check_file,
    same_file,
    sealed,
    write_text,
    written_beside,
)
from accomplice.training.cli.arguments import Model, option
from accomplice.training.cli.terminal import relative, say_answers, say_replaced


def report(
    model: Model,
    *,
    out: Annotated[
        Path | None, option("FILE", "ends in .html; STUDY-report.html if absent")
    ] = None,
    card: Annotated[Path | None, option("FILE", "write the model card too, in Markdown")] = None,
) -> None:
    """The whole evaluation of a model as one page.

    The page opens without a network and answers: does the model rank patients, does it beat simple
    models, are its probabilities calibrated, what would it do to decisions, does it hold in
    subgroups, what drives it, could it be a leak; figures, and their numbers as tables. All comes
    from the model itself: no patient is needed. The numbers go to a .json beside it.

      accomplice report model
      accomplice report models:/accomplice-NAME@champion --out report.html --card card.md

    An earlier report is replaced, another file is refused, and so is a card that was completed.

    --card writes a draft of a model card, by the items of TRIPOD+AI; items that only a person can
    fill in are marked.
    """
    from accomplice.training.tracking.store import find_bundle

    if card is not None:
        check_card(card, out)
    if out is not None:
        check_beside(out, (".html",))
    content = find_bundle(model)

    from accomplice.training.bundle import Bundle
    from accomplice.training.estimators.intervals import plain
    from accomplice.training.evaluation.record import REVIEW
    from accomplice.training.models.manifest import readable
    from accomplice.training.reports.model_card import model_card
    from accomplice.training.reports.page import render
    from accomplice.training.reports.review.page import review_page

    bundle = Bundle.of(content)
    if bundle.survival and REVIEW not in bundle.metrics:
        raise InputError(
            f"{model}: the model holds no review, as older ones do not: train it again with "
            f"this version"
        )
    out = out or Path(f"{bundle.study.name}-report.html")
    replaced = check_beside(out, (".html",))
    if card is not None and check_card(card, out):
        replaced.append(card)
    with readable(content.path):
        page = review_page(bundle)
        numbers = plain({"metrics": dict(bundle.metrics), "provenance": dict(bundle.provenance)})
        text = json.dumps({**GENERATOR, **numbers}, indent=2, allow_nan=False) + "\n"
        rendered, about = render(page), None if card is None else sealed(model_card(bundle))
    with written_beside(out, text) as part:
        part.write_text(rendered, encoding="utf-8")
    if card is not None and about is not None:
        write_text(card, about)
    say_replaced(replaced)
    if page.banner:
        say(page.banner)
    say(page.lead)
    say_answers(page, out)
    if card is not None:
        say(f"card     {relative(card)}")


def check_card(card: Path, out: Path | None) -> bool:
    """Refuse a path where the model card cannot be written.

    Args:
        card: path of the card.
        out: path of the page; None where it is not known yet.

    Returns:
        Whether an earlier card would be replaced.

    Raises:
        InputError: the path is that of the page or its JSON, or as :func:`check_file`, which also
            refuses a card that was edited by hand.
    """
    if out is not None and any(same_file(card, o) for o in (out, out.with_suffix(".json"))):
        raise InputError(f"--card {card}: name another file than the page and its .json")
    return check_file(card)
