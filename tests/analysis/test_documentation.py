"""The worked examples in docstrings and in docs/measures.md are tests."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import hdsens.analysis

MODULES = [
    module.name for module in pkgutil.walk_packages(hdsens.analysis.__path__, "hdsens.analysis.")
]
MEASURES = Path(__file__).parents[2] / "docs" / "measures.md"


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str) -> None:
    module = importlib.import_module(name)
    assert doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0


def test_examples_in_the_measures_page() -> None:
    outcome = doctest.testfile(str(MEASURES), module_relative=False)
    assert outcome.attempted > 0
    assert outcome.failed == 0
