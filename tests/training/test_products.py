"""Products by oneDNN and by torch's own way are the same to rounding, gradients too."""

from __future__ import annotations

import math

import pytest
import torch

from hdsens.training.fused import products
from hdsens.training.fused.products import Product, product
from hdsens.training.fused.stack import Stack

SHAPES = [(1, 1, 1), (3, 20, 5), (640, 64, 100), (97, 784, 33)]
LAYOUTS = [(False, False), (False, True), (True, False), (True, True)]


@pytest.fixture(params=["oneDNN", "torch"], autouse=True)
def library(request, monkeypatch):
    if request.param == "oneDNN" and not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(products, "_onednn_is_quicker", lambda: request.param == "oneDNN")


def matrix(n_rows, n_columns, *, by_column=False, seed=0):
    generator = torch.Generator().manual_seed(seed)
    if by_column:
        return torch.randn(n_columns, n_rows, generator=generator).t()
    return torch.randn(n_rows, n_columns, generator=generator)


@pytest.mark.parametrize(("m", "k", "n"), SHAPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_product_is_that_of_double_precision_to_rounding(m, k, n, layout):
    a, b = matrix(m, k, by_column=layout[0]), matrix(n, k, by_column=layout[1], seed=1)
    exact = a.double() @ b.double().t()
    torch.testing.assert_close(product(a, b).double(), exact, rtol=1e-5, atol=1e-6 * k)
    double = product(a.double(), b.double())
    torch.testing.assert_close(double, exact, rtol=1e-12, atol=1e-12)


def test_gradients_are_those_of_torch():
    a, b = matrix(30, 7).requires_grad_(), matrix(11, 7, seed=1).requires_grad_()
    weights = matrix(30, 11, seed=2)
    found = torch.autograd.grad((weights * Product.apply(a, b)).sum(), (a, b))
    expected = torch.autograd.grad((weights * (a @ b.t())).sum(), (a, b))
    for got, want in zip(found, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 3e38])
def test_a_row_that_diverged_leaves_the_others_alone(bad):
    a, b = matrix(640, 65), matrix(100, 65, seed=1)
    sound = product(a, b)
    a[17] = bad
    torch.testing.assert_close(product(a, b)[:17], sound[:17], rtol=0, atol=0)
    torch.testing.assert_close(product(a, b)[18:], sound[18:], rtol=0, atol=0)
    assert not torch.isfinite(product(a, b)[17]).all()


def test_windows_of_one_series_that_overlap_in_memory_go_through_a_pack():
    windows, layer = matrix(1, 12)[0].unfold(0, 4, 1), torch.nn.Linear(4, 3)
    expected = layer(windows)
    for logits in Stack.of(layer, 2)(windows):
        torch.testing.assert_close(logits, expected)
