"""Each figure shows what the record holds; what is empty or undefined is left out."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.text import Text

from accomplice.training.reports.figures.review import DRAWS
from accomplice.training.reports.figures.style import BLUE, DASHES, house_style, lines
from tests.training.reports.made_review import (
    BASELINES,
    MODELS,
    bare_review,
    made_review,
    unknown_review,
)


@pytest.fixture(scope="module")
def review():
    return made_review()


@pytest.fixture(scope="module")
def drawn(review):
    return figures_of(review)


def figures_of(review):
    """Name -> figure, of the figures that are not empty."""
    with house_style():
        made = {name: draw(review) for name, draw in DRAWS.items()}
    return {name: figure for name, figure in made.items() if figure is not None}


def picture(figure):
    """Whether a figure can be written as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue().startswith(b"\x89PNG")


def words(figure):
    return [t.get_text() for t in figure.findobj(Text) if t.get_text()]


def test_there_is_a_figure_of_every_part(drawn):
    assert list(drawn) == list(DRAWS)


@pytest.mark.parametrize("name", DRAWS)
def test_patients_events_and_that_they_are_synthetic_are_on_each(drawn, name):
    said = " ".join(words(drawn[name]))
    assert "317 synthetic patients, 129 events; out of fold" in said
    assert "made-up-gastric" in said


def test_real_patients_are_not_called_synthetic():
    real = made_review(synthetic=False)
    for draw in DRAWS.values():
        assert not any("synthetic" in said for said in words(draw(real)))


@pytest.mark.parametrize("name", DRAWS)
def test_is_written_as_a_picture_of_some_thousand_pixels(drawn, name):
    assert picture(drawn[name])
    assert 800 <= drawn[name].get_figwidth() * drawn[name].dpi <= 1300


class TestShown:
    def test_risk_groups_with_numbers_at_risk(self, drawn, review):
        upper, lower = drawn["risk_groups"].axes
        for line, group in zip(upper.get_lines(), review.risk_groups, strict=True):
            assert tuple(line.get_ydata()) == group.survival.value
            assert f"{group.patients} patients, {group.events} events" in line.get_label()
        counts = [int(t.get_text()) for t in lower.texts]
        assert counts == [n for group in review.risk_groups for n in group.at_risk]
        assert lower.get_xlabel() == "months"

    def test_a_panel_of_calibration_a_month_with_slopes(self, drawn, review):
        panels = drawn["calibration"].axes
        assert len(panels) == 3
        for axes, at in zip(panels, review.calibration, strict=True):
            said = " ".join(t.get_text() for t in (axes.title, *axes.texts))
            assert f"{at.month:.0f} months" in axes.get_title(loc="left")
            assert f"slope {at.slope:.2f}" in said
            assert f"observed/expected {at.observed_expected:.2f}" in said
            _, groups, *smooth = axes.get_lines()
            assert tuple(groups.get_ydata()) == at.observed
            assert len(smooth) == (at.smooth is not None)
            if at.smooth is not None:
                assert tuple(smooth[0].get_ydata()) == at.smooth.observed
                assert "ICI, points 2.1 (by chance to 3.4)" in said
                lower = axes.collections[-1].get_paths()[0].vertices[:, 1]
                assert lower.min() == pytest.approx(min(at.smooth.low))
            else:
                assert "ICI" not in said

    @pytest.mark.parametrize("name", ["auc", "brier"])
    def test_curves_over_time_of_the_model_with_its_band_and_of_the_baselines(
        self, drawn, review, name
    ):
        (axes,) = drawn[name].axes
        curves = getattr(review, name)
        for line, (model, curve) in zip(axes.get_lines(), curves.items(), strict=False):
            assert line.get_label().startswith(model)
            assert tuple(line.get_ydata()) == curve.value
        assert len(axes.collections) == 1

    def test_every_model_with_both_measures(self, drawn):
        names, *panels = drawn["models"].axes
        assert [t.get_text() for t in names.texts] == list(MODELS)
        assert [axes.get_xlabel().partition(" (")[0] for axes in panels] == [
            "Uno's C",
            "integrated Brier score",
        ]
        assert all(len(axes.collections) == len(MODELS) for axes in panels)

    def test_net_benefit_of_model_baselines_everybody_and_nobody(self, drawn, review):
        upper = drawn["decisions"].axes[0]
        labels = {line.get_label() for line in upper.get_lines()}
        assert labels == {"treat none", "treat all", *review.decisions[0].benefit}
        lower = drawn["decisions"].axes[3]
        assert tuple(lower.get_lines()[-1].get_ydata()) == review.decisions[0].gain.value

    def test_the_forest_has_counts_and_lines_at_no_gain_and_at_everybody(self, drawn, review):
        names, ratio, slope, c, gain = drawn["subgroups"].axes
        texts = [t.get_text() for t in names.texts]
        for group in review.subgroups[1:]:
            assert group.level in texts
            assert {str(group.patients), str(group.events)} <= set(texts)

        def upright(axes):
            lines = axes.get_lines()
            return {line.get_xdata()[0] for line in lines if len(set(line.get_xdata())) == 1}

        assert {0.0, review.subgroups[0].ibs_gain.value} <= upright(gain)
        # C has no line at that of everybody, to which a group's is not compared.
        assert 0.5 in upright(c)
        assert 1.0 in upright(ratio) & upright(slope)
        assert "too few to tell" in [t.get_text() for t in gain.texts]

    @pytest.mark.parametrize("name", ["models", "subgroups", "patterns", "modalities"])
    def test_names_stand_beside_their_intervals(self, drawn, name):
        drawn[name].draw_without_rendering()
        boxes = [axes.get_position() for axes in drawn[name].axes]
        assert len({(round(box.y0, 6), round(box.y1, 6)) for box in boxes}) == 1
        assert all(left.x1 <= right.x0 + 1e-6 for left, right in pairwise(boxes))

    def test_patterns_name_what_is_missing(self, drawn):
        texts = [t.get_text() for t in drawn["patterns"].axes[0].texts]
        assert "nothing missing" in texts
        assert "without molecular" in texts
        assert any("4 more" in text for text in texts)

    def test_modalities_by_what_they_are_worth(self, drawn):
        texts = [t.get_text() for t in drawn["modalities"].axes[0].texts]
        assert texts.index("clinical") < texts.index("t_cell")

    def test_instability_as_a_band_and_as_widths(self, drawn, review):
        left, right = drawn["instability"].axes
        assert tuple(left.get_lines()[1].get_ydata()) == review.instability.low
        assert any(t.get_text().startswith("17: half") for t in right.texts)

    def test_importance_names_the_modality_and_hatches_it(self, drawn, review):
        (axes,) = drawn["importance"].axes
        assert [t.get_text() for t in axes.texts] == [i.modality for i in review.importance]
        looks = {(b.get_facecolor(), b.get_hatch()) for b in axes.patches}
        assert len(looks) == len({i.modality for i in review.importance})

    def test_partial_effects_share_one_scale(self, drawn, review):
        panels = drawn["effects"].axes
        assert len({axes.get_ylim() for axes in panels}) == 1
        assert panels[0].get_title(loc="left") == review.effects[0].feature

    def test_levels_are_named(self, review):
        stage = next(e for e in review.effects if e.levels)
        figure = DRAWS["effects"](review.model_copy(update={"effects": (stage,)}))
        (axes,) = figure.axes
        assert [t.get_text() for t in axes.get_xticklabels()] == list(stage.levels)

    def test_the_surface_takes_its_names_from_the_record(self, drawn, review):
        axes, bar = drawn["surface"].axes
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("IL1R1", "CD163")
        assert "36 months" in bar.get_ylabel()
        assert any(str(review.surface.interaction) in said for said in words(drawn["surface"]))


def test_no_patient_is_drawn_for_an_undefined_record():
    assert figures_of(unknown_review()) == {}


def test_empty_parts_give_no_figure():
    assert figures_of(bare_review()) == {}


@pytest.mark.parametrize("name", DRAWS)
def test_a_part_that_is_empty_takes_no_other_with_it(review, name):
    field = "scores" if name == "models" else name
    value = getattr(review, field)
    empty = type(value)() if isinstance(value, tuple | dict) else None
    without = review.model_copy(update={field: empty})
    assert [other for other, draw in DRAWS.items() if draw(without) is None] == [name]


def test_a_surface_without_slope_is_drawn(review):
    flat = tuple(tuple(0.5 for _ in row) for row in review.surface.survival)
    level = review.surface.model_copy(update={"survival": flat})
    figure = DRAWS["surface"](review.model_copy(update={"surface": level}))
    assert picture(figure)
    filled = figure.axes[0].collections
    assert len(filled) == 1  # the colours, no contours
    assert filled[0].get_clim()[0] < 50 < filled[0].get_clim()[1]


def test_a_wide_interval_is_cut_and_does_not_flatten_the_others(review):
    first, *others = review.subgroups
    wild = replace(others[0].ibs_gain, low=-50.0, high=50.0)
    odd = others[0].model_copy(update={"ibs_gain": wild})
    figure = DRAWS["subgroups"](review.model_copy(update={"subgroups": (first, odd, *others[1:])}))
    axes = figure.axes[-1]
    assert np.ptp(axes.get_xlim()) < 0.2
    assert {"<", ">"} <= {line.get_marker() for line in axes.get_lines()}


def test_one_judged_month_is_enough(review):
    for field in ("calibration", "decisions"):
        alone = review.model_copy(update={field: getattr(review, field)[:1]})
        figure = DRAWS[field](alone)
        assert figure is not None
        assert picture(figure)
        (at,) = getattr(alone, field)
        assert any(f"{at.month:.0f} months" in said for said in words(figure))


def test_names_are_no_formulas(review):
    odd = review.model_copy(update={"cohort": "$x_{1$ & co"})
    drawn = figures_of(odd)
    assert picture(drawn["patterns"])
    assert any("$x_{1$ & co" in said for said in words(drawn["patterns"]))


class TestLines:
    def test_the_model_stands_out(self):
        styles = lines("model", ["stage", "model", *BASELINES])
        assert styles["model"] == (BLUE, "-", max(style.lw for style in styles.values()))

    def test_a_repeated_name_changes_no_style(self):
        assert lines("model", [*BASELINES, "model", *BASELINES]) == lines("model", BASELINES)

    def test_no_two_look_the_same_without_colour(self):
        styles = lines("model", [str(i) for i in range(len(DASHES) - 1)])
        assert len({str(style.ls) for style in styles.values()}) == len(styles)


def test_the_made_up_record_holds_numbers_as_json_does(review):
    again = type(review).model_validate_json(review.model_dump_json())
    assert again.scores == review.scores
    assert math.isnan(again.subgroups[-1].uno_c.value)
