"""A study file that would fill the memory or the stack is refused in a line, at once."""

from __future__ import annotations

import time

import pytest
import yaml

from accomplice.data.errors import InputError
from accomplice.data.files import is_study
from accomplice.data.panels.panel import panel_text
from accomplice.data.readers import yaml_text
from accomplice.data.readers.yaml_text import YamlError, read_yaml
from accomplice.data.study import load_study, parse_study
from accomplice.training.cli.main import main
from accomplice.training.config import configure

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 30)
)
MERGED = "a0: &a0 {k: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}\n" for i in range(1, 30)
)
HOSTILE = {
    "laughs": f"name: x\n{LAUGHS}source: *a29\nmodalities: *a29\n",
    "merges": MERGED,
    "inside itself": "source: &a [*a, *a]\nendpoints: 1\n",
    "lists": "source: " + "[" * 20_000,
    "closed lists": "source: " + "[" * 20_000 + "]" * 20_000,
    "mappings": "source: " + "{a: " * 20_000,
    "dashes": "- " * 20_000 + "x",
    "digits": "name: 0x" + "f" * 100_000,
    "day": "name: 2024-99-99",
    "binary": "name: !!binary x",
    "object": "name: !!python/object/apply:os.system [id]",
    "tag": f"name: !{'x' * 100_000} y",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_is_refused_in_a_line_at_once(kind, tmp_path, capsys):
    path = tmp_path / "study.yaml"
    path.write_text(HOSTILE[kind], encoding="utf-8")
    began = time.monotonic()
    assert main(["data", "check", str(path)]) == 2
    assert not is_study(path)
    assert time.monotonic() - began < 10
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"accomplice: {path}: ")
    assert len(line) < 400 + len(str(path))


@pytest.mark.parametrize("level", [["a"], {"a": 1}, None, [["a"] * 10] * 10, b"x"], ids=repr)
@pytest.mark.parametrize("place", ["levels", "map", "missing", "positive"])
def test_a_level_is_a_word_or_a_number(place, level):
    if place == "map" and level is None:
        pytest.skip("null means missing there")
    raw = yaml.safe_load(panel_text("synthetic_gastric"))
    sex = raw["modalities"]["clinical"]["sex"]
    match place:
        case "levels":
            sex["levels"] = ["Female", level]
        case "map":
            sex["map"] = {"x": level}
        case "missing":
            raw["missing"] = [level]
        case _:
            raw["endpoints"]["binary"]["ici_response"]["positive"] = [level]
    with pytest.raises(InputError, match="a level is a word or a number"):
        parse_study(raw, "x")


def test_a_setting_is_refused_too():
    for text in ("[" * 20_000, "&a [*a]", "0x" + "f" * 100_000):
        with pytest.raises(InputError, match="not readable"):
            configure([f"seed={text}"])


def test_aliases_that_repeat_little_are_read(tmp_path):
    raw = yaml.safe_load(panel_text("synthetic_gastric"))
    raw["baselines"]["again"] = raw["baselines"]["clinical"]
    text = yaml.safe_dump(raw)
    assert "*id001" in text
    (tmp_path / "study.yaml").write_text(text)
    assert load_study(tmp_path / "study.yaml").baselines["again"]


def test_a_long_file_without_aliases_is_read(monkeypatch):
    monkeypatch.setattr(yaml_text, "MOST", 100)
    assert len(read_yaml("[" + "1," * 200 + "]")) == 200
    with pytest.raises(YamlError, match="repeat too many"):
        read_yaml("[&a [1, 1, 1, 1, 1], " + "*a," * 20 + "]")
