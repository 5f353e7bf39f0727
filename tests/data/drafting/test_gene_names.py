"""Genes whose columns are not named by their symbols alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.data.drafting.test_asked import N, base, drafted, features


def with_genes(*names: str) -> pd.DataFrame:
    rng = np.random.default_rng(2)
    return base().assign(**{name: rng.normal(7, 1, N).round(2) for name in names})


def said(made) -> str:
    return " ".join(made.notes)


@pytest.mark.parametrize(
    "name",
    ["IL1R1|3554", "IL1R1 (3554)", "ENSG00000115594.11_IL1R1", "IL1R1|ENSG00000115594"],
)
def test_a_symbol_beside_an_id_is_the_gene(tmp_path, name):
    made = drafted(tmp_path, with_genes(name))
    assert features(made)["IL1R1"] == {"kind": "expression", "column": name}
    assert "genes by their symbols, without the ids: 'IL1R1'" in said(made)


def test_another_name_with_a_number_in_brackets_stays(tmp_path):
    made = drafted(tmp_path, with_genes("albumin (1)", "score (2)"))
    assert {"albumin (1)", "score (2)"} <= features(made).keys()


def test_both_columns_of_a_symbol_keep_their_names(tmp_path):
    made = drafted(tmp_path, with_genes("TP53", "TP53|7157", "IL1R1|3554"))
    assert {"TP53", "TP53|7157", "IL1R1"} <= features(made).keys()


@pytest.mark.parametrize(
    "names",
    [
        ["3554", "968", "7157"],
        ["202948_at", "203507_at", "1007_s_at"],
        ["X202948_at", "X203507_at", "X1007_s_at"],
        ["ILMN_1693338", "ILMN_1714861", "ILMN_2267914"],
    ],
)
def test_ids_by_which_no_marker_is_found_are_said(tmp_path, names):
    made = drafted(tmp_path, with_genes(*names))
    assert "3 columns are named by ids (" in said(made)
    assert "columns are named by ids" not in said(drafted(tmp_path, with_genes(*names[:2])))


def test_genes_that_became_whole_dates(tmp_path):
    made = drafted(
        tmp_path,
        with_genes("IL1R1", "2021-09-02", "2021-12-01 00:00:00", "2021-03-01", "2021-05-01"),
    )
    assert {"SEPTIN2", "DELEC1", "2021-03-01", "2021-05-01"} <= features(made).keys()
    assert "'DELEC1 from 2021-12-01 00:00:00', 'SEPTIN2 from 2021-09-02'" in said(made) or (
        "'SEPTIN2 from 2021-09-02', 'DELEC1 from 2021-12-01 00:00:00'" in said(made)
    )
    assert "'2021-03-01' are genes that a spreadsheet turned into dates" in said(made)
