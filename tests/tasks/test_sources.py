"""File formats of the public sets, from small files written here byte by byte."""

import gzip
import hashlib
import io
import os
import pickle
import struct
import tarfile

import numpy as np
import pytest

from hdsens.errors import InputError
from hdsens.tasks.files import Download
from hdsens.tasks.sources import (
    IdxFile,
    IdxSet,
    NpzSet,
    PickledSet,
    read_idx_set,
    read_npz_set,
    read_pickled_set,
)

rng = np.random.default_rng(0)
NOWHERE = "http://127.0.0.1:9/"


def md5(content):
    return hashlib.md5(content).hexdigest()


@pytest.fixture
def data(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("HDSENS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HDSENS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "data"


def pixels(*shape):
    return rng.integers(0, 256, shape, dtype=np.uint8)


def idx(array):
    """IDX as Yann LeCun's page describes it."""
    return struct.pack(f">HBB{array.ndim}i", 0, 8, array.ndim, *array.shape) + array.tobytes()


IDX_ARRAYS = {
    "train-images-idx3-ubyte": pixels(7, 5, 4),
    "train-labels-idx1-ubyte": pixels(7),
    "t10k-images-idx3-ubyte": pixels(3, 5, 4),
    "t10k-labels-idx1-ubyte": pixels(3),
}


def idx_set():
    files = {name: IdxFile(md5(idx(array)), "-") for name, array in IDX_ARRAYS.items()}
    return IdxSet("toy", "Toy/raw", NOWHERE, files)


@pytest.mark.parametrize("compressed", [False, True])
def test_idx_files_are_read_compressed_or_not(data, compressed):
    (data / "Toy/raw").mkdir(parents=True)
    for name, array in IDX_ARRAYS.items():
        content, suffix = (gzip.compress(idx(array)), ".gz") if compressed else (idx(array), "")
        (data / f"Toy/raw/{name}{suffix}").write_bytes(content)
    raw = read_idx_set(idx_set())
    np.testing.assert_array_equal(raw.train_images[:, 0], IDX_ARRAYS["train-images-idx3-ubyte"])
    np.testing.assert_array_equal(raw.train_labels, IDX_ARRAYS["train-labels-idx1-ubyte"])
    np.testing.assert_array_equal(raw.test_images[:, 0], IDX_ARRAYS["t10k-images-idx3-ubyte"])
    np.testing.assert_array_equal(raw.test_labels, IDX_ARRAYS["t10k-labels-idx1-ubyte"])
    assert raw.train_images.shape == (7, 1, 5, 4)


def test_an_absent_idx_file_is_asked_for_at_its_host_by_name(data):
    with pytest.raises(InputError, match=f"{NOWHERE}train-images-idx3-ubyte.gz: ConnectionError"):
        read_idx_set(idx_set())


def python2_batch(images, labels):
    """A CIFAR batch as Python 2's cPickle writes it (protocol 2, byte strings)."""

    def text(value):
        return b"U" + bytes([len(value)]) + value

    def long_text(value):
        return b"T" + struct.pack("<i", len(value)) + value

    def integer(value):
        return b"J" + struct.pack("<i", value)

    dtype = (
        b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R"
        b"(K\x03" + text(b"|") + b"NNN" + integer(-1) + integer(-1) + b"K\x00tb"
    )
    shape = integer(images.shape[0]) + integer(images.shape[1]) + b"\x86"
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
        b"(K\x01" + shape + dtype + b"\x89" + long_text(images.tobytes()) + b"tb"
    )
    numbers = b"](" + b"".join(integer(label) for label in labels) + b"e"
    return b"\x80\x02}(" + text(b"labels") + numbers + text(b"data") + array + b"u."


CIFAR_IMAGES = {name: pixels(2, 3 * 32 * 32) for name in ("data_batch_1", "data_batch_2", "test")}
CIFAR_LABELS = {"data_batch_1": [6, 9], "data_batch_2": [0, 3], "test": [8, 1]}
BATCHES = {name: python2_batch(CIFAR_IMAGES[name], CIFAR_LABELS[name]) for name in CIFAR_IMAGES}


def pickled_set(batches):
    sums = {name: md5(content) for name, content in batches.items()}
    test = {"test": sums.pop("test")}
    return PickledSet("toy", "py", Download("py.tar.gz", NOWHERE + "py.tar.gz", "-"), sums, test)


def write_batches(data, batches):
    (data / "py").mkdir()
    for name, content in batches.items():
        (data / "py" / name).write_bytes(content)


def write_archive(path, batches):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in batches.items():
            member = tarfile.TarInfo(f"py/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def check_cifar(raw):
    train = np.concatenate([CIFAR_IMAGES["data_batch_1"], CIFAR_IMAGES["data_batch_2"]])
    np.testing.assert_array_equal(raw.train_images, train.reshape(4, 3, 32, 32))
    np.testing.assert_array_equal(raw.train_labels, [6, 9, 0, 3])
    np.testing.assert_array_equal(raw.test_images, CIFAR_IMAGES["test"].reshape(2, 3, 32, 32))
    np.testing.assert_array_equal(raw.test_labels, [8, 1])


def test_cifar_batches_are_read_from_their_folder(data):
    write_batches(data, BATCHES)
    check_cifar(read_pickled_set(pickled_set(BATCHES)))


def test_cifar_batches_are_read_from_their_archive_and_not_extracted(data):
    write_archive(data / "py.tar.gz", {"readme.html": b"x", **BATCHES})
    check_cifar(read_pickled_set(pickled_set(BATCHES)))
    assert [path.name for path in data.iterdir()] == ["py.tar.gz"]


def test_a_missing_or_other_batch_is_named(data):
    write_batches(data, {**BATCHES, "data_batch_2": b"other"})
    with pytest.raises(InputError, match=r"data file .*py/data_batch_2 must have the content"):
        read_pickled_set(pickled_set(BATCHES))
    (data / "py" / "data_batch_2").unlink()
    with pytest.raises(InputError, match=r"data file .*py/data_batch_2 must be readable"):
        read_pickled_set(pickled_set(BATCHES))


def test_an_archive_without_a_batch_or_with_another_one_is_named(data):
    path = data / "py.tar.gz"
    write_archive(path, {name: BATCHES[name] for name in ("data_batch_1", "test")})
    with pytest.raises(InputError) as caught:
        read_pickled_set(pickled_set(BATCHES))
    assert str(caught.value) == (
        f"data file {path} must contain py/data_batch_2; replace it by the original"
    )
    write_archive(path, {**BATCHES, "test": b"other"})
    with pytest.raises(InputError, match=r"py\.tar\.gz: py/test must have the content with MD5"):
        read_pickled_set(pickled_set(BATCHES))


def test_an_archive_cut_short_is_named(data):
    path = data / "py.tar.gz"
    write_archive(path, BATCHES)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(InputError, match=rf"^data file {path} must be readable"):
        read_pickled_set(pickled_set(BATCHES))


class MakesAFolder:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_batch_cannot_run_code_even_with_the_right_checksum(data):
    marker = data / "made"
    evil = {**BATCHES, "data_batch_1": pickle.dumps(MakesAFolder(str(marker)), protocol=2)}
    write_batches(data, evil)
    with pytest.raises(pickle.UnpicklingError, match="mkdir is not allowed here"):
        read_pickled_set(pickled_set(evil))
    assert not marker.exists()


NPZ = {"x_train": pixels(4, 3, 2, 2), "y_train": pixels(4), "x_test": pixels(2, 3, 2, 2)}
NPZ["y_test"] = pixels(2)


def npz_set():
    sums = {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in NPZ.items()}
    return NpzSet("toy", "toy.npz", sums)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_is_known_by_its_arrays(data, save):
    save(data / "toy.npz", **NPZ)
    raw = read_npz_set(npz_set())
    np.testing.assert_array_equal(raw.train_images, NPZ["x_train"])
    np.testing.assert_array_equal(raw.train_labels, NPZ["y_train"])
    np.testing.assert_array_equal(raw.test_images, NPZ["x_test"])
    np.testing.assert_array_equal(raw.test_labels, NPZ["y_test"])


def test_an_npz_with_other_pixels_is_named(data):
    np.savez(data / "toy.npz", **{**NPZ, "x_test": NPZ["x_test"] ^ 1})
    with pytest.raises(InputError, match=r"^data file .*toy\.npz must have an array x_test with"):
        read_npz_set(npz_set())


def test_an_npz_cut_short_or_without_an_array_is_named(data):
    path = data / "toy.npz"
    np.savez(path, **NPZ)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(InputError, match=rf"^data file {path} must be readable"):
        read_npz_set(npz_set())
    np.savez(path, x_train=NPZ["x_train"])
    with pytest.raises(InputError, match=rf"^data file {path} must be readable \(KeyError"):
        read_npz_set(npz_set())


def test_an_npz_with_objects_is_not_unpickled(data):
    path = data / "toy.npz"
    marker = data / "made"
    np.savez(path, **{**NPZ, "x_train": np.array([MakesAFolder(str(marker))], dtype=object)})
    with pytest.raises(InputError, match=rf"^data file {path} must be readable"):
        read_npz_set(npz_set())
    assert not marker.exists()
