"""``accomplice report`` writes a page, its numbers and a card, all of them or none."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from accomplice.training.cli.main import main
from accomplice.training.evaluation.record import REVIEW
from tests.training.reports.made_review import made_review


@pytest.fixture(scope="module")
def bundles(tiny_trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    metrics = dict(tiny_trained.bundle.metrics)
    unreviewed = {k: v for k, v in metrics.items() if k != REVIEW}
    replace(tiny_trained.bundle, metrics=unreviewed).save(folder / "old")
    metrics[REVIEW] = made_review().model_dump(mode="json")
    replace(tiny_trained.bundle, metrics=metrics).save(folder / "new")
    return folder


def test_writes_page_numbers_and_card(bundles, tmp_path, capsys):
    out, card = tmp_path / "r.html", tmp_path / "card.md"
    assert main(["report", str(bundles / "new"), "--out", str(out), "--card", str(card)]) == 0
    said = capsys.readouterr().out
    assert "SYNTHETIC" in said
    assert "Could it be a leak?" in said
    assert "Could it be a leak?" in out.read_text(encoding="utf-8")
    assert card.read_text(encoding="utf-8").startswith("# Model card")
    raw = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    assert raw["metrics"][REVIEW]["patients"] == 317
    assert sorted(p.name for p in tmp_path.iterdir()) == ["card.md", "r.html", "r.json"]


def test_names_the_page_after_the_study(bundles, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["report", str(bundles / "new")]) == 0
    assert "synthetic-gastric-report.html" in capsys.readouterr().out
    assert (tmp_path / "synthetic-gastric-report.html").is_file()


def test_an_older_model_is_refused_in_one_line(bundles, tmp_path, capsys):
    assert main(["report", str(bundles / "old"), "--out", str(tmp_path / "r.html")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "holds no review" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--out", "page.pdf"], "ends in .html"),
        (["--out", "absent/page.html"], "no such folder"),
        (["--card", "absent/card.md"], "no such folder"),
    ],
)
def test_wrong_places_are_refused_before_anything(bundles, capsys, options, complaint):
    assert main(["report", str(bundles / "new"), *options]) == 2
    assert complaint in capsys.readouterr().err


def test_no_such_model(tmp_path, capsys):
    assert main(["report", str(tmp_path / "absent")]) == 2
    assert "no such model" in capsys.readouterr().err
