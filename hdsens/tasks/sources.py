"""Raw pixels and labels of the public data sets, read from their own file formats."""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdsens.tasks.files import Download, broken_file, check_md5, obtain_file, read_verified

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class RawData:
    """Images (n, channels, height, width), uint8, and labels (n,), of both splits."""

    train_images: Pixels
    train_labels: NDArray[np.integer[Any]]
    test_images: Pixels
    test_labels: NDArray[np.integer[Any]]


@dataclass(frozen=True)
class IdxFile:
    """MD5 of an IDX file, and of the ``.gz`` that its host serves."""

    md5: str
    gz_md5: str


@dataclass(frozen=True)
class IdxSet:
    """Four IDX files in torchvision's layout (``<folder>/<file>`` or ``<folder>/<file>.gz``)."""

    name: str
    folder: str
    base_url: str
    files: Mapping[str, IdxFile]


@dataclass(frozen=True)
class PickledSet:
    """CIFAR's "python version": batches in a folder or still in their archive, each with MD5."""

    name: str
    folder: str
    archive: Download
    train: Mapping[str, str]
    test: Mapping[str, str]


@dataclass(frozen=True)
class NpzSet:
    """One ``.npz`` with arrays x_train, y_train, x_test, y_test; SHA-256 of each one's bytes."""

    name: str
    path: str
    sha256: Mapping[str, str]


# MD5 of the .gz files: torchvision.datasets.mnist; of the content: the same files uncompressed.
MNIST = IdxSet(
    name="mnist",
    folder="MNIST/raw",
    base_url="https://ossci-datasets.s3.amazonaws.com/mnist/",
    files={
        "train-images-idx3-ubyte": IdxFile(
            "6bbc9ace898e44ae57da46a324031adb", "f68b3c2dcbeaaa9fbdd348bbdeb94873"
        ),
        "train-labels-idx1-ubyte": IdxFile(
            "a25bea736e30d166cdddb491f175f624", "d53e105ee54ea40749a09fcbcd1e9432"
        ),
        "t10k-images-idx3-ubyte": IdxFile(
            "2646ac647ad5339dbf082846283269ea", "9fb629c4189551a2d022fa330f9573f3"
        ),
        "t10k-labels-idx1-ubyte": IdxFile(
            "27ae3e4e09519cfbb04c329615203637", "ec29112dd5afa0611ce80d1b7f02629c"
        ),
    },
)

FASHION_MNIST = IdxSet(
    name="fashion_mnist",
    folder="FashionMNIST/raw",
    base_url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    files={
        "train-images-idx3-ubyte": IdxFile(
            "f4a8712d7a061bf5bd6d2ca38dc4d50a", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"
        ),
        "train-labels-idx1-ubyte": IdxFile(
            "9018921c3c673c538a1fc5bad174d6f9", "25c81989df183df01b3e8a0aad5dffbe"
        ),
        "t10k-images-idx3-ubyte": IdxFile(
            "8181f5470baa50b63fa0f6fddb340f0a", "bef4ecab320f06d8554ea6380940ec79"
        ),
        "t10k-labels-idx1-ubyte": IdxFile(
            "15d484375f8d13e6eb1aabb0c3f46965", "bb300cfdad3c16e7a12a480ee83cd310"
        ),
    },
)

# MD5: torchvision.datasets.cifar.
CIFAR10 = PickledSet(
    name="cifar10",
    folder="cifar-10-batches-py",
    archive=Download(
        "cifar-10-python.tar.gz",
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "c58f30108f718f92721af3b95e74349a",
    ),
    train={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    },
    test={"test_batch": "40351d587109b95175f43aff81a1287e"},
)

CIFAR10_SMALL = NpzSet(
    name="cifar10_small",
    path="cifar10_small.npz",
    sha256={
        "x_train": "9543a81e2a3c05a9daee4c7a8cbcfd4f35e188c608e8cff71395c03666b878b9",
        "y_train": "494134e9c92e469cd3816fdd2badcb2d833654dcf81898be0fccdbd36359661c",
        "x_test": "d17b3edaaf947514889ba81196d8fd7289c739099d19a560186e1391ded13daf",
        "y_test": "f91fa94ec163cad464475727c6e55cb83ea10332a1119e2e5d9561285dc95008",
    },
)


def read_digits() -> RawData:
    """Read scikit-learn's digits; the test split is every fifth image in order of class.

    The file is read as `sklearn.datasets.load_digits` does. Importing that takes two seconds in
    every process that trains.
    """
    rows = np.loadtxt(_of_sklearn("digits.csv.gz"), delimiter=",").astype(int)
    images, labels = rows[:, :-1].astype(np.uint8).reshape(-1, 1, 8, 8), rows[:, -1]
    by_class = np.argsort(labels, kind="stable")
    is_test = np.zeros(len(images), bool)
    is_test[by_class[::5]] = True
    return RawData(images[~is_test], labels[~is_test], images[is_test], labels[is_test])


def read_diabetes() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read scikit-learn's diabetes as measured: 10 numbers of each of 442 patients, and a target.

    The target is how far the disease had gone a year later (Efron et al., 2004, Annals of
    Statistics 32, 407-499).
    """
    inputs = np.loadtxt(_of_sklearn("diabetes_data_raw.csv.gz"))
    return inputs, np.loadtxt(_of_sklearn("diabetes_target.csv.gz"))


def _of_sklearn(file: str) -> Path:
    """Return where scikit-learn keeps a data file, without importing it."""
    spec = find_spec("sklearn")
    assert spec is not None, "scikit-learn is a dependency"
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "datasets" / "data" / file


def read_idx_set(source: IdxSet) -> RawData:
    """Read MNIST or one of its likes.

    Raises:
        InputError: a file is absent and cannot be downloaded, or is not the known one.
    """
    arrays = {name: _read_idx(source, name) for name in source.files}
    return RawData(
        arrays["train-images-idx3-ubyte"][:, None],
        arrays["train-labels-idx1-ubyte"],
        arrays["t10k-images-idx3-ubyte"][:, None],
        arrays["t10k-labels-idx1-ubyte"],
    )


def read_pickled_set(source: PickledSet) -> RawData:
    """Read CIFAR-10; nothing but arrays, lists, numbers and strings is ever unpickled.

    Raises:
        InputError: absent and not to be downloaded, or a batch is not the known one.
    """
    first = next(iter(source.train))
    candidates = (f"{source.folder}/{first}", source.archive.path)
    path = obtain_file(source.name, candidates, source.archive)
    files = {**source.train, **source.test}
    if path.name == first:
        contents = {name: read_verified(path.with_name(name), md5) for name, md5 in files.items()}
    else:
        contents = _read_archive(path, source.folder, files)
    batches = {name: _unpickle(content) for name, content in contents.items()}
    train = [batches[name] for name in source.train]
    test = [batches[name] for name in source.test]
    return RawData(*_join(train), *_join(test))


def read_npz_set(source: NpzSet) -> RawData:
    """Read a set that is one ``.npz`` file.

    Raises:
        InputError: absent, unreadable, or with other content than the known one.
    """
    path = obtain_file(source.name, (source.path,), None)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in source.sha256}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise broken_file(path, f"be readable ({type(error).__name__}: {error})") from error
    for name, known in source.sha256.items():
        if hashlib.sha256(arrays[name].tobytes()).hexdigest() != known:
            raise broken_file(path, f"have an array {name} with SHA-256 {known}")
    return RawData(arrays["x_train"], arrays["y_train"], arrays["x_test"], arrays["y_test"])


def _read_idx(source: IdxSet, name: str) -> Pixels:
    path = f"{source.folder}/{name}"
    file = source.files[name]
    download = Download(f"{path}.gz", f"{source.base_url}{name}.gz", file.gz_md5)
    found = obtain_file(source.name, (path, f"{path}.gz"), download)
    content = read_verified(found, file.md5)
    # IDX: two zero bytes, the type, the number of axes; then each axis' length, big-endian.
    shape = np.frombuffer(content, ">i4", count=content[3], offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def _read_archive(path: Path, folder: str, files: Mapping[str, str]) -> dict[str, bytes]:
    """Contents of some files of a ``.tar.gz``, read in memory and checked; nothing extracted."""
    wanted = {f"{folder}/{name}": name for name in files}
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.name in wanted else None
                if stream is not None:
                    contents[wanted[member.name]] = stream.read()
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise broken_file(path, f"be readable ({type(error).__name__}: {error})") from error
    for name, md5 in files.items():
        if name not in contents:
            raise broken_file(path, f"contain {folder}/{name}")
        check_md5(contents[name], md5, f"{path}: {folder}/{name}")
    return contents


_ARRAY_PARTS: Mapping[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler that can build NumPy arrays and no other object."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ARRAY_PARTS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed here") from None


def _unpickle(content: bytes) -> dict[bytes, Any]:
    return _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()  # type: ignore[no-any-return]


def _join(batches: list[dict[bytes, Any]]) -> tuple[Pixels, NDArray[np.integer[Any]]]:
    images = np.concatenate([batch[b"data"] for batch in batches]).reshape(-1, 3, 32, 32)
    return images, np.concatenate([np.asarray(batch[b"labels"]) for batch in batches])
