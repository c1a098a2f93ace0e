"""A frozen backbone: seen once where that can be, for every view otherwise, and never changed."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

import skdeepclust
from skdeepclust.datasets import make_image_blobs

pytestmark = [
    pytest.mark.filterwarnings("ignore:Clusters .* hold no sample"),
    pytest.mark.filterwarnings("ignore::skdeepclust.CollapseWarning"),
]

METHODS = [getattr(skdeepclust, name) for name in skdeepclust.METHODS]
each_method = pytest.mark.parametrize("method", METHODS)
X, TARGET = make_image_blobs(48, image_shape=(3, 8, 8), random_state=0)


class Net(nn.Module):
    """A backbone that counts the samples it sees."""

    num_features = 12

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12), nn.Dropout())
        self.seen = 0

    def forward(self, x):
        self.seen += len(x)
        return self.net(x).mean((2, 3))


NET = Net()


def fit(method, **params):
    how = {"backbone": NET, "freeze_backbone": True, "max_epochs": 3, "batch_size": 16}
    return method(3, **{**how, "random_state": 0, "precision": "float32"} | params).fit(X)


def backbone(model):
    return model.net_.module_.views.backbone


def test_a_checkpoint_is_of_one_frozen_backbone(tmp_path):
    how = {"checkpoint": tmp_path, "random_state": None}
    nets = iter([NET, NET, Net()])
    how["backbone"] = lambda shape: next(nets)
    fit(METHODS[0], **how)
    fit(METHODS[0], **how)
    with pytest.raises(ValueError, match="another frozen backbone"):
        fit(METHODS[0], **how)


@each_method
@pytest.mark.parametrize("augment", [None, "features", "auto"])
def test_the_backbone_stays_and_the_labels_are_the_prediction(method, augment):
    net = Net()
    model = fit(method, backbone=net, augment=augment)
    for name, value in backbone(model).state_dict().items():
        assert torch.equal(value, net.state_dict()[name]), name
    assert not backbone(model).training and net.seen == 0
    np.testing.assert_array_equal(model.labels_, model.predict(X))
    np.testing.assert_array_equal(model.transform(X)[7:9], model.transform(X[7:9]))
    trained = {p.data_ptr() for g in model.net_.optimizer_.param_groups for p in g["params"]}
    assert trained.isdisjoint(p.data_ptr() for p in backbone(model).parameters())


@pytest.mark.parametrize(
    ("augment", "passes"),
    [(None, 1), ("vectors", 1), ("features", 1), ("auto", 1 + 3), (nn.Identity(), 1 + 3)],
)
def test_features_are_computed_once_or_for_every_view(augment, passes):
    """IDFD has one view; a pass of 48 images is one inference batch of 128."""
    seen = backbone(fit(skdeepclust.IDFDClustering, augment=augment)).seen
    checks = 2 * 2  # of the contract of a backbone, with two samples
    assert seen == checks + 128 + (passes - 1) * 48


@each_method
def test_cached_features_train_as_computed_ones_do(method):
    """An augmentation that does nothing takes the long way to the same training."""
    short, long = fit(method, augment=None), fit(method, augment=nn.Identity())
    for row, other in zip(short.history_, long.history_, strict=True):
        assert row["loss"] == pytest.approx(other["loss"], rel=2e-3)


def test_heads_on_features_are_those_of_vectors():
    """Training on cached features is training on them as X."""
    model = fit(skdeepclust.IDFDClustering, augment="vectors")
    views = model.net_.module_.views
    with torch.no_grad():
        features = views.backbone(views.images.plain(torch.from_numpy(X))).numpy()
    how = {"backbone": "identity", "max_epochs": 3, "batch_size": 16, "random_state": 0}
    vectors = skdeepclust.IDFDClustering(3, **how).fit(features)
    for row, other in zip(model.history_, vectors.history_, strict=True):
        assert row["loss"] == pytest.approx(other["loss"], rel=1e-3)


def test_random_weights_are_warned_of():
    with pytest.warns(UserWarning, match="random weights: pass weights"):
        fit(skdeepclust.IDFDClustering, backbone="convnet")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(skdeepclust.IDFDClustering, warmup_epochs=1)
        fit(skdeepclust.IDFDClustering, backbone="identity", warmup_epochs=1)  # has none


def test_vectors_have_no_backbone_to_freeze():
    with pytest.raises(ValueError, match="freeze_backbone=True needs images"):
        skdeepclust.IDFDClustering(2, freeze_backbone=True).fit(np.random.rand(9, 3))


def test_self_labelling_goes_on_from_the_features():
    for augment in ("features", "auto"):
        model = fit(skdeepclust.SeCuClustering, augment=augment, self_label_epochs=2)
        assert model.n_iter_ == 5
        np.testing.assert_array_equal(model.labels_, model.predict(X))


@pytest.mark.parametrize(
    "figures", [{"image_mean": (0.5,)}, {"image_mean": (0.5,) * 3, "image_std": (0.5,) * 4}]
)
def test_figures_of_other_channels_are_refused(figures):
    net = Net()
    for name, values in figures.items():
        setattr(net, name, values)
    with pytest.raises(ValueError, match=r"Net must have image_mean and image_std of .* 3, or"):
        fit(METHODS[0], backbone=net)


@pytest.mark.parametrize(
    ("mean", "std"),
    [((127,) * 3, (128,) * 3), ((0.5,) * 3, (0, 0.5, 0.5)), ((0.5, 0.5, np.nan), (0.5,) * 3)],
)
def test_figures_that_are_not_of_images_from_0_to_1_are_refused(mean, std):
    net = Net()
    net.image_mean, net.image_std = mean, std
    with pytest.raises(ValueError, match=r"image_mean=\(.*\) and image_std=\(.* divide those"):
        fit(METHODS[0], backbone=net)
