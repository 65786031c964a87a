"""The examples in docstrings are tests; those of the analysis have theirs in its own folder."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import hdsens


def with_examples() -> list[str]:
    """Modules outside the analysis whose source holds an example."""
    names = [module.name for module in pkgutil.walk_packages(hdsens.__path__, "hdsens.")]
    specs = [spec for spec in map(importlib.util.find_spec, names) if spec and spec.origin]
    return [
        spec.name
        for spec in specs
        if not spec.name.startswith("hdsens.analysis")
        and ">>> " in Path(spec.origin).read_text("utf-8")
    ]


@pytest.mark.parametrize("name", with_examples())
def test_examples_in_docstrings(name: str) -> None:
    outcome = doctest.testmod(
        importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert outcome.attempted > 0
    assert outcome.failed == 0
