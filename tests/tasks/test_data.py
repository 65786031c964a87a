"""What a data set is, the registered ones on real files, one's own, and the validation split."""

import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes, load_digits

from hdsens.errors import InputError
from hdsens.tasks import data as tasks
from hdsens.tasks.data import Data, forget_data, load_data, split_indices

FOLDER = Path(os.environ.get("HDSENS_DATA") or "/nonexistent")


def needs(*paths):
    there = any((FOLDER / path).exists() for path in paths)
    return pytest.mark.skipif(not there, reason=f"HDSENS_DATA has no {' or '.join(paths)}")


needs_mnist = needs("MNIST/raw")
needs_fashion_mnist = needs("FashionMNIST/raw")
needs_cifar10 = needs("cifar-10-batches-py", "cifar-10-python.tar.gz")
needs_cifar10_small = needs("cifar10_small.npz")

REGISTERED = [
    pytest.param("digits"),
    pytest.param("mnist", marks=needs_mnist),
    pytest.param("fashion_mnist", marks=needs_fashion_mnist),
    pytest.param("cifar10", marks=needs_cifar10),
    pytest.param("cifar10_small", marks=needs_cifar10_small),
]


@pytest.fixture(scope="module", autouse=True)
def _free_memory():
    yield
    tasks._load.cache_clear()


def counts(targets):
    return np.bincount(targets).tolist()


@pytest.mark.parametrize("name", REGISTERED)
def test_every_registered_set_has_the_sizes_and_types_it_states(name):
    data = load_data(name, {})
    assert len(data.train_inputs) == len(data.train_targets) == tasks.train_size(name, {})
    assert len(data.test_inputs) == len(data.test_targets) == tasks.test_size(name, {})
    assert data.input_shape == tasks.input_shape(name, {}) == data.test_inputs.shape[1:]
    assert data.train_inputs.dtype == data.test_inputs.dtype == np.float32
    assert data.train_targets.dtype == data.test_targets.dtype == np.int64
    assert np.unique(data.train_targets).tolist() == list(range(data.n_classes))
    assert np.isfinite(data.train_inputs).all()
    assert data.augment is None


def test_diabetes_is_scikit_learns_with_every_fifth_patient_for_tests():
    data, (inputs, targets) = load_data("diabetes", {}), load_diabetes(return_X_y=True)
    is_test = np.arange(442) % 5 == 4
    assert (len(data.train_inputs), len(data.test_inputs)) == (354, 88)
    assert (tasks.train_size("diabetes", {}), tasks.test_size("diabetes", {})) == (354, 88)
    assert data.n_classes is None
    assert data.n_outputs == 1
    for ours, theirs in ((data.train_inputs, inputs), (data.train_targets, targets)):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours.mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(ours.std(axis=0), 1, rtol=1e-5)
        # theirs are centred and scaled over all patients: the same up to a line, column by column
        for a, b in zip(np.atleast_2d(ours.T), np.atleast_2d(theirs[~is_test].T), strict=True):
            assert np.corrcoef(a, b)[0, 1] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", ["digits", pytest.param("mnist", marks=needs_mnist)])
def test_grey_inputs_are_standardised_by_their_training_split(name):
    inputs = load_data(name, {}).train_inputs
    assert inputs.mean(dtype=np.float64) == pytest.approx(0.0, abs=5e-4)
    assert inputs.std(dtype=np.float64) == pytest.approx(1.0, abs=5e-4)


def test_digits_are_all_of_scikit_learns_and_split_evenly_by_class():
    data, whole = load_data("digits", {}), load_digits()
    assert counts(data.train_targets) == [142, 146, 141, 147, 144, 146, 145, 143, 139, 144]
    assert counts(data.test_targets) == [36, 36, 36, 36, 37, 36, 36, 36, 35, 36]
    pixels = np.concatenate([data.train_inputs, data.test_inputs]) * 0.3762 + 0.3058
    scans = np.rint(pixels * 16).reshape(-1, 64)
    assert np.abs(scans / 16 - pixels.reshape(-1, 64)).max() < 1e-6
    targets = np.concatenate([data.train_targets, data.test_targets])
    ours = sorted(map(tuple, np.column_stack([targets, scans]).tolist()))
    theirs = np.column_stack([whole.target, whole.images.reshape(-1, 64)])
    assert ours == sorted(map(tuple, theirs.tolist()))


def test_digits_test_images_are_every_fifth_of_each_run_of_a_class():
    data, whole = load_data("digits", {}), load_digits()
    zeros = whole.images[whole.target == 0]
    expected = ((zeros[::5] / 16 - 0.3058) / 0.3762).astype(np.float32)
    np.testing.assert_allclose(data.test_inputs[data.test_targets == 0, 0], expected, atol=1e-6)


@needs_mnist
def test_mnist_has_the_known_labels_and_pixels():
    data = load_data("mnist", {})
    assert data.input_shape == (1, 28, 28)
    assert data.train_targets[:5].tolist() == [5, 0, 4, 1, 9]
    assert data.test_targets[:5].tolist() == [7, 2, 1, 0, 4]
    assert counts(data.train_targets) == [
        *(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
    ]
    # The first image's row 5 as anybody sees it who prints it.
    row = np.rint((data.train_inputs[0, 0, 5] * 0.3081 + 0.1307) * 255)
    assert row[12:24].tolist() == [3, 18, 18, 18, 126, 136, 175, 26, 166, 255, 247, 127]
    assert data.train_inputs.min() == pytest.approx(-0.1307 / 0.3081, abs=1e-6)


@needs_cifar10
def test_cifar10_has_the_known_labels_and_pixel_means():
    data = load_data("cifar10", {})
    assert data.train_targets[:4].tolist() == [6, 9, 9, 4]
    assert data.test_targets[:4].tolist() == [3, 8, 8, 0]
    assert counts(data.train_targets) == [5000] * 10
    means = data.train_inputs.mean((0, 2, 3), dtype=np.float64)
    raw = means * [0.229, 0.224, 0.225] + [0.485, 0.456, 0.406]
    np.testing.assert_allclose(raw, [0.4914, 0.4822, 0.4465], atol=1e-4)


@needs_cifar10_small
def test_cifar10_small_is_balanced_and_close_to_cifar10():
    data = load_data("cifar10_small", {})
    assert data.input_shape == (3, 32, 32)
    assert counts(data.train_targets) == [1000] * 10
    assert counts(data.test_targets) == [200] * 10
    means = data.train_inputs.mean((0, 2, 3), dtype=np.float64)
    raw = means * [0.229, 0.224, 0.225] + [0.485, 0.456, 0.406]
    np.testing.assert_allclose(raw, [0.4914, 0.4822, 0.4465], atol=0.005)


@needs_cifar10_small
def test_cifar_augmentation_is_by_four_pixels_with_a_black_border():
    augment = load_data("cifar10_small", {"augment": True}).augment
    assert augment.padding == 4
    black = [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225]
    np.testing.assert_allclose(augment.fill, black, rtol=1e-6)


def test_equal_arguments_give_the_same_object():
    assert load_data("digits", {}) is load_data("digits", {})


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar10_small"])
def test_sizes_need_no_files_and_absent_files_are_named(name, tmp_path, monkeypatch):
    monkeypatch.setenv("HDSENS_DATA", str(tmp_path))
    monkeypatch.setenv("HDSENS_CACHE", str(tmp_path))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    tasks._load.cache_clear()
    assert tasks.train_size(name, {}) > tasks.test_size(name, {}) > 0
    with pytest.raises(InputError, match=rf"^data set '{name}': file .* put the file at \$HDSENS_"):
        load_data(name, {})


@needs_mnist
def test_a_damaged_mnist_is_refused(tmp_path, monkeypatch):
    (tmp_path / "MNIST/raw").mkdir(parents=True)
    for file in (FOLDER / "MNIST/raw").iterdir():
        (tmp_path / "MNIST/raw" / file.name).symlink_to(file)
    damaged = tmp_path / "MNIST/raw/t10k-labels-idx1-ubyte"
    damaged.write_bytes(b"\0\0\x08\x01\0\0\x27\x10" + bytes(10_000))
    monkeypatch.setenv("HDSENS_DATA", str(tmp_path))
    tasks._load.cache_clear()
    with pytest.raises(InputError, match=rf"^data file {damaged} must have the content with MD5"):
        load_data("mnist", {})


# A person's own data set


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_data.py").write_text(
        "import numpy as np\n"
        "from hdsens.tasks import Data\n"
        "def blobs(n, levels=(0,)):\n"
        "    inputs = np.zeros((n, 2), np.float32)\n"
        "    return Data(inputs, np.arange(n) % 2, inputs[:4], np.zeros(4, int), 2)\n"
        "def drawn(by):\n"
        "    import random, torch\n"
        "    draw = {'numpy': np.random.rand, 'python': random.random,\n"
        "            'torch': lambda: torch.rand(()).item()}[by]\n"
        "    inputs = np.array([[draw()] for _ in range(6)], np.float32)\n"
        "    return Data(inputs, np.arange(6) % 2, inputs, np.arange(6) % 2, 2)\n"
        "def nothing():\n    return 3\n"
        "def broken():\n    raise OSError('disk on fire')\n"
    )


@pytest.mark.usefixtures("own_module")
def test_a_factory_is_called_with_its_settings():
    settings = {"n": 6, "levels": [1, 2]}
    assert load_data("own_data:blobs", settings).train_targets.tolist() == [0, 1, 0, 1, 0, 1]
    assert load_data("own_data:blobs", settings) is load_data("own_data:blobs", dict(settings))
    assert tasks.train_size("own_data:blobs", {"n": 8}) == 8
    assert tasks.test_size("own_data:blobs", {"n": 8}) == 4
    assert tasks.input_shape("own_data:blobs", {"n": 8}) == (2,)


@pytest.mark.usefixtures("own_module")
@pytest.mark.parametrize("by", ["numpy", "python", "torch"])
def test_a_factory_without_a_seed_draws_the_same_data_in_every_process(by):
    def fresh(dtype):
        forget_data()
        torch.set_default_dtype(dtype)
        try:
            return load_data("own_data:drawn", {"by": by}).train_inputs
        finally:
            torch.set_default_dtype(torch.float32)

    def draws():
        return random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002 # global state

    first = fresh(torch.float32)
    assert len(np.unique(first)) == 6
    assert np.array_equal(fresh(torch.float64), first)  # with generators in another state
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(3)
    expected = draws()
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(3)
    fresh(torch.float32)
    assert draws() == expected


def test_a_factory_draws_the_same_data_where_nothing_else_needs_torch(own_module, tmp_path):
    program = (
        "import sys; from hdsens.tasks import load_data; assert 'torch' not in sys.modules\n"
        "print(load_data('own_data:drawn', {'by': 'torch'}).train_inputs.ravel().tolist())"
    )
    there = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    here = load_data("own_data:drawn", {"by": "torch"}).train_inputs.ravel().tolist()
    assert there.stdout.strip() == str(here)


@pytest.mark.usefixtures("own_module")
def test_what_a_factory_raises_goes_through():
    with pytest.raises(OSError, match="disk on fire"):
        load_data("own_data:broken", {})
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        load_data("own_data:blobs", {})


@pytest.mark.usefixtures("own_module")
def test_a_factory_must_return_data_and_get_json():
    with pytest.raises(InputError) as caught:
        load_data("own_data:nothing", {})
    assert str(caught.value) == (
        "data set 'own_data:nothing' must return hdsens.tasks.Data (got 'int')"
    )
    with pytest.raises(InputError) as caught:
        load_data("own_data:blobs", {"n": {1}})
    assert str(caught.value) == (
        "data set 'own_data:blobs': settings must be values that JSON has (got {'n': {1}})"
    )


GOOD = Data(
    np.zeros((3, 2), np.float32), np.array([0, 1, 1]), np.ones((1, 2), np.float32), np.array([0]), 2
)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"train_inputs": np.zeros((3, 2))},
            "data: train_inputs must be a NumPy array of float32 (got dtype('float64'))",
        ),
        (
            {"test_inputs": [[1.0, 2.0]]},
            "data: test_inputs must be a NumPy array of float32 (got 'list')",
        ),
        (
            {"test_targets": np.zeros(1, np.int32)},
            "data: test_targets must be a NumPy array of int64 (got dtype('int32'))",
        ),
        (
            {"train_targets": np.array([0, 1])},
            "data: train_inputs and train_targets must be (n, ...) and (n,) with the same n >= 1 "
            "(got ((3, 2), (2,)))",
        ),
        (
            {"train_inputs": np.zeros(3, np.float32)},
            "data: train_inputs and train_targets must be (n, ...) and (n,) with the same n >= 1 "
            "(got ((3,), (3,)))",
        ),
        (
            {"train_targets": np.array([0, 1, 2])},
            "data: train_targets must lie in 0 .. 1, as n_classes is 2 (got (0, 2))",
        ),
        (
            {"train_targets": np.array([0, 1, -1])},
            "data: train_targets must lie in 0 .. 1, as n_classes is 2 (got (-1, 1))",
        ),
        (
            {"test_inputs": np.ones((1, 3), np.float32)},
            "data: test_inputs must have examples of shape (2,) as train_inputs (got (3,))",
        ),
        (
            {"test_inputs": np.ones((0, 2), np.float32), "test_targets": np.zeros(0, np.int64)},
            "data: test_inputs and test_targets must be (n, ...) and (n,) with the same n >= 1 "
            "(got ((0, 2), (0,)))",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, said):
    with pytest.raises(InputError) as caught:
        replace(GOOD, **change)
    assert str(caught.value) == said


# The validation split


def check_partition(n, train, valid):
    assert sorted([*train.tolist(), *valid.tolist()]) == list(range(n))
    assert train.tolist() == sorted(train.tolist())
    assert valid.tolist() == sorted(valid.tolist())


@given(n=st.integers(2, 3000), share=st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_a_share_is_rounded_to_the_nearest_count_with_one_left_on_each_side(n, share):
    train, valid = split_indices(n, share)
    check_partition(n, train, valid)
    assert abs(len(valid) - share * n) <= 0.5 or len(valid) == 1 or len(train) == 1
    assert min(len(train), len(valid)) >= 1


@given(st.integers(2, 3000).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n - 1))))
def test_a_count_is_kept(n_and_count):
    n, count = n_and_count
    train, valid = split_indices(n, count)
    check_partition(n, train, valid)
    assert len(valid) == count


@given(st.integers(3, 500))
def test_a_larger_validation_split_contains_the_smaller(n):
    smaller, larger = split_indices(n, 1)[1], split_indices(n, 2)[1]
    assert set(smaller) < set(larger)


def test_the_split_is_the_one_of_earlier_versions():
    train, valid = split_indices(10, 0.3)
    assert (train.tolist(), valid.tolist()) == ([0, 1, 3, 4, 6, 7, 9], [2, 5, 8])
    assert split_indices(60_000, 0.1)[1][:5].tolist() == [2, 10, 18, 25, 29]


def test_the_split_leaves_numpys_global_state_alone_and_ignores_it():
    np.random.seed(0)  # noqa: NPY002  # it is the global state that is looked at
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = split_indices(100, 0.2)[1]
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    np.testing.assert_array_equal(split_indices(100, 0.2)[1], first)


def test_the_split_mixes_all_regions_of_the_data():
    valid = split_indices(10_000, 2000)[1]
    per_tenth = np.bincount(valid // 1000, minlength=10)
    assert (np.abs(per_tenth - 200) < 5 * np.sqrt(200 * 0.8)).all()


@pytest.mark.parametrize(
    "validation", [0, 10, -1, 0.0, 1.0, 1.5, -0.1, float("nan"), True, "test", None]
)
def test_a_split_that_leaves_nothing_on_one_side_is_refused(validation):
    with pytest.raises(InputError) as caught:
        split_indices(10, validation)
    assert str(caught.value) == (
        "validation must be a share between 0 and 1 or a count from 1 to 9 of 10 training "
        f"examples (got {validation!r})"
    )


def test_one_example_cannot_be_split():
    with pytest.raises(InputError, match=r"^validation must be"):
        split_indices(1, 0.5)
