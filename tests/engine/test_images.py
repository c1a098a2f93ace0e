"""Every layout of X becomes the same images, without a copy, in batches that miss nobody."""

import functools
import operator
import tracemalloc

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from skdeepclust import IDFDClustering
from skdeepclust.engine.images import Batches, Images, as_array, as_images

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


# -- layouts --------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_first_and_last(channels):
    X = nchw(channels=channels)
    np.testing.assert_array_equal(as_images(X, None), X)
    np.testing.assert_array_equal(as_images(X.transpose(0, 2, 3, 1), None), X)


def test_grey_images_get_a_channel():
    X = nchw(channels=1)
    np.testing.assert_array_equal(as_images(X[:, 0], None), X)


def test_rows_are_vectors_unless_image_shape():
    X = nchw()
    flat = X.reshape(len(X), -1)
    assert as_images(flat, None) is flat
    np.testing.assert_array_equal(as_images(flat, (3, 6, 7)), X)


@pytest.mark.parametrize("channels", [2, 12])
def test_image_shape_settles_any_channel_count(channels):
    X = nchw(channels=channels)
    shape = (channels, 6, 7)
    np.testing.assert_array_equal(as_images(X, shape), X)
    np.testing.assert_array_equal(as_images(X.transpose(0, 2, 3, 1), shape), X)


@pytest.mark.parametrize("shape", [(2, 3, 6, 3), (2, 3, 6, 4), (2, 1, 5, 1), (2, 5, 6, 7)])
def test_ambiguous_layouts_name_image_shape(shape):
    with pytest.raises(ValueError, match="image_shape"):
        as_images(np.zeros(shape), None)


@pytest.mark.parametrize(("shape", "channels"), [((2, 3, 6, 4), 3), ((2, 3, 6, 4), 4)])
def test_image_shape_settles_ambiguous_layouts(shape, channels):
    X = np.arange(np.prod(shape)).reshape(shape)
    first = (3, 6, 4) if channels == 3 else (4, 3, 6)
    expected = X if channels == 3 else X.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(as_images(X, first), expected)


def test_where_both_layouts_fit_image_shape_is_channels_first():
    X = np.arange(2 * 27).reshape(2, 3, 3, 3)
    assert as_images(X, (3, 3, 3)) is X


@pytest.mark.parametrize("array", [np.zeros((2, 3, 6, 8)), np.zeros((2, 6, 8)), np.zeros((2, 125))])
def test_another_shape_than_image_shape_is_named(array):
    with pytest.raises(ValueError, match="image_shape"):
        as_images(array, (3, 6, 7))


@pytest.mark.parametrize("shape", [(2,), (2, 3, 4, 5, 6), (2, 3, 0, 5)])
def test_arrays_that_are_no_images(shape):
    with pytest.raises(ValueError, match="X "):
        as_images(np.zeros(shape), None)


# -- what a user passes ---------------------------------------------------------------------


class Items(Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def test_tensors_share_their_memory():
    X = torch.arange(12).reshape(3, 4)
    assert np.shares_memory(as_array(X), X.numpy())


def test_bfloat16_tensors_that_need_gradients():
    X = torch.ones(2, 3, dtype=torch.bfloat16, requires_grad=True)
    assert as_array(X).dtype == np.float32


@pytest.mark.parametrize("extra", [(), (7,), (7, "name")])
def test_datasets_of_items_and_tuples(extra):
    X = nchw()
    items = [(torch.from_numpy(x), *extra) if extra else torch.from_numpy(x) for x in X]
    np.testing.assert_array_equal(as_array(Items(items)), X)


def test_tensor_dataset():
    X = torch.from_numpy(nchw())
    np.testing.assert_array_equal(as_array(TensorDataset(X, torch.zeros(len(X)))), X)


def test_datasets_of_arrays_and_named_tuples():
    X = nchw()
    np.testing.assert_array_equal(as_array(Items(list(X))), X)
    np.testing.assert_array_equal(as_array(Items([[x, 1] for x in X])), X)


def test_a_dataset_of_mixed_sizes_names_the_sample():
    with pytest.raises(ValueError, match=r"X\[2\]"):
        as_array(Items([np.zeros((1, 4, 4)), np.zeros((1, 4, 4)), np.zeros((1, 4, 5))]))


def test_mixed_sizes_are_told_where_no_memory_would_hold_the_first():
    endless = np.broadcast_to(np.uint8(0), (1 << 24, 1 << 24))
    with pytest.raises(ValueError, match=r"X\[2\] has shape \(4, 4\)"):
        as_array(Items([endless, endless, np.zeros((4, 4), np.uint8)]))
    with pytest.raises(MemoryError):
        as_array(Items([endless, endless]))


def test_a_dataset_of_several_types_has_the_one_that_holds_all():
    items = [np.array([1], np.uint8), np.array([-2], np.int8), np.array([0.5], np.float32)]
    made = as_array(Items(items))
    assert made.dtype == np.float32 and made.ravel().tolist() == [1, -2, 0.5]


def test_a_dataset_takes_the_memory_of_its_array_once():
    class Drawn(Dataset):
        def __len__(self):
            return 500

        def __getitem__(self, i):
            return np.full((3, 32, 32), i, np.float32), i

    tracemalloc.start()
    made = as_array(Drawn())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(made[:, 0, 0, 0], np.arange(500))
    assert peak < 1.2 * made.nbytes


def test_an_empty_dataset():
    with pytest.raises(ValueError, match="at least one sample"):
        as_array(Items([]))


def test_a_dataset_without_length():
    class Endless(IterableDataset):
        def __iter__(self):
            yield torch.zeros(1)

    with pytest.raises(TypeError, match="__len__"):
        as_array(Endless())


@pytest.mark.parametrize("layout", ["sparse_coo", "sparse_csr"])
def test_sparse_tensors_say_what_to_do(layout):
    X = torch.eye(3)
    X = X.to_sparse() if layout == "sparse_coo" else X.to_sparse_csr()
    with pytest.raises(TypeError, match="to_dense"):
        as_array(X)


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
