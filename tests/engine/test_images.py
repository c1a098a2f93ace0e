"""Training samples in memory, without a copy, in batches that miss nobody."""

import functools
import operator

import numpy as np
import pytest
import torch

from skdeepclust import IDFDClustering
from skdeepclust.engine.images import Batches, Images

CPU = torch.device("cpu")


def nchw(n=4, channels=3, height=6, width=7, dtype=np.uint8):
    size = n * channels * height * width
    return (np.arange(size) % 251).astype(dtype).reshape(n, channels, height, width)


def images(n=10, dtype=torch.float32):
    return Images(np.arange(n, dtype=np.float32)[:, None], CPU, dtype)


def batch(images, *index):
    (made,) = images.batches([torch.tensor(index)])
    return made["x"]


def batches(n, batch_size, drop_last=False, weights=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Batches(images(n), batch_size, drop_last, generator, weights)


def indices(epoch):
    return [batch["index"].tolist() for batch in epoch]


# -- memory ---------------------------------------------------------------------------------


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_read_only_memmap_is_not_copied(tmp_path, dtype, last):
    X = nchw(dtype=dtype)
    X = np.ascontiguousarray(X.transpose(0, 2, 3, 1)) if last else X
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    read = IDFDClustering()._read(mapped, reset=True)
    assert np.shares_memory(read, mapped)
    assert np.shares_memory(Images(read, CPU, torch.float32).host, mapped)


def test_batches_of_a_memmap_do_not_warn_or_write(tmp_path, recwarn):
    np.save(tmp_path / "X.npy", nchw())
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    batch(Images(mapped, CPU, torch.float32), 0, 2).zero_()
    np.testing.assert_array_equal(mapped, nchw())
    assert not recwarn.list


# -- Images ---------------------------------------------------------------------------------


def test_a_batch_keeps_the_order_asked_for():
    assert batch(images(), 3, 1, 3).tolist() == [[3], [1], [3]]


@pytest.mark.parametrize(
    ("stored", "computed", "delivered"),
    [
        (np.uint8, torch.float32, torch.uint8),
        (np.uint8, torch.float64, torch.uint8),
        (np.int64, torch.float32, torch.float32),
        (np.bool_, torch.float32, torch.float32),
        (np.float16, torch.float32, torch.float32),
        (np.float64, torch.float32, torch.float32),
        (np.float64, torch.float64, torch.float64),
        (np.float32, torch.float64, torch.float64),
    ],
)
def test_dtype_of_batches(stored, computed, delivered):
    data = np.ones((3, 2), stored)
    assert batch(Images(data, CPU, computed), 0).dtype == delivered


@pytest.mark.parametrize("n", [1, 3, 4, 5, 8])
def test_padded_batches_have_one_size_and_lose_nobody(n):
    parts = list(images(n).padded(4))
    assert all(x.shape == (4, 1) for x, _ in parts)
    real = torch.cat([x[:count] for x, count in parts])
    assert real.flatten().tolist() == list(range(n))
    last, count = parts[-1]
    assert last[count:].flatten().tolist() == [n - 1] * (4 - count)


# -- Batches --------------------------------------------------------------------------------


@pytest.mark.parametrize("n", range(2, 14))
def test_every_sample_once_an_epoch(n):
    source = batches(n, 4)
    epoch = indices(source)
    assert sorted(functools.reduce(operator.iadd, epoch, [])) == list(range(n))
    assert len(epoch) == len(source)


@pytest.mark.parametrize(
    ("n", "sizes"),
    [(12, [4, 4, 4]), (10, [4, 4, 2]), (9, [4, 5]), (5, [5]), (4, [4]), (3, [3]), (1, [1])],
)
def test_a_lone_last_sample_joins_the_batch_before(n, sizes):
    assert [len(index) for index in indices(batches(n, 4))] == sizes


@pytest.mark.parametrize(
    ("n", "sizes"), [(12, [4] * 3), (11, [4] * 2), (9, [4] * 2), (4, [4]), (3, [3])]
)
def test_drop_last_leaves_full_batches(n, sizes):
    source = batches(n, 4, drop_last=True)
    epoch = indices(source)
    assert [len(index) for index in epoch] == sizes
    assert len(epoch) == len(source)
    assert len(set(functools.reduce(operator.iadd, epoch, []))) == sum(sizes)


@pytest.mark.parametrize(
    ("n", "batch_size", "drop_last", "steps"),
    [
        (50_000, 128, False, 391),  # IDFD
        (60_000, 512, True, 117),  # ProPos
        (60_000, 256, True, 234),
        (19_500, 256, True, 76),
    ],
)
def test_steps_of_an_epoch(n, batch_size, drop_last, steps):
    source = batches(n, batch_size, drop_last)
    assert len(source) == steps
    assert sum(1 for _ in source) == steps


def test_the_last_batch_of_idfd_has_80_images():
    assert len(indices(batches(50_000, 128))[-1]) == 80


def test_samples_come_with_their_own_index():
    for batch in batches(23, 4):
        assert batch["x"].flatten().tolist() == batch["index"].tolist()


def test_epochs_are_shuffled_anew_and_repeat_by_generator():
    source = batches(50, 8)
    first, second = indices(source), indices(source)
    assert first != second
    again = batches(50, 8)
    assert [indices(again), indices(again)] == [first, second]
    assert indices(batches(50, 8, seed=1)) != first


def test_resampling_gives_every_cluster_the_same_share():
    labels = torch.tensor([0] * 900 + [1] * 90 + [2] * 10)
    source = batches(1000, 100, True, weights=lambda: 1 / torch.bincount(labels)[labels])
    drawn = torch.tensor([i for _ in range(60) for index in indices(source) for i in index])
    shares = torch.bincount(labels[drawn]) / len(drawn)
    # Three standard errors of a share of 1/3 in 60,000 draws.
    torch.testing.assert_close(shares, torch.full((3,), 1 / 3), rtol=0, atol=0.006)


def test_weights_are_asked_for_before_every_epoch():
    asked = []
    source = batches(10, 5, weights=lambda: asked.append(1))
    assert sorted(functools.reduce(operator.iadd, indices(source), [])) == list(range(10))
    indices(source)
    assert len(asked) == 2
