"""A small convolutional net for small images and small machines."""

from torch import Tensor, nn

__all__ = ["ConvNet"]


class ConvNet(nn.Module):
    """Three stages of two 3x3 convolutions, of 32, 64 and 128 channels.

    Strides are chosen so that the last stage sees 2x2 to 4x4 positions: from 16 pixels
    on the first stage halves the image too, and every doubling beyond 32 pixels adds a
    halving convolution before it.

    Parameters
    ----------
    shape : (C, H, W)
        Shape of one image.
    width : int, default=32
        Channels of the first stage.

    Attributes
    ----------
    num_features : int
        Four times `width`.
    """

    def __init__(self, shape: tuple[int, ...], width: int = 32):
        super().__init__()
        channels, side = shape[0], max(shape[1:])
        layers: list[nn.Module] = []
        while side > 32:
            layers += _block(channels, width // 2, stride=2)
            channels, side = width // 2, (side + 1) // 2
        for stage in range(3):
            out = width << stage
            # oneDNN's weight gradient of a strided convolution is NaN on 1 x 1 maps.
            stride = 2 if side >= 16 or (stage and side > 1) else 1
            layers += [*_block(channels, out, stride), *_block(out, out)]
            channels, side = out, -(-side // stride)
        self.layers = nn.Sequential(*layers)
        self.num_features = channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, num_features)."""
        return self.layers(x).mean((2, 3))


def _block(channels: int, out: int, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, out, 3, stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
