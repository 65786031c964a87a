"""Random crop and flip, against crops taken one by one with NumPy."""

import numpy as np
import pytest
import torch

from hdsens.tasks.augment import CropAndFlip

FILL = (-1.0, -2.0)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def images(n, height=5, width=6):
    values = torch.arange(n * 2 * height * width, dtype=torch.float32)
    return values.reshape(n, 2, height, width)


def augmented(inputs, seed, padding=2):
    return CropAndFlip(padding, FILL)(inputs, torch.Generator().manual_seed(seed))


def every_crop(image, padding):
    """All (top, left, flipped) of one image by padding, cutting and mirroring."""
    sides = ((padding, padding), (padding, padding))
    padded = np.stack(
        [np.pad(c, sides, constant_values=v) for c, v in zip(image, FILL, strict=True)]
    )
    _, height, width = image.shape
    crops = {}
    for top in range(2 * padding + 1):
        for left in range(2 * padding + 1):
            crop = padded[:, top : top + height, left : left + width]
            crops[top, left, False] = crop
            crops[top, left, True] = crop[:, :, ::-1]
    return crops


def which_crop(image, result, padding=2):
    crops = every_crop(image.numpy(), padding)
    found = [key for key, crop in crops.items() if np.array_equal(crop, result.numpy())]
    assert len(found) == 1
    return found[0]


def test_every_result_is_a_crop_and_all_crops_come_up_equally_often():
    inputs = images(2000)
    results = augmented(inputs, seed=0)
    drawn = [which_crop(*pair) for pair in zip(inputs, results, strict=True)]
    seen, often = np.unique(drawn, axis=0, return_counts=True)
    assert len(seen) == 5 * 5 * 2
    expected = 2000 / 50
    chi_square = ((often - expected) ** 2 / expected).sum()
    assert chi_square < 85.4  # 0.999 quantile at 49 degrees of freedom


def test_the_generator_decides_and_nothing_else():
    inputs = images(50)
    torch.manual_seed(0)
    first = augmented(inputs, seed=0)
    state = torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(augmented(inputs, seed=0), first)
    assert not torch.equal(augmented(inputs, seed=1), first)
    torch.manual_seed(0)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_generator_goes_on_to_other_crops():
    generator = torch.Generator().manual_seed(0)
    crop = CropAndFlip(2, FILL)
    assert not torch.equal(crop(images(50), generator), crop(images(50), generator))


def test_inputs_stay_as_they_are_and_keep_their_type():
    inputs = images(10).double()
    before = inputs.clone()
    result = augmented(inputs, seed=0)
    assert torch.equal(inputs, before)
    assert result.dtype == torch.float64
    assert result.shape == inputs.shape


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cpu_generator_gives_the_same_crops_on_a_gpu():
    inputs = images(50)
    assert torch.equal(augmented(inputs.cuda(), seed=0).cpu(), augmented(inputs, seed=0))
