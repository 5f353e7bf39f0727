"""What stands around a table, what its columns are called, and files that are joined."""

from __future__ import annotations

import re
from dataclasses import replace

from tests.fuzzing.cases import Case
from tests.fuzzing.tables import draw_gene

#: Genes by their Ensembl ids.
ENSEMBL = {
    "IL1R1": "ENSG00000115594",
    "CD68": "ENSG00000129226",
    "FAP": "ENSG00000078098",
    "SPP1": "ENSG00000118785",
}
DATED = ("1-Mar", "2-Sep", "9-Sep", "Mar-03", "7-Sep", "1-Dec", "Sep-11", "8-Mar")


def around(case: Case) -> None:
    """Put titles, remarks, summaries, units or a second header around or into the table."""
    case.as_text()
    rng, form = case.rng, case.form
    if form.delimiter == " ":
        form = case.form = replace(form, delimiter=",", ending=".csv")
    records, width = case.records, len(case.grid[0])
    d = form.delimiter
    full = d * (width - 1)
    way = str(
        rng.choice(
            [
                *("footer", "footer after a gap", "summary", "summary after a gap", "units"),
                *("header again", "gap", "title", "titles", "groups", "padded title"),
                *("padded footer", "count", "comment row"),
            ]
        )
    )
    middle = int(rng.integers(2, len(records)))
    mean = d.join(["Mean", *("12.5" for _ in range(width - 1))])
    footer = "Source: hospital registry"
    case.done = way
    added = {
        "footer": [footer],
        "footer after a gap": ["", footer, "Data as of June"],
        "summary": [mean],
        "summary after a gap": ["", mean],
        "padded footer": [footer + full],
        "count": [f"n = {len(records) - 1}" + full],
    }
    if way in added:
        records += added[way]
    elif way == "units":
        records.insert(1, d.join("years" if c.kind == "number" else "" for c in case.table.columns))
    elif way == "header again":
        records.insert(middle, records[0])
    elif way == "gap":
        records.insert(middle, str(rng.choice(["", full])))
    elif way == "comment row":
        records.insert(middle, "# checked up to here")
    else:
        above = {
            "title": ["Gastric cancer cohort"],
            "titles": ["Gastric cancer cohort", "exported in June", ""],
            "groups": [
                d.join(
                    ["Clinical", *[""] * (width // 2), "Outcome", *[""] * (width - width // 2 - 2)]
                )
            ],
            "padded title": ["Gastric cancer cohort" + full],
        }
        records[:0] = above[way]


def genes(case: Case) -> None:
    """Name genes by Ensembl ids, or by the dates that a spreadsheet made of their symbols."""
    rng, n = case.rng, case.table.rows
    table = case.table
    for symbol in ("IL1RN", "POSTN", "CD14"):
        table.columns.append(draw_gene(symbol, n, rng))
    if rng.random() < 0.5:
        names = [str(name) for name in rng.choice(DATED, int(rng.integers(1, 4)), replace=False)]
        case.needed = [re.escape(name) for name in names]
    else:
        version = bool(rng.random() < 0.7)
        symbols = [str(s) for s in rng.choice([*ENSEMBL], 2, replace=False)]
        names = [ENSEMBL[s] + (f".{int(rng.integers(1, 15))}" if version else "") for s in symbols]
        table.columns = [c for c in table.columns if c.name not in symbols]
        case.needed = ["Ensembl"]
    for name in names:
        table.columns.append(draw_gene(name, n, rng))
    case.done = " ".join(names)


def joined(case: Case) -> None:
    """Put genes into a second file, whose identifiers are spelt otherwise, or fewer."""
    rng, table = case.rng, case.table
    case.as_text()
    who = table.role("id")
    genes = [draw_gene(symbol, table.rows, rng) for symbol in ("IL1RN", "POSTN")]
    table.columns = [c for c in table.columns if c.name not in ("IL1RN", "POSTN")] + genes
    grid = case.form.grid(table)
    ways = {"same": str, "case": str.swapcase, "blank": lambda text: text + " "}
    ways |= {"zeros": lambda text: "00" + text, "dots": lambda text: text.replace("-", ".")}
    ways |= {"none": lambda text: f"X{text[::-1]}Y"}
    way = str(rng.choice([*ways]))
    there = [i for i in range(table.rows) if rng.random() < rng.choice([1.0, 0.8])] or [0]
    order = [int(i) for i in rng.permutation(there)]
    own = case.index(who)
    last = [len(grid[0]) - 2, len(grid[0]) - 1]
    second = [[grid[0][own], *(grid[0][j] for j in last)]]
    second += [[ways[way](grid[i + 1][own]), *(grid[i + 1][j] for j in last)] for i in order]
    if rng.random() < 0.15:
        second.append([*second[1]])
        way += ", repeated"
    case.joined = second
    case.first = [row[: len(row) - 2] for row in grid]
    for gene in genes:
        gene.values = [v if i in {*there} else None for i, v in enumerate(gene.values)]
    if set(order) == set(range(table.rows)):
        case.needed = [rf"{len(order)} of its {len(order)} ids are in"]
    else:
        case.needed = [rf"{table.rows - len(order)} of {table.rows} rows .* have none there"]
    case.options["id"] = case.name(who)
    case.done = f"{way}, {len(order)} of {table.rows}"
