"""docs/recipes.md, block by block: lr is learned where it says so, and else there is a warning."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"
NEEDS = {
    "A plain loop": (),
    "Hugging Face Trainer": ("transformers", "accelerate"),
    "Lightning": ("lightning",),
    "accelerate": ("accelerate", "transformers"),
}
REASON = "libraries of `tox -e recipes`"


def blocks():
    """The Python blocks of the page, by heading."""
    parts = re.split(r"^## (.+)$", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    headings = ["", *parts[1::2]]
    found = [re.findall(r"```python\n(.*?)```", part, re.DOTALL) for part in parts[::2]]
    return dict(zip(headings, found, strict=True))


def test_every_recipe_of_the_page_is_known():
    assert {heading: len(found) for heading, found in blocks().items() if found} == {
        "": 1,
        **dict.fromkeys(NEEDS, 2),
    }


@pytest.mark.parametrize("heading", NEEDS)
def test_a_recipe_learns_lr_and_warns_where_nothing_is_learned(heading, tmp_path):
    missing = [name for name in NEEDS[heading] if find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)}: {REASON}")
    (data,), (learning, overwriting) = blocks()[""], blocks()[heading]
    names = {"folder": str(tmp_path), "__name__": "recipe"}
    exec("import warnings\n" + data, names)
    exec(learning, names)
    lrs = names["lrs"]
    assert len(set(lrs)) > 0.9 * len(lrs)  # it moves at nearly every step, or every log
    assert abs(lrs[-1] / lrs[0] - 1) > 0.2
    assert min(lrs) > 0
    exec(overwriting, names)
    told = [str(w.message) for w in names["caught"] if "lr must be left" in str(w.message)]
    assert len(told) == 1
    assert told[0].startswith(("SGDHD: ", "AdamHD: "))
    assert "use hdsens.optim.keep_lr(optimizer) as the scheduler" in told[0]
