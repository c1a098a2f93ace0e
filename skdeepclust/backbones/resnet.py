"""torchvision's ResNets, with a small stem for small images."""

from torch import Tensor, nn

__all__ = ["make_resnet"]


def make_resnet(name: str, shape: tuple[int, ...], stem: str) -> nn.Module:
    """Build a randomly initialised ResNet without its classifier.

    Parameters
    ----------
    name : {"resnet18", "resnet34", "resnet50"}
        torchvision's name.
    shape : (C, H, W)
        Shape of one image; any number of channels.
    stem : {"small", "small-pool", "imagenet"}
        "small" is a 3x3 convolution of stride 1 without max-pooling, as IDFD and ProPos
        use on CIFAR; "small-pool" pools after it by 2x2 with a padding of 1, as SeCu does
        on STL-10.

    Returns
    -------
    nn.Module
        (B, C, H, W) -> (B, num_features), 512 features, or 2048 for "resnet50".
    """
    # torchvision takes longer to import than the rest of the package together.
    from torchvision import models

    net = getattr(models, name)(weights=None)
    if stem in ("small", "small-pool"):
        net.conv1 = nn.Conv2d(shape[0], 64, 3, stride=1, padding=1, bias=False)
        net.maxpool = nn.Identity() if stem == "small" else nn.MaxPool2d(2, stride=2, padding=1)
    elif shape[0] != 3:
        net.conv1 = nn.Conv2d(shape[0], 64, 7, stride=2, padding=3, bias=False)
    net.avgpool = _GlobalMean()
    net.num_features = net.fc.in_features
    net.fc = nn.Identity()
    return net


class _GlobalMean(nn.Module):
    """Global average pooling whose gradient is deterministic on accelerators."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=True)
