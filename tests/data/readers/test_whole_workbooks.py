"""Workbooks are read whole or refused."""

from __future__ import annotations

import datetime

import pytest

from accomplice.data.errors import InputError
from accomplice.data.readers.reader import Reading
from accomplice.data.readers.tables import read_table
from tests.data.readers.test_whole_or_refused import (
    IDS,
    TABLE,
    both,
    refused,
    write,
)


class TestWorkbooks:
    @pytest.fixture(autouse=True)
    def _library(self):
        self.openpyxl = pytest.importorskip("openpyxl")

    def book(self, tmp_path, **sheets):
        book = self.openpyxl.Workbook()
        book.remove(book.active)
        for name, rows in sheets.items():
            sheet = book.create_sheet(name)
            for row in rows:
                sheet.append(row)
        book.save(tmp_path / "t.xlsx")
        return tmp_path / "t.xlsx"

    rows = (("id", "age", "seen"), *((f"{i:03d}", 50 + i, 1.5 * i) for i in range(12)))

    @pytest.mark.parametrize(
        ("above", "below"),
        [
            ([], []),
            ([["A cohort"], []], []),
            ([[None, "Patient", None]], [[], ["median", 55, None]]),
            ([["of", "of", None]], [[], [], ["Source: a registry"]]),
        ],
    )
    def test_the_table_alone_is_read(self, tmp_path, above, below):
        frame = both(self.book(tmp_path, Data=[*above, *self.rows, *below]), text_columns=("id",))
        assert frame["id"].tolist() == [row[0] for row in self.rows[1:]]
        assert frame["seen"].tolist() == [row[2] for row in self.rows[1:]]

    def test_the_sheet_is_found_and_said(self, tmp_path, caplog):
        legend = [["column", "meaning"], ["age", "years"]]
        path = self.book(tmp_path, Legend=legend, Data=self.rows)
        assert len(read_table(path)) == 12
        assert "sheet 'Data' is read, and not 'Legend'" in caplog.text
        assert len(read_table(path, reading=Reading(sheet="Legend"))) == 1
        with pytest.raises(InputError, match=r"no sheet 'Dat'; did you mean 'Data'\?"):
            read_table(path, reading=Reading(sheet="Dat"))

    def test_two_tables_are_asked(self, tmp_path):
        path = self.book(tmp_path, A=self.rows, B=self.rows)
        assert "sheets 'A', 'B' have tables: name one with --sheet" in refused(path)
        assert len(both(path, reading=Reading(sheet="B"))) == 12

    def test_patients_after_an_empty_row_are_not_dropped(self, tmp_path):
        path = self.book(tmp_path, Data=[*self.rows, [], ["100", 1, 2]])
        assert "row 14 is empty and rows follow" in refused(path)

    def test_a_table_that_begins_elsewhere(self, tmp_path):
        path = self.book(tmp_path, Data=[[], [], *([None, None, *row] for row in self.rows)])
        assert both(path).columns.tolist() == ["id", "age", "seen"]

    def test_kinds_of_cells(self, tmp_path):
        day = datetime.datetime(2018, 3, 12)
        head = ["id", "day", "yes", "words", "n"]
        path = self.book(
            tmp_path, Data=[head, ["1", day, True, 'a, \n"b"', 7], ["2", None, False, "NA", 8.5]]
        )
        frame = both(path)
        assert frame["day"].fillna("").tolist() == ["2018-03-12", ""]
        assert frame["yes"].tolist() == [True, False]
        assert frame["words"].fillna("").tolist() == ['a, \n"b"', ""]
        assert frame["n"].tolist() == [7, 8.5]

    def test_formulas_without_values_are_refused(self, tmp_path):
        path = self.book(tmp_path, Data=[*self.rows, ["x", "=B2+1", 2]])
        assert "formulas without values" in refused(path)

    def test_text_that_is_named_so(self, tmp_path, caplog):
        assert both(write(tmp_path, TABLE, "t.xlsx"))["id"].tolist() == IDS
        assert "no workbook, but text" in caplog.text
        assert "old Excel workbook" in refused(write(tmp_path, b"\xd0\xcf\x11\xe0" * 9, "t.xls"))
