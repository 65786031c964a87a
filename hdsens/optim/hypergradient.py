"""What SGDHD and AdamHD share: a learning rate that follows its own gradient."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from hdsens.optim._torch_private import (
    bookkeeping,
    keep_out_of_compilation,
    without_grad,
)
from hdsens.optim.checks import check_options, check_plain, refuse_sharding, sparse_refusal
from hdsens.optim.joined import Joined
from hdsens.optim.lr_rules import owned
from hdsens.optim.lr_trail import warn_where_overwritten
from hdsens.optim.packing import Member, Run, repack

SHARED_DEFAULTS: dict[str, Any] = {
    "weight_decay": 0,
    "rule": "additive",
    "transition": None,
    "lr_bounds": None,
    "maximize": False,
    "foreach": None,
    "differentiable": False,
}


class HypergradientOptimizer(Optimizer):
    """A torch optimizer whose param groups adapt their ``lr`` before every parameter update.

    A subclass says what its own options are when nothing is said (`own_defaults`), checks them,
    and makes one group's step.
    """

    own_defaults: ClassVar[dict[str, Any]]
    _kept: dict[int, Joined]  # by group; made from options and state, so never saved or copied

    def __init__(self, params: ParamsT, options: dict[str, Any]) -> None:
        """Check `options` first: torch keeps whatever it is given."""
        refuse_sharding(type(self).__name__)
        self._check(options)
        self._start()
        defaults = {name: _plain(value) for name, value in options.items()}
        super().__init__(params, {**defaults, "lr": owned(defaults["lr"]), "differentiable": False})

    def __getstate__(self) -> dict[str, Any]:
        """Give every state tensor memory of its own: pickle saves a view's whole storage."""
        state = super().__getstate__()
        return {**state, "state": {param: _apart(kept) for param, kept in self.state.items()}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Fill in options that the state's version did not know, and pack what it holds."""
        super().__setstate__(state)
        self._start()
        self.state = defaultdict(dict, self.state)
        known = {**SHARED_DEFAULTS, **self.own_defaults}
        for group in self.param_groups:
            for name, value in known.items():
                group.setdefault(name, self.defaults.get(name, value))
            if group.get("lr_trail", ()) is None:  # a run that goes on is warned again
                del group["lr_trail"]
            repack(Member(p, self.state[p]) for p in group["params"] if p in self.state)

    def state_dict(self) -> dict[str, Any]:
        """A copy that further steps leave as it is: a tensor a parameter and name, and the lr."""
        saved = super().state_dict()
        return {
            **saved,
            "state": {key: _apart(kept) for key, kept in saved["state"].items()},
            "param_groups": [_apart(group) for group in saved["param_groups"]],
        }

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group with a learning rate of its own; the caller's dict and tensors stay as is.

        Raises ValueError for an option that breaks its rule, TypeError for a complex
        parameter or one that is no plain tensor.
        """
        if isinstance(param_group, dict):
            param_group = {name: _plain(value) for name, value in param_group.items()}
        super().add_param_group(param_group)
        group = self.param_groups.pop()
        self._check(group)
        check_plain(type(self).__name__, group["params"])
        group["lr"] = owned(group["lr"])
        self.param_groups.append(group)

    @without_grad
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Adapt every group's lr, then its parameters; returns the closure's value, if any.

        Raises RuntimeError for a sparse gradient, before anything has changed.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with_grad = [self._params_with_grad(index) for index in range(len(self.param_groups))]
        for index, params in enumerate(with_grad):
            if params:
                self._step_group(index, params)
        self._warn_where_overwritten()
        return loss

    @bookkeeping
    def _warn_where_overwritten(self) -> None:
        warn_where_overwritten(type(self).__name__, self.param_groups)

    def _start(self) -> None:
        self._kept = {}
        keep_out_of_compilation(type(self)._step_group)

    def _check(self, options: dict[str, Any]) -> None:
        check_options(type(self).__name__, options)

    def _step_group(self, index: int, params: list[Tensor]) -> None:
        raise NotImplementedError

    def _kept_or_new(
        self, index: int, params: list[Tensor], layout: Any, runs: Callable[[], list[Run]]
    ) -> Joined:
        """The group as it was joined at the step before where that still holds, else anew.

        One for parameters whose u_{t-1} is 0 serves one step.
        """
        joined = self._kept.pop(index, None)
        if joined is None or not joined.holds_for(params, layout, self.state):
            joined = Joined(params, layout, runs())
        if not any(run.kind.still for run in joined.runs):
            self._kept[index] = joined
        return joined

    def _params_with_grad(self, index: int) -> list[Tensor]:
        params = []
        for param in self.param_groups[index]["params"]:
            grad = param.grad
            if grad is None:
                self._sit_out(index, param)
            elif grad.layout is not torch.strided:
                raise sparse_refusal(type(self).__name__, grad)
            else:
                params.append(param)
        return params

    def _sit_out(self, index: int, param: Tensor) -> None:
        """Remember that u_t = 0 for a parameter that this step leaves alone."""
        if param in self.state:
            self.state[param]["idle"] = torch.ones((), device="cpu")
            self._kept.pop(index, None)


def _plain(value: Any) -> Any:
    """A NumPy number as Python's, which ``torch.load(..., weights_only=True)`` reads."""
    return value.item() if isinstance(value, np.generic) else value


def _apart(state: Any) -> Any:
    if not isinstance(state, dict):
        return state
    return {name: v.clone() if isinstance(v, Tensor) else v for name, v in state.items()}
