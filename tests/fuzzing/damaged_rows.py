"""Rows that are not what they were: cut, shifted, merged, swallowed or repeated."""

from __future__ import annotations

import csv
import re
from dataclasses import replace

from tests.fuzzing.cases import Case
from tests.fuzzing.tables import Column

#: Stands for a cell that is put in by hand.
PLACE = "\ue000"
_NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?")


def naming(case: Case, *columns: Column) -> str:
    """Return a pattern of notes that name one of some columns."""
    names = "|".join(re.escape(case.name(c)) for c in columns)
    return rf"(^|[\s'(])({names})('|:|,|\s|\)|$)"


def width(case: Case) -> None:
    """Lose a cell of some rows, or add one; or lose a name."""
    case.as_text()
    rng, grid = case.rng, case.grid
    j = int(rng.integers(len(grid[0])))
    way = str(rng.choice(["lost", "lost", "added", "doubled", "name", "ends"]))
    case.done = way
    if way == "name":
        del grid[0][j]
    elif way == "ends":
        for row in grid[1:]:
            row.append("" if case.form.delimiter != " " else "NA")
    else:
        for i in case.rows():
            if way == "lost":
                del grid[i + 1][j]
            else:
                grid[i + 1].insert(j, "" if way == "added" else grid[i + 1][j])
            j = int(rng.integers(len(grid[0])))


def shift(case: Case) -> None:
    """Move some cells of a row by one column; the row keeps its width.

    One cell at least is a number among words, or a word among numbers, that its new column does
    not have elsewhere; where none is, the table cannot tell.
    """
    case.as_text()
    rng, table, grid = case.rng, case.table, case.grid
    wordy = [_is_wordy(c) for c in table.columns]
    blank = "" if case.form.delimiter != " " else "NA"
    for _ in range(40):
        i = int(rng.integers(table.rows))
        row = grid[i + 1]
        a, b = sorted(map(int, rng.choice(len(row), 2, replace=False)))
        part = row[a : b + 1]
        part = [*part[1:], blank] if rng.random() < 0.5 else [blank, *part[:-1]]
        moved = [*row[:a], *part, *row[b + 1 :]]
        crossed = any(
            cell not in ("", case.form.missing, "NA")
            and (wordy[j] == bool(_NUMBER.fullmatch(cell)))
            and cell not in {other[j] for other in grid[1:]}
            for j, cell in enumerate(moved)
            if a <= j <= b and table.columns[j].role == "feature"
        )
        if crossed:
            break
    else:
        return
    grid[i + 1] = moved
    case.done = f"row {i}, columns {a} to {b}"
    case.excused = [(".", rf"line {i + 2}\b|" + naming(case, *table.columns[a : b + 1]))]
    case.excused.append(("rows", r"left out: 1 of \d+ patients"))


def one_mark(case: Case) -> None:
    """Put a quotation mark at the begin, in the middle or at the end of a cell."""
    _by_hand(case)
    i = case.rows(1, 1)[0]
    column = case.pick(case.table.columns)
    j = case.index(column)
    cell = case.grid[i + 1][j]
    k = {"begin": 0, "middle": len(cell) // 2, "end": len(cell)}[
        way := str(case.rng.choice(["begin", "middle", "end"]))
    ]
    case.done = f"{way} of row {i}, '{case.name(column)}'"
    _put(case, i, j, cell[:k] + '"' + cell[k:])
    case.excused = [(re.escape(case.name(column)) + "|ids", naming(case, column))]


def two_marks(case: Case) -> None:
    """Put a quotation mark at the begin of one cell and at the end of a later one."""
    _by_hand(case)
    rng, n = case.rng, case.table.rows
    i = int(rng.integers(n - 4))
    k = i + int(rng.integers(0, 4))
    j, m = (int(each) for each in rng.integers(0, len(case.grid[0]), 2))
    if k == i:
        j, m = min(j, m), max(j, m)
    case.done = f"begin of row {i}, column {j}; end of row {k}, column {m}"
    if (i, j) == (k, m):
        _put(case, i, j, f'"{case.grid[i + 1][j]}"')
        return
    first, second = case.grid[i + 1][j], case.grid[k + 1][m]
    _put(case, i, j, '"' + first, k, m, second + '"')
    both = [case.table.columns[j], case.table.columns[m]]
    case.excused = [
        (re.escape(case.name(c)) + "|ids" * (c.role == "id"), naming(case, c)) for c in both
    ]


def line_breaks(case: Case) -> None:
    """Break a row in a cell, merge two rows, or put a quoted break into a cell."""
    _by_hand(case)
    rng = case.rng
    i = int(rng.integers(case.table.rows - 1))
    way = str(rng.choice(["split", "split", "merged", "joined", "quoted"]))
    case.done = f"{way}, row {i}"
    if way == "quoted":
        column = case.pick([c for c in case.table.columns if c.cells[i]])
        cell = case.grid[i + 1][case.index(column)]
        k = int(rng.integers(len(cell) + 1))
        _put(case, i, case.index(column), f'"{cell[:k]}{case.form.newline}{cell[k:]}"')
        case.excused = [(re.escape(case.name(column)) + "|ids", naming(case, column))]
        return
    records = case.records
    if way == "split":
        k = int(rng.integers(1, len(records[i + 1])))
        records[i + 1 : i + 2] = [records[i + 1][:k], records[i + 1][k:]]
    else:
        between = case.form.delimiter if way == "joined" else ""
        records[i + 1 : i + 3] = [records[i + 1] + between + records[i + 2]]


def repeated(case: Case) -> None:
    """Repeat some rows, or all, exactly."""
    rng, table = case.rng, case.table
    if rng.random() < 0.3:
        table.columns.remove(table.role("id"))
    count = int(rng.choice([1, 2, 5, max(5, table.rows // 10), table.rows]))
    rows = sorted(map(int, rng.choice(table.rows, count, replace=False)))
    grid = case.grid
    copies = [[*grid[i + 1]] for i in rows]
    if rng.random() < 0.5:
        grid += copies
    else:
        for i, row in zip(reversed(rows), reversed(copies), strict=True):
            grid.insert(i + 2, row)
    case.done = f"{count} rows, identifier {table.has('id')}"
    case.excused = [("rows", r"repeat|the same in all|share the outcome")]


def samples(case: Case) -> None:
    """Give some patients a second sample, whose genes differ."""
    from tests.fuzzing.tables import draw_gene

    rng, table = case.rng, case.table
    for symbol in ("IL1RN", "POSTN"):
        gene = draw_gene(symbol, table.rows, rng)
        gene.values, gene.cells = _whole(gene)
        table.columns.append(gene)
    who = table.role("id")
    who.name, who.concept = "patient id", "id"
    way = str(rng.choice(["column", "suffix", "barcode", "barcode"]))
    share = 1.0 if way == "suffix" else float(rng.choice([0.1, 0.5, 1.0]))
    if way.startswith("barcode"):
        who.cells = [f"TCGA-{'ABCDEFGH'[i % 8]}{i % 7}-{1000 + i}" for i in range(table.rows)]
        who.values = [*who.cells]
        who.name = str(rng.choice(["sample", "sample id", "sample barcode"]))
    twice = rng.random(table.rows) < share
    twice[0] = True
    kinds = [c for c in table.columns if c.symbol]
    rows: list[list[str]] = []
    kept = case.form.grid(table)
    own = case.index(who)
    for i, row in enumerate(kept[1:]):
        for s in range(1 + int(twice[i])):
            made = [*row]
            if s:
                for c in kinds:
                    cell = f"{float(rng.normal(6, 1)):.3f}"
                    made[case.index(c)] = cell.replace(".", case.form.decimal)
            if way == "suffix":
                made[own] += f"-{s + 1}"
            if way == "barcode":
                made[own] += ("-01A", "-11A" if i % 2 else "-06A")[s]
            if way == "column":
                made.append(f"S{len(rows):04d}")
            rows.append(made)
    names = [*kept[0], *(["sample_id"] if way == "column" else [])]
    case.grid[:] = [names, *rows]
    case.options["id"] = None
    case.done = way
    case.excused = [("rows|ids", r"rows of \d+ patients|repeat|share the outcome")]
    if rng.random() < 0.5:
        case.options["id"] = case.name(who)


def respelt(case: Case) -> None:
    """Repeat some rows under an identifier in another spelling."""
    rng, table = case.rng, case.table
    who = table.role("id")
    rows = case.rows(1, 6)
    ways = [lambda text: " " + text, lambda text: text + " "]
    if any(c.isalpha() for c in who.cells[0]):
        ways += [str.lower, str.upper, str.title]
    if who.cells[0].startswith("0"):
        ways += [lambda text: text.lstrip("0")]
    if who.cells[0].isdigit():
        ways += [lambda text: text + ".0", lambda text: "0" + text]
    way = ways[int(rng.integers(len(ways)))]
    j, grid = case.index(who), case.grid
    for i in reversed(rows):
        row = [*grid[i + 1]]
        row[j] = way(row[j])
        grid.insert(i + 2, row)
    case.form = replace(case.form, padded=False)
    case.done = f"{len(rows)} rows, {who.cells[0]} as {way(who.cells[0])!r}"
    case.excused = [("rows", r"repeat|the same in all|share the outcome|spelt")]


def _whole(column: Column) -> tuple[list[float | str | None], list[str]]:
    cells = [cell or "6.50" for cell in column.cells]
    return [float(cell) for cell in cells], cells


def _is_wordy(column: Column) -> bool:
    known = [cell for cell in column.cells if cell]
    return sum(bool(_NUMBER.fullmatch(cell)) for cell in known) < 0.5 * len(known)


def _by_hand(case: Case) -> None:
    """Take a form in which cells can be put in by hand."""
    case.as_text()
    form = case.form
    case.form = replace(form, quoting=csv.QUOTE_MINIMAL, padded=False)


def _put(case: Case, *places: int | str) -> None:
    """Put texts into cells as they are: row, column and text, in turn."""
    texts = []
    for at in range(0, len(places), 3):
        i, j, text = places[at : at + 3]
        case.grid[int(i) + 1][int(j)] = f"{PLACE}{at}{PLACE}"
        texts.append((at, str(text)))
    for k, record in enumerate(case.records):
        for at, text in texts:
            case.records[k] = record = record.replace(f"{PLACE}{at}{PLACE}", text)
