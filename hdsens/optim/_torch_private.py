"""Every name that torch does not document, in one place."""

from torch.optim.optimizer import (
    _default_to_fused_or_foreach as default_to_fused_or_foreach,
)
from torch.optim.optimizer import (
    _use_grad_for_differentiable as without_grad,
)

__all__ = ["default_to_fused_or_foreach", "without_grad"]
