"""From where a bundle came, as a server is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.origin import ORIGIN_VARIABLE, origin, written


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"run_id": {}}', '"x"'])
def test_an_origin_that_does_not_read_is_unknown(tmp_path: Path, text: str) -> None:
    (tmp_path / "origin.json").write_text(text)
    assert origin(tmp_path / "bundle", {}) == {"run_id": None, "version": None}


def test_the_environment_s_origin_wins_over_the_file_s(tmp_path: Path) -> None:
    (tmp_path / "origin.json").write_text('{"run_id": "packed", "version": 2}')
    assert origin(tmp_path / "bundle", {}) == {"run_id": "packed", "version": "2"}
    named = {"ACCOMPLICE_ORIGIN": '{"run_id": "served"}'}
    assert origin(tmp_path / "bundle", named) == {"run_id": "served", "version": None}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    named = {ORIGIN_VARIABLE: written("r", "3")}
    assert origin(tmp_path, named) == {"run_id": "r", "version": "3"}
    assert origin(tmp_path, {ORIGIN_VARIABLE: written(None, None)}) == origin(tmp_path, {})
