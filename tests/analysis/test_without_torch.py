"""A reader of results needs nothing that trains; `tox -e analysis` runs this where it is not."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import hdsens.analysis
import hdsens.report
import hdsens.store
import hdsens.study

ROOMS = (hdsens.analysis, hdsens.report, hdsens.store, hdsens.study)
TRAINS = ("torch", "ray", "optuna", "safetensors")
OWN = ("optim", "tasks", "training", "launch", "search")
WRITES = {"hdsens.store.checkpoints"}  # of a store, for who trains; readers never import it
MODULES = [
    module.name
    for room in ROOMS
    for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}.")
    if module.name not in WRITES
]


def test_every_module_can_be_imported_and_brings_nothing_that_trains() -> None:
    code = "\n".join(
        [
            "import importlib, sys",
            f"for name in {MODULES}: importlib.import_module(name)",
            f"print([name for name in {TRAINS} if name in sys.modules])",
        ]
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize("room", [hdsens.analysis, hdsens.report], ids=lambda room: room.__name__)
def test_no_function_imports_later_what_trains(room) -> None:
    forbidden = {*TRAINS, *(f"hdsens.{name}" for name in OWN)}
    found = {
        f"{path.name}: {name}"
        for path in Path(room.__path__[0]).rglob("*.py")
        for name in imported(ast.parse(path.read_text("utf-8")))
        if {name.partition(".")[0], ".".join(name.split(".")[:2])} & forbidden
    }
    assert not found


def imported(tree: ast.AST) -> list[str]:
    """Modules that a file names in its imports, at the top or inside functions."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names
