"""What a step of SGDHD and AdamHD costs, beside the torch.optim step it extends.

Run ``python -m benchmarks.optim_step``. Every optimizer steps once a round, in turn, so that a
busy machine slows all of them; a ratio is the median over rounds of the ratio within a round.
One thread is timed by its own clock, which stands still while other programs run. The floor is
what memory traffic alone would give: passes over a parameter-sized array against those of the
reference.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from hdsens.optim import SGDHD, AdamHD

LAYOUTS = {
    "159 tensors, 2.0 M parameters": [(64,), (64,), (96, 384)] * 53,
    "2 tensors, 2.0 M parameters": [(1000, 1000)] * 2,
}
LR = 1e-9  # the parameters stay where they are, whatever the number of rounds


@dataclass(frozen=True)
class Case:
    """One optimizer, and how many passes over a parameter-sized array its step makes."""

    name: str
    make: Callable[[list[torch.Tensor]], torch.optim.Optimizer]
    passes: int
    reference: str = ""
    target: float | None = None
    compiled: bool = False


CASES = [
    Case("SGD foreach", lambda p: torch.optim.SGD(p, lr=LR, foreach=True), 3),
    Case("SGDHD", lambda p: SGDHD(p, lr=LR, hypergrad_lr=1e-20), 7, "SGD foreach", 2.4),
    Case(
        "SGD momentum foreach",
        lambda p: torch.optim.SGD(p, lr=LR, momentum=0.9, foreach=True),
        6,
    ),
    Case(
        "SGDHD momentum",
        lambda p: SGDHD(p, lr=LR, momentum=0.9, hypergrad_lr=1e-20),
        8,
        "SGD momentum foreach",
    ),
    Case("Adam foreach", lambda p: torch.optim.Adam(p, lr=LR, foreach=True), 7),
    Case("Adam fused", lambda p: torch.optim.Adam(p, lr=LR, fused=True), 7),
    Case(
        "AdamHD foreach",
        lambda p: AdamHD(p, lr=LR, hypergrad_lr=1e-20, foreach=True),
        10,
        "Adam foreach",
        1.3,
    ),
    Case(
        "AdamHD fused",
        lambda p: AdamHD(p, lr=LR, hypergrad_lr=1e-20, fused=True),
        10,
        "Adam fused",
        2.0,
    ),
    Case(
        "AdamHD fused, compiled",
        lambda p: AdamHD(p, lr=LR, hypergrad_lr=1e-20, fused=True),
        10,
        "Adam fused",
        1.6,
        compiled=True,
    ),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--eager", action="store_true", help="leave the compiled case out")
    arguments = parser.parse_args()
    cases = [case for case in CASES if not (case.compiled and arguments.eager)]
    print(f"{_processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}, float32")
    for layout, shapes in LAYOUTS.items():
        print(f"\n{layout}, {arguments.rounds} rounds")
        _print_table(cases, _time(cases, shapes, arguments.rounds))


def _time(cases: list[Case], shapes: list[tuple[int, ...]], rounds: int) -> dict[str, list[float]]:
    """Seconds a step, one number a round, by case."""
    steps = {case.name: _stepper(case, shapes) for case in cases}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    for _ in range(rounds):
        for name, step in steps.items():
            start = clock()
            step()
            seconds[name].append(clock() - start)
    return seconds


def _stepper(case: Case, shapes: list[tuple[int, ...]]) -> Callable[[], object]:
    torch.manual_seed(0)
    params = [torch.randn(shape, requires_grad=True) for shape in shapes]
    for param in params:
        param.grad = torch.randn_like(param)
    optimizer = case.make(params)
    step = torch.compile(optimizer.step) if case.compiled else optimizer.step
    for _ in range(5):
        step()
    return step


def _print_table(cases: list[Case], seconds: dict[str, list[float]]) -> None:
    passes = {case.name: case.passes for case in cases}
    print(f"{'':24}{'ms':>8}{'ratio':>8}{'floor':>8}{'target':>8}  to")
    for case in cases:
        mine = seconds[case.name]
        line = f"{case.name:24}{statistics.median(mine) * 1e3:8.2f}"
        if case.reference:
            pairs = zip(mine, seconds[case.reference], strict=True)
            ratio = statistics.median(a / b for a, b in pairs)
            floor = case.passes / passes[case.reference]
            target = "" if case.target is None else f"{case.target:.1f}"
            line += f"{ratio:8.2f}{floor:8.2f}{target:>8}  {case.reference}"
        print(line)


def _processor() -> str:
    names = [line for line in _cpuinfo() if line.startswith("model name")]
    return names[0].split(":")[1].strip() if names else platform.processor()


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


if __name__ == "__main__":
    main()
