"""How accurate `accomplice train` is beside its peers, over public cohorts.

Every learner gets the same splits and the same scores. Results are kept in `.bench/`, so that an
interrupted run goes on where it was; after a change to data/ or training/ only ours is run anew.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from accomplice.training.cli.terminal import shown
from tests.benchmarks import cohorts
from tests.benchmarks.ours import ROOT, ours, source_digest
from tests.benchmarks.peers import PEERS, Learner, absent
from tests.benchmarks.scoring import asked_times, calibration, eval_times, read_at, score
from tests.benchmarks.summary import Block, Result, summarise

OURS = "ours"
LEARNERS: dict[str, Learner] = {OURS: ours, **PEERS}
CACHE = ROOT / ".bench" / "accuracy.jsonl"


class Cache:
    """Results by cohort, repeat and learner, one JSON object a line; a later line counts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.code = source_digest()
        self.rows: dict[tuple[Any, ...], Result] = {}
        if path.is_file():
            for line in path.read_text().splitlines():
                row = json.loads(line)
                self.rows[self._key(row)] = row

    def get(self, cohort: str, repeat: int, learner: str) -> Result | None:
        """Return a result of the present code."""
        return self.rows.get((cohort, repeat, learner, self._code_of(learner)))

    def add(self, cohort: str, repeat: int, learner: str, result: Result) -> None:
        """Keep a result; several processes may write at once."""
        row: Result = {"cohort": cohort, "repeat": repeat, "learner": learner}
        row |= {"code": self._code_of(learner), **result}
        self.rows[self._key(row)] = row
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def _code_of(self, learner: str) -> str | None:
        return self.code if learner == OURS else None

    @staticmethod
    def _key(row: Result) -> tuple[Any, ...]:
        return row["cohort"], row["repeat"], row["learner"], row["code"]


def measure(cohort: str, repeat: int, learner: str) -> Result:
    """Fit and score a learner on one split; what went wrong is a result too."""
    train, test = cohorts.load_split(cohort, repeat)
    times = eval_times(train, test)
    asked = asked_times(test, times)
    began = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            predict = LEARNERS[learner](train)
            seconds = time.perf_counter() - began
            risk, curve = predict(test, asked)
            found = score(train, test, risk, read_at(curve, asked, times), times)
            found |= calibration(train, test, curve, asked, times)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    known = {key: None if math.isnan(value) else value for key, value in found.items()}
    return {**known, "seconds": round(seconds, 2)}


def run(names: Iterable[str], repeats: int, learners: Sequence[str], cache: Cache) -> None:
    """Measure all splits that the cache has no result of."""
    splits = _splits(names, repeats, learners)
    missing = [split for split in splits if cache.get(*split) is None]
    with shown("accuracy") as tick:
        for done, split in enumerate(missing):
            tick("fits", done, len(missing))
            result = measure(*split)
            cache.add(*split, result)
            if "error" in result:
                print(f"{split[2]} failed on {split[0]}: {result['error']}", file=sys.stderr)


def kept(
    names: Iterable[str], repeats: int, learners: Sequence[str], cache: Cache
) -> dict[str, list[Result]]:
    """Return the results of the cohorts that the cache has all results of."""
    found = {
        name: [cache.get(*split) for split in _splits([name], repeats, learners)] for name in names
    }
    return {
        name: [row for row in rows if row is not None]
        for name, rows in found.items()
        if None not in rows
    }


def _splits(
    names: Iterable[str], repeats: int, learners: Sequence[str]
) -> list[tuple[str, int, str]]:
    return [(name, r, one) for name in names for r in range(repeats) for one in learners]


def available(wanted: Iterable[str], why_not: Any) -> list[str]:
    """Return those that can be had here; say of the others why not."""
    here = []
    for name in wanted:
        reason = why_not(name)
        if reason is None:
            here.append(name)
        else:
            print(f"left out: {name}: {reason}", file=sys.stderr)
    return here


def show(blocks: Iterable[Block]) -> None:
    """Print tables."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    for block in blocks:
        table = Table(title=block.title, title_justify="left")
        for j, name in enumerate(block.header):
            table.add_column(name, justify="left" if j == 0 else "right", no_wrap=True)
        for row in block.rows:
            table.add_row(*row)
        console.print(table)


def as_markdown(blocks: Iterable[Block]) -> str:
    """Return tables as Markdown."""
    lines: list[str] = []
    for block in blocks:
        lines += [f"## {block.title}", "", f"| {' | '.join(block.header)} |"]
        lines += [f"|---{'|---:' * (len(block.header) - 1)}|"]
        lines += [f"| {' | '.join(row)} |" for row in block.rows] + [""]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing and print the tables."""
    options = _options(arguments)
    learners = available(options.learners, lambda n: None if n == OURS else absent(n))
    names = available(options.cohorts, cohorts.missing)
    if not learners or not names or absent("ridge"):
        print("accuracy: left out: nothing to compare, or no scikit-survival to score with")
        return
    cache = Cache(options.cache)
    if not options.kept:
        run(names, options.repeats, learners, cache)
    results = kept(names, options.repeats, learners, cache)
    if not results:
        print("accuracy: no cohort has all its results yet")
        return
    blocks = summarise([row for rows in results.values() for row in rows], learners, list(results))
    show(blocks)
    if options.markdown:
        options.markdown.write_text(as_markdown(blocks))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.accuracy",
        description="Measure `accomplice train` against its peers on public cohorts, each with the "
        "same splits and scores. Results are kept, so a run that was stopped goes on. All of it "
        "takes some hours on one core.",
    )
    parser.add_argument(
        "--cohorts",
        type=_names(cohorts.COHORTS),
        default=cohorts.COHORTS,
        metavar="A,B",
        help=f"all if absent: {', '.join(cohorts.COHORTS)}",
    )
    parser.add_argument(
        "--learners",
        type=_names(tuple(LEARNERS)),
        default=tuple(LEARNERS),
        metavar="A,B",
        help=f"all if absent: {', '.join(LEARNERS)}",
    )
    parser.add_argument("--repeats", type=int, default=3, help="splits a cohort (3)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there too")
    parser.add_argument(
        "--kept",
        action="store_true",
        help="measure nothing: show the cohorts whose results are all kept already",
    )
    parser.add_argument(
        "--cache", type=Path, default=CACHE, help="where results are kept (.bench/accuracy.jsonl)"
    )
    return parser.parse_args(arguments)


def _names(known: Sequence[str]) -> Any:
    def names(text: str) -> tuple[str, ...]:
        chosen = tuple(text.split(","))
        for name in chosen:
            if name not in known:
                raise argparse.ArgumentTypeError(f"'{name}' is none of {', '.join(known)}")
        return chosen

    return names


if __name__ == "__main__":
    main()
