"""Write results as one HTML page that needs no other file."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import jinja2
from markupsafe import Markup

from hdsens.analysis.claims.catalogue import CLAIMS
from hdsens.analysis.claims.comparison import compare
from hdsens.report.page.changes import change_view
from hdsens.report.page.overview import joint_sentences, summary
from hdsens.report.page.vega import packed_vega
from hdsens.report.page.views import view
from hdsens.report.words.sentences import question
from hdsens.store import Results
from hdsens.version import __version__


def write_report(results: Sequence[Results], out: Path, *, against: Results | None = None) -> Path:
    """Write the page of one or several results to `out` and return that path.

    The file appears whole or not at all. `against`: earlier results of the same study; the page
    says what changed since.
    """
    page = render(results, against=against)
    temporary = out.with_name(f".{out.name}.{uuid.uuid4().hex}")
    try:
        temporary.write_text(page, encoding="utf-8")
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)
    return out


def render(results: Sequence[Results], *, against: Results | None = None) -> str:
    """The page as HTML; equal results give equal text."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("hdsens.report.page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    views = [view(one, f"r{i}", against) for i, one in enumerate(results)]
    joint = joint_sentences(results) if len(results) > 1 else []
    return environment.get_template("page.html.j2").render(
        views=views,
        first_reading=next((one for one in views if one.rules), views[0]),
        claims=CLAIMS,
        joint=joint,
        question=question(*(one.study for one in results)),
        lines=summary(views) if len(views) > 1 else (),
        change=change_view(
            compare(against, results[0], results[0].study.metric), str(against.folder)
        )
        if against
        else None,
        css=_asset("page.css"),
        js=_asset("cell_curves.js"),
        library=packed_vega() if any(one.data for one in views) else "",
        version=__version__,
    )


def _asset(name: str) -> Markup:
    return Markup(
        files("hdsens.report.page").joinpath("templates", name).read_text(encoding="utf-8")
    )
