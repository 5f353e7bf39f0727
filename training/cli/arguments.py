"""Parsing of the command line on Typer: commands, values of options, one-line errors."""

from __future__ import annotations

import math
import re
import shutil
import textwrap
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn, TypeVar, get_args

import typer
from typer.core import TyperCommand, TyperGroup

from accomplice.data.errors import nearest
from accomplice.data.escaping import say

T = TypeVar("T")

#: Column at which the help of an option begins.
COLUMN = 24
#: Maximum number of characters of a line of help.
WIDEST = 100
#: Typer's options for shell completion; without the name of a shell they find the current one.
COMPLETIONS = ("--install-completion", "--show-completion")
#: Shells that these options can name.
SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")


def stop(context: Any, message: str) -> NoReturn:
    """Print a usage error as one line on stderr, and exit with 2."""
    line = f"{message} (see {context.command_path} --help)"
    say(f"accomplice: {' '.join(line.split())}", error=True)
    raise SystemExit(2)


class Verb(TyperCommand):
    """A command with plain help, whose usage errors are one line each."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse unknown, missing and superfluous arguments; see :func:`stop`."""
        _check_options(self, ctx, args)
        ctx.allow_extra_args = True
        try:
            extra = super().parse_args(ctx, args)
        except typer.BadParameter as error:
            stop(ctx, _explained(error))
        if extra and not ctx.resilient_parsing:
            stop(ctx, f"unexpected arguments: {' '.join(extra)}")
        return extra

    def get_help(self, ctx: Any) -> str:
        """Return the help with its lines as they are written."""
        return _help(self, ctx)


class Verbs(TyperGroup):
    """A command of several verbs."""

    def __init__(self, **given: Any) -> None:
        """Make the command, with help and a placeholder for Typer's options of completion."""
        super().__init__(**given)
        param: Any
        for param in self.params:
            if param.opts[0] in COMPLETIONS:
                act = param.opts[0][2:].partition("-")[0]
                param.help = f"{act} completion for the current shell, or for SHELL if named"
                param.metavar = "[SHELL]"

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options, all of them flags, with the default False.

        Typer's default is None, for which it imports pydantic: that would make the help slow.
        """
        params = super().get_params(ctx)
        for param in params:
            param.default = False
        return params

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Install or show completion if asked to; refuse an unknown option, and a missing verb."""
        if not ctx.resilient_parsing:
            _complete(self, ctx, args)
        _check_options(self, ctx, args)
        if not ctx.resilient_parsing and all(arg == "--" for arg in args):
            stop(ctx, f"VERB is missing: one of {', '.join(self.commands)}")
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the verb; where it is unknown, stop with the nearest one."""
        if args[0] not in self.commands and not ctx.resilient_parsing:
            stop(
                ctx,
                f"no verb '{args[0]}'{nearest(args[0], [*self.commands, *_options(self, ctx)])}",
            )
        return super().resolve_command(ctx, args)

    def get_help(self, ctx: Any) -> str:
        """Return the help with its lines as they are written."""
        return _help(self, ctx)


def group(
    name: str, text: str, verbs: Iterable[Callable[..., int | None]], *, completion: bool = False
) -> typer.Typer:
    """Return a command of verbs.

    Args:
        name: name of the command.
        text: help of the command; its first line is the short help.
        verbs: functions of the verbs; a function's name is the verb, its docstring the help. It
            returns the exit code; None means 0.
        completion: whether the command has options that install shell completion.
    """
    shared: Any = {"context_settings": {"help_option_names": ["-h", "--help"]}}
    made = typer.Typer(
        name=name,
        cls=Verbs,
        help=text,
        short_help=_short(text),
        add_completion=completion,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        **shared,
    )
    for verb in verbs:
        made.command(cls=Verb, short_help=_short(verb.__doc__ or ""), **shared)(verb)
    return made


def _short(text: str) -> str:
    """Return the first line of a help for a list of verbs: in lower case, without a full stop."""
    return text[:1].lower() + text[1:].partition("\n")[0].rstrip(".")


def _options(command: Any, ctx: Any) -> dict[str, Any]:
    """Return the parameter of each option string of a command."""
    return {
        name: param
        for param in command.get_params(ctx)
        if param.param_type_name == "option"
        for name in param.opts
    }


def _complete(command: Any, ctx: Any, args: list[str]) -> None:
    """Install or show completion if the first argument asks for it, for the shell named next."""
    name, equals, shell = args[0].partition("=") if args else ("", "", "")
    if name not in COMPLETIONS or name not in (options := _options(command, ctx)):
        return
    named = [shell, *args[1:]] if equals else args[1:]
    if len(named) > 1:
        stop(ctx, f"unexpected arguments: {' '.join(named[1:])}")
    if named and named[0] not in SHELLS:
        stop(ctx, f"{name}: no completion for '{named[0]}': name one of {', '.join(SHELLS)}")
    try:
        options[name].callback(ctx, options[name], named[0] if named else True)
    except typer.Exit:
        stop(ctx, f"{name}: the current shell has no completion: name one of {', '.join(SHELLS)}")


def _check_options(command: Any, ctx: Any, args: list[str]) -> None:
    """Refuse an unknown option, naming the nearest one, and an option without its value."""
    if ctx.resilient_parsing:  # while a shell completes an unfinished line
        return
    options, rest = _options(command, ctx), iter(args)
    for arg in rest:
        if arg == "--" or (not arg.startswith("-") and isinstance(command, TyperGroup)):
            return
        if not arg.startswith("-") or arg == "-":
            continue
        name, equals, _ = arg.partition("=")
        option = options.get(name)
        if option is None:
            stop(ctx, f"no option '{name}'{nearest(name, options)}")
        if option.is_flag:
            if equals:
                stop(ctx, f"{name} takes no value")
        elif not equals and next(rest, "--").startswith("--"):
            stop(ctx, f"{name}: its value {option.metavar} is missing")


def _explained(error: typer.BadParameter) -> str:
    """Return an error's text: the argument, the expected value, the nearest choice."""
    param: Any = error.param
    name = " / ".join(param.opts) if param.param_type_name == "option" else param.metavar
    if not error.message:
        return f"{name} is missing: {param.help}"
    message = error.message.removeprefix("Value error, ").rstrip(".")
    if "is not one of" in message:
        given, *choices = re.findall(r"'([^']*)'", message)
        message += nearest(given, choices)
    return f"{name}: {message}"


def _help(command: Any, ctx: Any) -> str:
    """Return the whole help of a command."""
    params = [each for each in command.get_params(ctx) if not each.hidden]
    arguments = [each for each in params if each.param_type_name == "argument"]
    options = [each for each in params if each.param_type_name == "option"]
    used = [_option_usage(each) for each in options if each.required]
    used += [_argument_usage(each) for each in arguments]
    verbs = getattr(command, "commands", {})
    usage = " ".join([ctx.command_path, "[OPTIONS]", *used, *(["VERB ..."] if verbs else [])])
    parts = [f"usage: {usage}", command.help.strip("\n")]
    parts += _section("arguments", ((each.metavar, each.help) for each in arguments))
    listed = sorted(verbs.items(), key=lambda each: not hasattr(each[1], "commands"))
    parts += _section(
        "verbs",
        ((f"  {name}", each.short_help) for name, each in listed),
        max(map(len, verbs), default=0) + 6,
    )
    parts += _section("options", ((_option_usage(each), _meaning(each)) for each in options))
    return "\n\n".join(parts)


def _argument_usage(argument: Any) -> str:
    """Return an argument as usage shows it: ``NAME``, ``NAME...`` or ``[NAME]``."""
    name = f"{argument.metavar}..." if argument.nargs == -1 else str(argument.metavar)
    return name if argument.required else f"[{name}]"


def _option_usage(option: Any) -> str:
    """Return an option's names, the shortest first, with the placeholder of its value."""
    names = ", ".join(sorted(option.opts, key=len))
    return f"{names} {option.metavar}" if option.metavar else names


def _meaning(option: Any) -> str:
    """Return the text on an option in the help."""
    return "show this message and exit" if "--help" in option.opts else str(option.help)


def _section(title: str, rows: Iterable[tuple[str, str]], column: int = COLUMN) -> Iterator[str]:
    """Yield a titled list of names and meanings, if there are any."""
    width = min(shutil.get_terminal_size().columns, WIDEST) - 2
    lines = []
    for name, text in rows:
        first, *more = textwrap.wrap(text, max(width - column, 20), break_on_hyphens=False)
        head = f"  {name}"
        if len(head) > column - 2:
            lines += [head, " " * column + first]
        else:
            lines.append(f"{head:<{column}}{first}")
        lines += [" " * column + line for line in more]
    if lines:
        yield "\n".join([f"{title}:", *lines])


def option(
    metavar: str, text: str, parser: Callable[[object], Any] | None = None, *, name: str = ""
) -> Any:
    """Return Typer's declaration of an option that takes a value.

    Args:
        metavar: placeholder of the value in the help.
        text: help of the option.
        parser: function that reads the value; if absent, the parameter's type decides.
        name: option string, such as ``--set``; if absent, made from the parameter's name.
    """
    return typer.Option(*filter(None, [name]), metavar=metavar, help=text, parser=parser)


def one_of(choices: Any) -> str:
    """Return the choices of a ``Literal`` as the help shows them, such as ``{a,b}``."""
    return "{" + ",".join(get_args(choices)) + "}"


def reader(
    parse: Callable[[str], T], expected: str, allowed: Callable[[T], bool] = lambda _: True
) -> Callable[[object], T]:
    """Return a parser of an option's value; Typer passes it the default too.

    The parser raises ``typer.BadParameter`` where a value cannot be read or is not allowed.

    Args:
        parse: function from the text to the value; raises ``ValueError`` where it cannot be read.
        expected: words for an allowed value, such as ``a whole number``, for the error.
        allowed: condition that the value must meet.
    """

    def read(value: object) -> T:
        with suppress(ValueError):
            found = parse(str(value))
            if allowed(found):
                return found
        raise typer.BadParameter(f"{expected}, got {str(value)!r}")

    return read


def between(name: str, low: float, high: float) -> Callable[[object], float]:
    """Return a parser of numbers from ``low`` to ``high``; ``name`` is their name in errors."""
    expected = f"{name} from {low:g} to {high:g}"
    return reader(float, expected, lambda number: low <= number <= high)


def _separated(parse: Callable[[str], T]) -> Callable[[str], tuple[T, ...]]:
    """Return a parser of values separated by commas."""
    return lambda text: tuple(parse(part) for part in text.split(","))


# Parsers of the values of options.
integer = reader(int, "a whole number")
count = reader(int, "a whole number above 0", lambda number: number > 0)
counts = reader(
    _separated(int), "whole numbers above 0, such as 200,400,800", lambda numbers: min(numbers) > 0
)
natural = reader(int, "a whole number from 0", lambda number: number >= 0)
port = reader(int, "a port from 1 to 65535", lambda number: 0 < number < 65536)
seconds = reader(float, "seconds above 0", lambda number: 0 < number < math.inf)
ratio = reader(
    float, "a number above 0 that is not 1", lambda number: 0 < number < math.inf and number != 1
)
months = reader(_separated(float), "months, such as 12,36,60")
names = reader(
    lambda text: tuple(dict.fromkeys(_separated(str.strip)(text))), "names with commas between", all
)


class Rate(NamedTuple):
    """A binary endpoint and the rate of positives where the model is used."""

    name: str
    """Name of the endpoint."""
    rate: float


class Pair(NamedTuple):
    """The two names of one feature: in the model and in a study."""

    own: str
    """Name in the model."""
    other: str
    """Name in the study."""


class Adjustment(NamedTuple):
    """A named set of features that are adjusted for together."""

    name: str
    features: tuple[str, ...]


def rate(value: object) -> Rate:
    """Read ``NAME=RATE``, a binary endpoint and its rate.

    Raises:
        typer.BadParameter: the value has another form, or the rate is not from 0.001 to 0.999.
    """
    name, _, number = str(value).rpartition("=")
    if not name:
        raise typer.BadParameter(f"NAME=RATE, such as ici_response=0.2, got {str(value)!r}")
    return Rate(name, between("a rate", 0.001, 0.999)(number))


def pair(value: object) -> Pair:
    """Read ``A=B``, a feature's name in the model and in the study.

    Raises:
        typer.BadParameter: the value has another form.
    """
    own, _, other = (part.strip() for part in str(value).partition("="))
    if not own or not other:
        raise typer.BadParameter(f"A=B, such as stage_raw=stage, got {str(value)!r}")
    return Pair(own, other)


def adjustment(value: object) -> Adjustment:
    """Read ``NAME=A,B``, a name and the features to adjust for.

    Raises:
        typer.BadParameter: the value has another form.
    """
    name, equals, listed = str(value).partition("=")
    if not equals or not name.strip():
        raise typer.BadParameter(f"NAME=A,B, such as msi=MSI_SCORE, got {str(value)!r}")
    return Adjustment(name.strip(), names(listed))


#: Help of the argument ``MODEL``.
MODEL_HELP = "a bundle folder, runs:/ID, or models:/NAME@champion"

# Parameters of several verbs.
Model = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)]
Study = Annotated[Path, typer.Argument(metavar="STUDY", help="study file")]
Endpoint = Annotated[
    str | None, option("ENDPOINT", "survival endpoint; the study's first if absent")
]
Force = Annotated[
    bool, typer.Option("--force", help="replace the bundle that is there, when the new one is made")
]
JudgedOn = Annotated[
    Path | None,
    option("STUDY", "study file of the patients to judge on; that of the model's run if absent"),
]
