"""Lazy images for training and prediction: held where they fit, else decoded as they are needed."""

import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from joblib import cpu_count
from torch import Tensor

from skdeepclust.engine.decode import UnreadableImage
from skdeepclust.engine.device import deliver
from skdeepclust.engine.images import CHUNK, Images, Statistics
from skdeepclust.engine.lazy import LazyImages, Picture
from skdeepclust.engine.progress import shown

__all__ = ["STORAGES", "Streamed", "fits", "for_training"]

STORAGES = ("auto", "device", "host", "stream")
# Shares of the free memory of a device and of the machine that training images may take.
_DEVICE_SHARE, _HOST_SHARE = 0.5, 0.25
_AHEAD = 2  # batches that are decoded while one is computed
# Limit and use of the memory of a control group, a container's say, and what holds it.
_GROUPS = Path("/sys/fs/cgroup")
_LIMITS = (
    ("memory.max", "memory.current", "memory.stat"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)

logger = logging.getLogger("skdeepclust")


class Streamed(Images):
    """Images that threads decode a few batches ahead.

    Threads, unlike processes, need no ``if __name__ == "__main__"`` in the user's script, share
    what they decode, and are not slower: decoders release the interpreter's lock.

    Parameters
    ----------
    lazy : LazyImages
        What to decode.
    device : torch.device
        Where batches are delivered.
    dtype : torch.dtype
        Floating type that is computed in.
    on_error : {"raise", "skip"}, default="raise"
        Of images that cannot be read: raise, or deliver black ones and list them.
    canvas : (height, width), default=None
        Size of what training batches hold, for views to be cropped from; None for samples.

    Attributes
    ----------
    unreadable : dict of int to str
        What could not be read so far, and why.
    advice : str
        What to do about an image that cannot be read.
    """

    advice = "Remove it, or pass on_error='skip' to leave out what is unreadable."

    def __init__(
        self,
        lazy: LazyImages,
        device: torch.device,
        dtype: torch.dtype,
        on_error: str = "raise",
        canvas: tuple[int, int] | None = None,
    ):
        self.lazy = lazy
        self.device = device
        self.dtype = dtype
        self.on_error = on_error
        self.canvas = canvas
        self.unreadable: dict[int, str] = {}

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample: (C, H, W)."""
        return self.lazy.image_shape

    def __len__(self) -> int:
        return len(self.lazy)

    def batches(self, indices: Iterable[Tensor]) -> Iterator[dict[str, Tensor]]:
        """Training batches at indices (B,), decoded ahead."""
        for index, pictures in self._ahead(indices):
            yield self._training_batch(index, pictures)

    def padded(self, size: int, part: slice = slice(None)) -> Iterator[tuple[Tensor, int]]:
        """Batches of samples in order, each filled up to `size`, with the count of real ones."""
        starts = range(0, len(self), size)[part]
        indices = (torch.arange(start, min(start + size, len(self))) for start in starts)
        for index, pictures in self._ahead(indices):
            plain = torch.stack([picture.plain for picture in pictures])
            fill = plain[-1:].expand(size - len(index), -1, -1, -1)
            yield deliver(torch.cat([plain, fill]), self.device), len(index)

    def readable(self) -> Iterator[Picture]:
        """All images that can be read, in order."""
        steps = (torch.arange(i, min(i + 64, len(self))) for i in range(0, len(self), 64))
        for index, pictures in self._ahead(steps):
            for i, picture in zip(index.tolist(), pictures, strict=True):
                if i not in self.unreadable:
                    yield picture

    def _ahead(self, indices: Iterable[Tensor]) -> Iterator[tuple[Tensor, list[Picture]]]:
        waiting: deque[tuple[Tensor, list[Future[Picture]]]] = deque()
        pool = ThreadPoolExecutor(cpu_count(), thread_name_prefix="skdeepclust-decode")
        try:
            for index in indices:
                waiting.append((index, [pool.submit(self._picture, i) for i in index.tolist()]))
                if len(waiting) > _AHEAD:
                    yield _resolved(*waiting.popleft())
            while waiting:
                yield _resolved(*waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _picture(self, i: int) -> Picture:
        try:
            return self.lazy.picture(i, self.canvas)
        except UnreadableImage as error:
            if self.on_error == "raise":
                raise type(error)(f"{error}. {self.advice}") from error
            self.unreadable[i] = str(error)
            black = torch.zeros(1, 1, 1, dtype=torch.uint8)
            return Picture(black, self.lazy.image_shape, self.canvas)

    def _training_batch(self, index: Tensor, pictures: list[Picture]) -> dict[str, Tensor]:
        if self.canvas is None:
            return self._deliver({"x": torch.stack([p.plain for p in pictures]), "index": index})
        stretch = torch.tensor([p.stretch for p in pictures], dtype=self.dtype)
        x = torch.stack([p.canvas for p in pictures])
        return self._deliver({"x": x, "index": index, "stretch": stretch})

    def _deliver(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: deliver(rows, self.device) for name, rows in batch.items()}


def _resolved(index: Tensor, futures: list[Future[Picture]]) -> tuple[Tensor, list[Picture]]:
    return index, [future.result() for future in futures]


def for_training(
    lazy: LazyImages,
    device: torch.device,
    dtype: torch.dtype,
    on_error: str,
    storage: str,
    show: bool = False,
) -> tuple[Images, dict[int, str]]:
    """Decode all images once: to find what is unreadable, to measure, and to keep what fits.

    Parameters
    ----------
    lazy : LazyImages
        The training samples.
    device : torch.device
        As for `Images`.
    dtype : torch.dtype
        As for `Images`.
    on_error : {"raise", "skip"}
        What to do about images that cannot be read.
    storage : {"auto", "device", "host", "stream"}
        Where to hold the images; with "auto" nowhere if they take more than a quarter of the
        host's free memory, else on the device where they fit, see `fits`.
    show : bool, default=False
        Whether to show a bar meanwhile.

    Returns
    -------
    images : Images
        The readable samples.
    unreadable : dict of int to str
        Positions of the others, and why.

    Raises
    ------
    UnreadableImage
        With ``on_error="raise"``, of the first that cannot be read; `MissingImage` if it is not
        there.
    """
    canvas = None if lazy.uniform else lazy.canvas
    reader = Streamed(lazy, device, dtype, on_error, canvas)
    place = _place(lazy, canvas, device, storage)
    kept = None if place == "stream" else _Kept(lazy.shape, canvas)
    pictures = shown(reader.readable(), len(lazy), "Reading" if show else None, "image")
    seen = Statistics(_blocks(pictures, lazy.image_shape, kept), lazy.image_shape)
    good = np.setdiff1d(np.arange(len(lazy)), list(reader.unreadable))
    logger.info("%d of %d images readable; held: %s", len(good), len(lazy), place)
    images: Images
    if kept is None:
        images = Streamed(lazy[good], device, dtype, "raise", canvas)
        images.advice = (
            "It could be read before: put it back, or fit without it from the beginning."
        )
    else:
        images = kept.images(device, dtype, place)
    images.statistics = seen
    return images, dict(sorted(reader.unreadable.items()))  # threads end in any order


class _Kept:
    """Decoded samples in memory, with the canvases to crop views from where they differ."""

    def __init__(self, shape: tuple[int, int, int, int], canvas: tuple[int, int] | None):
        self.n = 0
        self.plain = np.empty(shape, np.uint8)
        self.canvas = None if canvas is None else np.empty((*shape[:2], *canvas), np.uint8)
        self.stretch = np.ones(shape[0])

    def add(self, picture: Picture) -> None:
        self.plain[self.n] = picture.plain
        if self.canvas is not None:
            self.canvas[self.n] = picture.canvas
        self.stretch[self.n] = picture.stretch
        self.n += 1

    def images(self, device: torch.device, dtype: torch.dtype, storage: str) -> Images:
        """The samples that were added."""
        n = self.n
        canvas = None if self.canvas is None else self.canvas[:n]
        return Images(self.plain[:n], device, dtype, storage, canvas, self.stretch[:n])


def _blocks(
    pictures: Iterable[Picture], shape: tuple[int, ...], kept: _Kept | None
) -> Iterator[np.ndarray]:
    """Samples in blocks, kept as they pass by."""
    rows = max(1, CHUNK // int(np.prod(shape)))
    block: list[Tensor] = []
    for picture in pictures:
        if kept is not None:
            kept.add(picture)
        block.append(picture.plain)
        if len(block) == rows:
            yield torch.stack(block).numpy()
            block = []
    if block:
        yield torch.stack(block).numpy()


def _place(
    lazy: LazyImages, canvas: tuple[int, int] | None, device: torch.device, storage: str
) -> str:
    if storage != "auto":
        return storage
    n_bytes = int(np.prod(lazy.shape))
    if canvas is not None:
        n_bytes += len(lazy) * lazy.image_shape[0] * canvas[0] * canvas[1]
    if n_bytes > _HOST_SHARE * free_host_memory():
        return "stream"
    return "device" if fits(n_bytes, device) else "host"


def fits(n_bytes: int, device: torch.device) -> bool:
    """Whether so much data may stay on a device: half of what is free there."""
    if device.type != "cuda":
        return True
    return n_bytes <= _DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]


def free_host_memory() -> float:
    """Bytes that this process may still take, by the machine and its control group."""
    bounds = [_available(), _left_of_group()]
    known = [bound for bound in bounds if bound is not None]
    return min(known) if known else 4 * 2.0**30


def _available() -> float | None:
    information = Path("/proc/meminfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024.0
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return None


def _left_of_group() -> float | None:
    for limit, used, parts in _LIMITS:
        try:
            left = int((_GROUPS / limit).read_text()) - int((_GROUPS / used).read_text())
            held = dict(line.split() for line in (_GROUPS / parts).read_text().splitlines())
            # Files that were read stay in memory until it is wanted for something else.
            return float(left + int(held["inactive_file"]) + int(held["active_file"]))
        except (OSError, ValueError, KeyError):  # no control groups of this version, or no limit
            continue
    return None
