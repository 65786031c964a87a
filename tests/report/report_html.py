"""Read a page back: its tables, texts, ids and tags, with the standard library's parser."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "hr", "img", "input"}


@dataclass
class ReadTable:
    name: str
    columns: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)

    def dicts(self) -> list[dict[str, str]]:
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


class Page(HTMLParser):
    """Tables by `data-table`, all ids, all tags, all text; raises where tags do not close."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tables: list[ReadTable] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.links: list[list[tuple[str, str]]] = []
        self.counts: dict[str, str] = {}
        self.text = ""
        self._open: list[str] = []
        self._count: str | None = None
        self.feed(html)
        assert self._open == [], self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.attributes += [(tag, name, value) for name, value in given.items()]
        self.ids += [given["id"]] if "id" in given else []
        self.links += [[*given.items()]] if tag == "a" else []
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self.tables.append(ReadTable(given["data-table"]))
        if "data-column" in given:
            self.tables[-1].columns.append(given["data-column"])
        if tag == "tr" and "tbody" in self._open:
            self.tables[-1].rows.append([])
        if tag in ("td", "th") and "tbody" in self._open:
            self.tables[-1].rows[-1].append("")
        self._count = given.get("data-count", self._count)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, tag
        if tag == "dd":
            self._count = None

    def handle_data(self, data: str) -> None:
        self.text += data
        if "tbody" in self._open and self._open[-1] in ("td", "th", "small", "span", "a"):
            self.tables[-1].rows[-1][-1] += data
        if self._count:
            self.counts[self._count] = data

    def named(self, name: str) -> list[ReadTable]:
        return [table for table in self.tables if table.name == name]
