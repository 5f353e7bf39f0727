"""``make bench``: each benchmark prints ratios measured in one run on this machine."""

from __future__ import annotations

import os
import platform

from tests.benchmarks import big_training, trial_speed


def main() -> None:
    """Run all benchmarks."""
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}")
    trial_speed.main()
    big_training.main()


if __name__ == "__main__":
    main()
