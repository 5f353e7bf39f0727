"""A record as the sections of a page: a question each, its verdict, figures, and their numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from training import review_verdicts as verdicts
from training.evaluation import NAMES
from training.page import Figure, Section, Table, Verdict, inline_svg
from training.plots import house_style
from training.predicted import MODEL
from training.record import Curve, Review, Span
from training.review_plots import DRAWS

#: How sentinels' states are written.
STATUS = {
    "clear": "✓ clear",
    "caution": "! caution",
    "fired": "▲ FIRED",
    "not run": "– not run",
}
Item = Table | Figure
#: Words explained, each where it appears first.
TERMS: dict[str, tuple[tuple[str, str], ...]] = {
    "ranking": (
        (
            "out of fold",
            "every patient is judged by models that were fitted without that patient",
        ),
        (
            "Uno's C",
            "of two patients, how often the one whose event comes first was given the higher "
            "risk, corrected for those who were lost from view; 0.5 is chance",
        ),
        (
            "AUC at a time",
            "the same, between those who had the event by then and those who had not",
        ),
        (
            "95 % interval",
            "how far a figure would move if other patients of the same kind had been judged",
        ),
    ),
    "value": (
        (
            "simple model",
            "what could be had without this one: one curve for everybody (Kaplan-Meier), and Cox "
            "models of a few clinical features",
        ),
        (
            "Brier score",
            "mean squared distance of the predicted survival from what happened: 0 is perfect; "
            "integrated, it is the mean over the follow-up",
        ),
        (
            "paired",
            "both models are scored on the same draws of patients, so that what is common to both "
            "cancels out",
        ),
    ),
    "calibration": (
        (
            "calibration slope",
            "1 where predictions come true; below 1 they are too extreme, above 1 too alike",
        ),
        (
            "observed/expected",
            "how often the event came over how often it was predicted; above 1 risks are too low",
        ),
        (
            "D-calibration",
            "a test of all predicted curves at once; a small p says that they do not come true",
        ),
    ),
    "decisions": (
        (
            "net benefit",
            "share of patients rightly acted on, less those wrongly acted on, weighted by how much "
            "worse one holds a miss than a needless act; that is what the threshold says",
        ),
    ),
    "modalities": (
        ("modality", "a group of features that come together, such as one kind of measurement"),
        (
            "withheld",
            "the fitted model is told nothing of the modality, as for a patient who misses it",
        ),
    ),
    "instability": (
        (
            "80 % interval over fits",
            "where eight in ten of the models of other folds and members put the same patient",
        ),
    ),
    "drivers": (
        (
            "attribution",
            "the part that a feature has in a patient's prediction; all parts together make it up",
        ),
        (
            "partial effect",
            "the mean prediction over all patients, had they all the same value of one feature",
        ),
        (
            "log-hazard",
            "the scale on which features add up: 0.1 more means that events come 10 % faster",
        ),
    ),
    "leaks": (
        (
            "leak",
            "something that predicts well here and would not be known when it matters, such as a "
            "feature recorded after the outcome",
        ),
        ("sentinel", "a test that a leak would trip"),
    ),
}


def sections(review: Review) -> tuple[Section, ...]:
    """Return the sections in the order in which a reviewer would ask; empty parts are left out."""
    made = _Sections(review)
    return tuple(
        section
        for section in (
            made.ranking(),
            made.value(),
            made.calibration(),
            made.decisions(),
            made.subgroups(),
            made.patterns(),
            made.modalities(),
            made.instability(),
            made.drivers(),
            made.leaks(),
        )
        if section is not None
    )


class _Sections:
    """Makes the sections of one record."""

    def __init__(self, review: Review) -> None:
        self.review = review

    def ranking(self) -> Section:
        review = self.review
        groups = [
            (g.name, str(g.patients), str(g.events), *self._at_marks(g.survival))
            for g in review.risk_groups
        ]
        head = ("predicted risk", "patients", "events", *self._marks())
        return self._section(
            "ranking",
            "Does it rank patients?",
            verdicts.ranking(review),
            *self._figure(
                "risk_groups",
                "Patients in groups of predicted risk, and how many of each were event-free. The "
                "further apart the curves, the better the ranking; bands are 95 % intervals.",
            ),
            *_table("Event-free, as observed", head, groups, folded=True),
            *self._figure(
                "auc",
                "How well the model and the simple models tell who has the event by a time from "
                "who has not.",
            ),
            *self._over_time("AUC", review.auc),
        )

    def value(self) -> Section:
        review = self.review
        scores = [
            (name, *(str(score.get(m, verdicts.UNKNOWN)) for m in ("uno_c", "ibs", "harrell_c")))
            for name, score in review.scores.items()
        ]
        gains = [
            (name, *(f"{gain.get(m, verdicts.UNKNOWN):+.3f}" for m in ("uno_c", "ibs")))
            for name, gain in review.gains.items()
        ]
        return self._section(
            "value",
            "Does it beat the simple models?",
            verdicts.added_value(review),
            *_table(
                "What the model gains over each simple model, paired; above 0 it is better",
                ("over", NAMES["uno_c"], NAMES["ibs"]),
                gains,
            ),
            *self._figure(
                "models", "The same measures of every model; dashed is where the model is."
            ),
            *_table(
                "Every model; C: higher is better, Brier score: lower is better",
                ("", NAMES["uno_c"], NAMES["ibs"], NAMES["harrell_c"]),
                scores,
                folded=True,
            ),
            *self._figure("brier", "Error of the predicted survival at each time."),
            *self._over_time("Brier score", review.brier),
        )

    def calibration(self) -> Section:
        review = self.review
        rows = [
            (f"{at.month:.0f} months", f"{at.slope:.2f}", f"{at.observed_expected:.2f}")
            for at in review.calibration
        ]
        groups = [
            (
                f"{at.month:.0f} months, group {k + 1}",
                str(size),
                _percent(predicted),
                f"{_percent(observed)} ({_percent(low)} to {_percent(high)})",
            )
            for at in review.calibration
            for k, (size, predicted, observed, low, high) in enumerate(
                zip(at.size, at.predicted, at.observed, at.low, at.high, strict=False)
            )
        ]
        p = review.d_calibration_p
        said = (f"D-calibration: p = {p:.2g}.",) if math.isfinite(p) else ()
        return self._section(
            "calibration",
            "Do its probabilities come true?",
            verdicts.calibration(review),
            *_table(
                "Calibration; both are 1 where predictions come true",
                ("at", "slope", "observed/expected"),
                rows,
            ),
            *self._figure(
                "calibration",
                "Groups of patients of rising predicted survival. On the dashed line predictions "
                "came true; above it, more survived than predicted.",
            ),
            *_table(
                "Predicted and observed survival by group",
                ("group", "patients", "predicted, %", "observed, %"),
                groups,
                folded=True,
            ),
            sentences=said,
        )

    def decisions(self) -> Section | None:
        review = self.review
        if not review.decisions:
            return None
        rows = []
        for at in review.decisions:
            for i in np.linspace(0, len(at.thresholds) - 1, 6).round().astype(int):
                own = at.benefit.get(MODEL, ())
                rows.append(
                    (
                        f"{at.month:.0f} months, {_percent(at.thresholds[i])} %",
                        _place(own, i),
                        _place(at.benefit.get(review.strongest, ()), i),
                        _place(at.everybody, i),
                        f"{_point(at.gain, i):+.3f}",
                    )
                )
        head = ("act from", "model", review.strongest or "baseline", "everybody", "gain")
        return self._section(
            "decisions",
            "What would it do to decisions?",
            verdicts.decisions(review),
            *self._figure(
                "decisions",
                "Net benefit of acting on those above a risk. A model is of use where it is above "
                "acting on everybody and on nobody; below, its gain over the strongest simple "
                "model with its 95 % band, threshold by threshold.",
            ),
            *_table("Net benefit", head, rows, folded=True),
        )

    def subgroups(self) -> Section | None:
        review = self.review
        if not review.subgroups:
            return None
        rows = [
            (
                "everybody" if s.feature == "all" else f"{s.feature}: {s.level}",
                f"{s.patients} / {s.events}",
                str(s.uno_c),
                f"{s.ibs_gain:+.3f}",
                f"{s.observed_expected:.2f}",
            )
            for s in review.subgroups
        ]
        against = review.strongest or "the strongest simple model"
        return self._section(
            "subgroups",
            "Does it hold in subgroups and centres?",
            verdicts.subgroups(review),
            *self._figure(
                "subgroups",
                "The solid line is chance, or no gain; dashed is where everybody is. Intervals "
                "that are cut off end in arrows.",
            ),
            *_table(
                f"Subgroups; the gain is in integrated Brier score over {against}",
                ("group", "patients / events", NAMES["uno_c"], "gain", "observed/expected"),
                rows,
                folded=True,
            ),
        )

    def patterns(self) -> Section | None:
        review = self.review
        if not review.patterns:
            return None
        rows = [
            (
                ", ".join(p.missing) or "nothing",
                f"{p.patients} / {p.events}",
                str(p.uno_c),
                str(p.ibs),
                f"{p.observed_expected:.2f}",
            )
            for p in review.patterns
        ]
        head = ("missing", "patients / events", NAMES["uno_c"], NAMES["ibs"], "observed/expected")
        return self._section(
            "patterns",
            "Does it hold where modalities are missing?",
            verdicts.patterns(review),
            *self._figure("patterns", "Patients who miss the same modalities."),
            *_table("Patterns of missing modalities", head, rows),
        )

    def modalities(self) -> Section | None:
        review = self.review
        if not review.modalities:
            return None
        rows = [
            (m.modality, str(m.patients), f"{m.uno_c_loss:+.4f}", f"{m.ibs_loss:+.4f}")
            for m in review.modalities
        ]
        return self._section(
            "modalities",
            "What is each modality worth?",
            verdicts.modalities(review),
            *self._figure(
                "modalities",
                "What is lost where a modality is withheld from the patients who have it; paired "
                "95 % intervals. Across the line it is not shown to help.",
            ),
            *_table(
                "Loss when withheld; above 0 the modality helps",
                ("modality", "patients", NAMES["uno_c"], NAMES["ibs"]),
                rows,
            ),
        )

    def instability(self) -> Section | None:
        found = self.review.instability
        if found is None:
            return None
        rows = [
            tuple(_percent(v) for v in each)
            for each in zip(found.predicted, found.low, found.high, strict=False)
        ]
        said = (
            f"One member's answer is {100 * found.mean_difference:.1f} points of survival from "
            "the ensemble's, in the mean."
        )
        return self._section(
            "instability",
            "How stable is a patient's answer?",
            verdicts.instability(self.review),
            *self._figure(
                "instability",
                "How far the models of other folds and members differ about the same patients, by "
                "predicted survival; and how wide the intervals of single patients are.",
            ),
            *_table(
                f"Survival at {found.month:.0f} months, %, and the mean 80 % interval over fits",
                ("predicted", "from", "to"),
                rows,
                folded=True,
            ),
            sentences=(said,) if math.isfinite(found.mean_difference) else (),
        )

    def drivers(self) -> Section | None:
        review = self.review
        if not (review.importance or review.effects or review.surface):
            return None
        sizes = [(i.feature, i.modality, str(i.size)) for i in review.importance]
        effects = [
            (e.feature, e.levels[i] if e.levels else f"{at:.3g}", f"{_point(e.log_hz, i):+.2f}")
            for e in review.effects
            for i, at in enumerate(e.at)
            if e.levels or i in (0, len(e.at) // 2, len(e.at) - 1)
        ]
        surface = review.surface
        head = (
            ("", "") if surface is None else (f"{surface.y} \\ {surface.x}", *_ends(surface.at_x))
        )
        rows = (
            []
            if surface is None or not surface.survival
            else [
                (f"{surface.at_y[j]:.3g}", *(_percent(surface.survival[j][i]) for i in (0, -1)))
                for j in (0, -1)
            ]
        )
        return self._section(
            "drivers",
            "What drives it?",
            verdicts.drivers(review),
            *self._figure(
                "importance",
                "How far each feature moves predictions, with its interval. Colour and hatching "
                "are the modality's, whose name stands beside.",
            ),
            *_table(
                "Size of attributions", ("feature", "modality", "log-hazard"), sizes, folded=True
            ),
            *self._figure(
                "effects",
                "Mean log-hazard over all patients, had they all this value; bands are the "
                "ensemble's. Features that go together are moved apart here, as they seldom are.",
            ),
            *_table(
                "Partial effects at the least, a middle and the largest value, or each level",
                ("feature", "value", "log-hazard"),
                effects,
                folded=True,
            ),
            *self._figure(
                "surface",
                "Mean predicted survival, had all patients these two values. Straight, parallel "
                "contours would mean that neither changes what the other does.",
            ),
            *_table("Predicted survival at the corners, %", head, rows, folded=True),
        )

    def leaks(self) -> Section:
        rows = [
            (f.question, STATUS[f.status], f.text, ", ".join(f.features) or "–")
            for f in self.review.sentinels
        ]
        return self._section(
            "leaks",
            "Could it be a leak?",
            verdicts.leaks(self.review),
            *_table("Every sentinel", ("question", "state", "what was found", "features"), rows),
        )

    def _section(
        self,
        key: str,
        heading: str,
        verdict: Verdict,
        *items: Item,
        sentences: tuple[str, ...] = (),
    ) -> Section:
        return Section(heading, verdict, sentences, tuple(items), TERMS.get(key, ()))

    def _figure(self, name: str, caption: str) -> tuple[Item, ...]:
        """Draw a figure; none where the record has nothing to draw."""
        with house_style():
            drawing = DRAWS[name](self.review)
            if drawing is None:
                return ()
            alt = f"{caption} The numbers are in a table of this section."
            return (Figure(inline_svg(drawing, name), alt, caption),)

    def _marks(self) -> tuple[str, ...]:
        return tuple(f"month {m:.0f}" for m in self.review.marks)

    def _at_marks(self, curve: Curve) -> tuple[str, ...]:
        """Percents at the marks, each at the nearest month of the curve."""
        months = np.array(self.review.months)
        if len(curve.value) != len(months) or not np.isfinite(months).all() or not len(months):
            return tuple("–" for _ in self.review.marks)
        near = [int(np.abs(months - m).argmin()) for m in self.review.marks]
        return tuple(f"{100 * _point(curve, i).value:.0f} %" for i in near)

    def _over_time(self, what: str, curves: Mapping[str, Curve]) -> tuple[Item, ...]:
        months = np.array(self.review.months)
        if not len(months) or not np.isfinite(months).all():
            return ()
        near = [int(np.abs(months - m).argmin()) for m in self.review.marks]
        near = [i for i in near if months[i] > 0]
        rows = [
            (name, *(f"{_point(curve, i):.3f}" for i in near)) for name, curve in curves.items()
        ]
        head = ("", *(f"month {months[i]:.0f}" for i in near))
        return _table(f"{what} over time", head, rows, folded=True)


def _table(
    caption: str, head: tuple[str, ...], rows: Sequence[Sequence[str]], *, folded: bool = False
) -> tuple[Item, ...]:
    return (Table(caption, head, rows, folded),) if rows else ()


def _point(curve: Curve, i: int) -> Span:
    ends = (c[i] if len(c) > i else math.nan for c in (curve.value, curve.low, curve.high))
    value, low, high = ends
    return Span(value=value, low=low, high=high)


def _place(values: Sequence[float], i: int) -> str:
    return f"{values[i]:.3f}" if len(values) > i and math.isfinite(values[i]) else "–"


def _percent(value: float) -> str:
    return f"{100 * value:.0f}" if math.isfinite(value) else "–"


def _ends(values: Sequence[float]) -> tuple[str, ...]:
    return tuple(f"{values[i]:.3g}" for i in (0, -1)) if values else ()
