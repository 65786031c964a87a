"""What a model holds besides tensors comes back after a checkpoint, or is said to be lost."""

from __future__ import annotations

import functools
import itertools
import json
import random
import threading
from collections import Counter, defaultdict, deque

import numpy as np
import pytest
import torch
from torch import nn

from hdsens.training.resuming.held_state import changes_in, held_state, put_back
from hdsens.training.resuming.snapshots import NotSerialisableError


class Average:
    """An object that is no module."""

    def __init__(self):
        self.mean, self.history = 0.0, [{"n": 0}]

    def add(self, x):
        self.mean = 0.9 * self.mean + 0.1 * x
        self.history[0]["n"] += 1


def counting_hook():
    calls = 0

    def hook(module, inputs, output):
        nonlocal calls
        calls += 1
        return output + calls

    return hook


def hook_with_attribute(module, inputs, output):
    hook_with_attribute.calls = getattr(hook_with_attribute, "calls", 0)
    return output


class Keeps(nn.Module):
    """Keeps a little of everything."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
        self.net.passes = 0  # on a module of torch's own
        self.net.register_forward_hook(counting_hook())
        self.torchs, self.numpys = torch.Generator(), np.random.default_rng(1)
        self.old, self.pythons = np.random.RandomState(2), random.Random(3)
        self.average, self.last = Average(), deque([0.0], maxlen=3)
        self.same = self.average.history  # seen from two places
        self.seen, self.by_class, self.kinds = set(), Counter(), {"a": (1, 2.0)}
        self.drift, self.table = torch.zeros(3), np.zeros(2)
        self.scaled = functools.partial(self._scaled, by=[1.0])
        self.norm = [nn.BatchNorm1d(3, affine=False)]  # registered by nobody
        self.fixed, self.kind, self.where = torch.tanh, torch.float32, torch.device("cpu")

    def _scaled(self, x, by):
        by[0] *= 1.01
        return x * by[0]

    def forward(self, x):
        self.passes = getattr(self, "passes", 0) + 1
        self.net.passes += 1
        x = x + torch.randn(3, generator=self.torchs) + float(self.numpys.normal())
        x = self.norm[0](x) + float(self.old.normal()) + self.pythons.random()
        self.average.add(float(x.detach().mean()))
        self.last.append(self.average.mean)
        self.seen.add(self.passes)
        self.by_class[self.passes % 2] += 1
        self.kinds["a"] = (self.passes, float("nan"))
        self.drift = self.drift + 1
        self.table += 1
        x = self.scaled(self.net(x)) + self.drift + float(self.table.sum()) + self.last[0]
        return x * len(self.seen) * self.by_class[0] + self.same[0]["n"] + self.passes


def passes(model, n):
    torch.manual_seed(0)
    return [model(torch.ones(4, 3)).detach().clone() for _ in range(n)]


def made():
    torch.manual_seed(1)
    return Keeps()


def test_plain_data_wherever_a_model_keeps_it_comes_back_exactly():
    model, fresh = made(), held_state(made())
    passes(model, 3)
    told = json.loads(json.dumps(changes_in(model, fresh)))
    resumed = made()
    put_back(resumed, told)
    assert resumed.same is resumed.average.history
    for one, other in zip(passes(model, 3), passes(resumed, 3), strict=True):
        assert torch.equal(one, other)
    assert held_state(resumed) == held_state(model)


def test_a_model_that_holds_nothing_more_has_no_changes():
    model = nn.Sequential(nn.Linear(3, 3), nn.LSTM(3, 3), nn.utils.parametrizations.weight_norm(
        nn.Linear(3, 3)))  # fmt: skip
    fresh = held_state(model)
    model[2](model[1](model[0](torch.ones(2, 3)))[0]).sum().backward()
    assert changes_in(model, fresh) == {}


class Holds(nn.Module):
    def __init__(self, thing, change):
        super().__init__()
        self.thing, self.change = thing, change


@pytest.mark.parametrize(
    ("thing", "change"),
    [
        (threading.Lock(), lambda thing: None),
        ((i for i in range(9)), next),
        (itertools.count(), next),
    ],
)
def test_what_is_no_plain_data_cannot_be_kept(thing, change):
    model = Holds(thing, change)
    fresh = held_state(model)
    model.change(model.thing)
    with pytest.raises(NotSerialisableError, match=r"the model's model\.thing is no plain data"):
        changes_in(model, fresh)


def test_what_can_be_compared_and_stays_is_no_obstacle():
    for thing in (itertools.count(), torch.eye(3).to_sparse()):
        model = Holds(thing, None)
        fresh = held_state(model)
        assert changes_in(model, fresh) == {}


def test_a_model_that_is_built_otherwise_does_not_take_the_state():
    model, fresh = made(), held_state(made())
    passes(model, 1)
    told = changes_in(model, fresh)
    with pytest.raises(NotSerialisableError, match=r"has no place|does not come back"):
        put_back(nn.Linear(3, 3), told)


class Keeping(nn.Module):
    """Keeps one thing besides its layer."""

    def __init__(self, kept):
        super().__init__()
        self.net, self.kept = nn.Linear(3, 3), kept


def on_torchs_module():
    model = nn.Sequential(nn.Linear(3, 3))
    model.mean, model.source, model._calls = torch.zeros(3), np.random.default_rng(1), 0
    return model


def used_on_torchs_module(model):
    model.mean.add_(1)
    model.source.normal()
    model._calls += 1
    return float(model.mean.sum()), float(model.source.normal()), model._calls


def on_a_parameter():
    model, calls = nn.Sequential(nn.Linear(3, 1, bias=False)), 0
    model[0].weight.average = 0.0

    def hook(gradient):
        nonlocal calls
        calls += 1
        return gradient * calls

    model[0].weight.register_hook(hook)
    return model


def used_on_a_parameter(model):
    weight = model[0].weight
    weight.grad, weight.average = None, weight.average + 1.0
    model(torch.ones(1, 3)).sum().backward()
    return weight.average, weight.grad.tolist()


def used_generators(model):
    return [float(torch.rand((), generator=one)) for one in model.kept]


def used_counts(model):
    model.kept["a"]["x"] += 1
    model.kept["b"]["y"] += 2
    return model.kept["a"].most_common(), dict(model.kept["b"])


@pytest.mark.parametrize(
    ("build", "use"),
    [
        (on_torchs_module, used_on_torchs_module),
        (on_a_parameter, used_on_a_parameter),
        (lambda: Keeping([torch.Generator().manual_seed(i) for i in range(2)]), used_generators),
        (lambda: Keeping({"a": Counter(), "b": defaultdict(int)}), used_counts),
    ],
    ids=["on torch's module", "on a parameter", "generators in a list", "counts in a dict"],
)
def test_what_hangs_where_one_does_not_look_first_goes_on_after_a_checkpoint(build, use):
    model, resumed = build(), build()
    fresh = held_state(model)
    use(model)
    put_back(resumed, json.loads(json.dumps(changes_in(model, fresh))))
    assert use(model) == use(resumed)


class DrawsMore(random.Random):
    """Keeps its state in its base, and an attribute beside it."""

    def __init__(self, seed):
        super().__init__(seed)
        self.note = "mine"


def test_what_a_class_adds_to_plain_data_is_never_lost_in_silence():
    for kept, change in (
        (np.ma.masked_array([1.0, 2.0], [True, False]), lambda m: m.kept.__setitem__(1, 5.0)),
        (DrawsMore(1), lambda m: m.kept.random()),
    ):
        model = Keeping(kept)
        fresh = held_state(model)
        assert changes_in(model, fresh) == {}
        change(model)
        with pytest.raises(NotSerialisableError, match=r"model\.kept is no plain data"):
            changes_in(model, fresh)


def test_a_generator_of_the_system_and_a_variable_never_assigned_are_no_error():
    with pytest.raises(NotSerialisableError):
        changes_in(model := Keeping(random.SystemRandom()), held_state(model))
    late: float

    def hook(module, inputs, output):
        return output * late

    model = Keeping(None)
    model.register_forward_hook(hook)
    assert changes_in(model, held_state(model)) == {}
    if model is None:
        late = 1.0
