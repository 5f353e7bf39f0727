"""Escape text of tables and study files for the console, Markdown and spreadsheets."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import Any

from markupsafe import Markup

#: Control characters, those that change the direction of text, and surrogates.
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
#: Control characters with a short escape.
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
#: Text that has a meaning in Markdown, such as a web address, which becomes a link. A _ inside a
#: word, as in os_months, has none.
_MARKDOWN = re.compile(
    r"[\\`\[\]<>|~&*]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=\bwww)\.|(?<=\w)@(?=\w)"
    r"|^ ?(#(?=#|\s)|[+-](?=\s|-|$)|=(?==)|\d+[.)](?=\s|$))"
)
#: Characters that have an entity in place of an escape, since HTML in Markdown has no escapes.
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
#: Characters that are escaped in a cell: those of ``_CONTROL`` except tabs and line ends, and a
#: backslash that would look like the start of an escape.
_IN_CELL = re.compile(rf"(?![\t\n\r]){_CONTROL.pattern}|\\(?=u)")
#: An escape.
_ESCAPE = re.compile(r"\\u([0-9a-f]{4})")
#: Start of a cell that a spreadsheet runs as a formula, or of one that was quoted before.
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
#: A number, which a spreadsheet reads as one.
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def printable(text: str, *, lines: bool = False) -> str:
    r"""Return a text with escapes (``\u202e``) in place of characters that act on the console.

    These are control characters and those that change the direction of text. The escapes are those
    of JSON and of quoted YAML.

    Args:
        text: any text.
        lines: whether line ends and tabs stay, as in a whole file.
    """

    def escaped(found: re.Match[str]) -> str:
        character = found[0]
        if lines and character in "\n\t":
            return character
        return _SHORT.get(character, f"\\u{ord(character):04x}")

    return _CONTROL.sub(escaped, text)


def say(*lines: str, error: bool = False, flush: bool = False) -> None:
    """Print lines, each :func:`printable`.

    Args:
        lines: the lines, none of them with a line end.
        error: whether they are printed to stderr.
        flush: whether the output is flushed.
    """
    for line in lines:
        print(printable(line), file=sys.stderr if error else sys.stdout, flush=flush)


def markdown(text: str) -> Markup:
    """Return a text escaped for Markdown, in one line, so that it is shown without markup or links.

    Args:
        text: plain text; ``Markup`` is Markdown already and stays as it is.
    """
    if isinstance(text, Markup):
        return text
    line = printable(re.sub(r"\s+", " ", text))
    return Markup(_MARKDOWN.sub(_escaped, line))


def _escaped(found: re.Match[str]) -> str:
    """Return the match as an entity, or with a backslash before its last character."""
    text = found[0]
    return _ENTITIES.get(text) or f"{text[:-1]}\\{text[-1]}"


def code(*names: str) -> Markup:
    """Return names as inline code of Markdown, joined by commas."""
    return Markup(", ".join(map(_code, names)))


def _code(name: str) -> str:
    line = printable(" ".join(name.split())).replace("|", "\\|")
    longest = max(map(len, re.findall("`+", line)), default=0)
    pad = " " if longest else ""
    marks = "`" * (longest + 1)
    return f"{marks}{pad}{line}{pad}{marks}"


def printable_cells(cells: Iterable[object]) -> list[Any]:
    """Return cells, those with text escaped by :func:`printable`."""
    return [printable(cell) if isinstance(cell, str) else cell for cell in cells]


def quote_cells(cells: Iterable[object]) -> list[Any]:
    """Return cells of a CSV column with ``'`` before those that look like formulas.

    These begin with ``=``, ``+``, ``-``, ``@``, a tab or a line end, and are not numbers. Other
    control characters, and those that change the direction of text, are escaped.
    """
    return [_quoted(cell) if isinstance(cell, str) else cell for cell in cells]


def _quoted(cell: str) -> str:
    text = _IN_CELL.sub(lambda found: f"\\u{ord(found[0]):04x}", cell)
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def unquote_cells(cells: Iterable[object]) -> list[Any]:
    """Undo :func:`quote_cells`."""
    return [_unquoted(cell) if isinstance(cell, str) else cell for cell in cells]


def _unquoted(cell: str) -> str:
    text = cell[1:] if cell.startswith("'") and _FORMULA.match(cell[1:]) else cell
    return _ESCAPE.sub(_unescaped, text)


def _unescaped(found: re.Match[str]) -> str:
    character = chr(int(found[1], 16))
    return character if character == "\\" or _CONTROL.match(character) else found[0]
