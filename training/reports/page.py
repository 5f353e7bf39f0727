"""A report as one HTML file that needs no network: headings, verdicts, tables and figures inline.

All content is text and is escaped, except for the figures' SVG. The figures take the page's
colours, so that they can be read on a dark screen and in print.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Undefined
from markupsafe import Markup
from matplotlib.figure import Figure as Drawing

from accomplice.data.escaping import code, markdown, printable
from accomplice.data.files import GENERATOR
from accomplice.training.estimators.intervals import plain
from accomplice.training.reports.wording import RESEARCH_USE

#: Folder of the templates and their texts.
TEMPLATES = Path(__file__).parent / "templates"

#: Kind of a verdict, which decides its badge.
Tone = Literal["yes", "no", "caution", "alarm", "absent", "described"]

#: Tone -> words on its badge, since not every reader sees its colour.
LABELS: dict[Tone, str] = {
    "yes": "✓ HOLDS UP",
    "no": "○ NOT SHOWN",
    "caution": "! CAUTION",
    "alarm": "▲ ALARM",
    "absent": "– NOT JUDGED",
    "described": "· DESCRIBED",
}
#: Colour in figures (see ``reports.figures.style``) -> CSS variable of the page.
COLOURS = {
    "#222222": "--ink",
    "#555555": "--soft",
    "#e6e6e6": "--grid",
    "#0072b2": "--blue",
    "#e69f00": "--orange",
    "#009e73": "--green",
    "#d55e00": "--red",
    "#56b4e9": "--sky",
    "#cc79a7": "--purple",
    "#ffffff": "--paper",
}


@dataclass(frozen=True)
class Verdict:
    """The answer to a question, in a sentence."""

    tone: Tone
    text: str

    @property
    def label(self) -> str:
        """The words on its badge."""
        return LABELS[self.tone]


@dataclass(frozen=True)
class Table:
    """A table of text; the first cell of each row is its heading."""

    caption: str
    head: tuple[str, ...]
    """Headings of the columns."""
    rows: Sequence[Sequence[str]]
    folded: bool = False
    """Whether the table is hidden until a click, as for the numbers of a figure."""


@dataclass(frozen=True)
class Figure:
    """A drawing with its description in words."""

    svg: Markup
    alt: str
    """Description of the drawing for readers who cannot see it."""
    caption: str


@dataclass(frozen=True)
class Section:
    """A part of a page: a question and its answer."""

    heading: str
    """The question."""
    verdict: Verdict
    """The answer, below the heading."""
    sentences: tuple[str, ...] = ()
    """Paragraphs below the verdict."""
    items: tuple[Table | Figure, ...] = ()
    """Tables and figures below the paragraphs."""
    terms: tuple[tuple[str, str], ...] = ()
    """Terms of this section, each with its definition."""


@dataclass(frozen=True)
class Page:
    """A whole report."""

    title: str
    about: tuple[str, ...]
    """Lines under the title, on the cohort and the methods."""
    lead: str
    """The page's conclusion in one sentence."""
    sections: tuple[Section, ...]
    footer: tuple[str, ...]
    banner: str = ""
    """A warning at the very top."""

    @property
    def glossary(self) -> list[tuple[str, str]]:
        """The terms of all sections with their definitions, in alphabetical order."""
        found = dict(term for section in self.sections for term in section.terms)
        return sorted(found.items(), key=lambda term: term[0].lower())


def render(page: Page) -> str:
    """Return the page as HTML."""
    return fill("page.html.j2", page=page) + "\n"


def fill(name: str, **values: Any) -> str:
    """Return the text of a template with values filled in.

    Args:
        name: file name of the template, for HTML or Markdown. All values but ``Markup`` are escaped
            for it.
        values: values by their names in the template.
    """
    in_markdown = name.endswith(".md.j2")
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_for_markdown if in_markdown else _for_html,
        trim_blocks=in_markdown,
        lstrip_blocks=in_markdown,
    )
    environment.filters["code"] = lambda name: code(*([name] if isinstance(name, str) else name))
    return environment.get_template(name).render(values)


def _for_html(value: Any) -> Any:
    """Return a value of a template, made printable if it is plain text."""
    plain_text = isinstance(value, str) and not isinstance(value, Markup)
    return printable(value, lines=True) if plain_text else value


def _for_markdown(value: Any) -> Any:
    """Return a value of a template, escaped for Markdown unless it is ``Markup``."""
    return value if isinstance(value, Markup | Undefined) else markdown(str(value))


def inline_svg(drawing: Drawing, key: str) -> Markup:
    """Return a drawing as an SVG element for use inside a page.

    Args:
        drawing: matplotlib figure with the colours of ``reports.figures.style``.
        key: unique name of the drawing within the page, put before its ids.
    """
    buffer = io.StringIO()
    # Text stays text instead of outlines, so that it can be searched.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": key}):
        drawing.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    head, body = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    body = re.sub(r'\bid="', f'id="{key}-', body)
    body = re.sub(r"url\(#", f"url(#{key}-", body)
    body = re.sub(r'xlink:href="#', f'href="#{key}-', body)
    body = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, 'DejaVu Sans', sans-serif", body)
    body = re.sub(r"#[0-9a-f]{6}\b", _coloured, body)
    body = re.sub(r"\s*\n\s*", "\n", body)
    body = printable(body, lines=True)
    width = drawing.get_figwidth() * 96
    shape = box.group(0) if box else ""
    return Markup(
        f'<svg {shape} style="max-width: {width:.0f}px" aria-hidden="true">{body.strip()}'
    )


def _coloured(found: re.Match[str]) -> str:
    name = COLOURS.get(found.group(0))
    return found.group(0) if name is None else f"var({name})"


def footer(provenance: Mapping[str, object]) -> tuple[str, str]:
    """Return the lines of a page's footer: research use only, and the provenance of its numbers."""
    return RESEARCH_USE, " · ".join(f"{name}: {value}" for name, value in provenance.items())


def note(page: Page, lead: str) -> str:
    """Return a short form of a page in Markdown: title, ``lead`` and verdicts."""
    title, banner = markdown(page.title), markdown(page.banner)
    lines = [f"**{title}**", "", *([f"**{banner}**", ""] if banner else []), markdown(lead), ""]
    for s in page.sections:
        text = markdown(s.verdict.text)
        lines.append(f"- {markdown(s.heading)} **{s.verdict.label}** {text}")
    return "\n".join([*lines, "", RESEARCH_USE])


def json_text(value: Mapping[str, Any]) -> str:
    """Return the numbers of a page as the text of a JSON file; undefined ones are null."""
    content = {**GENERATOR, **plain(value)}
    text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
    return printable(text, lines=True) + "\n"
