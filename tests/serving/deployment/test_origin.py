"""From where a bundle came, as a server reads it beside a packed one."""

from __future__ import annotations

from pathlib import Path

import pytest

from accomplice.serving.deployment.origin import ORIGIN_FILE, origin_json, read_origin


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"run_id": {}}', '"x"'])
def test_an_origin_that_does_not_read_is_unknown(tmp_path: Path, text: str) -> None:
    (tmp_path / ORIGIN_FILE).write_text(text)
    assert read_origin(tmp_path / "bundle") == {"run_id": None, "version": None}


def test_none_beside_it_is_unknown(tmp_path: Path) -> None:
    assert read_origin(tmp_path / "bundle") == {"run_id": None, "version": None}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    (tmp_path / ORIGIN_FILE).write_text(origin_json("r", "3"))
    assert read_origin(tmp_path / "bundle") == {"run_id": "r", "version": "3"}
    (tmp_path / ORIGIN_FILE).write_text('{"run_id": "packed", "version": 2}')
    assert read_origin(tmp_path / "bundle") == {"run_id": "packed", "version": "2"}
    assert origin_json(None, None) == ""
