"""What users pass becomes one array, in one layout."""

import tracemalloc

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from skdeepclust.engine.arrays import as_array, as_images


def nchw(n=4, channels=3, height=6, width=7, dtype=np.uint8):
    size = n * channels * height * width
    return (np.arange(size) % 251).astype(dtype).reshape(n, channels, height, width)


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


def test_lists_of_such_tensors():
    rows = [torch.full((4,), float(i), dtype=torch.bfloat16).requires_grad_() for i in range(3)]
    np.testing.assert_array_equal(as_array(rows), np.arange(3.0)[:, None].repeat(4, axis=1))


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


def test_an_item_that_cannot_be_read_is_named():
    class Broken(Items):
        def __getitem__(self, i):
            return super().__getitem__(i) if i != 5 else 1 / 0

    with pytest.raises(ValueError, match=r"X\[5\] cannot be read: ZeroDivisionError: .* pictures"):
        as_array(Broken(list(np.eye(9))))


def test_an_empty_dataset():
    with pytest.raises(ValueError, match="at least one sample"):
        as_array(Items([]))


def test_a_dataset_without_length():
    class Endless(IterableDataset):
        def __iter__(self):
            yield torch.zeros(1)

    with pytest.raises(TypeError, match="__len__"):
        as_array(Endless())


def test_views_of_complex_tensors_are_read():
    z = torch.complex(torch.ones(3, 2), torch.ones(3, 2))
    np.testing.assert_array_equal(as_array(torch.imag(z.conj())), -np.ones((3, 2)))


@pytest.mark.parametrize("layout", ["sparse_coo", "sparse_csr"])
def test_sparse_tensors_say_what_to_do(layout):
    X = torch.eye(3)
    X = X.to_sparse() if layout == "sparse_coo" else X.to_sparse_csr()
    with pytest.raises(TypeError, match="to_dense"):
        as_array(X)
