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
    coverage,
    response,
    serving,
    trial_speed,
)

#: Name -> benchmark, the quick ones first.
BENCHMARKS: dict[str, Callable[[], None]] = {
    "response": response.main,
    "trial": trial_speed.main,
    "metrics": big_metrics.main,
    "coverage": coverage.main,
    "serving": lambda: serving.main([]),
    "training": big_training.main,
    "benefit": lambda: benefit.main([]),
    "accuracy": lambda: accuracy.main([]),
}


def main() -> None:
    """Run all benchmarks, or the one asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", choices=BENCHMARKS, help="run this one alone")
    only = parser.parse_args().only
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
    for name in [only] if only else BENCHMARKS:
        BENCHMARKS[name]()


if __name__ == "__main__":
    main()
