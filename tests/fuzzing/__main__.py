"""``make fuzz``: judge many tables, each kind of damage alike often, and a third of them sound.

One seed tells everything of a table: ``python -m tests.fuzzing --seed S --kind K`` shows one again.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.fuzzing.judge import FAULTS, Outcome
from tests.fuzzing.kinds import KINDS, SOUND, make
from tests.fuzzing.runs import judged, planned

#: Columns of the table that is printed.
SHOWN: tuple[Outcome, ...] = (
    *("equal", "answered", "refused", "asked", "noted", "unequal", "silent", "traceback", "leak"),
)
#: Seeds that are listed of each kind.
LISTED = 8


def main() -> int:
    """Judge tables; return 1 where one is misread."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing", description=__doc__)
    parser.add_argument("--n", type=int, default=20000, help="tables (default: 20000)")
    parser.add_argument(
        "--seed", type=int, help="the first seed; alone with --kind: show one table"
    )
    parser.add_argument("--kind", choices=[*KINDS], help="tables of this kind alone")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="folder for the files of a table that is shown")
    said = parser.parse_args()
    logging.disable(logging.WARNING)
    if said.seed is not None and said.kind is not None and "--n" not in sys.argv:
        return show(said.kind, said.seed, said.keep)
    return campaign(said.n, said.seed or 0, said.kind, said.processes)


def campaign(n: int, seed: int, kind: str | None, processes: int) -> int:
    """Judge n tables and print what came of each kind."""
    plan = planned(n, seed, kind)
    counts: dict[str, Counter[str]] = {}
    faults: dict[tuple[str, str], list[int]] = {}
    # Threads of libraries would only wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("fork")
    with context.Pool(processes, initializer=logging.disable, initargs=(logging.WARNING,)) as pool:
        results = pool.imap_unordered(judged, plan, chunksize=20)
        for name, its_seed, outcome in _with_bar(results, len(plan)):
            counts.setdefault(name, Counter())[outcome] += 1
            stopped = name in SOUND and outcome in ("refused", "asked")
            if outcome in FAULTS or stopped:
                faults.setdefault((name, outcome), []).append(its_seed)
    _print(counts, faults)
    return 1 if faults else 0


def show(kind: str, seed: int, keep: Path | None) -> int:
    """Judge one table and print all of it."""
    from tests.fuzzing.judge import judge

    case = make(kind, seed)
    folder = keep or Path(tempfile.mkdtemp(prefix="accomplice-fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)
    verdict = judge(case, folder)
    print(f"{kind} {seed}: {verdict.outcome}\nfiles: {folder}\nform: {case.form}")
    print(f"options: {case.options}\ndone: {case.done}\n{verdict.text}")
    print(f"different: {', '.join(verdict.differences) or 'nothing'}")
    for note in verdict.notes:
        print(f"note: {note}")
    return 1 if verdict.outcome in FAULTS else 0


def _with_bar(results: Iterator[tuple[str, int, str]], n: int) -> Iterator[tuple[str, int, str]]:
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(results, "tables", total=n, console=console, disable=not console.is_terminal)


def _print(counts: dict[str, Counter[str]], faults: dict[tuple[str, str], list[int]]) -> None:
    shown = [name for name in SHOWN if any(each[name] for each in counts.values())]
    print(f"{'kind':24}{'tables':>8}" + "".join(f"{name:>10}" for name in shown))
    total: Counter[str] = Counter()
    for kind in KINDS:
        if kind in counts:
            total += counts[kind]
            _print_row(kind, counts[kind], shown)
    _print_row("all", total, shown)
    for (kind, outcome), seeds in sorted(faults.items()):
        listed = " ".join(map(str, sorted(seeds)[:LISTED]))
        more = f" and {len(seeds) - LISTED} more" if len(seeds) > LISTED else ""
        print(f"{outcome}: --kind '{kind}' --seed {listed}{more}")


def _print_row(kind: str, each: Counter[str], shown: list[Outcome]) -> None:
    print(f"{kind:24}{each.total():>8}" + "".join(f"{each[name]:>10}" for name in shown))


if __name__ == "__main__":
    sys.exit(main())
