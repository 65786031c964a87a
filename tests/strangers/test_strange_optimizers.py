"""Optimizers of other people."""

from __future__ import annotations

import pytest
from strange import declare

from hdsens import InputError
from hdsens.training.optimizers import check_optimizers


@pytest.mark.parametrize(
    ("name", "got"),
    [("OtherName", "['eta', 'weight_decay']"), ("RatePerNumber", "tensor([1., 1.])")],
)
def test_an_optimizer_without_one_number_lr_in_its_groups_is_refused(name, got):
    with pytest.raises(InputError) as caught:
        check_optimizers(declare(optimizer=f"strange:{name}"))
    assert str(caught.value) == (
        f"study 's': arm 'a': optimizer strange:{name} must keep its learning rate as one number "
        f"'lr' in each of its param groups (got {got}); pass torch.optim.Optimizer the defaults "
        "under that name"
    )
