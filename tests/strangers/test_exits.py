"""sys.exit() in other people's code ends what called it, with its reason, and never a run."""

from __future__ import annotations

import pytest
from strange import cells_of, declare

from hdsens import InputError
from hdsens.tasks import import_object
from hdsens.training.check import check_study
from hdsens.training.choosing.choice import choose_packs
from hdsens.training.choosing.dry_run import explain_layers


def test_a_module_that_exits_when_it_is_imported_is_refused(tmp_path, monkeypatch):
    (tmp_path / "a_script.py").write_text("import sys\nsys.exit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError) as caught:
        import_object("a_script:model", "model")
    told = "model 'a_script:model' must be importable; its module raised SystemExit: 3"
    assert str(caught.value) == f"{told} (a_script.py:2)"


def test_factories_and_optimizers_that_exit_are_refused():
    with pytest.raises(InputError, match=r"data set 'strange:quits' must load: SystemExit: no lic"):
        check_study(declare(data="quits"))
    with pytest.raises(InputError, match=r"model 'strange:quits' must be built: SystemExit: no li"):
        choose_packs(declare("quits"), cells_of(declare()), "cpu", 1, 4, "plain")
    assert "the model raises SystemExit: no licence" in explain_layers(declare("quits"))
    for name, rule in (("Built", "refuses its arguments"), ("Stepped", "must take a step on a")):
        with pytest.raises(InputError, match=rf"QuitsWhen{name} {rule}.*SystemExit: 4 \(strange"):
            check_study(declare(optimizer=f"strange:QuitsWhen{name}"))
