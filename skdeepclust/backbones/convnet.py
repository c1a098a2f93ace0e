"""A small convolutional net for small images and small machines."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

__all__ = ["ConvNet"]

# Side of the largest output map whose weight gradient is a product of matrices.
_SMALL_MAP = 4


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
    return [_Conv3x3(channels, out, stride), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]


class _Conv3x3(nn.Conv2d):
    """3x3 convolution; in bfloat16 on a CPU, small maps get their weight gradient by a product.

    oneDNN's own takes up to seven times as long there.
    """

    def __init__(self, channels: int, out: int, stride: int):
        super().__init__(channels, out, 3, stride, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, out, H', W')."""
        half = torch.bfloat16
        autocast = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == half
        small = max(x.shape[2:]) <= _SMALL_MAP * self.stride[0]
        if not (x.device.type == "cpu" and autocast and small and torch.is_grad_enabled()):
            return super().forward(x)
        return _MatmulGradient.apply(x.to(half), self.weight.to(half), self.stride[0])


class _MatmulGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv2d(x, weight, None, stride, padding=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (x, weight), stride = ctx.saved_tensors, ctx.stride
        to_x = to_weight = None
        if ctx.needs_input_grad[0]:
            how = [stride] * 2, [1, 1], [1, 1], False, [0, 0], 1, [True, False, False]
            to_x, _, _ = torch.ops.aten.convolution_backward(grad, x, weight, None, *how)
        if ctx.needs_input_grad[1]:
            patches = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
            patches = patches.unfold(1, 3, stride).unfold(2, 3, stride).permute(0, 1, 2, 4, 5, 3)
            by_position = grad.permute(0, 2, 3, 1).flatten(0, 2)
            to_weight = by_position.T @ patches.flatten(0, 2).flatten(1)
            to_weight = to_weight.view(len(weight), 3, 3, -1).permute(0, 3, 1, 2)
        return to_x, to_weight, None
