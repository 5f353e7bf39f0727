"""``make bench``: each benchmark prints what it measured in one run on this machine."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable

from tests.benchmarks import (
    accuracy,
    benefit,
    big_metrics,
    big_training,
    large,
    neutral,
    response,
    serving,
    train_speed,
    trial_speed,
    tuning,
)
from tests.benchmarks.characteristics import __main__ as characteristics
from tests.benchmarks.characteristics import metrics, patient_interval

#: Name -> benchmark, the quick ones first.
BENCHMARKS: dict[str, Callable[[], None]] = {
    "response": response.main,
    "trial": trial_speed.main,
    "train": train_speed.main,
    "metrics": big_metrics.main,
    "coverage": metrics.main,
    "serving": lambda: serving.main([]),
    "training": big_training.main,
    "large": lambda: large.main([]),
    "benefit": lambda: benefit.main([]),
    "characteristics": lambda: characteristics.main([]),
    "interval": lambda: patient_interval.main([]),
    "neutral": lambda: neutral.main([]),
    "accuracy": lambda: accuracy.main([]),
    "tuning": lambda: tuning.main([]),
}


def chosen(text: str) -> list[str]:
    """Return the benchmarks that a list such as ``trial,serving`` names, in its order.

    Raises:
        argparse.ArgumentTypeError: there is no such benchmark.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in BENCHMARKS:
            known = ", ".join(BENCHMARKS)
            raise argparse.ArgumentTypeError(f"no benchmark '{name}': choose from {known}")
    return names


def main() -> None:
    """Run all benchmarks, or those asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "--only",
        type=chosen,
        default=list(BENCHMARKS),
        metavar="NAME,NAME",
        help=f"run these alone: {', '.join(BENCHMARKS)}",
    )
    only = parser.parse_args().only
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
    for name in only:
        BENCHMARKS[name]()


if __name__ == "__main__":
    main()
