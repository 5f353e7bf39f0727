"""`accomplice power --prediction` from its options to its table and sentences."""

from __future__ import annotations

import re

import pytest

from accomplice.training.cli.main import main
from tests.training.power.command import ran, refused

EXAMPLE = ("--rate", "0.065", "--mean-follow-up", "2.07", "--horizon", "2")


def sized(capsys, *argv: str) -> str:
    return ran(capsys, "--prediction", *argv)


def test_the_published_example(capsys):
    said = sized(capsys, *EXAMPLE, "--parameters", "30", "--r2", "0.051")
    assert "Cox-Snell R² 0.051 (as given; at most 0.555)" in said
    assert "needs 5143 patients with 692 events, 23.1 a parameter: shrinkage" in said
    assert re.search(r"shrinkage of 0.9 or more +│ +5143 │ +692 │ +23.1", said)
    assert "at n =" not in said


def test_a_concordance_takes_the_place_of_r2(capsys):
    needed = [
        int(
            re.search(
                r"needs (\d+)",
                sized(capsys, *EXAMPLE, "--parameters", "30", "--c", c),
            )[1]
        )
        for c in ("0.6", "0.7", "0.8")
    ]
    assert needed[0] > 2 * needed[1] > 4 * needed[2]


def test_a_size_at_hand_is_judged(capsys):
    said = sized(capsys, *EXAMPLE, "--parameters", "30", "--r2", "0.051", "--n", "5143")
    assert "effects are expected to shrink to 0.90 of their size; 30 parameters would keep" in said


def test_a_study_says_what_options_do_not(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "synth", "--out", "demo", "--n", "300", "--seed", "2"]) == 0
    capsys.readouterr()
    whole = sized(capsys, "demo/study.yaml", "--c", "0.7")
    assert "synthetic-gastric: 300 patients" in whole
    assert "by 60" in whole
    assert "at n = 300 effects are expected" in whole
    few = sized(
        capsys,
        "demo/study.yaml",
        "--c",
        "0.7",
        "--parameters",
        "5",
        "--horizon",
        "36",
    )
    assert "5 candidate parameters" in few
    assert "by 36" in few


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--prediction", "--parameters", "3"), "--rate, --mean-follow-up, --horizon"),
        (("--prediction", *EXAMPLE), "--parameters: how many"),
        (("--prediction", *EXAMPLE, "--parameters", "3", "--r2", "0.6"), "not possible"),
        (("--prediction", *EXAMPLE, "--parameters", "3", "--r2", ".1", "--c", ".7"), "two ways"),
        (("--prediction", *EXAMPLE, "--parameters", "3", "--c", ".5"), "no better than chance"),
        (
            [
                "--prediction",
                "--rate",
                "0.065",
                "--mean-follow-up",
                "24.8",
                "--horizon",
                "24",
                "--parameters",
                "3",
            ],
            "1.61 events a patient are not possible",
        ),
        (("--prediction", "--hr-low", "0.5"), "--hr-low: not with --prediction"),
        (("--parameters", "3"), "--parameters: give it with --prediction"),
        (("--mean-follow-up", "3"), "--mean-follow-up: give it with --prediction"),
    ],
)
def test_what_does_not_fit_is_refused(capsys, argv, said):
    assert said in refused(capsys, *argv)
