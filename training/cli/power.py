"""The verb ``power``: the patients that an interaction or a prediction model needs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from accomplice.data.errors import InputError
from accomplice.data.escaping import say
from accomplice.data.files import GENERATOR, check_beside, written_beside
from accomplice.training.cli.arguments import (
    Endpoint,
    between,
    count,
    counts,
    natural,
    one_of,
    option,
)
from accomplice.training.cli.preparation import inputs_of
from accomplice.training.cli.terminal import say_cohort, say_replaced, shown

if TYPE_CHECKING:
    from accomplice.data.cohort import Cohort

#: Suffix of the figure -> its metadata, by which a figure of this program is known.
FIGURES = {
    ".png": {"Software": "accomplice"},
    ".svg": {"Title": "accomplice"},
    ".pdf": {"Creator": "accomplice"},
}

#: Scale of the marker: halves, or linear per standard deviation.
Scale = Literal["half", "sd"]
#: Parser of a share of patients.
SHARE = between("a share", 0.01, 0.99)
#: Parser of a hazard ratio.
RATIO = between("a ratio", 0.01, 100)
#: Parser of a rate or a time.
POSITIVE = between("a number", 1e-6, 1e6)
#: Options of an interaction alone, and those of a prediction model alone.
INTERACTION = (
    *("marker", "sizes", "events", "treated", "marker_known", "hr_low", "hr_high", "interaction"),
    *("hr_marker", "scale", "alpha", "draws", "seed", "out"),
)
PREDICTION = ("parameters", "c", "r2", "rate", "mean_follow_up", "horizon")


def power(
    context: typer.Context,
    study: Annotated[
        Path | None, typer.Argument(metavar="STUDY", help="study file of a cohort at hand")
    ] = None,
    *,
    marker: Annotated[str | None, option("MARKER", "the study's feature; with STUDY only")] = None,
    endpoint: Endpoint = None,
    prediction: Annotated[
        bool,
        typer.Option("--prediction", help="ask for the patients that a prediction model needs"),
    ] = False,
    n: Annotated[int | None, option("N", "patients (default: 409, or the study's)", count)] = None,
    sizes: Annotated[
        Sequence[int] | None,
        option("N,N", "further sizes of the curve (default: 200,400,800,1600,3200)", counts),
    ] = None,
    events: Annotated[
        float | None,
        option(
            "SHARE", "share of patients whose event is seen (default: 0.45, or the study's)", SHARE
        ),
    ] = None,
    treated: Annotated[
        float | None,
        option("SHARE", "share of patients who are treated (default: 0.6, or the study's)", SHARE),
    ] = None,
    marker_known: Annotated[
        float | None,
        option(
            "SHARE",
            "share of patients with marker and treatment recorded (default: 1, or the study's)",
            between("a share", 0.01, 1.0),
        ),
    ] = None,
    hr_low: Annotated[
        float | None,
        option(
            "HR", "hazard ratio of the treatment where the marker is low (default: 0.48)", RATIO
        ),
    ] = None,
    hr_high: Annotated[
        float | None,
        option("HR", "hazard ratio of the treatment where it is high (default: 0.76)", RATIO),
    ] = None,
    interaction: Annotated[
        float | None,
        option(
            "HR",
            "in place of --hr-high: ratio of the treatment's hazard ratios, high half over low "
            "half, or for one SD with --scale sd",
            RATIO,
        ),
    ] = None,
    hr_marker: Annotated[
        float | None,
        option("HR", "of the untreated, high half over low half or for one SD (default: 1)", RATIO),
    ] = None,
    scale: Annotated[
        Scale,
        option(
            one_of(Scale),
            "the marker acts and is analysed by halves, or linearly per SD, as marker tests it "
            "(default: half)",
        ),
    ] = "half",
    alpha: Annotated[
        float, option("ALPHA", "two-sided level (default: 0.05)", between("a level", 1e-06, 0.5))
    ] = 0.05,
    draws: Annotated[int, option("N", "cohorts a size (default: 1000)", count)] = 1000,
    seed: Annotated[int, option("SEED", "of the draws (default: 0)", natural)] = 0,
    parameters: Annotated[
        int | None,
        option("P", "--prediction: candidate parameters (default: of the study's features)", count),
    ] = None,
    c: Annotated[
        float | None,
        option("C", "--prediction: anticipated concordance", between("a C", 0.5, 0.99)),
    ] = None,
    r2: Annotated[
        float | None,
        option(
            "R2",
            "--prediction: in place of --c, anticipated Cox-Snell R2 (default: 0.15 of its "
            "maximum)",
            between("an R2", 0.0001, 0.99),
        ),
    ] = None,
    rate: Annotated[
        float | None,
        option("RATE", "--prediction: events in a unit of time of follow-up", POSITIVE),
    ] = None,
    mean_follow_up: Annotated[
        float | None, option("TIME", "--prediction: mean follow-up, in that unit", POSITIVE)
    ] = None,
    horizon: Annotated[
        float | None, option("TIME", "--prediction: time to which risk is predicted", POSITIVE)
    ] = None,
    out: Annotated[
        Path | None, option("FILE", "figure (.png, .svg, .pdf); its numbers go to a .json beside")
    ] = None,
) -> None:
    """Patients needed, for a treatment-by-marker interaction or a prediction model.

    Simulates cohorts in which a treatment works less where a marker is high, analyses each by a Cox
    model, and counts how often the interaction is significant: at --n, along a curve of sizes, and
    the number of patients for 80 %. Significant estimates overstate the interaction; the factor is
    shown too.

      accomplice power --n 409 --events 0.45 --treated 0.6 --hr-low 0.48 --hr-high 0.76 --out p.png
      accomplice power --n 800 --interaction 1.4 --scale sd
      accomplice power study.yaml --marker IL1R1 --out power.png
      accomplice power study.yaml --marker IL1R1 --marker-known 1

    With a STUDY, the numbers of patients, events and treated patients, the share with the marker
    recorded, and the follow-up are read from its cohort, except where an option is given: the last
    example shows the gain from measuring the marker in all patients. Effects are never read from a
    cohort: assume them.

    --prediction asks what a prediction model needs instead, by the criteria of Riley et al. (BMJ
    2020): effects that shrink to no less than 0.9 of their size in new patients, an R2 too good by
    0.05 at most, and the overall risk at the horizon known to within 0.05. Say what is known of the
    patients, of the model, and what C is expected of it by the literature:

      accomplice power --prediction --parameters 30 --rate .065 --mean-follow-up 2.07 --horizon 2
      accomplice power study.yaml --prediction --c 0.7
      accomplice power study.yaml --prediction --c 0.7 --parameters 12 --n 600

    A number that acts linearly is one parameter, a category one fewer than its levels, a spline or
    a product more; all candidates count, not those that are chosen in the end. Rate, follow-up and
    horizon are in one unit of time, with a STUDY in months, and read from it where not given; --n
    says how much the effects of so many patients would shrink, the study's by default. A penalty
    makes up for part of it, but is itself uncertain where patients are few.
    """
    other = INTERACTION if prediction else PREDICTION
    given = [name for name in other if _given(context, name)]
    if given:
        named = f"--{given[0].replace('_', '-')}"
        raise InputError(f"{named}: {'not with' if prediction else 'give it with'} --prediction")
    if prediction:
        say_prediction(study, endpoint, n, parameters, c, r2, rate, mean_follow_up, horizon)
        return
    from rich.console import Console

    from accomplice.training.power.report import LEGEND, assumptions, conclusion, record, table
    from accomplice.training.power.setting import Setting, scenario_of, setting_of, sizes_of
    from accomplice.training.power.simulation import curve, needed

    if out is not None:
        read = [] if study is None else inputs_of(study)
        replaced = check_beside(out, tuple(FIGURES), read)
    cohort = power_cohort(study, marker, endpoint)
    setting = Setting() if cohort is None or marker is None else setting_of(cohort, marker)
    setting = setting.changed(n, events, treated, marker_known)
    scenario = scenario_of(
        setting,
        hr_low=hr_low,
        hr_high=hr_high,
        interaction=interaction,
        hr_marker=hr_marker,
        scale=scale,
        alpha=alpha,
    )
    all_sizes = sizes_of(scenario, setting.patients, sizes)
    if cohort is not None:
        say_cohort(cohort)
    say(*assumptions(scenario, draws, None if cohort is None else marker))
    with shown("power") as tick:
        points = curve(scenario, all_sizes, draws, seed, tick)
        enough = needed(scenario, draws, seed, tick)
    at = next(point for point in points if point.patients == setting.patients)
    Console().print(table(points))
    say(LEGEND)
    say(*conclusion(at, enough))
    if out is not None:
        from accomplice.training.power.figures import power_curve

        of = None if cohort is None else f"{cohort.study.name}, {marker}"
        synthetic = cohort is not None and cohort.study.synthetic
        found = record(scenario, points, enough, seed=seed, cohort=of, synthetic=synthetic)
        figure = power_curve(scenario, at, points, enough, of, synthetic=synthetic)
        with written_beside(out, json.dumps(GENERATOR | found, indent=2) + "\n") as part:
            figure.savefig(part, format=out.suffix[1:], metadata=FIGURES[out.suffix])
        say_replaced(replaced)
        say(f"wrote {out} and {out.with_suffix('.json')}")


def _given(context: typer.Context, name: str) -> bool:
    """Return whether an option was given on the command line, rather than left at its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def say_prediction(
    study: Path | None,
    endpoint: str | None,
    n: int | None,
    parameters: int | None,
    c: float | None,
    r2: float | None,
    rate: float | None,
    mean_follow_up: float | None,
    horizon: float | None,
) -> None:
    """Print the patients that a prediction model needs; arguments as the options of ``power``.

    Raises:
        InputError: neither options nor a study give the number of parameters or of patients, or R²
            is not possible.
    """
    from rich.console import Console

    from accomplice.data.checks.sample_size import parameters_of, sample_size
    from accomplice.data.loading import load_cohort
    from accomplice.training.power.prediction import (
        anticipated,
        assumptions,
        conclusion,
        population_of,
        table,
    )

    cohort = None if study is None else load_cohort(study, endpoint)
    population = population_of(cohort, rate, mean_follow_up, horizon)
    expected, source = anticipated(population, c, r2)
    if cohort is not None:
        parameters = parameters or parameters_of(cohort)
        n = n or len(cohort)
    if parameters is None:
        raise InputError("--parameters: how many the model may have, or name a study file")
    found = sample_size(population, parameters, expected)
    if cohort is not None:
        say_cohort(cohort)
    say(*assumptions(population, parameters, expected, source))
    Console().print(table(found))
    say(*conclusion(found, expected, n))


def power_cohort(study: Path | None, marker: str | None, endpoint: str | None) -> Cohort | None:
    """Return the cohort that the simulated patients resemble; None without a study file.

    Args:
        study: study file; None without one.
        marker: name of the study's feature.
        endpoint: survival endpoint; None: the study's first.

    Raises:
        InputError: the cohort cannot be read, there is no marker with a study file, or a marker or
            an endpoint is given without one.
    """
    if study is None:
        for option, value in (("marker", marker), ("endpoint", endpoint)):
            if value is not None:
                raise InputError(f"--{option} is of a study: name the study file before it")
        return None
    if marker is None:
        raise InputError(
            "--marker: name the study's feature that may change the treatment's effect"
        )
    from accomplice.data.loading import load_cohort

    return load_cohort(study, endpoint)
