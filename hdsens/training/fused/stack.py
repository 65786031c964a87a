"""The models of a pack as one model whose weights have a leading axis of cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from hdsens.tasks.losses import Loss
from hdsens.training.examples import Split
from hdsens.training.fused.cellwise import chain_of, layers_by_way, make_cellwise, run_chain
from hdsens.training.fused.fusable import obstacle_of_model
from hdsens.training.job import EVALUATION_BATCH, Evaluation


@dataclass(frozen=True)
class Stack:
    """The weights of a pack.

    Attributes:
        module: the model that gives the computation; its own weights are not used.
        parameters: trained ones by name, `(n_cells, *shape)`.
        frozen: parameters that nothing trains, the same for all cells.
        buffers: running statistics and the like, `(n_cells, *shape)`.
    """

    module: nn.Module
    parameters: Mapping[str, Tensor]
    frozen: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]

    @classmethod
    def of(cls, model: nn.Module, n_cells: int) -> Stack:
        """Stack `n_cells` copies of a model, which is used up.

        Raises:
            RuntimeError: the model has no fused form.
        """
        obstacle = obstacle_of_model(model)
        if obstacle is not None:
            raise RuntimeError(obstacle)
        named = dict(model.named_parameters())
        return cls(
            module=make_cellwise(model),
            parameters={
                name: _copies(p, n_cells).requires_grad_()
                for name, p in named.items()
                if p.requires_grad
            },
            frozen={name: p.detach() for name, p in named.items() if not p.requires_grad},
            buffers={name: _copies(b, n_cells) for name, b in model.named_buffers()},
        )

    @property
    def n_cells(self) -> int:
        """The number of models."""
        return len(next(iter(self.parameters.values())))

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return outputs `(n_cells, n, n_outputs)` of shared inputs `(n, *input_shape)`."""
        if self._chain is not None:
            return run_chain(self._chain, self._weights, inputs)
        logits: Tensor = self._over_cells(self.parameters, self.buffers, inputs)
        return logits

    def layers_by_way(self) -> dict[str, list[str]]:
        """Return the kinds of layers, by how they run."""
        return layers_by_way(self.module, chained=self._chain is not None)

    def keep(self, rows: Tensor) -> Stack:
        """Return a stack of the cells of these rows alone."""
        return self.with_weights(
            {name: p.detach()[rows] for name, p in self.parameters.items()},
            {name: b[rows] for name, b in self.buffers.items()},
        )

    def with_weights(
        self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor]
    ) -> Stack:
        """Return the same model with other weights, of any number of cells."""
        trained = {name: parameters[name].requires_grad_() for name in self.parameters}
        return replace(self, parameters=trained, buffers={n: buffers[n] for n in self.buffers})

    @cached_property
    def is_fixed(self) -> bool:
        """Whether its outputs depend neither on random numbers nor on train or eval mode."""
        return self._chain is not None and not any(isinstance(x, nn.Dropout) for x in self._chain)

    @cached_property
    def _chain(self) -> tuple[nn.Module, ...] | None:
        """Return the layers where they are a simple chain; models with hooks, say, run by vmap.

        Its parameters are the weights and biases of the linear layers, each of them once: none is
        frozen, shared or a tensor that is no parameter.
        """
        layers = chain_of(self.module) or ()
        linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
        own = [t for layer in linear for t in (layer.weight, layer.bias) if t is not None]
        known = {id(self.module.get_parameter(name)) for name in self.parameters}
        once = len(own) == len(self.parameters) and {id(tensor) for tensor in own} == known
        return layers if linear and once else None

    @cached_property
    def _weights(self) -> dict[nn.Module, tuple[Tensor, Tensor | None]]:
        stacked = {id(self.module.get_parameter(name)): p for name, p in self.parameters.items()}
        return {
            layer: (stacked[id(layer.weight)], stacked.get(id(layer.bias)))
            for layer in self._chain or ()
            if isinstance(layer, nn.Linear)
        }

    @cached_property
    def _over_cells(self):  # type: ignore[no-untyped-def] # torch types vmap as Callable
        def forward(
            parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], inputs: Tensor
        ) -> Tensor:
            weights = {**parameters, **self.frozen, **buffers}
            result: Tensor = functional_call(self.module, weights, (inputs,))
            for name, buffer in buffers.items():
                if weights[name] is not buffer:  # functional_call gives back what took its place
                    raise RuntimeError(f"buffer {name!r} is replaced instead of written into")
            return result

        return torch.vmap(forward, in_dims=(0, 0, None), randomness="same")


def backward_cells(stack: Stack, batch: Split, loss: Loss) -> tuple[Tensor, dict[str, Tensor]]:
    """Return each cell's minibatch loss `(n_cells,)`, and gradients by parameter name."""
    if not stack.is_fixed:
        stack.module.train()
    outputs = stack(batch.inputs)
    losses, slopes = losses_and_slopes(outputs, batch.targets, loss)
    parameters = stack.parameters
    gradients = torch.autograd.grad(outputs, tuple(parameters.values()), slopes, allow_unused=True)
    return losses, _own_memory(dict(zip(parameters, gradients, strict=True)))


def losses_and_slopes(outputs: Tensor, targets: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
    """Return mean losses `(n_cells,)` and their gradients by the outputs.

    Never a mean over cells: that would train every cell at lr / n_cells.
    """
    if loss.is_plain:
        return _cross_entropies_and_slopes(outputs, targets)
    leaves = outputs.detach().requires_grad_()
    losses = torch.vmap(loss.mean, in_dims=(0, None), randomness="same")(leaves, targets)
    (slopes,) = torch.autograd.grad(losses.sum(), leaves)
    return losses.detach(), slopes


def _cross_entropies_and_slopes(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropies and their gradients in closed form."""
    scores = logits.detach().transpose(1, 2)  # classes before examples, as the layers leave them
    log_shares = torch.log_softmax(scores, dim=1)
    index = targets.expand(len(logits), 1, -1)
    losses = -log_shares.gather(1, index).mean(dim=(1, 2))
    slopes = log_shares.exp_()
    slopes.scatter_add_(1, index, slopes.new_full((), -1.0).expand(index.shape))
    return losses, slopes.div_(len(targets)).transpose(1, 2)


@torch.no_grad()
def evaluate_cells(stack: Stack, split: Split, loss: Loss) -> list[Evaluation]:
    """Evaluate every cell on a split, in eval mode; sums are taken in float64."""
    stack.module.eval()
    n_cells, device = stack.n_cells, split.targets.device
    # Added up in place: small results kept between large ones would scatter over the heap.
    totals = torch.zeros(n_cells, dtype=torch.float64, device=device)
    right = torch.zeros(n_cells, dtype=torch.int64, device=device)
    for start in range(0, len(split.targets), EVALUATION_BATCH):
        rows = slice(start, start + EVALUATION_BATCH)
        inputs, targets = split.inputs[rows].clone(), split.targets[rows]  # a model may write
        outputs = stack(inputs)
        totals += _totals(outputs, targets, loss)
        if split.has_classes:
            right += _count_right(outputs.transpose(1, 2), targets)
    n, weight = len(split.targets), loss.weight(split.targets)
    shares = [count / n if split.has_classes else None for count in right.tolist()]
    pairs = zip(totals.tolist(), shares, strict=True)
    return [Evaluation(total / weight, share) for total, share in pairs]


def _totals(outputs: Tensor, targets: Tensor, loss: Loss) -> Tensor:
    """Sums of the losses of a batch's examples, `(n_cells,)`."""
    if not loss.is_plain:
        return torch.vmap(loss.total, in_dims=(0, None), randomness="same")(outputs, targets)
    index = targets.expand(len(outputs), 1, -1)
    log_shares = functional.log_softmax(outputs.transpose(1, 2), dim=1).gather(1, index)
    return -log_shares.double().sum(dim=(1, 2))


def _count_right(scores: Tensor, targets: Tensor) -> Tensor:
    """Count right answers of each cell: its first best class of `(n_cells, n_classes, n)` scores.

    ``argmax`` along any but the last axis takes several times as long as all else in an
    evaluation; it is needed only where classes tie, or where a score is no number.
    """
    index = targets.expand(len(scores), 1, -1)
    best = scores.amax(dim=1, keepdim=True)
    # Comparing numbers into numbers is several times as fast as into booleans.
    lower = torch.lt(scores, best, out=torch.empty_like(scores)).sum(dim=(1, 2))
    if (lower == scores[0].numel() - best[0].numel()).all():
        return (scores.gather(1, index) == best).sum(dim=(1, 2))
    return (scores.argmax(dim=1) == targets).sum(dim=1)


def _copies(tensor: Tensor, n_cells: int) -> Tensor:
    return (
        tensor.detach().expand(n_cells, *tensor.shape).clone(memory_format=torch.contiguous_format)
    )


def _own_memory(gradients: dict[str, Tensor | None]) -> dict[str, Tensor]:
    """Copy gradients that share memory with another, so that rules may write into them."""
    seen: set[int] = set()
    own = {}
    for name, gradient in gradients.items():
        if gradient is not None:
            shared = gradient.data_ptr() in seen
            own[name] = gradient.clone() if shared else gradient.contiguous()
            seen.add(own[name].data_ptr())
    return own
