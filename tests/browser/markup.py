"""What is wrong with a page's markup, without a browser."""

from __future__ import annotations

from html.parser import HTMLParser


class _Fields(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.fields: list[str] = []
        self.labels: set[str] = set()
        self.ids: list[str] = []
        self.described: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.ids += [attributes["id"]] if "id" in attributes else []
        if tag in ("input", "select", "textarea"):
            self.fields.append(attributes.get("id", ""))
            self.described |= set(attributes.get("aria-describedby", "").split())
        if tag == "label":
            self.labels.add(attributes["for"])


def unlabelled(text: str) -> list[str]:
    """Fields without a label, ids used twice, and descriptions that are not there."""
    found = _Fields(text)
    twice = {each for each in found.ids if found.ids.count(each) > 1}
    absent = found.described - set(found.ids)
    return sorted({f for f in found.fields if f not in found.labels} | twice | absent)
