"""Models that the fused path must get right or refuse, named as "fused_models:…"."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional


class Residual(nn.Module):
    """Code of its own between layers, functional dropout, a frozen and an unused parameter."""

    def __init__(self, n_in, n_classes, p):
        super().__init__()
        self.first = nn.Linear(n_in, 16)
        self.block = nn.Sequential(nn.Linear(16, 16, bias=False), nn.LayerNorm(16), nn.Tanh())
        self.last = nn.Linear(16, n_classes)
        self.frozen = nn.Parameter(torch.full((n_classes,), 0.5), requires_grad=False)
        self.unused = nn.Parameter(torch.ones(3))
        self.p = p

    def forward(self, x):
        x = functional.relu(self.first(x.view(x.size(0), -1)))
        x = functional.dropout(x, self.p, self.training)  # here examples come last in memory
        x = x + functional.dropout(self.block(x), self.p, self.training)
        return self.last(x) * self.frozen


def residual(input_shape, n_classes, p=0.0):
    return Residual(math.prod(input_shape), n_classes, p)


def dropout_mlp(input_shape, n_classes):
    return nn.Sequential(
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Sequential(nn.Linear(math.prod(input_shape), 16), nn.Tanh(), nn.Dropout(0.4)),
        nn.Linear(16, n_classes, bias=False),
    )


def norm_cnn(input_shape, n_classes):
    return nn.Sequential(
        nn.Conv2d(input_shape[0], 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout2d(0.2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(4 * (input_shape[1] // 2) * (input_shape[2] // 2), n_classes),
    )


class Recurrent(nn.Module):
    """What vmap cannot do."""

    def __init__(self, width, n_classes):
        super().__init__()
        self.lstm = nn.LSTM(width, 8, batch_first=True)
        self.last = nn.Linear(8, n_classes)

    def forward(self, x):
        return self.last(self.lstm(x.flatten(1, -2))[0][:, -1])


def recurrent(input_shape, n_classes):
    return Recurrent(input_shape[-1], n_classes)


class Fading(nn.Module):
    """A buffer that is replaced, not written into: together, its changes get lost."""

    def __init__(self, n_in, n_classes, after):
        super().__init__()
        self.layer = nn.Linear(n_in, n_classes)
        self.register_buffer("scale", torch.ones(()))
        self.after, self.steps = after, 0

    def forward(self, x):
        self.steps += self.training
        if self.training and self.steps > self.after:
            self.scale = self.scale * 0.5
        return self.layer(x.flatten(1)) * self.scale


def fading(input_shape, n_classes, after=0):
    return Fading(math.prod(input_shape), n_classes, after)


def batch_evaluated(input_shape, n_classes):
    """Batch statistics in evaluations too, which then depend on how many examples come at once."""
    return nn.Sequential(
        nn.Flatten(),
        nn.BatchNorm1d(math.prod(input_shape), track_running_stats=False),
        nn.Linear(math.prod(input_shape), n_classes),
    )


class EvaluatedOtherwise(nn.Module):
    """Trains together as alone, and is evaluated otherwise."""

    def __init__(self, n_in, n_classes):
        super().__init__()
        self.layer = nn.Linear(n_in, n_classes)

    def forward(self, x):
        x = self.layer(x.flatten(1))
        if not self.training and torch._C._functorch.is_batchedtensor(x):
            x = 2 * x
        return x


def evaluated_otherwise(input_shape, n_classes):
    return EvaluatedOtherwise(math.prod(input_shape), n_classes)


class Numbering(nn.Module):
    """A buffer that counts what vmap calls: its value alone would be another."""

    def __init__(self, n_in, n_classes):
        super().__init__()
        self.layer = nn.Linear(n_in, n_classes)
        self.register_buffer("calls", torch.zeros(()))
        self.made = 0

    def forward(self, x):
        self.made += 1
        if self.training:
            self.calls.fill_(self.made + torch._C._functorch.is_batchedtensor(self.layer.weight))
        return self.layer(x.flatten(1))


def numbering(input_shape, n_classes):
    return Numbering(math.prod(input_shape), n_classes)


class InPlace(nn.Module):
    """Writes into its inputs."""

    def __init__(self, n_in, n_classes):
        super().__init__()
        self.layer = nn.Linear(n_in, n_classes)

    def forward(self, x):
        return self.layer(x.sub_(0.5).flatten(1))


def in_place(input_shape, n_classes):
    return InPlace(math.prod(input_shape), n_classes)


def masked(input_shape, n_classes, after=False):
    """A hook on a parameter keeps its layer as it was."""
    first = nn.Linear(math.prod(input_shape), 16)
    if after:
        first.weight.register_post_accumulate_grad_hook(lambda p: p.grad.zero_())
    else:
        first.weight.register_hook(torch.zeros_like)
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), nn.Linear(16, n_classes))


def tied_bias(input_shape, n_classes):
    """Two layers that have one bias."""
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(math.prod(input_shape), 16), nn.Tanh(), nn.Linear(16, 16),
        nn.Linear(16, n_classes),
    )  # fmt: skip
    model[3].bias = model[1].bias
    return model


def tensor_bias(input_shape, n_classes):
    """A bias that is no parameter, so that nothing trains it."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), n_classes, bias=False))
    del model[1].bias
    model[1].bias = torch.linspace(-1, 1, n_classes)
    return model


def own_forward(input_shape, n_classes):
    """A container whose `forward` was replaced on the instance."""
    inner = nn.Sequential(nn.Linear(math.prod(input_shape), 16), nn.Tanh())
    inner.forward = lambda x: 0.5 * inner[1](inner[0](x))
    return nn.Sequential(nn.Flatten(), inner, nn.Linear(16, n_classes))


class DropInPlace(nn.Module):
    """Dropout in place, whose input is used again."""

    def __init__(self, n_in, n_classes):
        super().__init__()
        self.first, self.last = nn.Linear(n_in, 16), nn.Linear(16, n_classes)
        self.dropout = nn.Dropout(0.5, inplace=True)

    def forward(self, x):
        hidden = self.first(x.flatten(1))
        return self.last(self.dropout(hidden) + hidden)


def drop_in_place(input_shape, n_classes):
    return DropInPlace(math.prod(input_shape), n_classes)


def hooked(input_shape, n_classes, kind):
    """A hook on a container, of the kind that is asked for."""
    inner = nn.Sequential(nn.Linear(math.prod(input_shape), 16), nn.Tanh())
    if kind == "forward":
        inner.register_forward_hook(lambda module, args, result: 0.5 * result)
    elif kind == "before forward":
        inner.register_forward_pre_hook(lambda module, args: (0.5 * args[0],))
    elif kind == "backward":
        inner[1].register_full_backward_hook(lambda module, into, out: (0.5 * into[0],))
    else:
        inner[0].register_full_backward_pre_hook(lambda module, out: (0.5 * out[0],))
    return nn.Sequential(nn.Flatten(), inner, nn.Linear(16, n_classes))


class Interrupted(nn.Module):
    """Ctrl-C comes at a forward pass of training over cells; never without vmap."""

    def __init__(self, n_in, n_classes):
        super().__init__()
        self.layer, self.passes = nn.Linear(n_in, n_classes), 0

    def forward(self, x):
        self.passes += self.training
        if self.passes > 80 and torch._C._functorch.is_batchedtensor(self.layer.weight):
            raise KeyboardInterrupt
        return self.layer(x.flatten(1))


def interrupted(input_shape, n_classes):
    return Interrupted(math.prod(input_shape), n_classes)


def drawn_elsewhere(input_shape, n_classes):
    """Its weights come from NumPy's and Python's own generators."""
    layer = nn.Linear(math.prod(input_shape), n_classes)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(np.random.randn(*layer.weight.shape)))  # noqa: NPY002 # the case that is tested
        layer.bias.fill_(random.random())
    return nn.Sequential(nn.Flatten(), layer)


class Drawing(nn.Module):
    """Draws from the generators of NumPy, Python and torch at every pass."""

    def __init__(self, n_in, n_classes):
        super().__init__()
        self.layer = nn.Linear(n_in, n_classes)

    def forward(self, x):
        x = x.flatten(1) * np.random.uniform(0.5, 1.5)  # noqa: NPY002 # the case that is tested
        return self.layer(x + 0.1 * torch.randn(x.shape)) * random.uniform(0.5, 1.5)


def drawing(input_shape, n_classes):
    return Drawing(math.prod(input_shape), n_classes)


class Scaled(nn.Module):
    """A hook within the computation, which vmap loses: the first losses hardly tell."""

    def __init__(self, n_in, n_classes, after, by):
        super().__init__()
        self.first, self.last = nn.Linear(n_in, 16), nn.Linear(16, n_classes)
        self.after, self.by, self.steps = after, by, 0

    def forward(self, x):
        self.steps += self.training
        x = self.first(x.flatten(1))
        if x.requires_grad and self.steps > self.after:
            x.register_hook(lambda gradient: self.by * gradient)
        return self.last(x)


def scaled(input_shape, n_classes, after=0, by=0.1):
    return Scaled(math.prod(input_shape), n_classes, after, by)


class Rooted(torch.autograd.Function):
    """|x|, whose rule for vmap has the same values and no gradient at 0."""

    @staticmethod
    def forward(x):
        return x.abs()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, slope):
        return slope * ctx.saved_tensors[0].sign()

    @staticmethod
    def vmap(info, in_dims, x):
        return (x * x).sqrt(), in_dims[0]


class Absolute(nn.Module):
    def forward(self, x):
        return Rooted.apply(x)


def rooted(input_shape, n_classes):
    layer = nn.Linear(math.prod(input_shape), 16)
    nn.init.zeros_(layer.weight[:1].detach())
    nn.init.zeros_(layer.bias[:1].detach())
    return nn.Sequential(nn.Flatten(), layer, Absolute(), nn.Linear(16, n_classes))


def training_only(input_shape, n_classes):
    """Cannot be evaluated, by either path."""
    return nn.Sequential(nn.Flatten(), TrainingOnly(), nn.Linear(math.prod(input_shape), n_classes))


class TrainingOnly(nn.Module):
    def forward(self, x):
        if not self.training:
            raise ValueError("never evaluated")
        return x


class Picky(nn.Module):
    """Raises at large outputs, which only some cells have, and which vmap cannot ask for."""

    def __init__(self, n_in, n_classes):
        super().__init__()
        self.layer = nn.Linear(n_in, n_classes)

    def forward(self, x):
        x = self.layer(x.flatten(1))
        if x.abs().max() > 1e3:
            raise ArithmeticError("large outputs")
        return x


def picky(input_shape, n_classes):
    return Picky(math.prod(input_shape), n_classes)


class Late(nn.Module):
    """Trains together for 80 steps, and alone for ever."""

    def __init__(self, n_in, n_classes):
        super().__init__()
        self.layer, self.steps = nn.Linear(n_in, n_classes), 0

    def forward(self, x):
        self.steps += self.training
        if self.steps > 80 and torch._C._functorch.is_batchedtensor(self.layer.weight):
            raise RuntimeError("not together")
        return self.layer(x.flatten(1))


def late(input_shape, n_classes):
    return Late(math.prod(input_shape), n_classes)


class Greedy(nn.Module):
    """Asks for more memory than there is, once in a process."""

    asked = False

    def __init__(self, n_in, n_classes):
        super().__init__()
        self.layer = nn.Linear(n_in, n_classes)

    def forward(self, x):
        if self.training and not Greedy.asked:
            Greedy.asked = True
            torch.empty(2**42)
        return self.layer(x.flatten(1))


def greedy(input_shape, n_classes):
    return Greedy(math.prod(input_shape), n_classes)


class Hungry(nn.Module):
    """Runs out of memory in training, `times` times in all."""

    def __init__(self, n_in, n_classes, marker, times):
        super().__init__()
        self.layer, self.marker, self.times = nn.Linear(n_in, n_classes), Path(marker), times

    def forward(self, x):
        if self.training and len(self.marker.read_text()) < self.times:
            self.marker.write_text(self.marker.read_text() + "x")
            raise torch.OutOfMemoryError("no memory")
        return self.layer(x.flatten(1))


def hungry(input_shape, n_classes, marker, times):
    return Hungry(math.prod(input_shape), n_classes, marker, times)
