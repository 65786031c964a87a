"""Data sets: registered ones, and a person's own through ``"package.module:factory"``."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hdsens.errors import InputError
from hdsens.tasks import sources
from hdsens.tasks.augment import CropAndFlip
from hdsens.tasks.importing import call_factory, import_factory, is_import_path
from hdsens.tasks.names import FLAG_RULE, Setting, check_registered, is_flag, resolve_settings
from hdsens.tasks.seeding import fixed_generators

if TYPE_CHECKING:
    import torch

Inputs = NDArray[np.float32]
Targets = NDArray[np.int64] | NDArray[np.float32]

# The split held back for validation must never move: it is part of every result's meaning.
_SPLIT_SEED = 1703_04782
_ROWS_NAMED = 5


@dataclass(frozen=True)
class Data:
    """What is trained on and tested on.

    Args:
        train_inputs: float32, (n, ...), normalised; images are (n, channels, height, width).
        train_targets: int64, (n,), classes from 0; or float32, (n,) or (n, n_outputs), real
            numbers.
        test_inputs: as ``train_inputs``, of the test split.
        test_targets: as ``train_targets``, of the test split.
        n_classes: number of classes; None where the targets are real numbers.
        augment: called with a training batch's inputs and a generator, on no other batch; all its
            randomness comes from that generator.

    Raises:
        InputError: wrong types, lengths, shapes or classes, or numbers that are not finite.
    """

    train_inputs: Inputs
    train_targets: Targets
    test_inputs: Inputs
    test_targets: Targets
    n_classes: int | None = None
    augment: Callable[[torch.Tensor, torch.Generator], torch.Tensor] | None = None

    def __post_init__(self) -> None:
        """Check that the parts fit together."""
        _check_part("train", self.train_inputs, self.train_targets, self.n_classes)
        _check_part("test", self.test_inputs, self.test_targets, self.n_classes)
        if self.test_inputs.shape[1:] != self.input_shape:
            raise InputError(
                "data: test_inputs",
                f"must have examples of shape {self.input_shape} as train_inputs",
                self.test_inputs.shape[1:],
            )
        if self.test_targets.shape[1:] != self.train_targets.shape[1:]:
            raise InputError(
                "data: test_targets",
                f"must have examples of shape {self.train_targets.shape[1:]} as train_targets",
                self.test_targets.shape[1:],
            )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return self.train_inputs.shape[1:]

    @property
    def n_outputs(self) -> int:
        """How many numbers a model gives for an example: a class each, or a real target each."""
        return self.n_classes or int(np.prod(self.train_targets.shape[1:]))


@dataclass(frozen=True)
class _DataSet:
    """A registered set of images: how to read it, its sizes, how its pixels are normalised.

    A pixel becomes ``(pixel / scale - mean) / std``, with one mean and std a channel.
    """

    read: Callable[[], sources.RawData]
    train_size: int
    test_size: int
    input_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = 255.0
    n_classes: int = 10
    settings: Mapping[str, Setting] = field(default_factory=dict)

    def normalise(self, pixels: NDArray[np.uint8]) -> Inputs:
        """Scale pixels (n, channels, height, width) to inputs of the same shape."""
        channels = (len(self.mean), 1, 1)
        inputs = pixels.astype(np.float32)
        inputs /= self.scale
        inputs -= np.array(self.mean, np.float32).reshape(channels)
        inputs /= np.array(self.std, np.float32).reshape(channels)
        return inputs

    def load(self, settings: Mapping[str, Any]) -> Data:
        """Read the data set, from files where it has files."""
        raw = self.read()
        return Data(
            self.normalise(raw.train_images),
            raw.train_labels.astype(np.int64),
            self.normalise(raw.test_images),
            raw.test_labels.astype(np.int64),
            self.n_classes,
            self.crop_and_flip() if settings.get("augment") else None,
        )

    def crop_and_flip(self) -> CropAndFlip:
        """The augmentation of the paper's CIFAR-10 runs."""
        black = self.normalise(np.zeros((1, len(self.mean), 1, 1), np.uint8))
        return CropAndFlip(padding=4, fill=tuple(black.ravel().tolist()))


@dataclass(frozen=True)
class _Table:
    """A registered table of real numbers with a real target; every fifth row is a test example.

    Inputs and targets are in standard deviations from the mean, both of the training rows: a model
    that always says the mean has a mean squared error of 1.
    """

    read: Callable[[], tuple[NDArray[np.float64], NDArray[np.float64]]]
    train_size: int
    test_size: int
    input_shape: tuple[int]
    n_classes: None = None
    settings: Mapping[str, Setting] = field(default_factory=dict)

    def load(self, settings: Mapping[str, Any]) -> Data:
        """Read the table, which has nothing to set."""
        read = self.read()
        is_test = np.arange(len(read[0])) % 5 == 4
        inputs, targets = (_standardised(array, ~is_test) for array in read)
        return Data(inputs[~is_test], targets[~is_test], inputs[is_test], targets[is_test])


def _standardised(array: NDArray[np.float64], rows: NDArray[np.bool_]) -> Inputs:
    """Shift and scale an array `(n, ...)` by mean and standard deviation of some rows."""
    mean, std = array[rows].mean(axis=0), array[rows].std(axis=0)
    scaled: Inputs = ((array - mean) / std).astype(np.float32)
    return scaled


_AUGMENT = {"augment": Setting(False, FLAG_RULE, is_flag)}

# Mean and std of digits are those of its training split; of MNIST the paper's; of CIFAR-10 the
# ones in the paper's released code (ImageNet's).
_DATA_SETS: Mapping[str, _DataSet | _Table] = {
    "digits": _DataSet(
        sources.read_digits, 1437, 360, (1, 8, 8), mean=(0.3058,), std=(0.3762,), scale=16.0
    ),
    "mnist": _DataSet(
        functools.partial(sources.read_idx_set, sources.MNIST),
        60_000,
        10_000,
        (1, 28, 28),
        mean=(0.1307,),
        std=(0.3081,),
    ),
    "fashion_mnist": _DataSet(
        functools.partial(sources.read_idx_set, sources.FASHION_MNIST),
        60_000,
        10_000,
        (1, 28, 28),
        mean=(0.2860,),
        std=(0.3530,),
    ),
    "cifar10": _DataSet(
        functools.partial(sources.read_pickled_set, sources.CIFAR10),
        50_000,
        10_000,
        (3, 32, 32),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        settings=_AUGMENT,
    ),
    "cifar10_small": _DataSet(
        functools.partial(sources.read_npz_set, sources.CIFAR10_SMALL),
        10_000,
        2_000,
        (3, 32, 32),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        settings=_AUGMENT,
    ),
    "diabetes": _Table(sources.read_diabetes, 354, 88, (10,)),
}


def data_names() -> tuple[str, ...]:
    """List the registered data sets."""
    return tuple(_DATA_SETS)


def check_data(name: str, settings: Mapping[str, Any] | None = None) -> None:
    """Check a data set's name, and its settings where they are given; loads no data.

    A ``"package.module:factory"`` is imported; its settings are the factory's own affair.

    Raises:
        InputError: an unknown name, a factory that cannot be imported or called, an unknown
            setting of a registered data set, or a value that it cannot have.
    """
    if is_import_path(name):
        import_factory(name, "data set")
        return
    check_registered("data set", name, _DATA_SETS)
    resolve_settings(f"data set {name!r}", settings or {}, _DATA_SETS[name].settings)


def load_data(name: str, settings: Mapping[str, Any]) -> Data:
    """Load a data set, and keep it in memory: equal arguments give the same object.

    - ``digits``: 1,797 real scans of 8 x 8 pixels that come with scikit-learn. In order of class,
      every fifth image is a test image; the rest, in scikit-learn's order, are for training.
    - ``mnist``, ``fashion_mnist``: 28 x 28 pixels.
    - ``cifar10``: 32 x 32 pixels in colour.
    - ``cifar10_small``: 10,000 training and 2,000 test images of CIFAR-10 that went through JPEG
      once more: not bit-identical to the original. It has no public host.
    - ``diabetes``: 442 patients with 10 real numbers each, and a real target; it comes with
      scikit-learn. Every fifth is a test example; all numbers are in standard deviations.

    The setting ``augment = true`` of the two CIFAR sets is the paper's random crop and flip.
    ``"package.module:factory"`` is called as ``factory(**settings)``, with the global generators of
    NumPy, Python and torch at one seed, so that every worker gets the same data; what it raises is
    not caught.

    Raises:
        InputError: as `check_data`; files that are absent or broken; a factory that returns no
            `Data`; settings that are not JSON values.
    """
    check_data(name, settings)
    return _load(name, _canonical(name, settings))


def train_size(name: str, settings: Mapping[str, Any]) -> int:
    """Number of training examples, validation examples included; a registered set stays unread."""
    check_data(name, settings)
    if is_import_path(name):
        return len(load_data(name, settings).train_inputs)
    return _DATA_SETS[name].train_size


def test_size(name: str, settings: Mapping[str, Any]) -> int:
    """Number of test examples; a registered set stays unread."""
    check_data(name, settings)
    if is_import_path(name):
        return len(load_data(name, settings).test_inputs)
    return _DATA_SETS[name].test_size


def input_shape(name: str, settings: Mapping[str, Any]) -> tuple[int, ...]:
    """Shape of one example; a registered set stays unread."""
    check_data(name, settings)
    if is_import_path(name):
        return load_data(name, settings).input_shape
    return _DATA_SETS[name].input_shape


def n_classes(name: str, settings: Mapping[str, Any]) -> int | None:
    """Number of classes, None for real targets; a registered set stays unread."""
    check_data(name, settings)
    if is_import_path(name):
        return load_data(name, settings).n_classes
    return _DATA_SETS[name].n_classes


def split_indices(n: int, validation: float | int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split n training examples into those to train on and those held back for validation.

    The same for every seed, machine and version of NumPy (only its bit generator is used, and
    that one's stream is guaranteed).

    Args:
        n: number of training examples, at least 2.
        validation: a float is a share in (0, 1) (rounded to the nearest count, at least 1 and at
            most n - 1), an int a count from 1 to n - 1.

    Returns:
        Indices (n_train,) and (n_validation,), both ascending, together each of 0 .. n - 1 once.

    Raises:
        InputError: nothing would be left on one side, or ``validation`` is no number.
    """
    count = _validation_count(n, validation)
    order = np.argsort(np.random.PCG64(_SPLIT_SEED).random_raw(n), kind="stable")
    return np.sort(order[count:]), np.sort(order[:count])


def _validation_count(n: int, validation: float | int) -> int:
    if type(validation) is float and 0 < validation < 1 and n >= 2:
        return min(max(round(validation * n), 1), n - 1)
    if type(validation) is int and 1 <= validation <= n - 1:
        return validation
    raise InputError(
        "validation",
        f"must be a share between 0 and 1 or a count from 1 to {n - 1} of {n} training examples",
        validation,
    )


def fingerprint(data: Data) -> str:
    """Hash all numbers of a data set, in hex."""
    found = hashlib.blake2b(str(data.n_classes).encode())
    for array in (data.train_inputs, data.train_targets, data.test_inputs, data.test_targets):
        found.update(f"{array.shape}{array.dtype}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def forget_data() -> None:
    """Forget loaded data sets: a factory of one's own may have been edited, as in a notebook."""
    _load.cache_clear()


@functools.lru_cache(maxsize=2)
def _load(name: str, settings_json: str) -> Data:
    settings = json.loads(settings_json)
    if not is_import_path(name):
        return _DATA_SETS[name].load(settings)
    factory = import_factory(name, "data set")
    with fixed_generators():
        data = call_factory(factory, settings, {})
    if not isinstance(data, Data):
        raise InputError(f"data set {name!r}", "must return hdsens.tasks.Data", type(data).__name__)
    return data


def _canonical(name: str, settings: Mapping[str, Any]) -> str:
    try:
        return json.dumps(dict(settings), sort_keys=True)
    except TypeError as error:
        raise InputError(
            f"data set {name!r}: settings", "must be values that JSON has", dict(settings)
        ) from error


def _check_part(part: str, inputs: Inputs, targets: Targets, n_classes: int | None) -> None:
    _check_array(f"data: {part}_inputs", inputs, "float32")
    wanted = "int64" if n_classes is not None else "float32, or of int64 with n_classes"
    _check_array(f"data: {part}_targets", targets, wanted)
    shapes, allowed = ("(n,)", (1,)) if n_classes is not None else ("(n,) or (n, outputs)", (1, 2))
    fits = targets.ndim in allowed and targets.shape[:1] == inputs.shape[:1]
    if inputs.ndim < 2 or not fits or not targets.size:
        raise InputError(
            f"data: {part}_inputs and {part}_targets",
            f"must be (n, ...) and {shapes} with the same n >= 1",
            (inputs.shape, targets.shape),
        )
    if n_classes is not None and (targets.min() < 0 or targets.max() >= n_classes):
        raise InputError(
            f"data: {part}_targets",
            f"must lie in 0 .. {n_classes - 1}, as n_classes is {n_classes}",
            (int(targets.min()), int(targets.max())),
        )
    _check_finite(f"data: {part}_inputs", inputs)
    _check_finite(f"data: {part}_targets", targets)


def _check_array(thing: str, array: Any, wanted: str) -> None:
    """Refuse all but an array of a dtype, the first word of `wanted`."""
    dtype = np.dtype(wanted.partition(",")[0])
    masked = isinstance(array, np.ma.MaskedArray)
    if masked or not isinstance(array, np.ndarray) or array.dtype != dtype:
        raise InputError(
            thing,
            f"must be a NumPy array of {wanted}",
            "a masked array" if masked else getattr(array, "dtype", type(array).__name__),
        )


def _check_finite(thing: str, array: NDArray[Any]) -> None:
    """Refuse an array `(n, ...)` with numbers that are not finite; min and max need no copy."""
    if np.isfinite(array.min()) and np.isfinite(array.max()):
        return
    bad = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))
    named = ", ".join(map(str, bad[:_ROWS_NAMED])) + (", …" if len(bad) > _ROWS_NAMED else "")
    raise InputError(
        thing,
        f"must be finite, which {len(bad)} of its {len(array)} rows are not: {named}",
        remedy="mend these rows or leave them out",
    )
