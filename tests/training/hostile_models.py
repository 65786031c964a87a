"""Models that a pack may get wrong, by name: "hostile_models:build" with `name` as its setting."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from hdsens.tasks.data import Data, load_data


def few_digits() -> Data:
    """96 digits to train on, 24 of them held back; the last batch of 32 is short."""
    whole = load_data("digits", {})
    rows = np.random.default_rng(0).permutation(len(whole.train_targets))[:96]
    inputs, targets = whole.train_inputs[rows], whole.train_targets[rows]
    return Data(inputs, targets, inputs[:8], targets[:8], n_classes=10)


def build(name: str) -> nn.Module:
    """The model of this name, for digits."""
    return MODELS[name]()


def mlp(*middle: nn.Module, width: int = 12) -> nn.Module:
    """Middle layers from 12 features to `width`."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), *middle, nn.Linear(width, 10))


def cnn(*middle: nn.Module, features: int = 256) -> nn.Module:
    """Middle layers after four channels of 8 x 8 pixels."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), *middle, nn.Flatten(), nn.Linear(features, 10)
    )


def conv(features: int = 256, **settings) -> nn.Module:
    """A convolution that is unlike the usual ones."""
    return cnn(nn.ReLU(), nn.Conv2d(4, 4, 3, **settings), features=features)


class Own(nn.Module):
    """A hidden layer with code of its own on each side: `between(self, x)` of 12 features."""

    def __init__(self, between, width=12, **state):
        super().__init__()
        self.first, self.between, self.last = nn.Linear(64, 12), between, nn.Linear(width, 10)
        for name, value in state.items():
            if isinstance(value, torch.Tensor) and not isinstance(value, nn.Parameter):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    def forward(self, x):
        return self.last(self.between(self, self.first(x.flatten(1))))


def own(between, width=12, **state) -> Callable[[], nn.Module]:
    """A model made anew at each call, as state is made by callables."""
    return lambda: Own(between, width, **{name: make() for name, make in state.items()})


def ones(*shape, **more):
    return lambda: torch.ones(*shape, **more)


def parameter(*shape):
    return lambda: nn.Parameter(0.1 * torch.randn(*shape))


def _tied() -> nn.Module:
    model = mlp(nn.Tanh(), nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 12))
    model[5].weight = model[3].weight
    return model


def _same_twice() -> nn.Module:
    layer = nn.Linear(12, 12)
    return mlp(layer, nn.Tanh(), layer, nn.ReLU())


def _frozen() -> nn.Module:
    model = mlp(nn.Tanh(), nn.Linear(12, 12), nn.Tanh())
    model[3].requires_grad_(False)
    return model


class StaysInEval(nn.BatchNorm1d):
    """Batch norm that is frozen by never training."""

    def train(self, mode=True):
        return super().train(False)


def _transposed() -> nn.Module:
    model = mlp(nn.Tanh())
    model[1].weight = nn.Parameter(torch.randn(64, 12).mul(0.1).t())
    return model


def _attends(self, x):
    tokens = x.unflatten(1, (3, 4))
    return self.attention(tokens, tokens, tokens, need_weights=False)[0].flatten(1)


def _recurs(self, x):
    state = torch.zeros_like(x)
    for _ in range(3):
        state = self.cell(x, state)
    return state


def _lstm_cell(self, x):
    state = (torch.zeros_like(x), torch.zeros_like(x))
    for _ in range(2):
        state = self.cell(x, state)
    return state[0]


def _gated(self, x):
    return x * 0.5 if x.mean() > 0 else x


def _indexed(self, x):
    x = x.clone()
    x[:, ::2] = 0.5 * x[:, ::2]
    return x


def _masked_fill(self, x):
    x = x.clone()
    x[x < 0] = 0.01
    return x


def _ema(self, x):
    if self.training:
        self.mean.mul_(0.9).add_(x.detach().mean(0), alpha=0.1)
    return x - self.mean


def _ema_inputs_to_attribute(self, x):
    if self.training:
        self.seen = 0.9 * self.seen + 0.1 * float(len(x))
    return x * self.seen


def _remembers(self, x):
    last = getattr(self, "kept", None)
    self.kept = x.detach().mean()
    return x if last is None else x + last


def _clips_weights(self, x):
    if self.training:
        with torch.no_grad():
            self.last.weight.clamp_(-0.1, 0.1)
    return x


def _clips_data(self, x):
    if self.training:
        self.last.weight.data.clamp_(-0.1, 0.1)
    return x


def _counts(self, x):
    self.steps = getattr(self, "steps", 0) + self.training
    return functional.dropout(x, 0.5 / (1 + self.steps), self.training)


def _freezes_itself(self, x):
    self.steps = getattr(self, "steps", 0) + self.training
    if self.steps == 8:
        self.first.requires_grad_(False)
    return x


def _skips(self, x):
    self.steps = getattr(self, "steps", 0) + self.training
    return self.extra(x) if self.steps % 3 else x


def _replaces_weight(self, x):
    self.steps = getattr(self, "steps", 0) + self.training
    if self.steps == 8 and self.training:
        self.last = nn.Linear(12, 10, dtype=x.dtype)
    return x


class Cubed(torch.autograd.Function):
    """x³ with a backward pass of its own, and no rule for vmap."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, slope):
        return slope * 3 * ctx.saved_tensors[0] ** 2


class Reversed(torch.autograd.Function):
    """The gradient's sign turned, with a rule for vmap that torch derives."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, slope):
        return -0.5 * slope


def _slope_scaled(self, x):
    if x.requires_grad:
        x.register_hook(lambda slope: 0.5 * slope)
    return x


def _norm_by_hand(self, x):
    return functional.batch_norm(x, self.mean, self.var, training=self.training, momentum=0.2)


def _scripted() -> nn.Module:
    return torch.jit.script(mlp(nn.Tanh()))


def _lowered(x):
    return x - x.amin(0)


def _channels_last() -> nn.Module:
    return conv(padding=1).to(memory_format=torch.channels_last)


def _hooked_weight() -> nn.Module:
    model = mlp(nn.Tanh())
    model[1].register_forward_hook(lambda module, args, result: result.mul_(0.5))
    return model


def _shaped(*layers: nn.Module) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(*layers)


ELU, RELU = (lambda: nn.ELU(inplace=True)), (lambda: nn.ReLU(inplace=True))
IN_PLACE = {
    "relu": nn.ReLU, "elu": nn.ELU, "selu": nn.SELU, "celu": nn.CELU, "silu": nn.SiLU,
    "hardswish": nn.Hardswish, "hardsigmoid": nn.Hardsigmoid, "leaky": nn.LeakyReLU,
    "mish": nn.Mish, "relu6": nn.ReLU6, "hardtanh": nn.Hardtanh, "rrelu": nn.RReLU,
}  # fmt: skip
DROPOUTS = {
    "dropout": nn.Dropout, "dropout1d": nn.Dropout1d, "alpha": nn.AlphaDropout,
    "feature_alpha": nn.FeatureAlphaDropout,
}  # fmt: skip
PADDINGS = ("reflect", "replicate", "circular")

MODELS: Mapping[str, Callable[[], nn.Module]] = {
    # Activations and dropout, in place
    **{f"{n}_in_place": (lambda k=k: mlp(k(inplace=True))) for n, k in IN_PLACE.items()},
    **{f"{n}_after_{m}_in_place": (lambda k=k, a=a: mlp(a(inplace=True), k(0.3, inplace=True)))
       for n, k in DROPOUTS.items() for m, a in (("elu", nn.ELU), ("relu", nn.ReLU))},
    "silu_then_elu_in_place": lambda: mlp(nn.SiLU(inplace=True), ELU()),
    "tanh_then_relu_in_place": lambda: mlp(nn.Tanh(), RELU()),
    "linear_then_dropout_then_elu_in_place": lambda: mlp(nn.Dropout(0.3, inplace=True), ELU()),
    **{n: (lambda k=k: mlp(nn.Tanh(), k(0.3))) for n, k in DROPOUTS.items()},
    "dropout2d": lambda: cnn(nn.Dropout2d(0.3), nn.ReLU()),
    "dropout2d_in_place": lambda: cnn(nn.ReLU(), nn.Dropout2d(0.3, inplace=True)),
    "feature_alpha_2d": lambda: cnn(nn.SELU(), nn.FeatureAlphaDropout(0.3)),
    "dropout3d": lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.Unflatten(1, (2, 2)), nn.Dropout3d(0.5), nn.Flatten(),
        nn.Linear(144, 10)),
    "dropout_of_nothing": lambda: mlp(nn.Dropout(0.0)),
    "dropout_of_all": lambda: mlp(nn.Dropout(1.0)),
    "dropout_in_evaluation": own(lambda self, x: functional.dropout(x, 0.2, True)),
    "dropout_on_inputs": lambda: nn.Sequential(nn.Dropout(0.3), mlp(nn.Dropout(0.3))),
    "prelu": lambda: mlp(nn.PReLU()),
    "prelu_by_channel": lambda: cnn(nn.PReLU(4)),
    "glu": lambda: mlp(nn.GLU(), width=6),
    "softmax": lambda: mlp(nn.Softmax(dim=1)),
    # Norms
    "batch_norm": lambda: mlp(nn.BatchNorm1d(12), nn.ReLU()),
    "batch_norm_cumulative": lambda: mlp(nn.BatchNorm1d(12, momentum=None), nn.ReLU()),
    "batch_norm_plain": lambda: mlp(nn.BatchNorm1d(12, affine=False), nn.ReLU()),
    "batch_norm_untracked": lambda: mlp(nn.BatchNorm1d(12, track_running_stats=False)),
    "batch_norm_frozen": lambda: mlp(StaysInEval(12), nn.ReLU()),
    "batch_norm_2d": lambda: cnn(nn.BatchNorm2d(4, momentum=0.5), RELU()),
    "batch_norm_by_hand": own(_norm_by_hand, mean=lambda: torch.zeros(12), var=ones(12)),
    "group_norm": lambda: cnn(nn.GroupNorm(2, 4), RELU()),
    "layer_norm": lambda: mlp(nn.LayerNorm(12), nn.GELU()),
    "layer_norm_plain": lambda: mlp(nn.LayerNorm(12, elementwise_affine=False)),
    "rms_norm": lambda: mlp(nn.RMSNorm(12)),
    "instance_norm": lambda: cnn(nn.InstanceNorm2d(4)),
    "instance_norm_affine": lambda: cnn(nn.InstanceNorm2d(4, affine=True), RELU()),
    "instance_norm_tracked": lambda: cnn(nn.InstanceNorm2d(4, track_running_stats=True)),
    "local_response": lambda: cnn(nn.LocalResponseNorm(2)),
    "weight_norm": lambda: nn.Sequential(
        nn.Flatten(), parametrizations.weight_norm(nn.Linear(64, 10))),
    "spectral_norm": lambda: nn.Sequential(
        nn.Flatten(), parametrizations.spectral_norm(nn.Linear(64, 10))),
    "orthogonal": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(64, 12), parametrizations.orthogonal(nn.Linear(12, 10))),
    # Convolutions, pooling, padding
    **{f"conv_{m}": (lambda m=m: conv(padding=1, padding_mode=m)) for m in PADDINGS},
    "conv_same": lambda: conv(padding="same"),
    "conv_without_bias": lambda: conv(padding=1, bias=False),
    "conv_dilated": lambda: conv(features=64, dilation=2),
    "conv_strided": lambda: conv(features=36, stride=2),
    "conv_groups": lambda: conv(padding=1, groups=2),
    "conv_depthwise": lambda: conv(padding=1, groups=4),
    "conv_transposed": lambda: cnn(nn.ConvTranspose2d(4, 2, 2, stride=2), features=512),
    "conv_1d": lambda: nn.Sequential(
        nn.Flatten(1, 2), nn.Conv1d(8, 3, 3), RELU(), nn.Flatten(), nn.Linear(18, 10)),
    "conv_3d": lambda: nn.Sequential(
        nn.Unflatten(2, (2, 4)), nn.Conv3d(1, 2, (2, 2, 3)), nn.Flatten(), nn.Linear(36, 10)),
    "conv_channels_last": _channels_last,
    "average_pooling": lambda: cnn(nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(2), features=16),
    "adaptive_max_pooling": lambda: cnn(nn.AdaptiveMaxPool2d(3), features=36),
    "fractional_pooling": lambda: cnn(nn.FractionalMaxPool2d(2, output_size=4), features=64),
    "power_pooling": lambda: cnn(nn.LPPool2d(2, 2), features=64),
    "upsampled": lambda: cnn(nn.Upsample(scale_factor=2, mode="bilinear"), features=1024),
    "shuffled": lambda: cnn(nn.PixelShuffle(2), nn.ReflectionPad2d(1), features=324),
    "unfolded": lambda: cnn(nn.Unfold(2), features=784),
    # Shared, frozen, unused and odd parameters
    "tied_weights": _tied,
    "same_layer_twice": _same_twice,
    "frozen_layer": _frozen,
    "transposed_weight": _transposed,
    "tied_to_its_transpose": own(lambda self, x: functional.linear(
        torch.tanh(x), self.first.weight.t()), width=64),
    "parameter_list": own(lambda self, x: sum(x * w for w in self.scales),
                          scales=lambda: nn.ParameterList(torch.randn(12) for _ in range(3))),
    "parameter_dict": own(lambda self, x: x * self.scales["a"] + self.scales["b"],
                          scales=lambda: nn.ParameterDict({"a": torch.ones(12),
                                                           "b": torch.ones(())})),
    "module_list": own(lambda self, x: x + sum(layer(x) for layer in self.layers),
                       layers=lambda: nn.ModuleList(nn.Linear(12, 12) for _ in range(3))),
    "module_dict": own(lambda self, x: self.layers["b"](self.layers["a"](x)),
                       layers=lambda: nn.ModuleDict({"b": nn.Tanh(), "a": nn.Linear(12, 12)})),
    "scalar_parameter": own(lambda self, x: x * self.scale, scale=lambda: nn.Parameter(
        torch.tensor(0.5))),
    "empty_parameter": own(lambda self, x: x + self.empty.sum(), empty=parameter(0)),
    "unused_parameter": own(lambda self, x: x, unused=parameter(3)),
    "used_in_evaluation_only": own(
        lambda self, x: x if self.training else x * self.scale, scale=parameter(12)),
    "freezes_itself": own(_freezes_itself),
    "skips_a_layer": own(_skips, extra=lambda: nn.Linear(12, 12)),
    "replaces_its_layer": own(_replaces_weight),
    "clips_its_weights": own(_clips_weights),
    "clips_its_data": own(_clips_data),
    "lazy": lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(12), nn.LazyBatchNorm1d(),
                                  nn.LazyLinear(10)),
    "nested": lambda: nn.Sequential(nn.Sequential(nn.Sequential(mlp(nn.Tanh())))),
    # Buffers and state
    "double_buffer": own(lambda self, x: x * self.scale, scale=ones(12, dtype=torch.float64)),
    "counting_buffer": own(lambda self, x: x / self.calls.add_(1),
                           calls=ones((), dtype=torch.long)),
    "boolean_buffer": own(lambda self, x: torch.where(self.mask, x, -x),
                          mask=lambda: torch.arange(12) % 2 == 0),
    "running_mean": own(_ema, mean=lambda: torch.zeros(12)),
    "running_attribute": own(_ema_inputs_to_attribute, seen=lambda: 1.0),
    "remembers_activations": own(_remembers),
    "dropout_that_fades": own(_counts),
    # Functional calls and control flow
    "einsum": own(lambda self, x: torch.einsum("ni,ij->nj", x, self.w), w=parameter(12, 12)),
    "matrix_power": own(lambda self, x: x @ self.w @ self.w, w=parameter(12, 12)),
    "own_linear": own(lambda self, x: functional.linear(x, self.w, self.b), w=parameter(12, 12),
                      b=parameter(12)),
    "normalised": own(lambda self, x: functional.normalize(x, dim=1)),
    "centred_over_the_batch": own(lambda self, x: x - x.mean(0, keepdim=True)),
    "distances": own(lambda self, x: torch.cdist(x, self.w), width=5, w=parameter(5, 12)),
    "sorted": own(lambda self, x: x.sort(dim=1).values),
    "top_features": own(lambda self, x: x.topk(5, dim=1).values, width=5),
    "cumulative": own(lambda self, x: x.cumsum(1)),
    "fourier": own(lambda self, x: torch.fft.rfft(x).abs(), width=7),
    "in_double": own(lambda self, x: x.double().exp().to(x.dtype)),
    "indexed_in_place": own(_indexed),
    "masked_in_place": own(_masked_fill),
    "if_of_data": own(_gated),
    "item_of_data": own(lambda self, x: x * float(x.detach().abs().max())),
    "through_numpy": own(lambda self, x: x + torch.from_numpy(np.sin(x.detach().numpy()))),
    "detached_copy": own(lambda self, x: x + x.detach().tanh()),
    "without_gradient": own(lambda self, x: x * torch.no_grad()(torch.tanh)(x)),
    "checkpointed": own(lambda self, x: checkpoint(torch.tanh, x, use_reentrant=False)),
    "function_of_ones_own": own(lambda self, x: Cubed.apply(x)),
    "function_with_a_rule": own(lambda self, x: Reversed.apply(x)),
    "slope_scaled": own(_slope_scaled),
    "scripted": _scripted,
    "hooked_in_place": _hooked_weight,
    "own_relu_in_place": own(lambda self, x: functional.relu_(x)),
    "added_in_place": own(lambda self, x: x.add_(1.0).mul_(0.5)),
    "inputs_added_in_place": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 64), ELU(),
                                                   nn.Dropout(0.2, inplace=True), ELU(),
                                                   nn.Linear(64, 10)),
    # Randomness
    "gaussian_noise": own(lambda self, x: x + 0.1 * torch.randn_like(x)),
    "uniform_in_place": own(lambda self, x: x * torch.empty_like(x).uniform_()),
    "bernoulli": own(lambda self, x: x * torch.bernoulli(torch.full_like(x, 0.7))),
    "bernoulli_of_data": own(lambda self, x: x * torch.bernoulli(x.detach().sigmoid())),
    "gumbel": own(lambda self, x: functional.gumbel_softmax(x, tau=1.0)),
    "permuted": own(lambda self, x: x[:, torch.randperm(12)]),
    "stochastic_depth": own(lambda self, x: x if torch.rand(()) < 0.5 else x.tanh()),
    "depth_by_python": own(lambda self, x: x if random.random() < 0.5 else x.tanh()),
    "noise_of_numpy": own(lambda self, x: x + torch.from_numpy(
        np.random.randn(12)).to(x.dtype)),  # noqa: NPY002 # the case that is tested
    "rrelu": lambda: mlp(nn.RReLU()),
    "noise_of_first_layer": lambda: nn.Sequential(
        nn.Flatten(), nn.Dropout(0.2), nn.Linear(64, 12), nn.Dropout(0.2), nn.Linear(12, 10)),
    # Attention, recurrence, embeddings
    "attention": own(_attends, attention=lambda: nn.MultiheadAttention(4, 2, batch_first=True)),
    "attention_with_dropout": own(_attends, attention=lambda: nn.MultiheadAttention(
        4, 2, dropout=0.3, batch_first=True)),
    "transformer": own(
        lambda self, x: self.layer(x.unflatten(1, (3, 4))).flatten(1),
        layer=lambda: nn.TransformerEncoderLayer(4, 2, 8, dropout=0.2, batch_first=True)),
    "gru": own(lambda self, x: self.gru(x.unflatten(1, (3, 4)))[0].flatten(1),
               gru=lambda: nn.GRU(4, 4, batch_first=True)),
    "rnn_cell": own(_recurs, cell=lambda: nn.RNNCell(12, 12)),
    "gru_cell": own(_recurs, cell=lambda: nn.GRUCell(12, 12)),
    "lstm_cell": own(_lstm_cell, cell=lambda: nn.LSTMCell(12, 12)),
    "bilinear": own(lambda self, x: self.pair(x, x), pair=lambda: nn.Bilinear(12, 12, 12)),
    "embedding": lambda: nn.Sequential(AsTokens(), nn.Embedding(4, 3), nn.Flatten(),
                                       nn.Linear(192, 10)),
    "embedding_with_padding": lambda: nn.Sequential(
        AsTokens(), nn.Embedding(4, 3, padding_idx=0), nn.Flatten(), nn.Linear(192, 10)),
    "embedding_renormed": lambda: nn.Sequential(
        AsTokens(), nn.Embedding(4, 3, max_norm=1.0), nn.Flatten(), nn.Linear(192, 10)),
    "embedding_bag": lambda: nn.Sequential(
        AsTokens(), nn.EmbeddingBag(4, 6, mode="mean"), nn.Linear(6, 10)),
}  # fmt: skip


class AsTokens(nn.Module):
    """Pixels as whole numbers from 0 to 3."""

    def forward(self, x):
        return x.flatten(1).clamp(0, 3).long()
