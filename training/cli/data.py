"""The verbs ``data init``, ``data check`` and ``data synth``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from accomplice.data.escaping import say
from accomplice.data.files import check_study_place, write_text
from accomplice.training.cli.arguments import Study, count, integer, one_of, option
from accomplice.training.cli.terminal import quoted, say_replaced
from accomplice.training.reports.wording import SYNTHETIC

#: Help of the command ``data``.
DATA = "Draft or check a study file; make the synthetic cohort."
#: Unit of the follow-up time.
Unit = Literal["days", "weeks", "months", "years"]
#: Decimal mark.
Mark = Literal[".", ","]
#: Choice among the values of a patient's several rows.
Prefer = Literal["filled"]
#: Variant of the synthetic cohort's truth.
Variant = Literal["default", "strong", "null", "shifted", "confounded"]


def init(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="a table, or a cBioPortal study folder")
    ],
    *,
    time: Annotated[
        str | None,
        option(
            "TIME",
            "column of the follow-up time; of A,B the first filled counts; with --from, of the "
            "date at its end",
        ),
    ] = None,
    start: Annotated[
        str | None, option("DATE", "column of the date at which follow-up begins", name="--from")
    ] = None,
    date_format: Annotated[str | None, option("FORMAT", "of the dates, such as %d.%m.%Y")] = None,
    event: Annotated[
        str | None, option("EVENT", "column that says whether the event was seen")
    ] = None,
    event_values: Annotated[
        str | None, option("VALUES", "of the event's column that mean the event: 2 or A,B")
    ] = None,
    unit: Annotated[
        Unit | None,
        option(
            one_of(Unit), "of the follow-up time (default: that of its name or cells, or months)"
        ),
    ] = None,
    id: Annotated[str | None, option("ID", "column of the patient's identifier")] = None,
    rows: Annotated[
        str | None,
        option(
            "first|last|primary|mean|latest_before:COLUMN|all",
            "which of a patient's rows counts; all: each row is a patient",
        ),
    ] = None,
    prefer: Annotated[
        Prefer | None, option("filled", "fill that row's gaps from the patient's others")
    ] = None,
    centre: Annotated[str | None, option("CENTRE", "column of the hospital")] = None,
    treatment: Annotated[
        str | None, option("TREATMENT", "column of the treatment whose effect is estimated")
    ] = None,
    response: Annotated[str | None, option("RESPONSE", "column of a drug's response")] = None,
    name: Annotated[str | None, option("NAME", "of the study; the source's name if absent")] = None,
    sheet: Annotated[
        str | None, option("SHEET", "of a workbook in which several have tables")
    ] = None,
    encoding: Annotated[
        str | None, option("NAME", "of text that is not UTF-8, such as cp1252")
    ] = None,
    missing: Annotated[
        str | None, option("WORD,WORD", "further words that mean missing, such as None")
    ] = None,
    level: Annotated[
        str | None, option("WORD,WORD", "words that are levels, such as None beside blank cells")
    ] = None,
    drop_without_follow_up: Annotated[
        bool,
        typer.Option(
            "--drop-without-follow-up",
            help="leave out patients whose time is missing or zero or whose event is missing, "
            "however many; up to a tenth, and a study folder's, always are",
        ),
    ] = False,
    decimal: Annotated[
        Mark | None, option(", or .", "decimal mark, where cells leave it open")
    ] = None,
    category: Annotated[
        str | None, option("COLUMNS", "whose numbers or words are a category's codes: A,B")
    ] = None,
    number: Annotated[
        str | None, option("COLUMNS", "whose whole numbers count or measure: A,B")
    ] = None,
    out: Annotated[Path, option("FILE", "default: study.yaml")] = Path("study.yaml"),
    force: Annotated[
        bool, typer.Option("--force", help="replace the study file that is there, edits and all")
    ] = False,
) -> None:
    """Draft a study file from a table or a study folder.

    Kinds of columns are inferred, known markers are sorted into modalities, and doubtful columns
    are listed under ignored, with the reason. Look the file over before training.

      accomplice data init cohort.csv --time os_months --event os_event --out study.yaml
      accomplice data init study_folder --out study.yaml
      accomplice data init cohort.csv --response recist --out study.yaml

    The last has no follow-up: a study of a response alone. Where the table leaves something open,
    nothing is written, and one line says which option answers it. A study file that is there stays,
    edits and all, unless --force replaces it.
    """
    from accomplice.data.cells.missing import Words, words_of
    from accomplice.data.drafting.draft import Answers, draft_study, render_study
    from accomplice.data.drafting.identity import parse_rows
    from accomplice.data.errors import InputError
    from accomplice.data.readers.reader import Reading

    replaced = check_study_place(out, [source], force=force)
    answers = Answers(
        start=start,
        date_format=date_format,
        event_values=_listed(event_values) or None,
        rows=parse_rows(rows, prefer),
        decimal=decimal,
        categories=_listed(category),
        numbers=_listed(number),
    )
    words = Words(missing=words_of(_listed(missing)), kept=words_of(_listed(level)))
    draft = draft_study(
        source,
        time=time,
        event=event,
        id=id,
        centre=centre,
        unit=unit,
        treatment=treatment,
        response=response,
        name=name,
        drop_without_follow_up=drop_without_follow_up,
        reading=Reading(words, sheet=sheet, encoding=encoding),
        out=out,
        answers=answers,
    )
    if draft.asked:
        raise InputError("; ".join(draft.asked))
    write_text(out, render_study(draft))
    say_replaced([out] if replaced else [])
    for line in draft.notes:
        say(f"note: {line}")
    say(f"wrote {out}; look it over, then: accomplice data check {quoted(out)}")


def _listed(names: str | None) -> tuple[str, ...]:
    """Return the names that an option lists, separated by commas."""
    return tuple(name.strip() for name in names.split(",")) if names else ()


def check(study: Study) -> None:
    """Report on a study's cohort.

    Counts patients, events, missing values; warns of what will make a model weak.
    """
    from rich.console import Console

    from accomplice.data.checks.check import check_study, render
    from accomplice.training.estimators.censoring import on_follow_up

    render(check_study(study, on_follow_up), Console())
    say(f"next: accomplice train {quoted(study)}")


def synth(
    *,
    out: Annotated[Path, option("FOLDER", "where it goes")],
    n: Annotated[int, option("N", "patients (default: 800)", count)] = 800,
    variant: Annotated[
        Variant, option(one_of(Variant), "of the simulated truth (default: default)")
    ] = "default",
    seed: Annotated[int, option("SEED", "of the draws (default: 0)", integer)] = 0,
    truth: Annotated[bool, typer.Option("--truth", help="write truth.csv beside it")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="replace the synthetic cohort that is there")
    ] = False,
) -> None:
    """Write the synthetic cohort and its study file.

    A cohort drawn from a structural model with known truth. Its patients are synthetic.

      accomplice data synth --out demo --n 800
    """
    from accomplice.data.synthetic_study import check_folder, synthesise

    replaced = check_folder(out, truth=truth, force=force)
    study = synthesise(out, n, variant, seed, truth=truth)
    say_replaced(replaced)
    say(f"wrote {study} ({SYNTHETIC})")
    say(f"next: accomplice train {quoted(study)}")
