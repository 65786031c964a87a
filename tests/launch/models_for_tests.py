"""Models that misbehave, named by studies of the tests as "models_for_tests:…"."""

from __future__ import annotations

import math
import os
import signal
import time
from pathlib import Path

import torch
from torch import nn

from hdsens.launch.inline import LOOK_EVERY_S


def linear(input_shape, n_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), n_classes))


class _Tires(nn.Module):
    """Pass on what comes, and raise at the second step, while a marker is there if one is named."""

    def __init__(self, marker):
        super().__init__()
        self.marker, self.steps = marker, 0

    def forward(self, inputs):
        self.steps += self.training
        if self.steps > 1 and (self.marker is None or Path(self.marker).exists()):
            raise RuntimeError("this model is <b>tired</b>")
        return inputs


def tires(input_shape, n_classes, marker=None):
    return nn.Sequential(_Tires(marker), *linear(input_shape, n_classes))


class _Counts(nn.Module):
    """Pass on what comes, and leave a byte in a file."""

    def __init__(self, file):
        super().__init__()
        self.file = file

    def forward(self, inputs):
        with Path(self.file).open("ab") as file:
            file.write(b".")
        return inputs


def counts(input_shape, n_classes, folder):
    """Count forward passes in a file, and name the process in another."""
    Path(folder, "pid").write_text(str(os.getpid()))
    return nn.Sequential(_Counts(str(Path(folder, "count"))), *linear(input_shape, n_classes))


class KillsAtLrOne(torch.optim.SGD):
    """Die by SIGKILL in the first step of a cell whose lr is 1; be plain SGD outside workers."""

    def step(self, closure=None):
        import ray

        in_worker = ray.is_initialized() and ray.get_runtime_context().get_actor_id() is not None
        if in_worker and self.param_groups[0]["lr"] == 1.0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(closure)


def notes_its_gpus(input_shape, n_classes, folder):
    """Leave a file named after the GPUs that Ray lets this process see."""
    Path(folder, os.environ.get("CUDA_VISIBLE_DEVICES", "none") or "none").touch()
    return linear(input_shape, n_classes)


def waits(input_shape, n_classes):
    """Be slow enough to be interrupted."""
    time.sleep(0.4)
    return linear(input_shape, n_classes)


def waits_in_the_second_pack(input_shape, n_classes):
    """Once the store has a pack, leave a byte where a model begins, and hold the second of them."""
    if any(Path("out/parts").glob("cells-*")):
        with Path("begun").open("ab") as file:
            file.write(b".")
        if Path("begun").stat().st_size == 2:
            while not Path("go").exists():
                time.sleep(0.01)
            time.sleep(2 * LOOK_EVERY_S)  # past the next look at signals, before the pack ends
    return linear(input_shape, n_classes)


def names_its_worker(input_shape, n_classes, folder):
    """Leave a file named after the process, and take long enough for another to train beside."""
    Path(folder, str(os.getpid())).touch()
    return waits(input_shape, n_classes)


def waits_long(input_shape, n_classes):
    """Say that a worker is busy, and be so for longer than any test lasts."""
    Path("waiting").touch()
    time.sleep(3600)
    return linear(input_shape, n_classes)


class GrowsAtLrOne(torch.optim.SGD):
    """Take 6 GiB in a worker where lr is 1, and wait to be killed."""

    def step(self, closure=None):
        import ray

        in_worker = ray.is_initialized() and ray.get_runtime_context().get_actor_id() is not None
        if in_worker and self.param_groups[0]["lr"] == 1.0:
            held = torch.ones(3 * 2**29)
            time.sleep(20)
            del held
        return super().step(closure)
