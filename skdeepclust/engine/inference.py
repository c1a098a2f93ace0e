"""What a network makes of all samples, batch by batch."""

from collections.abc import Callable

import torch
from torch import Tensor

from skdeepclust.engine.device import inference_batch, memory_error, without_autocast
from skdeepclust.engine.images import Images
from skdeepclust.engine.progress import shown
from skdeepclust.ops import collective

__all__ = ["collecting_device", "infer_all"]


@torch.no_grad()
def infer_all(
    images: Images, function: Callable[[Tensor], Tensor], like: Tensor, title: str | None = None
) -> Tensor:
    """Rows (n_samples, d) of all samples, in order; processes that train together share the work.

    Parameters
    ----------
    images : Images
        All samples.
    function : callable
        A batch (B, *shape) on the device -> (B, d). Every batch has the same size, so that a
        sample's row does not depend on the others.
    like : Tensor of shape (0, d)
        Of the type of the rows, where they are collected.
    title : str, default=None
        Of a bar that counts the batches; without it none is shown.

    Raises
    ------
    MemoryError
        If a batch does not fit the device.
    """
    size, n = inference_batch(images.device, images.shape), len(images)
    share = collective.own_share(-(-n // size))
    start, stop = share.start * size, share.stop * size
    # One block from the start: many small ones that stay would break up the memory.
    rows, done = like.new_empty(max(0, min(stop, n) - start), like.shape[1]), 0
    count = share.stop - share.start
    batches = shown(images.padded(size, share), count, title, "batch")
    what = f"Batches of {size} samples do not fit the memory of {images.device}"
    with without_autocast(images.device), memory_error(f"{what}: take smaller images"):
        for x, real in batches:
            rows[done : done + real] = function(x)[:real]
            done += real
    return collective.gather_share(rows, slice(start, stop), n)


def collecting_device(device: torch.device) -> torch.device:
    """Where to collect rows for the host, which may be many times a batch.

    Parameters
    ----------
    device : torch.device
        Where they are computed; several processes exchange them there.
    """
    return device if collective.world_size() > 1 else torch.device("cpu")
