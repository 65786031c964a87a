"""Models: registered ones, and a person's own through ``"package.module:factory"``."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from hdsens.errors import InputError
from hdsens.tasks.importing import call_factory, import_factory, is_import_path
from hdsens.tasks.names import (
    MODELS,
    check_input_shape,
    check_model,
    check_registered,
    model_names,
    resolve_settings,
)

__all__ = ["build_model", "check_model", "model_names"]

# Channels of the convolutions of VGG "D"; 0 stands for a 2 x 2 max-pooling.
_VGG_D = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)


def build_model(
    name: str, settings: Mapping[str, Any], input_shape: tuple[int, ...], n_outputs: int
) -> nn.Module:
    """Build a model that maps inputs (n, *input_shape) to outputs (n, n_outputs), such as logits.

    Its initial weights have torch's default dtype and come from torch's global random state.

    - ``logreg``: one linear layer with bias.
    - ``mlp``: ``depth`` hidden layers of ``width`` units with ReLU; the paper's is 2 x 1000.
    - ``cnn``: two 3 x 3 convolutions (``width`` and 2 ``width`` channels), each with ReLU and
      2 x 2 max-pooling, then ``dropout`` and a linear layer. It has no batch norm, which makes
      training less sensitive to the learning rate; `vgg16_bn` has it.
    - ``vgg16_bn``: VGG "D" with batch norm for CIFAR-10; after the convolutions 512-512-n_outputs
      with dropout 0.5; convolutions start from a normal distribution of variance
      2 / (k² channels_out) and zero bias.

    ``"package.module:factory"`` is called as ``factory(**settings)``, with ``input_shape`` and
    ``n_classes`` (of real targets their number) where its signature names them; what it raises is
    not caught. Its lazy modules get their shapes from an example of zeros.

    Raises:
        InputError: as `check_model` and `check_input_shape`, or a factory that returns no
            `torch.nn.Module`, or one without parameters that require a gradient.
    """
    if is_import_path(name):
        return _build_own(name, settings, input_shape, n_outputs)
    check_registered("model", name, MODELS)
    values = resolve_settings(f"model {name!r}", settings, MODELS[name])
    check_input_shape(name, input_shape)
    return _BUILDERS[name](input_shape, n_outputs, **values)


def _build_own(
    name: str, settings: Mapping[str, Any], input_shape: tuple[int, ...], n_outputs: int
) -> nn.Module:
    offered = {"input_shape": input_shape, "n_classes": n_outputs}
    model = call_factory(import_factory(name, "model"), settings, offered)
    if not isinstance(model, nn.Module):
        raise InputError(f"model {name!r}", "must return a torch.nn.Module", type(model).__name__)
    if any(is_lazy(tensor) for tensor in (*model.parameters(), *model.buffers())):
        model.eval()(torch.zeros(1, *input_shape))
        model.train()
    if not any(p.requires_grad for p in model.parameters()):
        raise InputError(
            f"model {name!r}", "must have parameters that require a gradient", type(model).__name__
        )
    return model


def _logreg(input_shape: tuple[int, ...], n_outputs: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), n_outputs))


def _mlp(input_shape: tuple[int, ...], n_outputs: int, width: int, depth: int) -> nn.Module:
    sizes = [math.prod(input_shape), *[width] * depth]
    hidden = [layer for pair in pairwise(sizes) for layer in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(sizes[-1], n_outputs))


def _cnn(input_shape: tuple[int, ...], n_outputs: int, width: int, dropout: float) -> nn.Module:
    channels, height, width_px = input_shape
    features = 2 * width * (height // 4) * (width_px // 4)
    return nn.Sequential(
        *(nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Flatten(),
        *([nn.Dropout(dropout)] if dropout else []),
        nn.Linear(features, n_outputs),
    )


def _vgg16_bn(input_shape: tuple[int, ...], n_outputs: int) -> nn.Module:
    features = _vgg_features(input_shape[0])
    classifier = nn.Sequential(
        *(nn.Dropout(), nn.Linear(512, 512), nn.ReLU()),
        *(nn.Dropout(), nn.Linear(512, 512), nn.ReLU()),
        nn.Linear(512, n_outputs),
    )
    return nn.Sequential(
        OrderedDict(features=features, flatten=nn.Flatten(), classifier=classifier)
    )


def _vgg_features(channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in _VGG_D:
        if width:
            layers += [_vgg_convolution(channels, width), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        else:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def _vgg_convolution(channels_in: int, channels_out: int) -> nn.Conv2d:
    layer = nn.Conv2d(channels_in, channels_out, 3, padding=1)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # there is a bias by default
    return layer


_BUILDERS: Mapping[str, Callable[..., nn.Module]] = {
    "logreg": _logreg,
    "mlp": _mlp,
    "cnn": _cnn,
    "vgg16_bn": _vgg16_bn,
}
