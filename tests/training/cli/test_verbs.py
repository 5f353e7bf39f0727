"""Every verb of the command line: its help, and one line for what cannot be read."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command_name

import accomplice
from accomplice.training.cli.main import command, main

ROOT = Path(__file__).parents[3]
HEAVY = ("torch", "pytorch_lightning", "mlflow", "optuna", "pandas", "numpy", "bentoml", "rich")
TOP = command()
DATA = TOP.commands["data"]
#: Each verb's words with its command.
VERBS = {(name,): each for name, each in TOP.commands.items()} | {
    ("data", name): each for name, each in DATA.commands.items()
}
LEAVES = {words: each for words, each in VERBS.items() if each is not DATA}


def stopped(capsys, *argv: str) -> str:
    """Run what cannot be read; return its one line."""
    with pytest.raises(SystemExit) as exit_:
        main(argv)
    said = capsys.readouterr()
    assert exit_.value.code == 2
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith("accomplice: ")
    assert line.endswith(" --help)")
    return line


def test_verbs_are_named_as_their_functions():
    assert len(LEAVES) == 17
    for words, each in LEAVES.items():
        assert words[-1] == get_command_name(each.callback.__name__)


@pytest.mark.parametrize("words", [(), *VERBS], ids=" ".join)
def test_help_shows_every_option_with_its_meaning(words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as exit_:
        main([*words, "--help"])
    assert exit_.value.code == 0
    page = capsys.readouterr().out
    assert max(map(len, page.splitlines())) <= 100
    flat = " ".join(page.split())
    made = VERBS.get(words, TOP)
    assert page.startswith(f"usage: {' '.join(('accomplice', *words))} [OPTIONS]")
    assert made.help.strip() in page, "its lines are kept as they are written"
    assert "--help" in page
    for param in made.params:
        assert param.help, param.name
        assert " ".join(param.help.split()) in flat, param.name
        for name in param.opts if param.param_type_name == "option" else [param.metavar]:
            assert name in page
        assert getattr(param, "is_flag", False) or param.metavar, param.name
    for name, verb in getattr(made, "commands", {}).items():
        assert f"    {name} " in page
        assert verb.short_help in flat


def test_no_help_loads_anything_heavy():
    script = (
        "import contextlib, io, sys\n"
        "from accomplice.training.cli.main import main\n"
        f"for words in {[[], *map(list, VERBS)]}:\n"
        "    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "        main([*words, '--help'])\n"
        f"print([name for name in {(*HEAVY, 'pydantic')} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_an_unknown_option_names_the_nearest(words, capsys):
    options = [p.opts[0] for p in VERBS[words].params if p.param_type_name == "option"]
    option = max(options or ["--help"], key=len)
    line = stopped(capsys, *words, f"{option}x")
    path = " ".join(("accomplice", *words))
    meant = f"no option '{option}x'; did you mean '{option}'? (see {path} --help)"
    assert line == f"accomplice: {meant}"


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_what_is_missing_is_named(words, capsys):
    needed = [each for each in LEAVES[words].params if each.required]
    if not needed:
        assert words in {("power",), ("ui",), ("demo",)}
        return
    line = stopped(capsys, *words)
    names = [e.metavar if e.param_type_name == "argument" else e.opts[0] for e in needed]
    assert any(f"accomplice: {name} is missing" in line for name in names)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "VERB is missing"),
        (["--"], "VERB is missing"),
        (["data"], "VERB is missing: one of init, check, synth"),
        (["trian"], "no verb 'trian'; did you mean 'train'?"),
        (["help"], "no verb 'help'; did you mean '--help'? (see accomplice --help)"),
        (["data", "help"], "no verb 'help'; did you mean '--help'? (see accomplice data --help)"),
        (["--versoin"], "no option '--versoin'; did you mean '--version'? (see accomplice --help)"),
        (["--show-completion", "notashell"], "'notashell': name one of bash, zsh, fish, powersh"),
        (["--install-completion=notashell"], "'notashell': name one of bash, zsh, fish, powersh"),
        (["--show-completion", "zsh", "fish"], "unexpected arguments: fish"),
        (["data", "chek"], "no verb 'chek'; did you mean 'check'?"),
        (["data", "init", "t.csv", "--unit", "day"], "did you mean 'days'?"),
        (["train", "s.yaml", "more"], "unexpected arguments: more"),
        (["train", "s.yaml", "--out"], "--out: its value FOLDER is missing"),
        (["train", "s.yaml", "--out", "--seed", "3"], "--out: its value FOLDER is missing"),
        (["train", "s.yaml", "--settings=all"], "--settings takes no value"),
        (["train", "s.yaml", "--seed", "one"], "--seed: a whole number, got 'one'"),
        (["serve", "m", "--port", "0"], "--port: a port from 1 to 65535, got '0'"),
        (["power", "--events", "2"], "--events: a share from 0.01 to 0.99, got '2'"),
        (["power", "--sizes", "3,x"], "whole numbers above 0, such as 200,400,800"),
        (["predict", "m", "t", "--response-rate", "a"], "NAME=RATE, such as ici_response=0.2"),
        (["marker", "s.yaml", "--marker", "m", "--stroma", "a,,b"], "names with commas between"),
        (["evaluate", "m", "s.yaml", "--map", "a"], "A=B, such as stage_raw=stage, got 'a'"),
    ],
)
def test_a_usage_error_is_one_line(capsys, argv, said):
    assert said in stopped(capsys, *argv)


@pytest.mark.parametrize("argv", [["--show-completion", "zsh"], ["--show-completion=zsh"]])
def test_completion_is_that_of_the_shell_named(capsys, argv):
    with pytest.raises(SystemExit) as exit_:
        main(argv)
    assert not exit_.value.code
    assert capsys.readouterr().out.startswith("#compdef accomplice")


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"accomplice {accomplice.__version__}\n"


@pytest.mark.parametrize("words", [(), *VERBS], ids=" ".join)
@pytest.mark.parametrize("columns", [40, 60, 96, 200])
def test_help_is_of_one_style_in_any_terminal(words, columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    made = VERBS.get(words, TOP)
    context = made.make_context("accomplice", [], resilient_parsing=True)
    page = made.get_help(context)
    assert made.help.strip("\n") in page, "its lines and examples are kept as they are written"
    assert made.help.strip()[0].isupper()
    assert made.help.strip().partition("\n")[0].endswith(".")
    assert "show this message and exit" in " ".join(page.split())
    listed = page.split("\noptions:\n")[1]
    names = [line for line in listed.splitlines() if not line.startswith("  -")]
    assert max(map(len, names), default=0) <= max(min(columns, 100), 48)


def test_all_settings_are_listed_without_a_study(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["train", "--settings"])
    assert exit_.value.code == 0
    assert "net.members=" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["tr"], ["train"]),
        (["data", ""], ["init", "check", "synth"]),
        (["data", "init", "t.csv", "--unit", "m"], ["months"]),
        (["train", "s.yaml", "--max"], ["--max-seconds"]),
    ],
)
def test_a_shell_completes(words, expected):
    asked = {
        "_ACCOMPLICE_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(["accomplice", *words]),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run(
        [sys.executable, "-m", "accomplice"],
        cwd=ROOT,
        env=os.environ | asked,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == expected


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs a shell to install into")
def test_completion_installs_itself(tmp_path):
    line = f"{shlex.quote(sys.executable)} -m accomplice --install-completion; exit $?"
    environment = os.environ | {"HOME": str(tmp_path)}
    subprocess.run(["bash", "-c", line], cwd=ROOT, env=environment, check=True)
    script = (tmp_path / ".bash_completions" / "accomplice.sh").read_text()
    assert "complete -o default -F _accomplice_completion accomplice" in script
    assert "accomplice.sh" in (tmp_path / ".bashrc").read_text()
