"""Names and settings of models and data sets are checked before anything is loaded or built."""

import subprocess
import sys

import pytest

from hdsens.errors import InputError
from hdsens.tasks import check_data, check_input_shape, check_model, data_names, model_names


def message(check, *arguments):
    with pytest.raises(InputError) as caught:
        check(*arguments)
    return str(caught.value)


def test_every_registered_name_passes():
    assert model_names() == ("logreg", "mlp", "cnn", "vgg16_bn")
    assert data_names() == (
        "digits",
        "mnist",
        "fashion_mnist",
        "cifar10",
        "cifar10_small",
        "diabetes",
    )
    for name in model_names():
        check_model(name)
    for name in data_names():
        check_data(name)


def test_an_unknown_model_lists_the_known_ones_and_the_closest():
    assert message(check_model, "mpl") == (
        "model 'mpl' must be one of logreg, mlp, cnn, vgg16_bn or 'package.module:factory'; "
        "did you mean 'mlp'?"
    )


def test_an_unknown_data_set_lists_the_known_ones_and_the_closest():
    assert message(check_data, "fashionmnist") == (
        "data set 'fashionmnist' must be one of digits, mnist, fashion_mnist, cifar10, "
        "cifar10_small, diabetes or 'package.module:factory'; did you mean 'fashion_mnist'?"
    )


def test_nothing_is_guessed_when_nothing_is_close():
    assert message(check_model, "transformer").endswith("or 'package.module:factory'")


@pytest.mark.parametrize(
    ("check", "name", "settings", "said"),
    [
        (
            check_model,
            "mlp",
            {"wdth": 3},
            "model 'mlp': setting 'wdth' must be one of width, depth",
        ),
        (
            check_model,
            "logreg",
            {"width": 3},
            "model 'logreg': setting 'width' must be left out: there is nothing to set",
        ),
        (check_model, "mlp", {"depth": 0}, "model 'mlp': depth must be an integer >= 1 (got 0)"),
        (
            check_model,
            "cnn",
            {"width": True},
            "model 'cnn': width must be an integer >= 1 (got True)",
        ),
        (
            check_model,
            "mlp",
            {"width": 2.5},
            "model 'mlp': width must be an integer >= 1 (got 2.5)",
        ),
        (
            check_model,
            "cnn",
            {"dropout": 1},
            "model 'cnn': dropout must be a number in [0, 1) (got 1)",
        ),
        (
            check_model,
            "cnn",
            {"dropout": float("nan")},
            "model 'cnn': dropout must be a number in [0, 1) (got nan)",
        ),
        (
            check_data,
            "cifar10",
            {"crop": True},
            "data set 'cifar10': setting 'crop' must be one of augment",
        ),
        (
            check_data,
            "cifar10",
            {"augment": 1},
            "data set 'cifar10': augment must be true or false (got 1)",
        ),
        (
            check_data,
            "digits",
            {"augment": True},
            "data set 'digits': setting 'augment' must be left out: there is nothing to set",
        ),
    ],
)
def test_a_wrong_setting_says_what_it_must_be(check, name, settings, said):
    assert message(check, name, settings) == said


def test_right_settings_pass():
    check_model("mlp", {"width": 1, "depth": 1})
    check_model("cnn", {"dropout": 0})
    check_data("cifar10_small", {"augment": True})


def test_a_factory_is_imported_by_the_check_and_not_called():
    check_model("sys:exit", {"anything": 1})
    check_data("sys:exit", {"anything": 1})
    assert "must name a module" in message(check_model, "nowhere_module:make")
    assert "must name something" in message(check_data, "sys:nothing")


def test_models_say_which_inputs_they_need():
    assert message(check_input_shape, "vgg16_bn", (1, 28, 28)) == (
        "model 'vgg16_bn' must have inputs of shape (3, 32, 32) (got (1, 28, 28)); "
        "use data = 'cifar10' or 'cifar10_small'"
    )
    for shape in [(64,), (1, 3, 8), (1, 8, 3)]:
        assert message(check_input_shape, "cnn", shape) == (
            "model 'cnn' must have inputs of shape (channels, height, width), sides >= 4 "
            f"(got {shape})"
        )
    check_input_shape("cnn", (1, 4, 4))
    check_input_shape("vgg16_bn", (3, 32, 32))
    check_input_shape("mlp", (5,))


def test_names_and_data_need_no_torch():
    program = (
        "import sys, hdsens.tasks as tasks\n"
        "tasks.check_model('mlp', {}); tasks.check_data('cifar10', {'augment': True})\n"
        "tasks.train_size('mnist', {}); tasks.split_indices(10, 0.5)\n"
        "tasks.load_data('digits', {})\n"
        "assert not {'torch', 'sklearn', 'pooch'} & set(sys.modules)\n"
        "tasks.files.find_file(['nothing'])\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
