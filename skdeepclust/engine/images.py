"""Training samples in memory: `Images`, their statistics and their batches."""

import functools
import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skdeepclust.engine.device import deliver
from skdeepclust.ops.collective import own_share, world_size

__all__ = ["CHUNK", "Batches", "Images", "Statistics"]

# Values that `Statistics` widens to float64 at once: 32 MiB.
CHUNK = 1 << 22


class Images:
    """Samples in memory, all of one shape: (n, C, H, W) images or (n, F) vectors.

    Parameters
    ----------
    data : ndarray of shape (n_samples, *shape)
        Kept as it is on the CPU, memory maps included.
    device : torch.device
        Where batches are delivered.
    dtype : torch.dtype
        Floating type that is computed in; batches of uint8 stay uint8.
    storage : {"device", "host"}, default="device"
        Upload the data once, or each batch.
    canvas : ndarray of shape (n_samples, C, height, width), default=None
        What training batches hold instead, for views to be cropped from.
    stretch : ndarray of shape (n_samples,), default=None
        With a canvas: how much wider each image was in proportion.

    Attributes
    ----------
    statistics : Statistics
        Of the samples.
    """

    def __init__(
        self,
        data: np.ndarray,
        device: torch.device,
        dtype: torch.dtype,
        storage: str = "device",
        canvas: np.ndarray | None = None,
        stretch: np.ndarray | None = None,
    ):
        self.host = data
        self.device = device
        self.dtype = dtype
        self._resident = device.type != "cpu" and storage != "host"
        self._plain = self._place(data)
        self._canvas = self._plain if canvas is None else self._place(canvas)
        self._stretch = None if canvas is None else self._place(stretch)

    def _place(self, data: Any) -> Any:
        """The data where batches are taken from: an array on the host, a tensor elsewhere."""
        return self._tensor(np.array(data, order="C")).to(self.device) if self._resident else data

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample: (C, H, W) or (F,)."""
        return tuple(self.host.shape[1:])

    @property
    def view_shape(self) -> tuple[int, ...]:
        """Shape of what is augmented."""
        return self.shape

    def expect(self, backbone: Any) -> None:
        """Standardise as the weights of a backbone expect, if it says how."""
        if not hasattr(backbone, "image_mean"):
            return
        mean: Any = backbone.image_mean
        std: Any = getattr(backbone, "image_std", None)
        if not np.shape(mean) == np.shape(std) == self.shape[:1]:
            raise ValueError(
                f"backbone {type(backbone).__name__} must have image_mean and image_std of as many "
                f"values as its images have channels, {self.shape[0]}, or neither: its forward "
                "may standardise"
            )
        if not (np.greater_equal(mean, 0) & np.less_equal(mean, 1) & np.greater(std, 0)).all():
            raise ValueError(
                f"backbone {type(backbone).__name__} has image_mean={(*mean,)} and "
                f"image_std={(*std,)}: means must lie between 0 and 1, as images are scaled, and "
                "deviations above 0; divide those of pixels from 0 to 255 by 255"
            )
        self.statistics.expect(mean, std)

    @functools.cached_property
    def statistics(self) -> "Statistics":
        """What standardisation needs to know."""
        rows = max(1, CHUNK // self.host[0].size)
        blocks = (self.host[i : i + rows] for i in range(0, len(self.host), rows))
        return Statistics(blocks, self.shape)

    @property
    def digest(self) -> str:
        """SHA-256 of all samples."""
        return self.statistics.digest

    def __len__(self) -> int:
        return len(self.host)

    def batches(self, indices: Iterable[Tensor]) -> Iterator[dict[str, Tensor]]:
        """Training batches at indices (B,): ``x``, ``index`` and, of a canvas, ``stretch``."""
        parts = list(indices)
        # At once: the device would have to finish before each small copy.
        moved = torch.cat(parts).to(self.device).split([len(part) for part in parts])
        for part, index in zip(parts, moved, strict=True):
            at = index if self._resident else part
            batch = {"x": self._take(self._canvas, at), "index": index}
            if self._stretch is not None:
                batch["stretch"] = self._take(self._stretch, at)
            yield batch

    def _take(self, data: Any, index: Tensor) -> Tensor:
        if self._resident:
            return data[index]
        return deliver(self._tensor(data[index.numpy()]), self.device)

    def _tensor(self, array: np.ndarray) -> Tensor:
        if array.dtype != np.uint8:
            wide = np.float64 if self.dtype == torch.float64 else np.float32
            array = array.astype(wide, copy=False)
        return torch.from_numpy(array)

    def padded(self, size: int, part: slice = slice(None)) -> Iterator[tuple[Tensor, int]]:
        """Batches in order, each of exactly `size` samples, with the count of real ones.

        The last batch repeats its last sample: arithmetic on a fixed shape gives each
        sample bitwise the same result, whatever company it came in. `part` chooses among the
        batches.
        """
        where = self.device if self._resident else None
        for start in range(0, len(self), size)[part]:
            index = torch.arange(start, start + size, device=where).clamp_max_(len(self) - 1)
            yield self._take(self._plain, index), min(size, len(self) - start)


# Channels that vary by less of the range count as constant: augmentations mix channels, and what
# comes in from another one must not become infinite.
_CONSTANT = 1e-9
# Of vectors, what single precision cannot divide by.
_TINY = 1e-30


class Statistics:
    """What standardisation needs to know of the training samples.

    Parameters
    ----------
    blocks : iterable of ndarray of shape (n, *shape)
        The training samples in parts; read once.
    shape : (C, H, W) or (F,)
        Shape of one sample.

    Attributes
    ----------
    low, high : float
        Range of the values of images; 0 and 255 for uint8.
    mean, std : ndarray of shape (C,) or (F,)
        Per channel of images mapped from [low, high] to [0, 1]; per feature of vectors.
    digest : str
        SHA-256 of all values, in order: a checkpoint tells by it that the samples are the same.
    """

    def __init__(self, blocks: Iterable[np.ndarray], shape: tuple[int, ...]):
        axes = (0, *range(2, len(shape) + 1))
        total: np.ndarray | float = 0.0
        square: np.ndarray | float = 0.0
        count, shift, eight_bits = 0, None, False
        low, high = np.inf, -np.inf
        digest = hashlib.sha256(str(shape).encode())
        for block in blocks:
            digest.update(np.ascontiguousarray(block).data.cast("B"))
            part = block.astype(np.float64)
            if shift is None:
                own = tuple(range(1, len(shape)))
                shift = part[0].mean(axis=own, keepdims=True)
                eight_bits = block.dtype == np.uint8
            low, high = min(low, part.min()), max(high, part.max())
            part -= shift
            total = total + part.sum(axis=axes)
            square = square + np.square(part).sum(axis=axes)
            count += part.size // shape[0]
        self.digest = digest.hexdigest()
        if shift is None:  # no block, no statistics
            self.low, self.high = 0.0, 255.0
            self.mean, self.std = np.zeros(shape[0]), np.ones(shape[0])
            return
        mean = np.asarray(total / count)
        std = np.sqrt(np.maximum(square / count - mean**2, 0))
        mean = mean + shift.reshape(mean.shape)
        self.low, self.high = (0.0, 255.0) if eight_bits else (float(low), float(high))
        if len(shape) == 3:
            span = self.high - self.low or 1.0
            mean, std = (mean - self.low) / span, std / span
        std[std < (_CONSTANT if len(shape) == 3 else _TINY)] = 0
        self.mean, self.std = mean, std

    def expect(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Standardise by other figures, (C,) of images in [0, 1]: those of pretrained weights."""
        self.mean, self.std = np.asarray(mean, dtype=float), np.asarray(std, dtype=float)


class Batches:
    """Shuffled training batches, delivered on the device.

    Of several processes each has the whole batch's ``index`` and its own share of the samples
    ``x``, see `own_share`; no sample is given twice to fill up a share.

    Parameters
    ----------
    images : Images
        Training samples.
    batch_size : int
        Samples per batch, of all processes together; a single left-over sample joins the batch
        before it, because batch norm cannot train on one, and so do fewer samples than there
        are processes.
    drop_last : bool
        Leave out the last, smaller batch of an epoch.
    generator : torch.Generator
        CPU generator of the order.
    weights : callable, default=None
        Returns the sampling weights (n,) of the coming epoch, or None for a permutation
        of all samples.

    Attributes
    ----------
    order : Tensor or None
        Of the samples in the present epoch, or the last one.
    """

    def __init__(
        self,
        images: Images,
        batch_size: int,
        drop_last: bool,
        generator: torch.Generator,
        weights: Any = None,
    ):
        self.images = images
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.generator = generator
        self.weights = weights
        self.order: Tensor | None = None
        self._done = 0

    def go_on(self, order: Tensor, n_batches: int) -> None:
        """Let the next epoch be the rest of one of which so many batches have been seen."""
        self.order, self._done = order, n_batches

    @property
    def usual(self) -> int:
        """Samples of every batch but the last one, or of the only one."""
        n = len(self.images)
        alone = len(self) == 1 and not (self.drop_last and n >= self.batch_size)
        return n if alone else self.batch_size

    def __len__(self) -> int:
        full, rest = divmod(len(self.images), self.batch_size)
        least = max(2, world_size())
        return max(1, full + (rest >= least and not self.drop_last))

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        if not self._done:
            self.order = self._order()
        done, self._done = self._done, 0
        order = self.order
        assert order is not None  # it has just been drawn, or given
        if self.drop_last and len(order) >= self.batch_size:
            order = order[: len(self) * self.batch_size]
        bounds = [*range(0, len(self) * self.batch_size, self.batch_size), len(order)]
        batches = [order[a:b] for a, b in itertools.pairwise(bounds)][done:]
        shares = [index[own_share(len(index))] for index in batches]
        if not batches:
            return
        left = torch.cat(batches).to(self.images.device)
        whole = left.split([len(index) for index in batches])
        for batch, index in zip(self.images.batches(shares), whole, strict=True):
            yield batch | {"index": index}

    def _order(self) -> Tensor:
        n = len(self.images)
        weights = None if self.weights is None else self.weights()
        if weights is None:
            return torch.randperm(n, generator=self.generator)
        return torch.multinomial(weights.cpu(), n, replacement=True, generator=self.generator)
