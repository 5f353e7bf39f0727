"""Seconds of each metric from ten thousand to a million patients, with the exponent of growth.

All should grow about as n (exponent 1; a little more where values are sorted or fall out of the
cache) and take at most `LIMIT` seconds on one core at the largest. Each metric is timed on times
and risks that are all distinct, then on whole months and rounded risks, which are full of ties.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from accomplice.training.estimators.intervals import resamples
from accomplice.training.estimators.kaplan_meier import KaplanMeier, censoring, inverse_censoring
from accomplice.training.metrics.brier import brier_contributions, time_average
from accomplice.training.metrics.calibration import (
    calibration_at,
    calibration_groups,
    d_calibration,
)
from accomplice.training.metrics.concordance import (
    concordance_contributions,
    concordances,
    harrell_c,
)
from accomplice.training.metrics.net_benefit import net_benefit_contributions
from tests.fixtures.oracles import (
    bootstrap_interval,
    cumulative_dynamic_auc,
    integrated_brier_score,
    uno_c,
)

SIZES = (10_000, 100_000, 1_000_000)
#: Columns of a survival matrix: the edges of a grid of 12 bins, less time 0, and the horizon.
COLUMNS = 13
HORIZON = 60.0
LIMIT = 5.0
#: Thresholds of a decision curve.
THRESHOLDS = np.linspace(0.05, 0.75, 15)
#: Bootstrap draws of a run.
DRAWS = 200
FIGURE = Path(".bench") / "big_metrics.png"


def cohort(n: int, *, tied: bool) -> tuple[Any, Any, Any]:
    """Draw event (n,), time (n,) in months and log hazard (n,): 0.03 a month, censored to 80."""
    generator = np.random.default_rng(n)
    risk = generator.normal(size=n)
    death, left = generator.exponential(1 / (0.03 * np.exp(risk))), generator.uniform(0, 80, n)
    time = np.minimum(death, left)
    if tied:
        return death <= left, np.ceil(time), np.round(risk, 1)
    return death <= left, time, risk


def metrics(n: int, *, tied: bool) -> dict[str, Callable[[], object]]:
    """Return every metric, ready to be called on n patients; predictions are the truth."""
    event, time, risk = cohort(n, tied=tied)
    times = np.linspace(0, HORIZON, COLUMNS + 1)[1:]
    survival = np.exp(-0.03 * np.multiply.outer(np.exp(risk), times))
    own = np.exp(-0.03 * np.exp(risk) * time)
    middle, at_middle = times[COLUMNS // 2], survival[:, COLUMNS // 2].copy()
    curve = censoring(time, event)
    each = survival.mean(axis=1)

    def average_brier() -> object:
        return time_average(brier_contributions(event, time, survival, times, curve), times)

    def draws() -> object:
        found = concordance_contributions(event, time, risk, curve, HORIZON)
        parts = np.stack(found)
        return [parts @ np.bincount(r, minlength=n).astype(float) for r in resamples(n, DRAWS, 0)]

    def ranked_draw() -> object:
        rows = next(iter(resamples(n, 1, 0)))
        return concordances(event[rows], time[rows], risk[rows], curve, HORIZON)

    return {
        "Harrell's C": lambda: harrell_c(event, time, risk),
        "Uno's C": lambda: uno_c(event, time, risk, curve, HORIZON),
        "both C's": lambda: concordances(event, time, risk, curve, HORIZON),
        "both, by patient": lambda: concordance_contributions(event, time, risk, curve, HORIZON),
        f"{DRAWS} draws of both": draws,
        "a draw, ranked": ranked_draw,
        "integrated Brier": lambda: integrated_brier_score(event, time, survival, times, curve),
        "Brier by patient": average_brier,
        "AUC, one risk": lambda: cumulative_dynamic_auc(event, time, risk, times, curve),
        "AUC, a risk a time": lambda: cumulative_dynamic_auc(
            event, time, 1 - survival, times, curve
        ),
        "calibration slope": lambda: calibration_at(event, time, at_middle, middle, curve),
        "calibration groups": lambda: calibration_groups(event, time, at_middle, middle),
        "decision curve": lambda: net_benefit_contributions(
            event, time, 1 - at_middle, THRESHOLDS, middle, curve
        ).mean(axis=0),
        "D-calibration": lambda: d_calibration(event, own),
        "Kaplan-Meier": lambda: KaplanMeier.fit(time, event),
        "censoring curve": lambda: censoring(time, event),
        "censoring weights": lambda: inverse_censoring(curve, time, event & (time <= HORIZON)),
        # What a bootstrap adds to its statistic: ten draws of rows, and a mean over them.
        "10 draws of a mean": lambda: bootstrap_interval(
            lambda rows: float(each[rows].mean()), n, 10, 0
        ),
    }


def measure(*, tied: bool) -> dict[str, list[float]]:
    """Return seconds of processor time by metric, one for each of `SIZES`."""
    seconds: dict[str, list[float]] = {}
    for n in SIZES:
        for name, metric in metrics(n, tied=tied).items():
            # The first call of a small one pays for imports and for pages of memory.
            repeats = max(1, 100_000 // n)
            metric()
            began = process_time()
            for _ in range(repeats):
                metric()
            seconds.setdefault(name, []).append((process_time() - began) / repeats)
    return seconds


def exponent(seconds: list[float]) -> float:
    """Slope of log seconds over log patients."""
    return float(np.polyfit(np.log(SIZES), np.log(np.maximum(seconds, 1e-7)), 1)[0])


def draw(measured: Mapping[str, Mapping[str, list[float]]], path: Path) -> None:
    """Draw seconds over patients, both logarithmic, untied beside tied."""
    figure = Figure(figsize=(11, 5), layout="constrained")
    for axes, (title, seconds) in zip(
        figure.subplots(1, len(measured), sharey=True), measured.items(), strict=True
    ):
        for place, (name, values) in enumerate(seconds.items()):
            axes.loglog(SIZES, values, marker="os^vDPX"[place % 7], lw=1, label=name)
        axes.axhline(LIMIT, color="black", lw=0.8, ls=":")
        axes.set(title=title, xlabel="patients", ylabel="seconds on one core")
    axes.legend(fontsize=7, bbox_to_anchor=(1, 1), loc="upper left")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Print the seconds and draw them."""
    measured = {
        "times all distinct": measure(tied=False),
        "times in whole months": measure(tied=True),
    }
    for title, seconds in measured.items():
        print(f"\nmetrics, {title}: seconds of {', '.join(f'{n:,}' for n in SIZES)} patients")
        for name, values in seconds.items():
            over = f"  over {LIMIT:g} s" if values[-1] > LIMIT else ""
            figures = "".join(f"{value:10.4f}" for value in values)
            print(f"  {name:20s}{figures}   grows as n^{exponent(values):.2f}{over}")
    draw(measured, FIGURE)
    print(f"drawn in {FIGURE}")


if __name__ == "__main__":
    main()
