"""Registered models against sizes and outputs worked out by hand, and one's own."""

import numpy as np
import pytest
import torch
from torch import nn

from hdsens.errors import InputError
from hdsens.tasks.models import build_model, check_model, model_names

DIGITS, MNIST, CIFAR = (1, 8, 8), (1, 28, 28), (3, 32, 32)


@pytest.fixture(autouse=True)
def _torch_state():
    """One thread, and torch's global state as it was."""
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.set_default_dtype(dtype)


def build(name, settings=None, shape=MNIST, n_classes=10, seed=0):
    torch.manual_seed(seed)
    return build_model(name, settings or {}, shape, n_classes)


def n_parameters(model):
    return sum(p.numel() for p in model.parameters())


# Worked out by hand: weights + biases, layer by layer. VGG "D": 14,710,464 convolution weights,
# 4,224 biases of 13 convolutions, 8,448 of batch norm, then 2 x (512 x 512 + 512) + 5,130.
@pytest.mark.parametrize(
    ("name", "settings", "shape", "expected"),
    [
        ("logreg", {}, MNIST, 7_850),
        ("logreg", {}, DIGITS, 650),
        ("mlp", {}, MNIST, 785_000 + 1_001_000 + 10_010),
        ("mlp", {"width": 20, "depth": 1}, DIGITS, 65 * 20 + 210),
        ("mlp", {"width": 20, "depth": 3}, DIGITS, 65 * 20 + 2 * 420 + 210),
        ("cnn", {}, DIGITS, 160 + 4_640 + 32 * 2 * 2 * 10 + 10),
        ("cnn", {}, MNIST, 160 + 4_640 + 32 * 7 * 7 * 10 + 10),
        ("cnn", {"width": 4, "dropout": 0.5}, CIFAR, 112 + 296 + 8 * 8 * 8 * 10 + 10),
        ("vgg16_bn", {}, CIFAR, 14_710_464 + 4_224 + 8_448 + 2 * 262_656 + 5_130),
    ],
)
def test_models_have_as_many_parameters_as_worked_out_by_hand(name, settings, shape, expected):
    assert n_parameters(build(name, settings, shape)) == expected


@pytest.mark.parametrize("name", model_names())
def test_logits_are_one_row_an_example_and_one_column_a_class(name):
    model = build(name, shape=CIFAR, n_classes=7).eval()
    assert model(torch.zeros(3, *CIFAR)).shape == (3, 7)


@pytest.mark.parametrize("name", model_names())
def test_equal_seeds_give_equal_initial_weights_and_others_do_not(name):
    first, again, other = (build(name, shape=CIFAR, seed=seed) for seed in (0, 0, 1))
    pairs = list(zip(first.parameters(), again.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


@pytest.mark.parametrize("name", model_names())
def test_weights_have_the_default_dtype(name):
    torch.set_default_dtype(torch.float64)
    assert {p.dtype for p in build(name, shape=CIFAR).parameters()} == {torch.float64}


def test_logreg_is_an_affine_map_of_the_pixels():
    torch.set_default_dtype(torch.float64)
    model = build("logreg", shape=DIGITS)
    inputs = torch.rand(4, *DIGITS)
    weight, bias = (p.detach().numpy() for p in model.parameters())
    expected = inputs.numpy().reshape(4, 64) @ weight.T + bias
    np.testing.assert_allclose(model(inputs).detach().numpy(), expected)


def test_mlp_has_a_relu_after_each_hidden_layer_and_none_at_the_end():
    torch.set_default_dtype(torch.float64)
    model = build("mlp", {"width": 9}, DIGITS)
    inputs = torch.randn(50, *DIGITS)
    w1, b1, w2, b2, w3, b3 = (p.detach().numpy() for p in model.parameters())
    hidden = np.maximum(inputs.numpy().reshape(50, 64) @ w1.T + b1, 0)
    hidden = np.maximum(hidden @ w2.T + b2, 0)
    expected = hidden @ w3.T + b3
    np.testing.assert_allclose(model(inputs).detach().numpy(), expected)
    assert (expected < 0).any()


def test_cnn_dropout_is_off_by_default_and_in_evaluation():
    inputs = torch.rand(4, *DIGITS)
    plain = build("cnn", shape=DIGITS).train()
    assert torch.equal(plain(inputs), plain(inputs))
    dropping = build("cnn", {"dropout": 0.5}, DIGITS).train()
    assert not torch.equal(dropping(inputs), dropping(inputs))
    assert torch.equal(dropping.eval()(inputs), plain(inputs))


def test_cnn_moves_its_features_by_one_where_a_pattern_moves_by_two_poolings():
    features = build("cnn", shape=(1, 32, 32))[:6]
    image = torch.zeros(1, 1, 32, 32)
    image[0, 0, 10:14, 10:14] = torch.rand(4, 4)
    before, after = features(image), features(image.roll(4, dims=3))
    torch.testing.assert_close(after[..., 2:-1], before[..., 1:-2])  # without the border
    assert before.shape == (1, 32, 8, 8)
    assert before.amin() == 0 < before[0, :, 3, 3].amax()


def test_vgg_is_configuration_d_with_batch_norm_after_every_convolution():
    layers = list(build("vgg16_bn", shape=CIFAR).features)
    kinds = [type(layer) for layer in layers]
    block = [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    expected = [kind for n in (2, 2, 3, 3, 3) for kind in [*block * n, nn.MaxPool2d]]
    assert kinds == expected
    widths = [layer.out_channels for layer in layers if isinstance(layer, nn.Conv2d)]
    assert widths == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6


def test_vgg_convolutions_start_as_in_the_paper():
    model = build("vgg16_bn", shape=CIFAR)
    convolutions = [layer for layer in model.features if isinstance(layer, nn.Conv2d)]
    for layer in convolutions:
        assert not layer.bias.any()
    widening = convolutions[7].weight
    assert widening.shape == (512, 256, 3, 3)
    assert widening.std().item() == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.01)
    assert widening.abs().max() > 4 * widening.std()  # normal, not uniform


def test_vgg_drops_half_before_each_of_the_two_hidden_layers():
    kinds = [type(layer) for layer in build("vgg16_bn", shape=CIFAR).classifier]
    assert kinds == [nn.Dropout, nn.Linear, nn.ReLU] * 2 + [nn.Linear]
    assert {m.p for m in build("vgg16_bn", shape=CIFAR).modules() if isinstance(m, nn.Dropout)} == {
        0.5
    }


def test_a_shape_that_a_model_cannot_take_is_an_input_error():
    with pytest.raises(InputError, match=r"^model 'vgg16_bn' must have inputs of shape"):
        build("vgg16_bn", shape=MNIST)
    with pytest.raises(InputError, match=r"^model 'cnn' must have inputs of shape"):
        build("cnn", shape=(64,))


def test_a_wrong_name_or_setting_is_an_input_error():
    with pytest.raises(InputError, match=r"^model 'mpl' must be one of .* did you mean 'mlp'\?$"):
        build("mpl")
    with pytest.raises(InputError, match=r"^model 'mlp': setting 'wdth' must be one of width"):
        build("mlp", {"wdth": 3})


# A person's own model


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_models.py").write_text(
        "import math\n"
        "from torch import nn\n"
        "def wide(width, input_shape, n_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), width),\n"
        "                         nn.Linear(width, n_classes))\n"
        "def fixed():\n    return nn.Linear(2, 3)\n"
        "def nothing():\n    return None\n"
        "def broken():\n    raise ArithmeticError('on purpose')\n"
    )


@pytest.mark.usefixtures("own_module")
def test_a_factory_gets_shape_and_classes_where_it_names_them():
    check_model("own_models:wide")
    assert n_parameters(build("own_models:wide", {"width": 5}, DIGITS)) == 65 * 5 + 60
    assert n_parameters(build("own_models:fixed", {}, DIGITS)) == 9


@pytest.mark.usefixtures("own_module")
def test_what_a_factory_raises_goes_through():
    with pytest.raises(ArithmeticError, match="on purpose"):
        build("own_models:broken")
    with pytest.raises(TypeError, match="unexpected keyword argument 'size'"):
        build("own_models:fixed", {"size": 3})


@pytest.mark.usefixtures("own_module")
def test_a_factory_must_return_a_module():
    with pytest.raises(InputError) as caught:
        build("own_models:nothing")
    assert str(caught.value) == (
        "model 'own_models:nothing' must return a torch.nn.Module (got 'NoneType')"
    )
