"""Facts about optimizers by name: the one table of them, for readers that have no torch to ask.

A name may be written as the class's alone (`SGD`), or with its module in torch's or this package's
`optim` (`torch.optim:SGD`, `hdsens.optim.SGDHD`). Any other path is an unknown optimizer.

To add an optimizer, add its row to `_ROWS`; if its rule has a fused form, that is a file in
`hdsens/training/fused/rules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

COMPUTING = frozenset({"foreach", "fused", "capturable", "differentiable"})
"""Arguments that change how a step is computed, never what it gives but for rounding."""

HD_OPTIONS: Mapping[str, Any] = {
    "hypergrad_lr": 0.0,
    "rule": "additive",
    "transition": None,
    "lr_bounds": None,
}
"""Arguments that only an HD optimizer has, at the values of its base optimizer."""


@dataclass(frozen=True, slots=True)
class OptimizerFacts:
    """What an optimizer is and does where an arm states nothing.

    Attributes:
        name: the class's name; the whole path of an unknown optimizer.
        update_rule: name of the optimizer whose steps these are, arguments apart: SGD for SGDHD,
            Adam for AdamHD and AdamW. Cells of one update rule share packs.
        defaults: its arguments as TOML has them, besides `COMPUTING`, lr, and weight decay, which
            the task gives.
        implied: arguments of its update rule that its name fixes: AdamW is Adam with
            `decoupled_weight_decay = True`.
        needs: arguments that do nothing while another is 0, which they name: nesterov without
            momentum, lr_bounds without hypergrad_lr.
        is_known: whether it has a row in the table.
    """

    name: str
    update_rule: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    implied: Mapping[str, Any] = field(default_factory=dict)
    needs: Mapping[str, str] = field(default_factory=dict)
    is_known: bool = True

    @property
    def is_hd(self) -> bool:
        """Whether it is hypergradient descent: it learns its lr by `hypergrad_lr`."""
        return "hypergrad_lr" in self.defaults


def _hd(base: OptimizerFacts, hypergrad_lr: float) -> OptimizerFacts:
    """Return the facts of an optimizer's HD form: its own arguments and those of HD."""
    return replace(
        base,
        name=f"{base.name}HD",
        defaults={**base.defaults, **HD_OPTIONS, "hypergrad_lr": hypergrad_lr},
        needs={**base.needs, "rule": "hypergrad_lr", "lr_bounds": "hypergrad_lr"},
    )


_MOMENTS = {"betas": [0.9, 0.999], "eps": 1e-8, "amsgrad": False, "maximize": False}
_SGD = OptimizerFacts(
    "SGD",
    update_rule="SGD",
    defaults={"momentum": 0.0, "dampening": 0.0, "nesterov": False, "maximize": False},
    needs={"dampening": "momentum", "nesterov": "momentum"},
)
_ADAM = OptimizerFacts(
    "Adam",
    update_rule="Adam",
    defaults={**_MOMENTS, "decoupled_weight_decay": False},
    needs={"decoupled_weight_decay": "weight_decay"},
)
_ADAMW = replace(_ADAM, name="AdamW", defaults=_MOMENTS, implied={"decoupled_weight_decay": True})

_RMSPROP = OptimizerFacts(
    "RMSprop",
    update_rule="RMSprop",
    defaults={"alpha": 0.99, "eps": 1e-8, "momentum": 0, "centered": False, "maximize": False},
)
_ADAGRAD = OptimizerFacts(
    "Adagrad",
    update_rule="Adagrad",
    defaults={"lr_decay": 0, "initial_accumulator_value": 0, "eps": 1e-10, "maximize": False},
)
_ADAMAX = OptimizerFacts(
    "Adamax",
    update_rule="Adamax",
    defaults={"betas": [0.9, 0.999], "eps": 1e-8, "maximize": False},
)
_RADAM = OptimizerFacts(
    "RAdam",
    update_rule="RAdam",
    defaults={**_ADAMAX.defaults, "decoupled_weight_decay": False},
    needs={"decoupled_weight_decay": "weight_decay"},
)
_NADAM = replace(
    _RADAM,
    name="NAdam",
    update_rule="NAdam",
    defaults={**_RADAM.defaults, "momentum_decay": 4e-3},
)

_ROWS = (
    *(_SGD, _hd(_SGD, 1e-6), _ADAM, _hd(_ADAM, 1e-8), _ADAMW),
    *(_RMSPROP, _ADAGRAD, _ADAMAX, _RADAM, _NADAM),
)
_TABLE = {facts.name: facts for facts in _ROWS}

KNOWN_OPTIMIZERS = tuple(_TABLE)
"""Names of the optimizers that have a row."""


def optimizer_facts(path: str) -> OptimizerFacts:
    """Look an optimizer up as an arm names it; `is_known` is false where it has no row.

    >>> optimizer_facts("torch.optim:AdamW").update_rule
    'Adam'
    >>> optimizer_facts("mine:SGD").is_known
    False
    """
    name = _class_name(path)
    return _TABLE.get(name) or OptimizerFacts(name, name, is_known=False)


def is_hd(optimizer: str) -> bool:
    """Whether an optimizer is known to be hypergradient descent."""
    return optimizer_facts(optimizer).is_hd


def update_rule(optimizer: str) -> str:
    """Return `SGD` for SGD and SGDHD, `Adam` for Adam, AdamHD and AdamW, else the path itself."""
    return optimizer_facts(optimizer).update_rule


def _class_name(path: str) -> str:
    """Return `SGD` for `torch.optim:SGD` and `torch.optim.sgd.SGD`; any other path unchanged."""
    module, _, name = path.replace(":", ".").rpartition(".")
    return name if f"{module}.".startswith((".", "torch.optim.", "hdsens.optim.")) else path
