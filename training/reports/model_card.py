"""A model card drafted from a bundle: the items of TRIPOD+AI that a run can fill in.

Items are numbered as in TRIPOD+AI (Collins et al., BMJ 2024;385:e078378) and reworded in
``templates/model_card.md.j2``. Items that a run cannot know are marked as left to a person.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from markupsafe import Markup

from accomplice.data.escaping import code, markdown
from accomplice.data.study import Study
from accomplice.data.study_parts import FirstOf, FromDates, SurvivalEndpoint
from accomplice.training.bundle import Bundle
from accomplice.training.evaluation.record import PROTOCOL, Review, read_review
from accomplice.training.metrics.table import deciding, label, listed
from accomplice.training.models.predictions import OUT_OF_FOLD
from accomplice.training.reports.page import fill
from accomplice.training.reports.review import rows, verdicts
from accomplice.training.reports.review.centres import of_centres
from accomplice.training.reports.review.page import settings_changed
from accomplice.training.reports.review.sections import is_stated, on_comparison
from accomplice.training.reports.section_builders import Rows
from accomplice.training.reports.wording import RESEARCH_USE, STATED, SYNTHETIC

#: Text of items that a run cannot fill in.
PERSON = Markup("**To be completed by a person**")
#: Maximum number of rows in the card's tables of subgroups and of features.
MOST = 40


def model_card(bundle: Bundle) -> str:
    """Return the model card of a bundle in Markdown.

    Raises:
        InputError: the bundle's review was written by another version.
    """
    review, changed = read_review(bundle.metrics), settings_changed(bundle)
    text = fill(
        "model_card.md.j2",
        bundle=bundle,
        review=review,
        person=PERSON,
        most=MOST,
        rows=rows,
        verdicts=verdicts,
        of_centres=of_centres,
        SYNTHETIC=SYNTHETIC,
        RESEARCH_USE=RESEARCH_USE,
        STATED=STATED,
        outcomes=list(_outcomes(bundle.study)),
        predictors=_predictors(bundle.study),
        settings=[(code(key), *values) for key, values in changed.items()],
        widened=bundle.metrics.get("protocol") == PROTOCOL,
        out_of_fold=review is None or review.protocol == OUT_OF_FOLD,
        stated=review is not None and is_stated(review),
        listed=[label(metric) for metric in listed()],
        deciding=[label(metric) for metric in deciding()],
        calibrated=rows.calibration(review.calibration if review else ()),
        compared=on_comparison(review) if review else [],
        sentinels=[(f.question, f.status, f.text) for f in (review.sentinels if review else ())],
        limits=list(_limits(bundle, review)),
    )
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _outcomes(study: Study) -> Iterator[Markup]:
    """Yield for each endpoint a sentence on the columns and values that define it, in Markdown."""
    for name, e in study.endpoints.survival.items():
        horizon = f", judged to {e.horizon:g} months" if e.horizon is not None else ""
        yield Markup(f"{code(name)}: time {_time(e)} ({e.unit}), event {code(e.event)}{horizon}")
    for name, binary in study.endpoints.binary.items():
        positive, negative = (markdown(_joined(v)) for v in (binary.positive, binary.negative))
        yield Markup(
            f"{code(name)}: column {code(binary.column)}, positive {positive}, negative {negative}"
        )


def _time(endpoint: SurvivalEndpoint) -> str:
    """Return the columns of an endpoint's time, in words and Markdown."""
    match endpoint.time:
        case FirstOf(first_of=names):
            return f"in the first filled of {code(*names)}"
        case FromDates(start=start, to=names):
            return f"from {code(start)} to the first filled of {code(*names)}"
        case name:
            return code(name)


def _predictors(study: Study) -> Rows:
    """Return a row for each feature: name, modality, kind, unit, and levels or range."""
    return [
        (
            name,
            modality,
            feature.kind,
            feature.unit or "–",
            _joined(feature.levels)
            if feature.levels
            else "{:g} to {:g}".format(*feature.range)
            if feature.range
            else "–",
        )
        for modality, features in study.modalities.items()
        for name, feature in features.items()
    ]


def _limits(bundle: Bundle, review: Review | None) -> Iterator[str]:
    """Yield the limitations that the bundle's record shows, as sentences."""
    yield "The patients were not chosen for this purpose, and no patient was randomised."
    if bundle.study.synthetic:
        yield "They are synthetic: nothing here says anything about real ones."
    if review is None or review.protocol == OUT_OF_FOLD:
        yield "It has not been judged on patients from elsewhere."
    if bundle.provenance.get("cut_short"):
        yield "Time ran out before the fit was complete."
    for note in (*bundle.provenance.get("notes", ()), *(review.notes if review else ())):
        yield f"{note[:1].upper()}{note[1:]}."


def _joined(levels: Iterable[object]) -> str:
    return ", ".join(map(str, levels))
