"""Do the tests notice? Deliberate breaks, one at a time, each against the tests of its room.

    python -m benchmarks.breaks                     # all of them: an hour or two
    python -m benchmarks.breaks study store         # those of some rooms
    python -m benchmarks.breaks --like bootstrap    # those whose description or file says so
    python -m benchmarks.breaks optim --tests ../old/tests    # how other tests do

`breaks.toml` lists them. Each is made in a copy of the tree, never in the tree itself; pytest stops
at the first test that fails. Exit status 1 where a break survived, or where its text no longer
stands in its file, so that the list cannot rot.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_name("breaks.toml")
COPIED = ("hdsens", "tests", "benchmarks", "studies", "docs", "pyproject.toml", "README.md")
COPIED += ("CHANGELOG.md", "CONTRIBUTING.md", "tox.ini")
FORKS = multiprocessing.get_context("forkserver")
PRELOADED = ["torch", "pandas", "scipy.stats", "seaborn", "pyarrow.parquet", "hypothesis", "pytest"]
"""Loaded once instead of for every break; nothing of this project is among them."""
ROOMS = ("study", "optim", "tasks", "training", "launch", "store", "analysis", "report")


@dataclass(frozen=True)
class Break:
    """A fault: `text`, which stands once in `file` (below hdsens/), becomes `to`.

    `by` is the test file that should notice it; `tests` are all that belong to its room.
    """

    what: str
    file: str
    text: str
    to: str
    by: str
    tests: tuple[str, ...] = ()

    @property
    def room(self) -> str:
        """The folder of its tests, which is named like that of its file."""
        return self.by.partition("/")[0]

    def is_stale(self, tree: Path) -> bool:
        """Whether its text does not stand once in its file."""
        path = tree / "hdsens" / self.file
        return not path.is_file() or path.read_text(encoding="utf-8").count(self.text) != 1


@dataclass(frozen=True)
class Outcome:
    """What became of a break: caught (by which test), survived, stale or too slow."""

    of: Break
    result: str
    seconds: float = 0.0
    test: str = ""

    def __str__(self) -> str:
        """One line of the table."""
        place = f"{self.of.room}: {self.of.file}: {self.of.what}"
        by = f"  [{self.test}]" if self.test else ""
        return f"{self.result:<9} {self.seconds:5.0f} s  {place}{by}"


def read_breaks(path: Path = LIST) -> list[Break]:
    """The list, room by room."""
    with path.open("rb") as file:
        entries = tomllib.load(file)["break"]
    breaks = [Break(**{**entry, "tests": tuple(entry.get("tests", ()))}) for entry in entries]
    return sorted(breaks, key=lambda one: ROOMS.index(one.room))


def copy_of_the_tree(folder: Path, tests: Path) -> Path:
    """A copy without caches and results, with these tests."""
    for name in COPIED:
        source, target = (tests if name == "tests" else ROOT / name), folder / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        elif source.exists():
            shutil.copy(source, target)
    return folder


class FirstFailure:
    """A plugin that remembers the first test, or test file, that failed."""

    def __init__(self) -> None:
        self.test = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._note(report)

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.failed and not self.test:
            self.test = report.nodeid


def run_pytest(tree: Path, tests: Sequence[str], answer: Connection) -> None:
    """What a child process does: run tests in the tree, and send status and first failure."""
    os.setsid()
    os.chdir(tree)
    os.environ |= {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(tree))
    first = FirstFailure()
    quiet = ["-q", "-x", "-p", "no:cacheprovider", "-m", "not system"]
    with (tree / "output").open("w", encoding="utf-8") as file, redirect_stdout(file):
        status = pytest.main([*quiet, *tests], plugins=[first])
    answer.send((int(status), first.test))


def run_tests(tree: Path, tests: Sequence[str], limit_s: float) -> tuple[int, str, float]:
    """Exit status of pytest, the first test that failed, and seconds; status -1: too slow."""
    ours, theirs = FORKS.Pipe(duplex=False)
    child = FORKS.Process(target=run_pytest, args=(tree, tests, theirs))
    started = time.monotonic()
    child.start()
    theirs.close()
    status, test = -1, ""
    if ours.poll(limit_s):
        try:
            status, test = ours.recv()
        except EOFError:
            status, test = 1, "the process died"
    if child.is_alive() and status == -1 and child.pid is not None:
        os.killpg(child.pid, signal.SIGKILL)
    child.join()
    if status not in (-1, 0, 1) and not test:
        raise SystemExit(f"pytest could not run:\n{(tree / 'output').read_text('utf-8')[-2000:]}")
    return status, test, time.monotonic() - started


def attempt(one: Break, tree: Path, limit_s: float) -> Outcome:
    """Make the break, run the tests that should notice and then the rest of the room, undo it."""
    if one.is_stale(tree):
        return Outcome(one, "STALE")
    path = tree / "hdsens" / one.file
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole.replace(one.text, one.to), encoding="utf-8")
    seconds = 0.0
    try:
        for tests in stages(one, tree):
            status, test, took = run_tests(tree, tests, limit_s)
            seconds += took
            if status:
                return Outcome(one, "caught" if status > 0 else "too slow", seconds, test)
    finally:
        path.write_text(whole, encoding="utf-8")
    return Outcome(one, "SURVIVED", seconds)


def stages(one: Break, tree: Path) -> Iterator[list[str]]:
    """The tests that should notice, where they are there, then all of the room without them."""
    first = f"tests/{one.by}"
    known = (tree / first).is_file()
    if known:
        yield [first]
    rest = [f"tests/{name}" for name in one.tests or (one.room,)]
    yield [*rest, f"--deselect={first}"] if known else rest


def chosen(breaks: Sequence[Break], rooms: Sequence[str], like: str) -> list[Break]:
    """Those of some rooms, or all, whose description or file has a word."""
    return [
        one
        for one in breaks
        if (not rooms or one.room in rooms) and like.lower() in f"{one.what} {one.file}".lower()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rooms", nargs="*", choices=[[], *ROOMS], help="only these")
    parser.add_argument("--like", default="", help="only breaks that say this")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin none after")
    parser.add_argument("--limit", type=float, default=1800, help="seconds for one break's tests")
    parser.add_argument("--tests", type=Path, default=ROOT / "tests", help="other tests")
    parser.add_argument("--no-check", action="store_true", help="tests are known to pass unbroken")
    asked = parser.parse_args()
    FORKS.set_forkserver_preload(PRELOADED)
    breaks = chosen(read_breaks(), asked.rooms, asked.like)
    started = time.monotonic()
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="hdsens-breaks-") as folder:
        tree = copy_of_the_tree(Path(folder), asked.tests.resolve())
        for room in () if asked.no_check else sorted({one.room for one in breaks}):
            status, test, seconds = run_tests(tree, [f"tests/{room}"], asked.limit)
            print(f"unbroken  {seconds:5.0f} s  {room}{f': {test} fails' if test else ''}")
            if status:
                raise SystemExit(1)
        for one in breaks:
            if time.monotonic() - started > 60 * asked.minutes:
                break
            outcomes.append(attempt(one, tree, asked.limit))
            print(outcomes[-1], flush=True)
    for room in dict.fromkeys(outcome.of.room for outcome in outcomes):
        counts = Counter(o.result for o in outcomes if o.of.room == room)
        print(f"{room}: {', '.join(f'{n} {result}' for result, n in sorted(counts.items()))}")
    print(f"{len(breaks) - len(outcomes)} not tried")
    sys.exit(any(outcome.result in ("SURVIVED", "STALE") for outcome in outcomes))


if __name__ == "__main__":
    main()
