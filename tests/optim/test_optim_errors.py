"""What is refused, and the whole sentence that says so."""

from __future__ import annotations

import math

import pytest
import torch

from hdsens.optim import SGDHD, AdamHD

SHARED = [
    ({"lr": -0.1}, "lr must be a finite number >= 0 (got -0.1); 0 is allowed"),
    ({"lr": math.nan}, "lr must be a finite number >= 0 (got nan); 0 is allowed"),
    ({"lr": math.inf}, "lr must be a finite number >= 0 (got inf); 0 is allowed"),
    ({"lr": "0.1"}, "lr must be a finite number >= 0 (got '0.1'); 0 is allowed"),
    ({"lr": torch.tensor(-1.0)}, "lr must be a finite number >= 0 (got -1.0); 0 is allowed"),
    (
        {"lr": torch.ones(2)},
        "a tensor lr must be floating-point with one element "
        "(got torch.float32 of shape (2,)); pass torch.tensor(0.1)",
    ),
    (
        {"lr": torch.tensor(1)},
        "a tensor lr must be floating-point with one element "
        "(got torch.int64 of shape ()); pass torch.tensor(0.1)",
    ),
    (
        {"hypergrad_lr": -1e-3},
        "hypergrad_lr must be a finite number >= 0 (got -0.001); use 0 for the base algorithm",
    ),
    (
        {"hypergrad_lr": None},
        "hypergrad_lr must be a finite number >= 0 (got None); use 0 for the base algorithm",
    ),
    ({"weight_decay": -1}, "weight_decay must be a finite number >= 0 (got -1); use 0 for none"),
    (
        {"rule": "additiv"},
        "rule must be 'additive' or 'multiplicative' (got 'additiv'); the paper's is 'additive'",
    ),
    (
        {"transition": 2},
        "transition must be (final_lr, power) (got 2); the paper's example has power 2",
    ),
    (
        {"transition": (0.1, 0)},
        "transition must be (final_lr >= 0, power > 0), both finite (got (0.1, 0)); "
        "the paper's example has power 2",
    ),
    (
        {"lr_bounds": (0.1,)},
        "lr_bounds must be (low, high) with low <= high (got (0.1,)); use None for no bounds",
    ),
    (
        {"lr_bounds": (1, 0.1)},
        "lr_bounds must be (low, high) with low <= high (got (1, 0.1)); use None for no bounds",
    ),
    (
        {"lr": 0.5, "lr_bounds": (0, 0.1)},
        "lr must lie within lr_bounds (0, 0.1) (got 0.5); widen them or start inside",
    ),
]
OWN = [
    (SGDHD, {"momentum": -0.9}, "momentum must be a finite number >= 0 (got -0.9); use 0 for none"),
    (
        SGDHD,
        {"dampening": math.inf},
        "dampening must be a finite number (got inf); use 0 for none",
    ),
    (
        SGDHD,
        {"nesterov": True},
        "nesterov needs momentum > 0 and dampening = 0 (got momentum=0, dampening=0); "
        "use nesterov=False",
    ),
    (
        SGDHD,
        {"nesterov": True, "momentum": 0.9, "dampening": 0.1},
        "nesterov needs momentum > 0 and dampening = 0 (got momentum=0.9, dampening=0.1); "
        "use nesterov=False",
    ),
    (AdamHD, {"eps": -1e-8}, "eps must be a finite number >= 0 (got -1e-08); Adam's is 1e-8"),
    (
        AdamHD,
        {"betas": (0.9, 1.0)},
        "betas must be two floats in [0, 1) (got (0.9, 1.0)); Adam's are (0.9, 0.999)",
    ),
    (
        AdamHD,
        {"betas": 0.9},
        "betas must be two floats in [0, 1) (got 0.9); Adam's are (0.9, 0.999)",
    ),
    (
        AdamHD,
        {"foreach": True, "fused": True},
        "foreach and fused exclude each other (got foreach=True, fused=True); pass one of them",
    ),
]
EVERY = [(make, *rest) for make in (SGDHD, AdamHD) for rest in SHARED] + OWN


def one_param():
    return [torch.zeros(2, requires_grad=True)]


@pytest.mark.parametrize(("make", "options", "message"), EVERY)
def test_bad_options_are_refused_in_one_sentence(make, options, message):
    with pytest.raises(ValueError, match=make.__name__) as caught:
        make(one_param(), **options)
    assert str(caught.value) == f"{make.__name__}: {message}"


@pytest.mark.parametrize(("make", "options", "message"), EVERY)
def test_bad_options_of_a_group_are_refused_and_the_group_is_not_added(make, options, message):
    optimizer = make(one_param())
    with pytest.raises(ValueError, match=make.__name__) as caught:
        optimizer.add_param_group({"params": one_param(), **options})
    assert str(caught.value) == f"{make.__name__}: {message}"
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize("name", ["capturable", "differentiable"])
@pytest.mark.parametrize("make", [SGDHD, AdamHD])
def test_what_torch_offers_and_these_do_not_is_refused(make, name):
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
        make(one_param(), **{name: True})
    with pytest.raises(ValueError, match=make.__name__) as caught:
        make([{"params": one_param(), name: True}])
    assert str(caught.value) == (
        f"{make.__name__}: {name} is not supported (got True); "
        "torch.optim has it where it is needed"
    )
    assert make([{"params": one_param(), name: False}])


def test_a_fused_kernel_is_refused_where_there_is_none():
    """SGDHD has none; AdamHD says for a device without one what torch says."""
    with pytest.raises(ValueError, match="SGDHD") as caught:
        SGDHD([{"params": one_param(), "fused": True}])
    assert str(caught.value) == (
        "SGDHD: fused is not supported (got True); torch.optim has it where it is needed"
    )
    messages = []
    for make in (torch.optim.Adam, AdamHD):
        weight = torch.zeros(2, device="meta", requires_grad=True)
        optimizer = make([weight], fused=True)
        weight.grad = torch.zeros_like(weight)
        with pytest.raises(RuntimeError) as refused:
            optimizer.step()
        messages.append(str(refused.value))
    assert messages[0] == messages[1]
    assert "supported devices" in messages[0]


@pytest.mark.parametrize("make", [SGDHD, AdamHD])
def test_complex_parameters_are_refused(make):
    with pytest.raises(TypeError) as caught:
        make([torch.zeros(2, dtype=torch.complex64, requires_grad=True)])
    assert str(caught.value) == (
        f"{make.__name__}: parameters must be real (got torch.complex64); "
        "optimize torch.view_as_real of it"
    )


@pytest.fixture
def one_process():
    torch.distributed.init_process_group(
        "gloo", store=torch.distributed.HashStore(), rank=0, world_size=1
    )
    yield torch.distributed.init_device_mesh("cpu", (1,))
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("make", [SGDHD, AdamHD])
def test_sharded_parameters_are_refused(make, one_process):
    """As fully_shard, which is FSDP2, makes them: each rank would adapt an lr of its own."""
    model = torch.distributed.fsdp.fully_shard(torch.nn.Linear(2, 1), mesh=one_process)
    with pytest.raises(TypeError) as caught:
        make(model.parameters())
    assert str(caught.value) == sharded(make, "DTensor")


@pytest.mark.parametrize("use_orig_params", [False, True])
@pytest.mark.parametrize("make", [SGDHD, AdamHD])
def test_shards_of_the_older_fsdp_are_refused(make, use_orig_params, one_process):
    model = torch.distributed.fsdp.FullyShardedDataParallel(
        torch.nn.Linear(2, 1), use_orig_params=use_orig_params, device_id=torch.device("cpu")
    )
    with pytest.raises(TypeError) as caught:
        make(model.parameters())
    assert str(caught.value) == sharded(make, "a shard of FullyShardedDataParallel")


@pytest.mark.parametrize("make", [SGDHD, AdamHD])
def test_one_ranks_part_of_the_parameters_is_refused(make, one_process):
    from torch.distributed.optim import ZeroRedundancyOptimizer

    weights = one_param()
    with pytest.raises(TypeError) as caught:
        ZeroRedundancyOptimizer(weights, make, lr=0.1)
    assert str(caught.value) == sharded(make, "one rank's part from ZeroRedundancyOptimizer")
    assert ZeroRedundancyOptimizer(weights, torch.optim.SGD, lr=0.1)
    assert make(weights)


def sharded(make, got):
    return (
        f"{make.__name__}: parameters must be plain tensors (got {got}); "
        "replicate them, as DistributedDataParallel does"
    )


@pytest.mark.parametrize("make", [SGDHD, AdamHD])
def test_sparse_gradients_are_refused_before_anything_changes(make):
    table = torch.nn.Embedding(4, 2, sparse=True)
    dense = torch.ones(2, requires_grad=True)
    optimizer = make([{"params": [dense]}, {"params": table.parameters()}], lr=0.1)
    before = [dense.detach().clone(), table.weight.detach().clone()]
    (table(torch.tensor([1])).sum() + dense.sum()).backward()
    with pytest.raises(RuntimeError) as caught:
        optimizer.step()
    assert str(caught.value) == (
        f"{make.__name__}: gradients must be dense (got torch.sparse_coo); "
        "build the embedding with sparse=False"
    )
    assert torch.equal(dense, before[0])
    assert torch.equal(table.weight, before[1])
    assert not optimizer.state


@pytest.mark.parametrize("make", [SGDHD, AdamHD])
@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ([], ValueError, "empty parameter list"),
        (torch.zeros(2), TypeError, "should be an iterable of Tensors or dicts"),
        ([3.0], TypeError, "can only optimize Tensors"),
        ([torch.zeros(2, requires_grad=True) * 2], ValueError, "non-leaf"),
    ],
)
def test_bad_params_are_refused_by_torchs_own_words(make, params, error, message):
    with pytest.raises(error, match=message):
        make(params)


@pytest.mark.parametrize("make", [SGDHD, AdamHD])
def test_a_parameter_belongs_to_one_group(make):
    params = one_param()
    optimizer = make(params)
    with pytest.raises(ValueError, match="more than one parameter group"):
        optimizer.add_param_group({"params": params})
    with pytest.raises(TypeError, match="must be a dict"):
        optimizer.add_param_group(params)
