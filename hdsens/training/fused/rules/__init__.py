"""Update rules that packs have a fused form of, one file each.

A file is named after its rule (`OptimizerFacts.update_rule`) in lower case, and its `RULE` is the
class: to be found, a new one needs only its file here and the optimizer's row in
`hdsens.study.optimizers`.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from hdsens.study.optimizers import OptimizerFacts
from hdsens.training.fused.update_rules import UpdateRule


def fused_rule(facts: OptimizerFacts) -> type[UpdateRule] | None:
    """The fused form of an optimizer's update rule; None where it has none."""
    return _rule(facts.update_rule.lower()) if facts.is_known else None


@cache
def _rule(name: str) -> type[UpdateRule] | None:
    if name not in {module.name for module in pkgutil.iter_modules(__path__)}:
        return None
    rule: type[UpdateRule] = importlib.import_module(f"{__name__}.{name}").RULE
    return rule
