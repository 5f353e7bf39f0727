"""Prints each table of operating characteristics, or those that are named."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from tests.benchmarks.characteristics import (
    advice,
    calibration,
    censoring,
    centres,
    gate,
    marker,
    positivity,
    served_slope,
    train_interval,
    verdicts,
)

#: Name -> prints one table.
TABLES: dict[str, Callable[[], None]] = {
    "advice": lambda: advice.main([]),
    "calibration": lambda: calibration.main([]),
    "censoring": lambda: censoring.main([]),
    "centres": lambda: centres.main([]),
    "gate": lambda: gate.main([]),
    "verdicts": lambda: verdicts.main([]),
    "marker": lambda: marker.main([]),
    "positivity": lambda: positivity.main([]),
    "served_slope": lambda: served_slope.main([]),
    "train_interval": lambda: train_interval.main([]),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", nargs="*", default=list(TABLES), help=", ".join(TABLES))
    for name in parser.parse_args(arguments).table:
        TABLES[name]()


if __name__ == "__main__":
    main()
