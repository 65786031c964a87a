"""Layers that know about cells: one call for the stacked weights of a whole pack.

A model runs under ``torch.vmap`` over cells, so its own code sees the shapes of one cell. The
modules swapped here do better than vmap's own rules; all others are left to vmap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from hdsens.training.fused.products import Product


def make_cellwise(model: nn.Module) -> nn.Module:
    """Replace in place the modules of a model that have a cell-aware form, and return the model."""
    for module in model.modules():
        if type(module) in _SWAPS and not _is_special(module):
            module.__class__ = _SWAPS[type(module)]
    return model


def layers_by_way(model: nn.Module, *, chained: bool) -> dict[str, list[str]]:
    """Kinds of a cellwise model's modules without children, by how a pack runs them.

    `cell-aware`: swapped here; `as they are`: element by element in a chain of layers; `vmap`.
    """
    others = "as they are" if chained else "vmap"
    kinds: dict[str, list[str]] = {"cell-aware": [], others: []}
    for module in model.modules():
        if not any(True for _ in module.children()):
            known = type(module) in _SWAPS.values()
            way = kinds["cell-aware" if known else others]
            name = type(module).__name__.removeprefix("Cell")
            if name not in way:
                way.append(name)
    return kinds


class CellLinear(nn.Linear):
    """A linear layer whose weights differ by cell; inputs may be the same for all of them."""

    def forward(self, input: Tensor) -> Tensor:
        """Compute what `nn.Linear` does, for the present cell."""
        result: Tensor = _Linear.apply(  # type: ignore[no-untyped-call] # torch leaves it untyped
            input, self.weight, self.bias
        )
        return result


class CellDropout(nn.Dropout):
    """Dropout with one mask for all cells of a seed: the one that a cell alone would draw."""

    def forward(self, input: Tensor) -> Tensor:
        """Compute what `nn.Dropout` does, for the present cell."""
        if not self.training or self.p == 0:
            return input
        return input * _dropout_mask(input, input.shape, self.p)


def run_chain(
    layers: Sequence[nn.Module], weights: Mapping[nn.Module, Weights], x: Tensor
) -> Tensor:
    """A chain of layers on inputs `(n, ...)` that all cells share, without vmap.

    Args:
        layers: as `chain_of` gives them.
        weights: stacked weight and bias of each linear layer.
        x: the inputs; results have the cells first once a linear layer has been passed.
    """
    stacked = False
    for layer in layers:
        if isinstance(layer, nn.Linear):
            x = (_linear_of_own if stacked else _linear_of_shared)(x, *weights[layer])
            stacked = True
        elif isinstance(layer, nn.Flatten):
            x = x.flatten(1 + stacked)
        elif isinstance(layer, nn.Dropout):
            if layer.training and layer.p > 0:
                x = x * _dropout_mask(x, x.shape[stacked:], layer.p)
        else:
            x = layer(x)
    return x


def chain_of(model: nn.Module) -> tuple[nn.Module, ...] | None:
    """Return the layers of a model that is only a chain which `run_chain` knows; else None."""
    if _is_special(model):
        return None
    if type(model) is nn.Sequential:
        parts = [chain_of(child) for child in model]
        return None if None in parts else tuple(layer for part in parts for layer in part or ())
    flattens_all = type(model) is nn.Flatten and (model.start_dim, model.end_dim) == (1, -1)
    known = flattens_all or type(model) in (*_SWAPS, *_SWAPS.values(), *_BY_ELEMENT)
    return (model,) if known else None


def _is_special(module: nn.Module) -> bool:
    """Whether a module does more than its class says: hooks, a `forward` of its own, in place."""
    hooks = module._forward_hooks or module._forward_pre_hooks
    in_place = isinstance(module, nn.Dropout) and module.inplace
    return bool(hooks or "forward" in vars(module) or in_place)


Weights = tuple[Tensor, Tensor | None]
_BY_ELEMENT = (nn.Identity, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh)
_SWAPS: dict[type[nn.Module], type[nn.Module]] = {nn.Linear: CellLinear, nn.Dropout: CellDropout}


class _Linear(torch.autograd.Function):
    """``functional.linear`` with a rule of its own under vmap."""

    @staticmethod
    def forward(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return functional.linear(inputs, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Save nothing: only `vmap` is ever differentiated, through the functions that it calls."""

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise NotImplementedError("runs under vmap only")

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, int | None, int | None],
        inputs: Tensor,
        weight: Tensor,
        bias: Tensor | None,
    ) -> tuple[Tensor, int]:
        weights = _cells_first(weight, in_dims[1], info.batch_size)
        biases = None if bias is None else _cells_first(bias, in_dims[2], info.batch_size)
        if in_dims[0] is None:
            return _linear_of_shared(inputs, weights, biases), 0
        return _linear_of_own(inputs.movedim(in_dims[0], 0), weights, biases), 0


def _dropout_mask(like: Tensor, shape: torch.Size, p: float) -> Tensor:
    """Draw the factors by which dropout multiplies a cell alone, in the order of its memory."""
    return functional.dropout(torch.ones(shape, dtype=like.dtype, device=like.device), p)


def _cells_first(tensor: Tensor, dim: int | None, n_cells: int) -> Tensor:
    if dim is None:
        return tensor.expand(n_cells, *tensor.shape)
    return tensor.movedim(dim, 0)


def _linear_of_shared(inputs: Tensor, weights: Tensor, biases: Tensor | None) -> Tensor:
    """Run all cells on shared inputs `(*rows, n_in)` in one product: `(n_cells, *rows, n_out)`.

    In memory the rows come last: what follows a layer then runs along contiguous examples.
    """
    n_cells, n_out, n_in = weights.shape
    out: Tensor = Product.apply(  # type: ignore[no-untyped-call] # torch leaves it untyped
        weights.reshape(n_cells * n_out, n_in), inputs.reshape(-1, n_in).contiguous()
    )
    if biases is not None:
        out += biases.reshape(-1, 1)
    out = out.view(n_cells, n_out, -1).transpose(1, 2)
    return out.view(n_cells, *inputs.shape[:-1], n_out)


def _linear_of_own(inputs: Tensor, weights: Tensor, biases: Tensor | None) -> Tensor:
    """Run each cell on its own inputs `(n_cells, *rows, n_in)`: `(n_cells, *rows, n_out)`."""
    n_cells, n_out, n_in = weights.shape
    columns = inputs.reshape(n_cells, -1, n_in).transpose(1, 2)
    if biases is None:
        out = torch.bmm(weights, columns)
    else:
        out = torch.baddbmm(biases.unsqueeze(2), weights, columns)
    return out.transpose(1, 2).view(*inputs.shape[:-1], n_out)
