"""MkDocs hook: fill pages with what the code itself says, so that neither can go out of date.

A page holds ``<!-- generate: NAME -->``, in whose place comes the text of ``GENERATED[NAME]``.
"""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import textwrap
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

ROOT = Path(__file__).parents[1]
# MkDocs runs this file without the repository on its path.
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from accomplice.data import study  # noqa: E402
from accomplice.training.config import Config  # noqa: E402

DOCS = ROOT / "docs"
UPWARD = re.compile(r"\[([^\]]+)\]\((\.\./[^)\s#]+)[^)\s]*\)")
MARK = re.compile(r"<!-- generate: ([a-z-]+) -->")
PLAIN = {str: "text", float: "number", int: "integer", bool: "true or false", type(None): "null"}
#: What a page would load from another host.
ELSEWHERE = re.compile(r"""<(?:script|img|link)\b[^>]*\b(?:src|href)=["']?https?://[^>]*>""")
BOUNDS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return a page's text with every mark replaced by what is generated for it.

    Links to files of the repository beside the documentation become their paths.

    Raises:
        KeyError: a mark has an unknown name.
        FileNotFoundError: a link leads to no file.
    """
    folder = (DOCS / page.file.src_uri).parent
    filled = MARK.sub(lambda mark: GENERATED[mark[1]](), markdown)
    return UPWARD.sub(lambda link: _named(link, folder), filled)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Refuse a page that loads something from another host.

    Raises:
        ValueError: it does.
    """
    if found := ELSEWHERE.search(output):
        raise ValueError(f"{page.file.src_uri} loads from elsewhere: {found[0]}")
    return output


def study_file() -> str:
    """Return one section for each model of the study file, the whole of it first."""
    return "\n".join(_section(model) for model in (study.Study, *_parts(study.Study)))


def settings() -> str:
    """Return one section for each part of the configuration, with its dotted keys."""
    parts = {name: f.annotation for name, f in Config.model_fields.items() if _is_model(f)}
    whole = _table(Config, leave_out=tuple(parts))
    sections = [
        f"## {name}\n\n{_summary(part)}\n\n{_table(part, f'{name}.')}"
        for name, part in parts.items()
    ]
    return "\n".join(["## The run", "", whole, *sections])


def commands() -> str:
    """Return the help of every verb, as the command prints it."""
    verbs = [("accomplice",)]
    for name in _verbs(_help()):
        inner = _verbs(_help(name)) if name == "data" else []
        verbs += [("accomplice", name, verb) for verb in inner] or [("accomplice", name)]
    return "\n".join(
        f"## {' '.join(verb)}\n\n```text\n{_help(*verb[1:]).rstrip()}\n```\n" for verb in verbs
    )


def rooms() -> str:
    """Return the rooms in the order that the tests hold, each with its docstring's first line."""
    lines = ["| | room | holds |", "|---|---|---|"]
    for number, row in enumerate(room_order(), start=1):
        lines += [f"| {number} | `{room}` | {_docstring(room)} |" for room in row]
    return "\n".join(lines)


def room_order() -> tuple[tuple[str, ...], ...]:
    """Return ``ORDER`` of the test that holds the order of rooms."""
    tree = ast.parse((ROOT / "tests/integration/test_rooms.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ORDER":
            order: tuple[tuple[str, ...], ...] = ast.literal_eval(node.value)
            return order
    raise KeyError("tests/integration/test_rooms.py assigns no ORDER")


GENERATED: dict[str, Callable[[], str]] = {
    "study-file": study_file,
    "settings": settings,
    "commands": commands,
    "rooms": rooms,
}


def _named(link: re.Match[str], folder: Path) -> str:
    """Return a link within the documentation as it is, another as the path that it leads to."""
    target = (folder / link[2]).resolve(strict=True)
    if target.is_relative_to(DOCS):
        return link[0]
    path = f"`{target.relative_to(ROOT)}`"
    return path if link[1].strip("`") == path.strip("`") else f"{link[1]} ({path})"


def _docstring(room: str) -> str:
    path = ROOT / room.replace(".", "/")
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return text.split("\n\n")[0].replace("\n", " ")


def _help(*verb: str) -> str:
    command = [sys.executable, "-m", "accomplice", *verb, "--help"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def _verbs(text: str) -> list[str]:
    """Return the verbs that a help text lists below a heading of its own."""
    listed = re.split(r"(?m)^ *(?i:verbs?|commands):?\s*$", text)[-1]
    return re.findall(r"(?m)^ {2,4}([a-z]+) {2,}\S", listed.split("\n\n")[0])


def _is_model(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def _parts(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield the models inside a model, each once, in the order of the keys."""
    seen: dict[type[BaseModel], None] = {}
    for field in model.model_fields.values():
        for part in _models(field.annotation):
            seen |= dict.fromkeys((part, *_parts(part)))
    yield from seen


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from _models(inner)


def _section(model: type[BaseModel]) -> str:
    return f"## {model.__name__}\n\n{_summary(model)}\n\n{_table(model)}\n"


def _summary(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().split("\n\n")[0].partition(" See the module")[0]


def _table(model: type[BaseModel], prefix: str = "", leave_out: tuple[str, ...] = ()) -> str:
    said = _attribute_docstrings(model)
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        if name not in leave_out:
            cells = (f"`{prefix}{name}`", _type(field), _default(field), said.get(name, ""))
            lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _attribute_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Return the string below each field of a model, as one line."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            found[ast.unparse(field.target)] = inspect.cleandoc(ast.literal_eval(text.value))
    return {name: " ".join(text.split()) for name, text in found.items()}


def _type(field: FieldInfo) -> str:
    # That an optional key may be null is seen from its default.
    words = _words(field.annotation)
    words = words if field.is_required() else words.removesuffix(" or null")
    return f"{words}{_bounds(field.metadata)}"


def _bounds(rules: Iterable[Any]) -> str:
    """Return what a number must be, such as `` ≥ 1, ≤ 50``."""
    rules = [each for rule in rules for each in getattr(rule, "metadata", [rule])]
    signed = [(sign, getattr(rule, key, None)) for rule in rules for key, sign in BOUNDS.items()]
    bounds = [f"{sign} {bound:.10g}" for sign, bound in signed if bound is not None]
    return f" {', '.join(bounds)}" if bounds else ""


def _words(annotation: Any) -> str:
    """Say what a value is in a study file's words."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in PLAIN:
        return PLAIN[annotation]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin is typing.Annotated:
        return f"{_words(inner[0])}{_bounds(inner[1:])}"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_words(each) for each in inner)
    if origin is tuple and inner[-1] is Ellipsis:
        return f"list of {_words(inner[0])}"
    if origin is tuple:
        return f"[{', '.join(_words(each) for each in inner)}]"
    if origin is dict:
        return f"mapping of {_words(inner[0])} to {_words(inner[1])}"
    raise TypeError(f"no words for {annotation}")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**needed**"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, tuple):
        return f"`[{', '.join(f'{each:g}' for each in value)}]`" if value else "none"
    if value is None or value in ({}, ""):
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"
