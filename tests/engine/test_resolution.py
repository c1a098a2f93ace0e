"""Views are small in the first half of a training, and nothing else is."""

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from torch import nn

import skdeepclust
from skdeepclust import CDCClustering, IDFDClustering, SeCuClustering
from skdeepclust.augment import RandomResizedCrop, Views
from skdeepclust.datasets import make_image_blobs

X, _ = make_image_blobs(40, random_state=0)  # 1 x 8 x 8


class Watch(Callback):
    """Sizes of the views, epoch by epoch."""

    def __init__(self):
        self.trained = []

    def on_train_begin(self, net, **kwargs):
        self.net = net
        net.objective.register_forward_pre_hook(self.views)

    def views(self, objective, args):
        self.trained.append((self.net.run.epoch, tuple(args[0][0].shape[2:])))


def sizes(model, X):
    watch = Watch()
    model.set_params(callbacks=[watch]).fit(X)
    return sorted(set(watch.trained))


@pytest.mark.parametrize("name", skdeepclust.METHODS)
def test_the_first_half_sees_small_views(name):
    model = getattr(skdeepclust, name)(3, max_epochs=5, start_resolution=6, random_state=0)
    assert sizes(model, X) == [(0, (6, 6)), (1, (6, 6)), (2, (8, 8)), (3, (8, 8)), (4, (8, 8))]
    np.testing.assert_array_equal(model.predict(X), model.labels_)  # at the full side
    assert model.image_shape_in_ == (1, 8, 8)


def test_images_keep_their_proportions():
    wide = np.concatenate([X, X], axis=3)
    model = IDFDClustering(3, max_epochs=2, start_resolution=12, random_state=0)
    assert sizes(model, wide) == [(0, (6, 12)), (1, (8, 16))]


def test_a_second_stage_has_the_full_side():
    model = SeCuClustering(3, max_epochs=2, self_label_epochs=2, start_resolution=6, random_state=0)
    assert sizes(model, X) == [(0, (6, 6)), (0, (8, 8)), (1, (8, 8))]


@pytest.mark.parametrize("augment", [None, lambda x: x.flip(3)])
def test_views_without_a_crop_are_reduced(augment):
    model = IDFDClustering(3, max_epochs=2, start_resolution=6, augment=augment, random_state=0)
    assert sizes(model, X) == [(0, (6, 6)), (1, (8, 8))]


def test_a_reduced_crop_is_the_crop_reduced():
    views = Views.for_images(
        [RandomResizedCrop(32, scale=(1, 1), ratio=(1, 1))], 0, 1, [0.0], [1.0]
    )
    x = torch.linspace(0, 1, 32).expand(2, 1, 32, 32).contiguous()
    views.reduced = (16, 16)
    (view,) = views(x)
    expected = torch.nn.functional.interpolate(x, (16, 16), mode="bilinear", antialias=True)
    torch.testing.assert_close(view, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("reduced", [None, (6, 6)])
def test_an_augmentation_is_called_as_a_whole(reduced):
    calls, augment = [], nn.Sequential(RandomResizedCrop(8), nn.Identity())
    augment.register_forward_hook(lambda *args: calls.append(1))
    views = Views.for_images([augment], 0, 1, [0.0], [1.0])
    views.reduced = reduced
    (view,) = views(torch.rand(2, 1, 8, 8))
    assert calls == [1] and view.shape == (2, 1, *(reduced or (8, 8)))
    assert augment(torch.rand(2, 1, 8, 8)).shape == (2, 1, 8, 8)  # told for that call alone


def test_what_goes_on_sees_the_same_views(tmp_path):
    class Crash(Callback):
        def on_batch_end(self, net, **kwargs):
            if net.run.step == at:
                raise RuntimeError("crash")

    def fit(**more):
        return CDCClustering(
            3, max_epochs=4, batch_size=20, start_resolution=6, random_state=0, **more
        ).fit(X)

    whole = fit()
    for at in (3, 5):
        folder = tmp_path / str(at)
        with pytest.raises(RuntimeError, match="crash"):
            fit(checkpoint=folder, callbacks=[Crash()])
        np.testing.assert_array_equal(
            fit(checkpoint=folder).cluster_centers_, whole.cluster_centers_
        )


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"start_resolution": 8}, "must be less than the side of the images, 8"),
        ({"start_resolution": 0}, "start_resolution"),
        ({"start_resolution": 6, "backbone": "mlp"}, "a backbone for images of any size"),
        ({"start_resolution": 6, "freeze_backbone": True}, "that is trained, not frozen"),
    ],
)
@pytest.mark.filterwarnings("ignore:The frozen backbone has random weights")
def test_where_it_cannot_be(params, told):
    with pytest.raises(ValueError, match=told):
        IDFDClustering(3, **params).fit(X)


def test_vectors_have_no_side():
    with pytest.raises(ValueError, match="start_resolution needs images, X holds vectors"):
        IDFDClustering(3, start_resolution=6).fit(X.reshape(40, -1))
