"""What optimizers do where an arm states nothing; a reader of results has no torch to ask."""

from __future__ import annotations

from typing import Any

_SGD = {"momentum": 0.0, "dampening": 0.0, "nesterov": False, "maximize": False}
_ADAM = {
    "betas": [0.9, 0.999],
    "eps": 1e-8,
    "amsgrad": False,
    "maximize": False,
    "decoupled_weight_decay": False,
}
OPTIMIZER_DEFAULTS: dict[str, dict[str, Any]] = {
    "SGD": _SGD,
    "SGDHD": _SGD,
    "Adam": _ADAM,
    "AdamHD": _ADAM,
    "AdamW": _ADAM | {"decoupled_weight_decay": True},
}
"""Arguments besides lr, weight decay (the task gives it) and those of HD, as TOML has them."""


_UPDATE_RULES = {"SGD": "sgd", "SGDHD": "sgd", "Adam": "adam", "AdamHD": "adam"}


def update_rule(optimizer: str) -> str:
    """`sgd` for SGD and SGDHD, `adam` for Adam and AdamHD, else the optimizer's own path."""
    return _UPDATE_RULES.get(optimizer, optimizer)
