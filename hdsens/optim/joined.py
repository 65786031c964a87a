"""What of a step stays the same from one step to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from hdsens.optim.packing import Run, Scratch


@dataclass(frozen=True)
class Joined:
    """The runs of a param group, good for as long as the same tensors come back.

    `layout` says what else the runs depend on."""

    params: list[Tensor]
    layout: Any
    runs: list[Run]
    gradients: Scratch = field(default_factory=Scratch)
    copies: Scratch = field(default_factory=Scratch)

    def holds_for(self, params: Sequence[Tensor], layout: Any, state: Mapping[Tensor, Any]) -> bool:
        """Whether a step with these parameters, layout and state can use these runs."""
        return (
            layout == self.layout
            and len(params) == len(self.params)
            and all(a is b for a, b in zip(params, self.params, strict=True))
            and all(run.is_current(state) for run in self.runs)
        )

    def gradient(self, run: Run) -> Tensor:
        """The gradients of a run, joined."""
        return run.joined([param.grad for param in run.params], self.gradients)  # type: ignore[misc]

    def params_of(self, run: Run) -> Tensor:
        """The parameters of a run, joined."""
        return run.joined(run.params, self.copies)
