"""The verb ``predict``: a table of any length, some thousand patients at a time.

Nothing said of a patient hangs on who else is asked about, but for the last digits: how a matrix
product is summed depends on its size. So parts begin where the model's own blocks do, and a table
in parts gets the very numbers that it would get at once. One thread works: most of the time goes
into many small array operations, of which two threads do no more than one.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from accomplice.data.errors import InputError
from accomplice.data.files import TABLES, check_file, csv_parts, written_in_parts
from accomplice.training.cli.train import ctrl_c_heeded
from accomplice.training.progress import Tick, silent
from accomplice.training.reports.wording import SYNTHETIC

if TYPE_CHECKING:
    import pandas as pd

    from accomplice.training.bundle import Bundle

#: Blocks of the model in one part of a table, and cells beyond which there are fewer.
BLOCKS, CELLS = 4, 1 << 22
#: Flags named at the end.
MOST_FLAGS = 5


class Part(NamedTuple):
    """What the model says of some rows of a table."""

    answers: pd.DataFrame
    explanations: pd.DataFrame | None


@dataclass
class Tally:
    """How many patients were answered, and with which flags."""

    patients: int = 0
    flagged: int = 0
    flags: Counter[str] = field(default_factory=Counter)

    def add(self, flags: pd.Series) -> None:
        """Count the flags of further patients (n,)."""
        from accomplice.training.bundle import OK, SEPARATOR

        self.patients += len(flags)
        # Patients come with few combinations of flags.
        for together, count in flags.value_counts().items():
            if together == OK:
                continue
            self.flagged += count
            for flag in set(str(together).split(SEPARATOR)):
                self.flags[flag] += count

    def usual(self) -> str:
        """Name the most frequent flags with their patients, by falling number, then by name."""
        listed = sorted(self.flags.items(), key=lambda each: (-each[1], each[0]))
        # A column's name, which may be part of a flag, may hold a line break.
        said = [f"{' '.join(flag.split())} {count}" for flag, count in listed[:MOST_FLAGS]]
        more = len(listed) - len(said)
        return ", ".join(said) + (f" and {more} more" if more else "")


def predict(args: argparse.Namespace) -> None:
    """Predict for the rows of a table."""
    out, explained = check_outputs(args)
    with ctrl_c_heeded():
        from accomplice.data.streams import stream_patients
        from accomplice.training.bundle import Bundle
        from accomplice.training.cli.progress_bar import shown
        from accomplice.training.tracking.store import find_bundle

        bundle = Bundle.load(find_bundle(args.model))
    rates = dict(args.response_rate)
    times, _ = bundle.times(args.times), bundle.rates(rates)
    table = stream_patients(Path(args.table), bundle.study)
    tally = Tally()
    with ExitStack() as opened:
        write = (
            csv_parts(sys.stdout) if out is None else opened.enter_context(written_in_parts(out))
        )
        explain = None if explained is None else opened.enter_context(written_in_parts(explained))
        # On a terminal that shows the table itself, a bar would get between its lines.
        bar = out is not None or not sys.stdout.isatty()
        tick = opened.enter_context(shown("predict")) if bar else silent
        parts = table.parts(rows_of_part(len(table.columns)))
        counted = _counting(tick, table.rows)
        for part in answered(bundle, parts, times, rates, counted, explain=explain is not None):
            write(part.answers)
            if explain is not None and part.explanations is not None:
                explain(part.explanations)
            tally.add(part.answers["flags"])
    if out is not None:
        print(
            f"wrote {args.out}: {tally.patients} patients, {tally.flagged} with flags; "
            "research use only"
        )
        if tally.flagged:
            print(f"flags    {tally.usual()}")
    if bundle.study.synthetic:
        print(f"accomplice: this model was trained on {SYNTHETIC}", file=sys.stderr)


def check_outputs(args: argparse.Namespace) -> tuple[Path | None, Path | None]:
    """Refuse, before long work, places where ``--out`` and ``--explain`` cannot write."""
    places = {"--out": args.out, "--explain": args.explain}
    found = {option: Path(place) for option, place in places.items() if place is not None}
    for option, path in found.items():
        if path.suffix not in TABLES:
            raise InputError(f"{option} {path}: name a file that ends in {' or '.join(TABLES)}")
        check_file(path)
        if path.absolute() == Path(args.table).absolute():
            raise InputError(f"{option}: name another file than the table of patients")
    out, explained = found.get("--out"), found.get("--explain")
    if out is not None and explained is not None and out.absolute() == explained.absolute():
        raise InputError("--explain: name another file than --out")
    return out, explained


def rows_of_part(columns: int) -> int:
    """Return how many rows of a table with so many columns are answered at once: whole blocks."""
    from accomplice.training.models.forward import BLOCK

    return BLOCK * max(1, min(BLOCKS, CELLS // (BLOCK * max(columns, 1))))


def answered(
    bundle: Bundle,
    parts: Iterable[pd.DataFrame],
    times: Sequence[float],
    rates: Mapping[str, float],
    tick: Callable[[int], None],
    *,
    explain: bool,
) -> Iterator[Part]:
    """Yield what a model says of each part of a table, in their order.

    Args:
        bundle: the model.
        parts: of one table, all but the last of whole blocks; see :func:`rows_of_part`.
        times: months, checked.
        rates: as ``Bundle.predict`` takes them.
        tick: told how many patients are done.
        explain: whether the risks are explained too.
    """
    done = 0
    for part in parts:
        start, explanations = done, None
        if explain:

            def within(_: str, some: int, __: int, start: int = start) -> None:
                tick(start + some)

            explanations = bundle.explain(part, within, first=start + 1)
        answers = bundle.predict(part, times, rates, first=start + 1)
        done += len(part)
        tick(done)
        yield Part(answers, explanations)


def _counting(tick: Tick, total: int) -> Callable[[int], None]:
    return lambda done: tick("patients", done, total)
