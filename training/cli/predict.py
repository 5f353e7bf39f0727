"""The verb ``predict``: a table of any length, some thousand patients at a time.

A patient's prediction does not depend on the other rows, but for its last digits: the order of
summation in a matrix product depends on its size. So parts begin where the model's own blocks do,
and a table in parts gets exactly the numbers of the whole table. One thread works: most of the time
goes into many small array operations, which two threads do no faster than one.
"""

from __future__ import annotations

import io
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from accomplice.data.errors import InputError
from accomplice.data.escaping import say
from accomplice.data.files import TABLES, check_file, csv_parts, same_file, written_in_parts
from accomplice.training.cli.arguments import Model, Rate, months, option, rate
from accomplice.training.cli.preparation import ctrl_c_heeded
from accomplice.training.cli.terminal import say_replaced, shown
from accomplice.training.progress import Tick, silent
from accomplice.training.reports.wording import SYNTHETIC

if TYPE_CHECKING:
    import pandas as pd

    from accomplice.training.bundle import Bundle

#: Maximum number of the model's blocks of patients in one part of a table.
BLOCKS = 4
#: Maximum number of cells in a part of more than one block.
CELLS = 1 << 22
#: Maximum number of flags listed in the closing line.
MOST_FLAGS = 5


class Part(NamedTuple):
    """Predictions for the rows of one part of a table."""

    answers: pd.DataFrame
    """Predictions, as ``Bundle.predict`` returns them."""
    explanations: pd.DataFrame | None
    """Attributions, as ``Bundle.explain`` returns them; None unless they are asked for."""


@dataclass
class Tally:
    """Counts of predicted patients and of their flags."""

    patients: int = 0
    flagged: int = 0
    """Patients with a flag."""
    flags: Counter[str] = field(default_factory=Counter)
    """Flag -> patients who have it."""

    def add(self, flags: pd.Series) -> None:
        """Count further patients by their column ``flags`` (n,)."""
        from accomplice.training.bundle import OK, SEPARATOR

        self.patients += len(flags)
        # Patients come with few combinations of flags.
        for together, count in flags.value_counts().items():
            if together == OK:
                continue
            self.flagged += count
            for flag in set(str(together).split(SEPARATOR)):
                self.flags[flag] += count

    def most_frequent(self) -> str:
        """Return the most frequent flags with their counts, as text, by falling count."""
        listed = sorted(self.flags.items(), key=lambda each: (-each[1], each[0]))
        # A column's name, which may be part of a flag, may hold a line break.
        shown = [f"{' '.join(flag.split())} {count}" for flag, count in listed[:MOST_FLAGS]]
        more = len(listed) - len(shown)
        return ", ".join(shown) + (f" and {more} more" if more else "")


def predict(
    model: Model,
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="a table, or a study folder")],
    *,
    times: Annotated[
        Sequence[float] | None, option("T,T", "months, such as 12,36,60", months)
    ] = None,
    response_rate: Annotated[
        list[Rate] | None,
        option(
            "NAME=RATE",
            "rate of a response where the model is used, such as ici_response=0.2: its "
            "predictions are moved to that mean",
            rate,
        ),
    ] = None,
    sheet: Annotated[
        str | None, typer.Option(metavar="SHEET", help="of a workbook in which several have tables")
    ] = None,
    encoding: Annotated[
        str | None, option("NAME", "encoding of text that is not UTF-8, such as cp1252")
    ] = None,
    out: Annotated[
        Path | None, option("FILE", ".csv or .parquet; standard output if absent")
    ] = None,
    explain: Annotated[
        Path | None, option("FILE", ".csv or .parquet: each feature's part of the risk")
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="leave text that a spreadsheet runs as it is")
    ] = False,
) -> None:
    """Predict for the rows of a table.

    Writes patient_id, risk (higher is worse), survival@T for each time with survival_low@T and
    survival_high@T (its 80 % interval), and flags, one row for each row of the table, in its order.
    Where the study has a treatment: benefit@H, benefit_low@H and benefit_high@H (survival at the
    horizon H with it minus without, and the 80 % interval), rmst_gain@H (months), p_benefit (chance
    of a gain above 3 points) and advice, or why the model abstains. After the first survival
    endpoint's columns come those of the others with their names before them, such as dfs.risk, and
    response.NAME for each binary endpoint. Last, for each survival endpoint: rmst@H (restricted
    mean survival to H months, with rmst_low@H and rmst_high@H), risk_group (third of the training
    patients: low, middle, high) and risk_centile (percent of them at lower risk). A model of binary
    endpoints alone writes patient_id, response.NAME and flags, and takes no --times.
    Missing columns and values, unknown columns and levels, and values out of range or far from the
    training patients' are answered and flagged. A column of which no cell fits is refused.

    TABLE and FILE may be of any length: CSV and Parquet are read, answered and written some
    thousand patients at a time, so that memory does not grow with them, and the numbers are those
    of the whole table at once. A CSV is read twice, first to find the types of its columns; a
    workbook and a study folder are read whole. FILE appears when it is complete: after Ctrl-C or an
    error nothing is left of it. Earlier predictions are replaced, another file is refused. The
    number of flagged patients and their most frequent flags are printed at the end.

    In CSV, text that a spreadsheet would run as a formula (it begins with =, +, - or @ and is no
    number) gets a ' before it, which is taken off where accomplice reads the file; --raw leaves it.

    --explain writes a table of its own: patient_id, risk, base, then feature.NAME and
    modality.NAME. The base is the risk of a typical patient; base and features add up to the
    patient's risk, in log-hazard, and a modality is the sum of its features. It takes some 50 ms a
    patient.

      accomplice predict model patients.csv --times 12,36,60 --out predictions.csv
      accomplice predict model registry.parquet --times 12,36,60 --out predictions.parquet
      accomplice predict model patients.csv --out predictions.csv --explain attributions.csv
      accomplice predict model patients.csv --response-rate ici_response=0.2
    """
    replaced = check_outputs([table, Path(model)], out, explain)
    with ctrl_c_heeded():
        from accomplice.training.tracking.store import find_bundle

        content = find_bundle(model)
        from accomplice.data.loading import stream_patients
        from accomplice.data.matching.columns import refuse_unfit
        from accomplice.training.bundle import Bundle

        bundle = Bundle.of(content)
    rates = dict(response_rate or ())
    asked, _ = bundle.times(times), bundle.rates(rates)
    stream = stream_patients(table, bundle.study, sheet, encoding)
    tally = Tally()
    if out is None and isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.isatty():
        sys.stdout.reconfigure(encoding="utf-8")  # a table for programs, whatever the console's
    with ExitStack() as opened:
        write = (
            csv_parts(sys.stdout, raw=raw)
            if out is None
            else opened.enter_context(written_in_parts(out, raw=raw))
        )
        add = None if explain is None else opened.enter_context(written_in_parts(explain, raw=raw))
        # On a terminal that shows the table itself, a bar would get between its lines.
        bar = out is not None or not sys.stdout.isatty()
        tick = opened.enter_context(shown("predict")) if bar else silent
        parts = stream.parts(rows_of_part(len(stream.columns)))
        counted = _counting(tick, stream.rows)
        for part in answered(bundle, parts, asked, rates, counted, explain=add is not None):
            write(part.answers)
            if add is not None and part.explanations is not None:
                add(part.explanations)
            tally.add(part.answers["flags"])
        refuse_unfit(bundle.study, tally.flags, tally.patients)
    say_replaced(replaced)
    if out is not None:
        say(
            f"wrote {out}: {tally.patients} patients, {tally.flagged} with flags; research use only"
        )
        if tally.flagged:
            say(f"flags    {tally.most_frequent()}")
    if bundle.study.synthetic:
        say(f"accomplice: this model was trained on {SYNTHETIC}", error=True)


def check_outputs(inputs: Sequence[Path], out: Path | None, explain: Path | None) -> list[Path]:
    """Refuse, before long work, places where ``--out`` and ``--explain`` cannot write.

    Args:
        inputs: the table of patients, then the other inputs.
        out: place of the predictions; None for standard output.
        explain: place of the explanations; None for none.

    Returns:
        Earlier outputs that would be replaced.

    Raises:
        InputError: both places are the same, or one has another suffix than a table's, is an
            input, or is refused by :func:`check_file`.
    """
    replaced = []
    for name, path in (("--out", out), ("--explain", explain)):
        if path is None:
            continue
        if path.suffix not in TABLES:
            raise InputError(f"{name} {path}: name a file that ends in {' or '.join(TABLES)}")
        if same_file(path, inputs[0]):
            raise InputError(f"{name}: name another file than the table of patients")
        if check_file(path, inputs):
            replaced.append(path)
    if out is not None and explain is not None and same_file(out, explain):
        raise InputError("--explain: name another file than --out")
    return replaced


def rows_of_part(columns: int) -> int:
    """Return the rows in a part of a table with ``columns`` columns: some of the model's blocks."""
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
    """Yield the predictions for each part of a table, in order.

    Args:
        bundle: the model.
        parts: parts of one table; all but the last have :func:`rows_of_part` rows.
        times: months of survival, checked.
        rates: local rates by binary endpoint, as in ``Bundle.predict``.
        tick: called with the number of patients done.
        explain: whether the risks are explained too.

    Raises:
        InputError: as ``Bundle.predict`` and ``Bundle.explain``.
    """
    done = 0
    for part in parts:
        start, explanations = done, None
        if explain:

            def within(_: str, rows: int, __: int, start: int = start) -> None:
                tick(start + rows)

            explanations = bundle.explain(part, within, first=start + 1)
        answers = bundle.predict(part, times, rates, first=start + 1)
        done += len(part)
        tick(done)
        yield Part(answers, explanations)


def _counting(tick: Tick, total: int) -> Callable[[int], None]:
    """Return a progress callback that takes only the number of patients done."""
    return lambda done: tick("patients", done, total)
