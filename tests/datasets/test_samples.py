import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score

from skdeepclust.datasets import load_digits_images, make_image_blobs


def test_digits_are_scikit_learn_s():
    digits = load_digits_images()
    assert digits.images.dtype == np.uint8 and digits.target.dtype == np.int64
    np.testing.assert_array_equal(np.rint(digits.images / 255 * 16), load_digits().images)
    np.testing.assert_array_equal(digits.target, load_digits().target)
    assert digits.target_names.tolist() == list("0123456789")
    assert "1797" in digits.DESCR
    images, target = load_digits_images(return_X_y=True)
    np.testing.assert_array_equal(images, digits.images)
    np.testing.assert_array_equal(target, digits.target)


@pytest.mark.parametrize("image_shape", [(1, 8, 8), (3, 16, 12), (1, 2, 1)])
def test_blobs_have_the_shape_asked_for(image_shape):
    X, y = make_image_blobs(31, 4, image_shape, random_state=0)
    assert X.shape == (31, *image_shape) and X.dtype == np.float32
    assert y.dtype == np.int64 and np.bincount(y).tolist() == [8, 8, 8, 7]
    assert X.min() >= 0 and X.max() <= 1


def test_blobs_repeat_with_the_random_state():
    X, y = make_image_blobs(random_state=3)
    X_again, y_again = make_image_blobs(random_state=np.random.RandomState(3))
    np.testing.assert_array_equal(X, X_again)
    np.testing.assert_array_equal(y, y_again)
    assert not np.array_equal(X, make_image_blobs(random_state=4)[0])


def test_blobs_without_noise_differ_by_their_shift_only():
    X, y = make_image_blobs(noise=0, random_state=0)
    for label in range(3):
        assert len(np.unique(X[y == label], axis=0)) == 9  # by -1, 0, 1 along each axis


@pytest.mark.parametrize("seed", range(5))
def test_blobs_can_be_found(seed):
    X, y = make_image_blobs(random_state=seed)
    labels = KMeans(3, n_init=5, random_state=0).fit_predict(X.reshape(len(X), -1))
    assert adjusted_rand_score(y, labels) > 0.9
