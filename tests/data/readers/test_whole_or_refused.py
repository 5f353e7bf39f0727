"""A table is read whole, or refused by one line that names the place and no value."""

from __future__ import annotations

import logging
import re
import zipfile

import numpy as np
import pandas as pd
import pytest

from accomplice.data.cells.missing import Words
from accomplice.data.drafting.draft import draft_study, render_study
from accomplice.data.errors import InputError
from accomplice.data.loading import load_cohort, stream_patients
from accomplice.data.readers import row_checker
from accomplice.data.readers.reader import Reading
from accomplice.data.readers.table_reader import TableReader, open_stream
from accomplice.data.readers.tables import read_table
from accomplice.data.study import load_study

CANARY = "CANARY-7431"
ROWS = "P1,61,f,2.5\nP2,70,m,3\nP3,55,f,0.5\nP4,48,m,9\nP5,66,f,4\n"
TABLE = f"id,age,sex,months\n{ROWS}"
IDS = ["P1", "P2", "P3", "P4", "P5"]


def write(tmp_path, text, name="t.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def both(path, **kwargs):
    """Read a table whole and in parts, which must be the same."""
    whole = read_table(path, **kwargs)
    parts = list(open_stream(path, **kwargs).parts(2))
    same = pd.concat(parts, ignore_index=True)
    pd.testing.assert_frame_equal(same, whole, check_exact=True, check_dtype=False)
    return whole


def refused(path, **kwargs):
    """Return the one line with which a table is refused, whole and in parts alike."""
    said = set()
    for read in (read_table, open_stream):
        with pytest.raises(InputError) as caught:
            read(path, **kwargs)
        said.add(str(caught.value))
    assert len(said) == 1, said
    (line,) = said
    assert line.startswith(str(path))
    assert CANARY not in line
    assert "\n" not in line
    return line


#: Name -> text that is read, and what is said of it.
READ = {
    "plain": (TABLE, ""),
    "semicolons and decimal commas": (
        "id;age;sex;months\n" + "".join(f"{i};61,5;f;2,5\n" for i in IDS),
        "",
    ),
    "tabs and commas in cells": (TABLE.replace(",", "\t").replace("P1", "P1"), ""),
    "bars": (TABLE.replace(",", "|"), ""),
    "blanks": (TABLE.replace(",", "   "), "blanks stand between"),
    "blanks as R writes them": (
        '"id" "age" "sex" "months"\n'
        + "".join(f'"{i + 1}" "{p}" 61 "f" {i}.5\n' for i, p in enumerate(IDS)),
        "numbers the rows",
    ),
    "row numbers of R": (
        '"id","age","sex","months"\n'
        + "".join(f'"{i + 1}","{p}",61,"f",{i}.5\n' for i, p in enumerate(IDS)),
        "numbers the rows",
    ),
    "a corner": (
        '"","id","age","sex","months"\n'
        + "".join(f'"{i + 1}","{p}",61,"f",{i}.5\n' for i, p in enumerate(IDS)),
        "",
    ),
    "title": (f"A cohort, version 3\n\n{TABLE}", "line 1 above the header skipped"),
    "title padded": (f"A cohort,,,\n,,,\n{TABLE}", "lines 1 to 2 above the header skipped"),
    "two headers": (f",Patient,,Outcome\n{TABLE}", "line 1 above the header skipped"),
    "comments above": (f"#a\tb\n#STRING\n{TABLE}", "lines 1 to 2 above the header skipped"),
    "empty rows below": (f"{TABLE},,,\n,,,\n\n", ""),
    "empty rows below, in quotes": (TABLE + '"","","",""\n' * 2, ""),
    "remarks below": (f"{TABLE}\nSource: registry\nLast changed in May\n", "lines 8 to 9 under"),
    "summaries below": (f"{TABLE},,,\nmedian,61,,3\n", "line 8 under the table"),
    "a delimiter at the header's end": (TABLE.replace("months\n", "months,\n"), ""),
    "hashes in cells": (TABLE.replace("f,", "block #3,"), ""),
    "an inch": (TABLE.replace("f,", '5" wide,'), ""),
    "quotes within": (TABLE.replace("f,", 'so "called",'), ""),
    "quotes and line breaks": (TABLE.replace("f,", '"a ""b"",\nc",'), ""),
    "windows": (TABLE.replace("\n", "\r\n"), ""),
    "no break at the end": (TABLE.rstrip(), ""),
    "no-break space in the header": (TABLE.replace("id,age", "\u00a0id\u00a0,\ufeffage"), ""),
}


@pytest.mark.parametrize(("text", "said"), READ.values(), ids=READ)
def test_is_read_whole(tmp_path, text, said, caplog):
    frame = both(write(tmp_path, text, "t.txt"))
    assert [n for n in frame.columns if not n.startswith("Unnamed")] == [
        "id",
        "age",
        "sex",
        "months",
    ]
    assert frame["id"].tolist() == IDS
    assert not frame[["id", "age", "sex", "months"]].isna().any().any()
    notes = [each.getMessage() for each in caplog.records]
    assert bool(notes) == bool(said)
    assert not said or any(said in each for each in notes)


def test_cells_come_as_they_are(tmp_path):
    frame = both(write(tmp_path, READ["quotes and line breaks"][0]))
    assert set(frame["sex"]) == {'a "b",\nc', "m"}
    frame = both(write(tmp_path, READ["an inch"][0]))
    assert set(frame["sex"]) == {'5" wide', "m"}
    frame = both(write(tmp_path, READ["semicolons and decimal commas"][0]))
    assert set(frame["months"]) == {"2,5"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings_that_show(tmp_path, encoding):
    path = write(tmp_path, TABLE.replace("m,", "män\u2265,"), encoding=encoding)
    assert both(path)["sex"].tolist() == ["f", "män\u2265"] * 2 + ["f"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_lines_that_end_in_a_carriage_return(tmp_path, encoding):
    path = tmp_path / "mac.csv"
    path.write_bytes(TABLE.replace("m,", "m\u00e4n,").replace("\n", "\r").encode(encoding))
    reading = Reading(encoding="cp1252") if encoding == "cp1252" else Reading()
    assert both(path, reading=reading)["sex"].tolist() == ["f", "m\u00e4n"] * 2 + ["f"]


def test_a_stray_mark_between_blanks_takes_no_digit(tmp_path):
    path = write(tmp_path, TABLE.replace(",", " ").replace("48", '"48'))
    assert both(path)["age"].tolist()[3] == '"48'


def test_an_encoding_that_does_not_show_is_asked(tmp_path):
    path = write(tmp_path, TABLE.replace("P4", "P\u00e4"), encoding="cp1252")
    assert "line 5 is not UTF-8 text: save it as CSV UTF-8" in refused(path)
    assert "--encoding cp1252" in refused(path)
    frame = both(path, reading=Reading(encoding="cp1252"))
    assert frame["id"].tolist()[3] == "P\u00e4"
    plain = write(tmp_path, TABLE, "plain.csv")
    assert both(plain, reading=Reading(encoding="cp1252"))["id"].tolist() == IDS
    with pytest.raises(InputError, match="no such encoding"):
        read_table(path, reading=Reading(encoding="x"))


#: Name -> text that is refused, and what the line says.
REFUSED = {
    "a cell lost": (TABLE.replace("P4,48", "P4"), "line 5 has 3 of 4 cells"),
    "a cell too many": (TABLE.replace("P4,48", f"P4,{CANARY},48"), "line 5 has 5 of 4 cells"),
    "one lost and one too many": (
        TABLE.replace("P4,48", "P4").replace("P2,70", "P2,7,0"),
        "line 3 has 5 of 4 cells, line 5 has 3 of 4 cells",
    ),
    "a row split": (TABLE.replace("P4,48", "P4,\n48"), "line 5 has 2 of 4 cells"),
    "a name lost": (
        TABLE.replace("id,age", "age"),
        "line 1 names 3 columns and the rows below have",
    ),
    "a name too many": (TABLE.replace("id,age", "id,of,age"), "line 1 names 5 columns"),
    "delimiters at the ends": (
        TABLE.replace("\n", ",\n").replace("months,", "months"),
        "remove the delimiter that ends each row",
    ),
    "names of rows": (
        TABLE.replace("id,", "").replace("P", '"P'.replace('"', "")),
        "name the first column too if it holds row names",
    ),
    "a mark that does not end": (
        TABLE.replace("48", f'"{CANARY}'),
        "line 5 has a cell that begins",
    ),
    "two marks": (
        TABLE.replace("70", f'"{CANARY}').replace("48", '"of'),
        r"line 3 has a cell that begins with a quotation mark, and after the next mark (line 5)",
    ),
    "two marks that fit": (
        TABLE.replace("70", f'"{CANARY}').replace("48", 'of"'),
        "lines 3 to 5 are one row by their quotation marks",
    ),
    "text after a mark": (TABLE.replace("48", '"4"8'), "line 5 has a cell that begins"),
    "remarks without a gap": (f"{TABLE}Source: {CANARY}\n", "line 7 has 1 of 4 cells: remarks, or"),
    "a patient after a gap": (f"{TABLE},,,\nP6,1,f,2\n", "line 7 has no value"),
    "a summary": (f"{TABLE}median,61,,3\n", "line 7 looks like a summary"),
    "a mean": (f"{TABLE}Mean (SD),61,,3\n", "line 7 looks like a summary"),
    "a remark in a row": (f"{TABLE}n = 5,,,\n", "line 7 looks like a remark"),
    "the header again": (f"{TABLE}{TABLE}", "line 7 is the header again"),
    "units": (TABLE.replace("months\n", "months\n,years,,months\n"), "line 2 has words where"),
    "a carriage return": (TABLE.replace("48", "4\r8"), "line 5 has a carriage return"),
    "a byte of zero": (TABLE + "P6,1,f,2\n" * 9000 + "P\0,1,f,2\n", "line 9007 has a NUL byte"),
    "a table cut off": (TABLE[:-5], "line 6 has 2 of 4 cells"),
    "series matrix": ('!Series_title\t"x"\n', "GEO series matrix"),
    "a page": ("<!DOCTYPE html><html>", "a web page"),
    "json": ('[{"id": 1, "age": 2},\n{"id": 1, "age": 2}]', "JSON"),
    "an old workbook": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "old Excel workbook"),
    "a zip": (b"PK\x03\x04" + bytes(60), "zip archive"),
}


@pytest.mark.parametrize(("text", "said"), REFUSED.values(), ids=REFUSED)
def test_is_refused(tmp_path, text, said):
    assert said in refused(write(tmp_path, text))


@pytest.mark.parametrize("size", [3, 64])
def test_how_much_is_read_at_once_does_not_matter(tmp_path, monkeypatch, size):
    monkeypatch.setattr("accomplice.data.readers.table_reader.SURVEYED", size)
    monkeypatch.setattr(row_checker, "BLOCK", size)
    for number, (text, _) in enumerate(READ.values()):
        both(write(tmp_path, text, f"r{number}.txt"))
    short = [each for each in REFUSED.values() if len(each[0]) < 1000]
    for number, (text, said) in enumerate(short):
        path = write(tmp_path, text, f"w{number}.csv")
        for read in (read_table, open_stream):
            # How many wrong lines are named depends on how much has been read.
            with pytest.raises(InputError, match=re.escape(said.split(",")[0])):
                read(path)


class TestMissing:
    def test_listed_words_in_any_case(self, tmp_path):
        words = ["", "NA", "n/a", "nUlL", "[not Available]", "'--", " -- ", "UNKNOWN", "Not stated"]
        lines = [f"P{i},{word},{i},{word}" for i, word in enumerate(words)]
        text = "\n".join(["id,a,b,c", *lines, "P,1.5,1,x", "Q,2,2,None"]) + "\n"
        frame = both(write(tmp_path, text))
        assert frame["a"].tolist()[-2:] == [1.5, 2]
        assert frame["a"].isna().sum() == frame["c"].isna().sum() == len(words)
        assert frame["c"].tolist()[-2:] == ["x", "None"]

    def test_some_only_among_numbers(self, tmp_path):
        text = "id,a,b\nP,None,None\nQ,n.d.,FLOT\nR,3,n.d.\n"
        frame = both(write(tmp_path, text))
        assert frame["a"].fillna(-1).tolist() == [-1, -1, 3]
        assert frame["b"].tolist() == ["None", "FLOT", "n.d."]

    def test_a_studys_own_words_and_levels(self, tmp_path):
        text = "id,a,b,c\nP,asked,NA,Unknown\nQ,2,x,2\nR,Unknown,Asked,\n"
        words = Words(
            missing=frozenset({"asked"}),
            levels={"b": frozenset({"na"}), "c": frozenset({"unknown"})},
        )
        frame = both(write(tmp_path, text), reading=Reading(words))
        assert frame["a"].fillna(-1).tolist() == [-1, 2, -1]
        assert frame["b"].fillna("?").tolist() == ["NA", "x", "?"]
        assert frame["c"].fillna("?").tolist() == ["Unknown", "2", "?"]

    def test_a_column_that_may_have_the_level_stays_numbers_without_it(self, tmp_path):
        words = Words(levels={"a": frozenset({"1", "unknown"})})
        frame = both(write(tmp_path, "id,a\nP,1\nQ,\nR,2\n"), reading=Reading(words))
        assert frame["a"].fillna(-1).tolist() == [1, -1, 2]

    def test_truth_values_with_words(self, tmp_path):
        frame = both(write(tmp_path, "id,a\nP,True\nQ,nOt sTated\nR,FALSE\n"))
        assert frame["a"].tolist()[::2] == [True, False]
        assert pd.isna(frame["a"][1])


def test_a_table_of_any_name_is_read(tmp_path):
    assert (
        read_table(write(tmp_path, TABLE.replace(",", "\t"), "clinicalMatrix"))["id"].tolist()
        == IDS
    )
    assert "5 of 4" in refused(write(tmp_path, TABLE.replace("P4", "P,4"), "t.sampleMap_of"))


def test_a_draft_tells_what_was_done(tmp_path):
    path = write(tmp_path, f"A cohort\n{TABLE}")
    source = TableReader().draft(path, None, ())
    assert source.notes == ("line 1 above the header skipped: the names stand in line 2",)
    assert source.options == {}


def test_a_draft_tells_of_words_among_numbers(tmp_path):
    path = write(tmp_path, "id,age,sex\nP,61,1\nQ,n.a.,2\nR,CANARY,f\nS,48,m\nT,50,x\n")
    (said,) = TableReader().draft(path, "id", ()).notes
    assert said.startswith("column 'age': 1 of 4 cells are not numbers: list words")


class TestDoubtfulWords:
    def draft(self, tmp_path, cells, words=None):
        lines = [f"P{i},{cell},{i}" for i, cell in enumerate(cells)]
        path = write(tmp_path, "\n".join(["id,site,age", *lines]) + "\n")
        return TableReader().draft(path, "id", (), Reading(words or Words())).frame["site"].tolist()

    def test_none_is_a_level_without_blanks(self, tmp_path):
        assert self.draft(tmp_path, ["None", "liver", "None"]) == ["None", "liver", "None"]

    @pytest.mark.parametrize("word", ["None", "NA"])
    def test_beside_blanks_it_is_asked(self, tmp_path, word):
        cells = [word, "liver", ""]
        with pytest.raises(InputError, match=f"column 'site' has {word} as well as blank cells"):
            self.draft(tmp_path, cells)
        said = self.draft(tmp_path, cells, Words(missing=frozenset({word.lower()})))
        assert [pd.isna(cell) for cell in said] == [True, False, True]

    def test_said_to_be_a_level(self, tmp_path):
        said = self.draft(tmp_path, ["None", "x", ""], Words(kept=frozenset({"none"})))
        assert said[:2] == ["None", "x"]

    def test_numbers_and_long_lists_are_not_asked(self, tmp_path):
        assert self.draft(tmp_path, ["None", "1", "", "NA"])[1] == 1
        self.draft(tmp_path, ["NA", "", *(f"remark {i}" for i in range(30))])


def test_what_is_said_to_a_draft_is_kept_in_the_study_file(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["column", "meaning"])
    sheet = book.create_sheet("Patients")
    sheet.append(["patient_id", "os_months", "os_event", "site", "age"])
    for i in range(30):
        site = ["None", "liver", None, "lung", "asked"][i % 5]
        age = "Asked" if i == 7 else 40 + i * 7 % 31
        sheet.append([f"P{i}", 1.5 + i * 11 % 30, i % 2, site, age])
    book.save(tmp_path / "t.xlsx")
    words = Words(missing=frozenset({"none", "asked"}))
    study = tmp_path / "study.yaml"
    draft = draft_study(
        tmp_path / "t.xlsx",
        time="os_months",
        event="os_event",
        reading=Reading(words, sheet="Patients"),
        out=study,
    )
    study.write_text(render_study(draft))
    assert load_study(study).source.sheet == "Patients"
    assert load_study(study).missing == ("asked", "none")
    cohort = load_cohort(study)
    names = list(cohort.study.features)
    assert cohort.study.features["site"].levels == ("liver", "lung")
    assert np.isnan(cohort.values[:, names.index("site")]).sum() == 18
    assert np.isnan(cohort.values[:, names.index("age")]).sum() == 1
    new = tmp_path / "t.xlsx"
    assert stream_patients(new, cohort.study).rows == 30
    with pytest.raises(InputError, match="no sheet 'x'"):
        stream_patients(new, cohort.study, "x")


# Property tests: a table whose cells are known.


def test_a_file_that_changes_after_it_was_opened_is_an_error(tmp_path):
    path = write(tmp_path, TABLE)
    stream = open_stream(path)
    path.write_text(TABLE.replace("48", CANARY))
    with pytest.raises(InputError, match="not a readable table") as caught:
        list(stream.parts(2))
    assert CANARY not in str(caught.value)


def test_a_wide_and_a_long_table_are_checked_to_the_end(tmp_path):
    wide = pd.DataFrame(np.arange(30_000.0).reshape(6, 5000)).add_prefix("g")
    wide.to_csv(tmp_path / "w.csv", index=False)
    assert both(tmp_path / "w.csv").shape == (6, 5000)
    long = "id,a\n" + "P,1\n" * 1_200_000
    path = write(tmp_path, f"{long}P\n")
    assert "line 1200002 has 1 of 2 cells" in refused(path)


def test_names_of_archives_are_not_opened_as_tables(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.csv", "w") as archive:
        archive.writestr("t.csv", TABLE)
    assert "zip archive" in refused(tmp_path / "t.csv")


def test_notes_are_logged_for_every_verb(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        open_stream(write(tmp_path, f"A cohort\n{TABLE}"))
    assert "note: " in caplog.text
