"""How the command line is read: commands on Typer, values of options, and one-line errors."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn, get_args

import typer
from typer.core import TyperCommand, TyperGroup

from accomplice.data.errors import nearest

#: Column where the help of an option begins, and letters of a line at the most.
COLUMN, WIDEST = 24, 100


def stop(context: Any, message: str) -> NoReturn:
    """Say in one line on stderr what is wrong, and exit with 2."""
    line = f"{message} (see {context.command_path} --help)"
    print(f"accomplice: {' '.join(line.split())}", file=sys.stderr)
    raise SystemExit(2)


class Verb(TyperCommand):
    """A command with plain help, whose usage errors are one line each."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse what is unknown, missing or too much; see :func:`stop`."""
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

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options, which are all flags and not given by default.

        To read None in place of False Typer would import pydantic, and help would be slow.
        """
        params = super().get_params(ctx)
        for param in params:
            param.default = False
        return params

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse options that are unknown, and that no verb is given."""
        _check_options(self, ctx, args)
        if not ctx.resilient_parsing and all(arg == "--" for arg in args):
            stop(ctx, f"VERB is missing: one of {', '.join(self.commands)}")
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the verb, or name the nearest one."""
        if args[0] not in self.commands and not ctx.resilient_parsing:
            stop(ctx, f"no verb '{args[0]}'{nearest(args[0], self.commands)}")
        return super().resolve_command(ctx, args)

    def get_help(self, ctx: Any) -> str:
        """Return the help with its lines as they are written."""
        return _help(self, ctx)


def group(name: str, text: str, *, completion: bool = False) -> typer.Typer:
    """Return a command that verbs are added to.

    Args:
        name: of the command.
        text: its help; the first line alone is shown in a list of verbs.
        completion: whether it has options that install shell completion.
    """
    return typer.Typer(
        name=name,
        cls=Verbs,
        help=text,
        short_help=text.partition("\n")[0],
        add_completion=completion,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def add(app: typer.Typer, verb: Callable[..., int | None], text: str) -> None:
    """Add a verb by the name of its function.

    Args:
        app: to add it to.
        verb: takes the options and returns the exit code, where that is not 0.
        text: its help; the first line alone is shown in a list of verbs.
    """
    app.command(
        verb.__name__,
        cls=Verb,
        help=text,
        short_help=text.partition("\n")[0],
        context_settings={"help_option_names": ["-h", "--help"]},
    )(verb)


def _options(command: Any, ctx: Any) -> dict[str, Any]:
    """Every option string of a command with its parameter."""
    return {
        name: each
        for each in command.get_params(ctx)
        if each.param_type_name == "option"
        for name in each.opts
    }


def _check_options(command: Any, ctx: Any, args: list[str]) -> None:
    """Refuse an unknown option, naming the nearest one, and an option without its value."""
    if ctx.resilient_parsing:  # while a shell completes what is not finished
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
    """Say which argument is wrong, what it should be, and the nearest of some choices."""
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
    used = [_named_option(each) for each in options if each.required]
    used += [_used(each) for each in arguments]
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
    parts += _section("options", ((_named_option(each), each.help) for each in options))
    return "\n\n".join(parts)


def _used(argument: Any) -> str:
    name = f"{argument.metavar}..." if argument.nargs == -1 else str(argument.metavar)
    return name if argument.required else f"[{name}]"


def _named_option(option: Any) -> str:
    names = ", ".join(sorted(option.opts, key=len))
    return names if option.is_flag else f"{names} {option.metavar}"


def _section(title: str, rows: Iterable[tuple[str, str]], column: int = COLUMN) -> Iterator[str]:
    """Yield a titled list of names and what they mean, where there are any."""
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


def one_of(choices: Any) -> str:
    """Return how help shows the choices of a ``Literal``."""
    return "{" + ",".join(get_args(choices)) + "}"


class Rate(NamedTuple):
    """A response and its rate."""

    name: str
    rate: float


class Pair(NamedTuple):
    """A feature of a model and the feature of a study that it is."""

    own: str
    other: str


class Adjustment(NamedTuple):
    """Features that are adjusted for together, and the name of that."""

    name: str
    features: tuple[str, ...]


class Names(tuple[str, ...]):
    """Names that were given with commas between."""

    __slots__ = ()


class Counts(tuple[int, ...]):
    """Whole numbers that were given with commas between."""

    __slots__ = ()


class Months(tuple[float, ...]):
    """Times in months that were given with commas between."""

    __slots__ = ()


# What reads a value also reads the default, which has its type already: hence ``object``.


def integer(value: object) -> int:
    """Read a whole number."""
    try:
        return int(str(value))
    except ValueError:
        raise typer.BadParameter(f"a whole number, got {value!r}") from None


def count(value: object) -> int:
    """Read a whole number above 0."""
    text = str(value)
    if not text.isdigit() or int(text) < 1:
        raise typer.BadParameter(f"a whole number above 0, got {text!r}")
    return int(text)


def counts(value: object) -> Counts:
    """Read whole numbers above 0."""
    text = str(value)
    try:
        return Counts(count(part) for part in text.split(","))
    except typer.BadParameter:
        message = f"whole numbers above 0, such as 200,400,800, got {text!r}"
        raise typer.BadParameter(message) from None


def seed(value: object) -> int:
    """Read a whole number from 0."""
    text = str(value)
    if not text.isdigit():
        raise typer.BadParameter(f"a whole number from 0, got {text!r}")
    return int(text)


def port(value: object) -> int:
    """Read the number of a port."""
    text = str(value)
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise typer.BadParameter(f"a port from 1 to 65535, got {text!r}")
    return int(text)


def _number(text: object) -> float:
    """Read a number; NaN where it is none."""
    try:
        return float(str(text))
    except ValueError:
        return float("nan")


def between(name: str, low: float, high: float) -> Callable[[object], float]:
    """Return a reader of numbers from ``low`` to ``high``, which an error calls ``name``."""

    def number(value: object) -> float:
        found = _number(value)
        if not low <= found <= high:
            raise typer.BadParameter(f"{name} from {low:g} to {high:g}, got {str(value)!r}")
        return found

    return number


def seconds(value: object) -> float:
    """Read a duration in seconds."""
    found = _number(value)
    if not 0 < found < float("inf"):
        raise typer.BadParameter(f"seconds above 0, got {str(value)!r}")
    return found


def ratio(value: object) -> float:
    """Read a ratio that is not 1."""
    found = _number(value)
    if not 0 < found < float("inf") or found == 1:
        raise typer.BadParameter(f"a number above 0 that is not 1, got {str(value)!r}")
    return found


def months(value: object) -> Months:
    """Read times in months."""
    try:
        return Months(float(part) for part in str(value).split(","))
    except ValueError:
        raise typer.BadParameter(f"months, such as 12,36,60, got {str(value)!r}") from None


def rate(value: object) -> Rate:
    """Read the rate of a response."""
    name, equals, number = str(value).rpartition("=")
    if not equals or not name:
        raise typer.BadParameter(f"NAME=RATE, such as ici_response=0.2, got {str(value)!r}")
    return Rate(name, between("a rate", 0.001, 0.999)(number))


def pair(value: object) -> Pair:
    """Read which feature is which."""
    own, equals, other = (part.strip() for part in str(value).partition("="))
    if not own or not equals or not other:
        raise typer.BadParameter(f"A=B, such as stage_raw=stage, got {str(value)!r}")
    return Pair(own, other)


def names(value: object) -> Names:
    """Read names, each once."""
    found = Names(dict.fromkeys(part.strip() for part in str(value).split(",")))
    if not all(found):
        raise typer.BadParameter(f"names with commas between, got {str(value)!r}")
    return found


def adjustment(value: object) -> Adjustment:
    """Read features to adjust for."""
    name, equals, listed = str(value).partition("=")
    if not equals or not name.strip():
        raise typer.BadParameter(f"NAME=A,B, such as msi=MSI_SCORE, got {str(value)!r}")
    return Adjustment(name.strip(), names(listed))


MODEL_HELP = "a bundle folder, runs:/ID, or models:/NAME@champion"

# Arguments of several verbs.
Model = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)]
Study = Annotated[Path, typer.Argument(metavar="STUDY", help="study file")]
Endpoint = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        metavar="ENDPOINT",
        help="survival endpoint; the study's first if absent",
    ),
]
JudgedOn = Annotated[
    Path | None,
    typer.Option(
        "--study",
        metavar="STUDY",
        help="study file of the patients to judge on; that of the model's run if absent",
    ),
]
