"""The verb ``power``, run in this process."""

from __future__ import annotations

from accomplice.training.cli.main import main


def ran(capsys, *argv: str) -> str:
    assert main(["power", *argv]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    return said.out


def refused(capsys, *argv: str) -> str:
    try:
        code = main(["power", *argv])
    except SystemExit as exit_:
        code = exit_.code
    said = capsys.readouterr()
    assert code == 2
    assert said.out == ""
    assert len(said.err.strip().splitlines()) == 1
    return said.err
