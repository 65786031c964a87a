"""Among the other parts of training: scaling, clipping, compilation, processes."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
import torch
from optim_cases import CASES, HYPERGRADIENT, MAKES, give_grads, make_params, train

from hdsens.optim import SGDHD


@pytest.mark.parametrize("make", MAKES)
def test_an_lr_set_from_outside_is_used_and_adapted_further(make):
    params, others = make_params(), make_params()
    optimizer, other = make(params, lr=0.01, hypergrad_lr=1e-4), make(others, lr=0.3)
    train(optimizer, params, 3)
    other.load_state_dict(optimizer.state_dict())
    with torch.no_grad():
        for p, q in zip(params, others, strict=True):
            q.copy_(p)
    optimizer.param_groups[0]["lr"] = 0.05
    moved = train(optimizer, params, 1, 3)[0] - 0.05
    kept = other.param_groups[0]["lr"]
    assert moved == pytest.approx(train(other, others, 1, 3)[0] - kept, rel=1e-9)
    assert moved != 0


@pytest.mark.parametrize("make", MAKES)
def test_a_scaled_loss_is_unscaled_before_the_dot_product(make):
    """GradScaler at 2^10 on the CPU: the run of the plain loss; an overflow skips the step."""
    mine, plain = torch.nn.Linear(3, 1), torch.nn.Linear(3, 1)
    plain.load_state_dict(mine.state_dict())
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    optimizer = make(mine.parameters(), lr=0.01, hypergrad_lr=1e-3)
    other = make(plain.parameters(), lr=0.01, hypergrad_lr=1e-3)
    for step in range(5):
        x = torch.full((4, 3), 1.0 + step)
        optimizer.zero_grad()
        other.zero_grad()
        scaler.scale((mine(x) ** 2).mean()).backward()
        (plain(x) ** 2).mean().backward()
        scaler.step(optimizer)
        scaler.update()
        other.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(other.param_groups[0]["lr"], rel=1e-6)
    before = optimizer.param_groups[0]["lr"], mine.weight.detach().clone()
    scaler.scale(mine(torch.ones(1, 3)).sum() * float("inf")).backward()
    scaler.step(optimizer)
    assert optimizer.param_groups[0]["lr"] == before[0]
    assert torch.equal(mine.weight, before[1])


@pytest.mark.parametrize("make", MAKES)
def test_clipped_gradients_are_what_is_measured(make):
    w = torch.zeros(4, requires_grad=True)
    optimizer = make([w], lr=0.0, hypergrad_lr=1.0)
    for _ in range(2):
        w.grad = torch.full_like(w, 100.0)
        torch.nn.utils.clip_grad_norm_([w], 1.0)
        optimizer.step()
    u = 0.5 if make is SGDHD else 1.0  # four elements of 0.5 after clipping
    assert optimizer.param_groups[0]["lr"] == pytest.approx(4 * 0.5 * u, rel=1e-4)


@pytest.mark.parametrize("make", MAKES)
def test_accumulated_gradients_are_one_gradient(make):
    torch.manual_seed(0)
    x, y = torch.randn(8, 3).double(), torch.randn(8, 1).double()
    runs = []
    for parts in (1, 4):
        torch.manual_seed(1)
        model = torch.nn.Linear(3, 1).double()
        optimizer = make(model.parameters(), lr=0.01, hypergrad_lr=1e-2)
        for _ in range(4):
            optimizer.zero_grad(set_to_none=False)
            for xs, ys in zip(x.chunk(parts), y.chunk(parts), strict=True):
                (((model(xs) - ys) ** 2).mean() / parts).backward()
            optimizer.step()
        runs.append(optimizer.param_groups[0]["lr"])
    assert runs[0] == pytest.approx(runs[1], rel=1e-12)
    assert runs[0] != 0.01


COMPILED = [
    (CASES[0], {}),
    (CASES[8], {"rule": "multiplicative"}),
    (CASES[9], {"lr": torch.tensor(0.01)}),
    (CASES[10], {"fused": True}),
]


@pytest.mark.parametrize(("case", "extra"), COMPILED, ids=str)
def test_a_compiled_step_is_the_step(case, extra):
    """Fourteen steps on what was traced in the first few: nothing is anew as the lr moves.

    One graph for a first step, where it has work to do, and one for the others.
    """
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    params, others = make_params(), make_params()
    options = {"lr": 0.01, "hypergrad_lr": 1e-4, **case.options, **extra}
    optimizer, other = case.make(params, **options), case.make(others, **options)
    # What is traced is ours; code is generated for one case alone, since it takes half a minute.
    generated = "rule" in extra and shutil.which("c++")
    backend = "inductor" if generated else "aot_eager"
    step = torch.compile(other.step, backend=backend)
    expected, lrs, graphs, traced = [], [], [], []
    for i in range(14):
        expected += train(optimizer, params, 1, i)
        give_grads(others, i)
        step()
        lrs.append(float(other.param_groups[0]["lr"]))
        graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
        traced.append(torch._dynamo.utils.counters["frames"]["total"])
    assert lrs == pytest.approx(expected, rel=1e-4)
    for a, b in zip(params, others, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
    assert graphs[-1] == graphs[4] == (1 if extra.get("fused") else 2)
    assert traced[-1] == traced[4] > 0


DDP = """
import sys, torch, torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from hdsens.optim import SGDHD, AdamHD
rank, store = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
generator = torch.Generator().manual_seed(rank)
for make in (SGDHD, AdamHD):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 1))
    model = DistributedDataParallel(net)
    optimizer = make(model.parameters(), lr=0.0, hypergrad_lr=1e-3)
    for _ in range(20):
        optimizer.zero_grad()
        x = torch.randn(8, 5, generator=generator)
        ((model(x) - x.sum(1, keepdim=True)) ** 2).mean().backward()
        optimizer.step()
    print(optimizer.param_groups[0]["lr"].hex(), sum(p.sum().item() for p in net.parameters()))
dist.destroy_process_group()
"""


def test_every_rank_of_ddp_ends_with_the_same_lr(tmp_path):
    """Two gloo processes with batches of their own, SGDHD and then AdamHD."""
    script = tmp_path / "ddp.py"
    script.write_text(DDP, encoding="utf-8")
    ranks = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), str(tmp_path / "store")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    finished = [rank.communicate(timeout=500) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], finished
    first, second = (out.splitlines() for out, _ in finished)
    assert first == second
    assert len(first) == 2
    assert all(float.fromhex(line.split()[0]) > 0 for line in first)


@pytest.mark.parametrize("extra", HYPERGRADIENT, ids=str)
@pytest.mark.parametrize("make", MAKES)
def test_a_model_trains_from_lr_zero(make, extra):
    """Paper, claim (b), where the additive rule applies; the multiplicative rule stays at 0."""
    torch.manual_seed(0)
    x = torch.randn(64, 4)
    y = (x @ torch.tensor([1.0, -2.0, 0.5, 3.0]))[:, None]
    model = torch.nn.Linear(4, 1)
    optimizer = make(model.parameters(), lr=0.0, hypergrad_lr=1e-3, **extra)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    if extra.get("rule") == "multiplicative":
        assert losses[-1] == losses[0]
    else:
        assert losses[-1] < 0.95 * losses[0]
