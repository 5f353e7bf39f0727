"""Cells that are written in another way than their column, or mean something else."""

from __future__ import annotations

import re
from dataclasses import replace

from tests.fuzzing.cases import Case
from tests.fuzzing.damaged_rows import naming
from tests.fuzzing.tables import (
    Column,
    draw_category,
    draw_gene,
    draw_levels,
    draw_number,
    draw_ordinal,
)
from tests.fuzzing.templates import NUMBERS


def marks(case: Case) -> None:
    """Write numbers with other decimal marks than their table or column, or group thousands."""
    rng, form = case.rng, case.form
    if not form.is_text:
        case.as_text()
    way = str(rng.choice(["table", "column", "grouped", "grouped", "open", "time"]))
    other = "." if form.decimal == "," else ","
    if way in ("table", "column"):
        column = case.pick(
            [c for c in case.table.features("number") if "." in "".join(c.cells)]
            or [_add_gene(case)]
        )
        share = 1.0 if way == "table" else float(rng.uniform(0.05, 0.6))
        column.cells = [
            cell.replace(".", other if rng.random() < share else form.decimal)
            for cell in column.cells
        ]
    elif way == "open":
        column = _add_gene(case)
        column.cells = [f"{float(cell):.3f}" if cell else "" for cell in column.cells]
        column.values = [float(cell) if cell else None for cell in column.cells]
        column.cells = [cell.replace(".", ",") for cell in column.cells]
    else:
        group = str(rng.choice([other, other, " ", "'"]))
        if way == "time" and case.table.unit == "days":
            column = case.table.role("time")
        else:
            column = case.table.concept("platelets") or _add(
                case, draw_number("platelets", case.table.rows, rng)
            )
        column.cells = [_grouped(cell, group, form.decimal) for cell in column.cells]
    column.raw = True
    case.done = f"{way}: {case.name(column)}"
    if way in ("open", "table"):
        # In a table with points nothing tells the marks of a column in threes: the choice is said.
        told = [column, *(c for c in case.table.features("number") if way == "table")]
        said = "commas are taken to"
    elif way == "grouped":
        told, said = [column], "its points are taken to be decimal"
    else:
        return
    case.excused = [
        (rf"value {re.escape(case.name(c))}$", rf"{naming(case, c)}.*{said}") for c in told
    ]


def units(case: Case) -> None:
    """Write units into cells: one unit, in all cells or some, or two units."""
    rng = case.rng
    measured = [c for c in case.table.features("number") if NUMBERS.get(c.concept, ("", 0, ""))[2]]
    way = str(rng.choice(["all", "some", "two", "time", "time two"]))
    if way.startswith("time"):
        column = case.table.role("time")
        own, factor, other = {
            "days": ("days", 1 / 7, "weeks"),
            "weeks": ("weeks", 7.0, "days"),
            "months": ("months", 1 / 12, "years"),
            "years": ("years", 12.0, "months"),
        }[case.table.unit]
    else:
        column = case.pick(measured)
        own = NUMBERS[column.concept][2]
        factor, other = {"cm": (10.0, "mm"), "years": (12.0, "months"), "g/dl": (10.0, "g/l")}.get(
            own, (1000.0, "mg/l")
        )
    gap = str(rng.choice(["", " "]))
    share = {"some": 0.4, "two": 0.8, "time two": 0.8}.get(way, 1.1)
    made = []
    for cell in column.cells:
        if not cell:
            made.append(cell)
        elif rng.random() < share:
            made.append(f"{case.form.cell(column, cell)}{gap}{own}")
        elif way in ("two", "time two"):
            made.append(f"{float(cell) * factor:.4g}{gap}{other}")
        else:
            made.append(cell)
    column.cells = made
    case.done = f"{way}: {case.name(column)} in {own}"
    case.excused = [(rf"lost {re.escape(case.name(column))}$", naming(case, column))]


def bounds(case: Case) -> None:
    """Write some numbers as bounds, which are taken for the values, and said."""
    rng = case.rng
    column = case.pick(case.table.features("number"))
    sort = sorted({float(v) for v in column.values if v is not None})
    high = bool(rng.random() < 0.6) or sort[int(0.1 * len(sort))] <= 0
    limit = sort[int((0.92 if high else 0.1) * (len(sort) - 1))]
    text = next(c for c, v in zip(column.cells, column.values, strict=True) if v == limit)
    shown = case.form.cell(column, text)
    ways = [f">{shown}", f"> {shown}", f"≥{shown}", f"{shown}+", f">= {shown}", f"over {shown}"]
    way = str(rng.choice(ways if high else [f"<{shown}", f"< {shown}", f"≤{shown}", f"<={shown}"]))
    if case.form.encoding == "cp1252" and way[0] in "≥≤":
        way = f">{shown}" if high else f"<{shown}"
    for i, value in enumerate(column.values):
        if value is not None and (float(value) > limit if high else float(value) < limit):
            column.values[i], column.cells[i] = limit, way
    if way not in column.cells:
        return
    case.done = f"{case.name(column)}: {way}"
    case.needed = [naming(case, column) + ".*bound"]


def odd(case: Case) -> None:
    """Put a few cells into an ordered scale, a category or numbers that do not belong there."""
    rng = case.rng
    column = case.pick(case.table.features("ordinal", "ordinal", "category", "number"))
    rows = case.filled(column, 1, 2)
    texts = {
        "ordinal": ["II-III", "unclear", "5", "7", "2 or 3", "see report", "T9", "x1", "?!"],
        "category": ["12.5", "63", "#REF!", "???", "see letter", "0.3"],
        "number": ["see report", "#REF!", "#DIV/0!", "l2", "1O", "3..4", "12;5", "high", "~5"],
    }[column.kind]
    text = str(rng.choice(texts))
    if case.form.delimiter == ";" and ";" in text:
        text = "abc"
    for i in rows:
        column.cells[i], column.values[i] = text, None
    case.done = f"{case.name(column)}: {text}"
    case.needed = [naming(case, column)]
    case.excused = [(rf"value {re.escape(case.name(column))}$", naming(case, column))]


def spellings(case: Case) -> None:
    """Spell levels in several ways within a column."""
    rng, table = case.rng, case.table
    drawn = {
        "sex": (draw_category, ["Female|F|female|f|FEMALE", "Male|M|male|m|MALE"]),
        "lauren": (
            draw_category,
            [
                "intestinal|Intestinal|Intestinal type|int",
                "diffuse|Diffuse|diff",
                "mixed|Mixed|MIXED",
            ],
        ),
        "msi": (draw_category, ["MSS|mss|pMMR", "MSI-H|MSI|dMMR"]),
        "ebv": (draw_category, ["negative|neg|Negative|EBV-", "positive|pos|Positive|EBV+"]),
        "smoking": (
            draw_category,
            ["never|Never|NEVER", "former|Former", "current|Current |current"],
        ),
        "stage": (
            draw_ordinal,
            ["I|Stage I|1|IA", "II|Stage II|2|stage ii", "III|Stage III|3|IIIB", "IV|4|Stage IV"],
        ),
        "t": (draw_ordinal, ["T1|pT1|1|T1a", "T2|pT2|2", "T3|pT3|3", "T4|pT4a|4"]),
        "grade": (draw_ordinal, ["G1|1|well|Grade 1", "G2|2|moderate|g2", "G3|3|poor|G 3"]),
        "approach": (
            draw_category,
            ["open|Open|OPEN", "laparoscopic|Laparoscopic", "robotic|robotic "],
        ),
    }
    concept = str(rng.choice([*drawn]))
    make, ways = drawn[concept]
    if (old := table.concept(concept)) is not None:
        table.columns.remove(old)
    column = _add(case, make(concept, table.rows, rng, 0))
    levels = column.order or tuple(map(str, range(len(ways))))
    spelt = {level: way.split("|") for level, way in zip(levels, ways, strict=False)}
    column.cells = ["" if v is None else str(rng.choice(spelt[str(v)])) for v in column.values]
    if case.form.delimiter == " ":
        case.form = replace(case.form, delimiter=",", ending=".csv")
    case.done = case.name(column)
    case.excused = [(rf"value {re.escape(case.name(column))}$", naming(case, column))]


def dates(case: Case) -> None:
    """Turn some numbers into the dates that a spreadsheet makes of them."""
    rng = case.rng
    column = case.pick(case.table.features("number"))
    ways = [
        "1-May",
        "05.Mrz",
        "2024-05-01",
        "May 01",
        "2024-05-01 00:00:00",
        "01.05.2024",
        "5/1/2024",
        "12:30",
        "12:30:00",
    ]
    for i in case.filled(column, 1, 6):
        column.cells[i] = str(rng.choice(ways))
    case.done = case.name(column)


def unknown(case: Case) -> None:
    """Write codes that registries have for unknown: 9, 99, 999, -9."""
    rng, table = case.rng, case.table
    way = str(rng.choice(["number", "number", "ordinal", "category", "event", "time"]))
    if way == "number":
        codes = {
            "age": ["999", "-9", "-1"],
            "bmi": ["999", "99", "-9"],
            "nodes": ["99", "98", "999", "-9"],
            "size": ["999", "99.9", "-1", "-9"],
            "albumin": ["999", "-9"],
            "hb": ["999", "99", "-9"],
            "ecog": ["9", "99", "-9"],
            "ldh": ["9999", "-9"],
            "nlr": ["999", "-9"],
        }
        column = case.pick([c for c in table.features("number") if c.concept in codes])
        code = str(rng.choice(codes[column.concept]))
    elif way == "ordinal":
        column = table.concept("grade") or _add(case, draw_ordinal("grade", table.rows, rng, 1))
        code = str(rng.choice(["9", "99", "-9"]))
    elif way == "category":
        column = case.pick(
            table.features("category") or [_add(case, draw_category("sex", table.rows, rng))]
        )
        code = str(rng.choice(["9", "99", "-9", "999"]))
    elif way == "event":
        column, code = table.role("event"), str(rng.choice(["9", "99", "-9"]))
    else:
        column = table.role("time")
        code = {"days": "9999", "weeks": "9999", "months": "999", "years": "99"}[table.unit]
        code = str(rng.choice([code, "-9", "-1"]))
    least = 1 if way == "number" and len(code) > 2 else 2
    rows = case.filled(column, least, max(least, int(0.09 * table.rows)))
    for i in rows:
        column.cells[i] = code
        if column.role == "feature":
            column.values[i] = None
        else:
            table.left_out.add(i)
    case.done = f"{case.name(column)}: {code}"
    if column.role == "feature":
        case.needed = [naming(case, column)]
        case.excused = [(rf"value {re.escape(case.name(column))}$", naming(case, column))]


def missing(case: Case) -> None:
    """Write rarer words where a number or a level of a scale is missing."""
    rng = case.rng
    column = case.pick(case.table.features("number", "ordinal"))
    words = [
        "unk",
        "n.d.",
        "k.A.",
        "not done",
        "missing",
        "unknown",
        "tbd",
        "*",
        "NA ",
        "none",
        "Not assessed",
        "nicht bekannt",
        "-",
        "…",
    ]
    chosen = [str(word) for word in rng.choice(words, int(rng.integers(1, 3)), replace=False)]
    if case.form.encoding == "cp1252" or not case.form.is_text:
        chosen = [word for word in chosen if word != "…"] or ["unk"]
    for i in case.filled(column, 1, 8):
        column.cells[i], column.values[i] = str(rng.choice(chosen)), None
    case.done = f"{case.name(column)}: {chosen}"
    case.excused = [(rf"value {re.escape(case.name(column))}$", naming(case, column))]


def none(case: Case) -> None:
    """Put blank cells beside levels called None or NA: are those levels?"""
    rng = case.rng
    case.as_text()
    case.form = replace(case.form, missing="", ending=".csv", delimiter=",", decimal=".")
    word = str(rng.choice(["None", "none", "NONE", "NA", "na"]))
    way = (word, "FLOT", "ECF") if rng.random() < 0.5 else (word, "partial")
    column = _add(case, draw_levels("none", "neoadjuvant", way, case.table.rows, rng))
    with_blanks = bool(rng.random() < 0.7)
    rows = case.filled(column, 2, 8) if with_blanks else []
    for i, cell in enumerate(column.cells):
        if i in rows:
            column.cells[i], column.values[i] = "", None
        elif not cell:
            column.cells[i], column.values[i] = way[1], "1"
    if word.lower() == "na" and not with_blanks:
        # NA alone is missing, as documented.
        column.values = [None if v == "0" else v for v in column.values]
    case.done = f"{word}, blanks {with_blanks}"


def _add(case: Case, column: Column) -> Column:
    same = [c for c in case.table.columns if c.name == column.name]
    for each in same:
        case.table.columns.remove(each)
    case.table.columns.append(column)
    return column


def _add_gene(case: Case) -> Column:
    return _add(case, draw_gene("SPP1", case.table.rows, case.rng))


def _grouped(cell: str, group: str, decimal: str) -> str:
    whole, _, rest = cell.partition(".")
    if not whole.isdigit():
        return cell
    made = f"{int(whole):,}".replace(",", group)
    return made + (decimal + rest if rest else "")
