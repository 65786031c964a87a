"""What CONTRIBUTING.md says of how to add a thing, done in a copy of the package and used."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_CHANGE = re.compile(r"^`(hdsens/[a-z_/]+\.py)`\n\n```(diff|python)\n(.*?)^```$", re.M | re.S)


def ways() -> dict[str, list[tuple[str, str, str]]]:
    """By the title of a way to add: file, `diff` or `python`, and the change or the new file."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    _, *sections = text.partition("\n## How to add\n")[2].split("\n### ")
    return {section.partition("\n")[0]: _CHANGE.findall(section) for section in sections}


def changed(text: str, diff: str) -> str:
    """The text of a file after a change without line numbers; `@@` stands between two places."""
    for place in re.split(r"^@@\n", diff, flags=re.M):
        lines = place.splitlines()
        before, after = (
            "\n".join(line[1:] for line in lines if line[0] != other) for other in "+-"
        )
        assert text.count(before) == 1, (
            f"CONTRIBUTING.md shows a place that is not there:\n{before}"
        )
        text = text.replace(before, after)
    return text


@pytest.mark.parametrize("way", ways())
def test_a_way_touches_two_files_at_most(way):
    changes = ways()[way]
    assert 1 <= len({file for file, _, _ in changes}) <= 2
    for file, kind, _ in changes:
        assert (ROOT / file).exists() == (kind == "diff")


def test_what_is_added_as_contributing_says_works(tmp_path):
    """All of it in one copy, which the checks then import in place of the package."""
    shutil.copytree(ROOT / "hdsens", tmp_path / "hdsens")
    for file, kind, content in (change for changes in ways().values() for change in changes):
        path = tmp_path / file
        if kind == "diff":
            content = changed(path.read_text(encoding="utf-8"), content)
        path.write_text(content, encoding="utf-8")
    places = (tmp_path, *(ROOT / name for name in ("tests", "tests/analysis", "tests/launch")))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"),
            *("-o", f"pythonpath={' '.join(map(str, places))}"),
            *("-k", "how_to_add_checks or largest-first", "--basetemp", str(tmp_path / "tmp")),
            *("tests/how_to_add_checks.py", "tests/launch/test_executors.py"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
