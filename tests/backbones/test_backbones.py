"""Backbones by name, module and callable keep one contract, and say what breaks it."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from skdeepclust import IDFDClustering
from skdeepclust.backbones import BACKBONES, auto_backbone, make_backbone
from skdeepclust.backbones.convnet import _Conv3x3
from skdeepclust.backbones.mlp import Flatten
from skdeepclust.datasets import make_image_blobs
from skdeepclust.nn.heads import Encoder

pytestmark = pytest.mark.usefixtures("wide")

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
IMAGE_BACKBONES = ["convnet", "resnet18", "resnet34", "resnet50"]


def count(module):
    return sum(p.numel() for p in module.parameters())


class Net(nn.Module):
    """A user's own backbone, with a dropout-like trace of whether it was trained."""

    def __init__(self, inputs=64, num_features=5, then=lambda z: z):
        super().__init__()
        self.then = then
        self.linear = nn.Linear(inputs, 5)
        self.norm = nn.BatchNorm1d(5)
        self.num_features = num_features

    def forward(self, x):
        return self.then(self.norm(self.linear(x.flatten(1))))


class Uncopied(Net):
    def __deepcopy__(self, memo):
        raise TypeError("there is one")


def test_resnet18_small_stem_with_a_linear_head():
    assert count(Encoder(make_backbone("resnet18", (3, 32, 32)), None, 128)) == 11_234_496


def test_imagenet_stem_is_torchvisions():
    from torchvision.models import resnet18

    net = make_backbone("resnet18", (3, 224, 224))
    reference = resnet18(weights=None)
    assert count(net) == count(reference) - count(reference.fc)
    assert net.conv1.kernel_size == (7, 7) and net.conv1.stride == (2, 2)
    assert isinstance(net.maxpool, nn.MaxPool2d)


def test_small_stem_keeps_the_resolution():
    net = make_backbone("resnet18", (3, 32, 32))
    assert net.conv1.kernel_size == (3, 3) and net.conv1.stride == (1, 1)
    assert net.conv1.bias is None
    x = torch.zeros(1, 3, 32, 32)
    assert net.maxpool(net.conv1(x)).shape == (1, 64, 32, 32)


def test_small_stem_with_pooling_has_secus_sizes_on_stl10():
    net = make_backbone("resnet18", (3, 96, 96), "small-pool").eval()
    assert net.conv1.kernel_size == (3, 3)
    x, sides = net.maxpool(net.conv1(torch.zeros(1, 3, 96, 96))), []
    for layer in (nn.Identity(), net.layer1, net.layer2, net.layer3, net.layer4):
        x = layer(x)
        sides.append(x.shape[-1])
    assert sides == [49, 49, 25, 13, 7]
    assert count(net) == count(make_backbone("resnet18", (3, 96, 96), "small"))


@pytest.mark.parametrize(
    ("side", "stem", "kernel"),
    [(64, "auto", 3), (65, "auto", 7), (32, "imagenet", 7), (96, "small", 3)],
)
def test_the_stem(side, stem, kernel):
    assert make_backbone("resnet18", (3, side, side), stem).conv1.kernel_size[0] == kernel


def test_the_longer_side_picks_the_stem():
    assert make_backbone("resnet18", (3, 32, 96)).conv1.kernel_size[0] == 7


@pytest.mark.parametrize("channels", [1, 3, 12])
@pytest.mark.parametrize("stem", ["small", "small-pool", "imagenet"])
@pytest.mark.parametrize("name", ["resnet18", "convnet"])
def test_any_number_of_channels(name, stem, channels):
    shape = (channels, 32, 32)
    net = make_backbone(name, shape, stem).eval()
    assert net(torch.zeros(2, *shape)).shape == (2, net.num_features)


@pytest.mark.parametrize(
    ("name", "width"),
    [("resnet18", 512), ("resnet34", 512), ("resnet50", 2048), ("convnet", 128), ("mlp", 256)],
)
def test_num_features(name, width):
    net = make_backbone(name, (3, 16, 16)).eval()
    assert net.num_features == width
    with torch.no_grad():
        assert net(torch.zeros(2, 3, 16, 16)).shape == (2, width)


def test_identity_has_no_parameters_and_flattens():
    net = make_backbone("identity", (2, 3, 4))
    x = torch.randn(5, 2, 3, 4)
    assert count(net) == 0 and net.num_features == 24
    assert torch.equal(net(x), x.flatten(1))


@pytest.mark.parametrize("name", ["mlp", "identity"])
def test_backbones_of_vectors(name):
    net = make_backbone(name, (7,)).eval()
    assert net(torch.zeros(2, 7)).shape == (2, net.num_features)


@pytest.mark.parametrize("side", [1, 2, 7, 8, 15, 16, 31, 32, 48, 49, 64, 96, 224])
def test_the_convnet_takes_any_side(side):
    net = make_backbone("convnet", (1, side, side)).eval()
    with torch.no_grad():
        positions = net.layers(torch.zeros(1, 1, side, side)).shape
        assert net(torch.zeros(2, 1, side, side)).shape == (2, 128)
    if side >= 8:
        assert 2 <= positions[-1] <= 4, "as the docstring of ConvNet says"


def test_the_convnet_takes_oblong_images():
    assert make_backbone("convnet", (1, 8, 40)).eval()(torch.zeros(2, 1, 8, 40)).shape == (2, 128)


@pytest.mark.parametrize(
    ("shape", "n_samples", "device", "name"),
    [
        ((10,), 100, CPU, "mlp"),
        ((10,), 10**6, CUDA, "mlp"),
        ((1, 8, 8), 10**6, CPU, "convnet"),
        ((1, 16, 16), 10**6, CUDA, "convnet"),
        ((1, 16, 17), 10**6, CUDA, "resnet18"),
        ((3, 32, 32), 60_000, CUDA, "resnet18"),
        ((3, 64, 64), 10**6, CPU, "convnet"),
        ((3, 96, 96), 19_999, CPU, "convnet"),
        ((3, 96, 96), 13_000, CUDA, "resnet18"),
        ((3, 96, 96), 20_001, CPU, "resnet18"),
        ((3, 8, 96), 20_001, CPU, "resnet18"),
    ],
)
def test_auto(shape, n_samples, device, name):
    assert auto_backbone(shape, n_samples, device) == name


def test_auto_at_20_000_images_is_as_documented():
    """The documentation says "fewer than 20,000 of them"."""
    assert auto_backbone((3, 96, 96), 20_000, CPU) == "resnet18"


@pytest.mark.parametrize("name", ["resnet", "vit", "", "ResNet18"])
def test_an_unknown_name_lists_the_known(name):
    with pytest.raises(ValueError, match="backbone=") as error:
        make_backbone(name, (3, 32, 32))
    assert all(repr(known) in str(error.value) for known in (*BACKBONES, "auto"))


@pytest.mark.parametrize("name", IMAGE_BACKBONES)
def test_image_backbones_refuse_vectors(name):
    with pytest.raises(ValueError, match="image_shape"):
        make_backbone(name, (64,))


def test_a_module_is_copied():
    module = Net()
    made = make_backbone(module, (1, 8, 8))
    assert made is not module
    assert not {id(p) for p in made.parameters()} & {id(p) for p in module.parameters()}
    assert torch.equal(made.linear.weight, module.linear.weight)


def test_a_module_is_never_trained_in_place():
    module = Net()
    before, mode = copy.deepcopy(module.state_dict()), module.training
    X, _ = make_image_blobs(20, random_state=0)
    estimator = IDFDClustering(2, backbone=module, max_epochs=2, random_state=0).fit(X)
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())
    assert module.training == mode
    assert all(p.grad is None for p in module.parameters())
    trained = estimator.net_.objective.encoder.backbone
    assert not torch.equal(trained.linear.weight, module.linear.weight)


def test_checking_a_module_leaves_its_state_and_mode():
    module = Net().train()
    made = make_backbone(module, (1, 8, 8))
    assert made.training
    assert made.norm.num_batches_tracked == 0


def test_a_callable_gets_the_shape():
    seen = []

    def build(shape):
        seen.append(shape)
        return Flatten(shape)

    assert make_backbone(build, (3, 8, 8)).num_features == 192
    assert seen == [(3, 8, 8)]


def test_a_class_is_a_callable():
    assert isinstance(make_backbone(Flatten, (5,)), Flatten)


def test_numpy_integer_num_features():
    """timm and torchvision give ints, but a width computed by numpy is as good."""
    assert make_backbone(Net(num_features=np.int64(5)), (1, 8, 8)).num_features == 5


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        (nn.Linear(64, 5), "num_features"),
        (Net(num_features=None), "num_features"),
        (Net(num_features="5"), "num_features"),
        (Net(num_features=6), "num_features"),
        (Net(inputs=63), "samples of shape"),
        (Net(then=F.dropout), "draw nothing"),
        (Net(then=lambda z: z - z.mean(0)), "take no statistics of batches"),
        (Uncopied(), "Uncopied cannot be copied: there is one"),
        (lambda shape: Uncopied(), "Uncopied cannot be copied: there is one"),
        (lambda shape: torch.jit.script(Flatten(shape)), "is TorchScript: pass the module"),
        (lambda shape: None, "nn.Module"),
        (lambda shape: torch.nn.functional.relu, "nn.Module"),
    ],
)
def test_a_broken_contract_is_named(backbone, message):
    with pytest.raises(ValueError, match="backbone") as error:
        make_backbone(backbone, (1, 8, 8))
    assert message in str(error.value)


@pytest.mark.parametrize("then", [torch.Tensor.double, torch.Tensor.long, lambda z: z * torch.nan])
def test_what_is_not_random_is_not_refused(then):
    assert make_backbone(Net(then=then), (1, 8, 8))
    assert make_backbone(Net(then=then).half(), (1, 8, 8))


def test_a_backbone_that_returns_a_map_is_named():
    net = nn.Conv2d(1, 4, 3)
    net.num_features = 4
    with pytest.raises(ValueError, match=r"\(2, 4\)"):
        make_backbone(net, (1, 8, 8))


def test_a_backbone_that_returns_a_tuple_is_named():
    class Two(Net):
        def forward(self, x):
            return super().forward(x), x

    with pytest.raises(ValueError, match="backbone"):
        make_backbone(Two(), (1, 8, 8))


# -- the small net's weight gradients -----------------------------------------------------------


def conv_gradients(convolution, x, grad):
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = convolution(x)
    y.backward(grad.to(y.dtype))
    return y, x.grad, convolution.weight.grad


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("side", "stride"), [(1, 1), (2, 1), (4, 1), (3, 2), (7, 2), (8, 2)])
def test_gradients_of_small_maps_are_those_of_a_convolution(side, stride, channels_last):
    torch.manual_seed(0)
    ours, out = _Conv3x3(6, 10, stride), -(-side // stride)
    theirs = nn.Conv2d(6, 10, 3, stride, padding=1, bias=False).double()
    ours.weight.data = ours.weight.data.bfloat16().float()  # what autocast makes of it
    theirs.weight.data = ours.weight.data.double()
    x = torch.randn(9, 6, side, side).bfloat16().float()
    if channels_last:
        ours, x = (part.to(memory_format=torch.channels_last) for part in (ours, x))
    grad = torch.randn(9, 10, out, out).bfloat16()
    y, to_x, to_weight = conv_gradients(ours, x, grad)
    assert y.grad_fn.name() == "_MatmulGradientBackward" and y.dtype == torch.bfloat16
    x64 = x.double().requires_grad_()
    theirs(x64).backward(grad.double())
    for found, expected in ((to_x, x64.grad), (to_weight, theirs.weight.grad)):
        assert found.dtype == torch.float32 and found.shape == expected.shape
        assert (found - expected).abs().max() < 0.01 * expected.abs().max()


@pytest.mark.parametrize(("side", "stride", "ours"), [(4, 1, True), (5, 1, False), (9, 2, False)])
def test_large_maps_keep_the_library_s_gradient(side, stride, ours):
    x = torch.randn(2, 3, side, side)
    y, _, _ = conv_gradients(_Conv3x3(3, 4, stride), x, torch.ones(2, 4, *[-(-side // stride)] * 2))
    assert (y.grad_fn.name() == "_MatmulGradientBackward") is ours


def test_float32_keeps_the_library_s_gradient():
    y = _Conv3x3(3, 4, 1)(torch.randn(2, 3, 4, 4))
    assert y.dtype == torch.float32 and y.grad_fn.name() == "ConvolutionBackward0"


def test_only_the_gradients_that_are_wanted():
    convolution, x = _Conv3x3(3, 4, 1), torch.randn(2, 3, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        convolution(x).sum().backward()
        assert convolution.weight.grad is not None
        convolution.requires_grad_(False).weight.grad = None
        x.requires_grad_()
        convolution(x).sum().backward()
        assert x.grad is not None and convolution.weight.grad is None
        assert convolution(x.detach()).grad_fn is None
