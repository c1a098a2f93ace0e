"""What processes that train together exchange; in a single process all of it is the identity.

The rows of a batch, and random numbers for them, are shared out among the ranks in order. What
follows `gather` sees the whole batch, and is computed by every rank alike. The loss that is
trained is the mean over the ranks of their losses: of equal ones, the loss of a single process.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from skdeepclust.ops.shared_memory import SharedMemory

__all__ = [
    "LostRankError",
    "add_up",
    "agree",
    "any_rank",
    "average",
    "batch",
    "draw",
    "gather",
    "gather_share",
    "hide_from_compiler",
    "joined",
    "own_share",
    "rank",
    "rows_of_ranks",
    "spread_from_first",
    "union",
    "world_size",
]

# Elements of a message from which on further tensors go into the next one.
_MESSAGE = 1 << 22


class LostRankError(RuntimeError):
    """Another process cannot be reached any more."""


class _State:
    """Whether this process works with others at present, and on how many rows."""

    joined = False
    rows = 0
    # Of CPU tensors, where all processes are on one machine.
    memory: SharedMemory | None = None
    # For compiled steps, see `hide_from_compiler`.
    gathered: Any = None
    drawn: Any = None
    add_up: Any = None


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Work with the other processes of torch's process group inside.

    Outside, everything here is the identity, whatever groups there are: predicting, for one,
    waits for nobody.
    """
    was = _State.joined, _State.memory
    _State.joined = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    try:
        if _State.joined:
            hide_from_compiler()
            _State.memory = _shared_memory()
        yield
    finally:
        if _State.memory and _State.memory is not was[1]:
            _State.memory.close()
        _State.joined, _State.memory = was


def _shared_memory() -> SharedMemory | None:
    if "cpu:gloo" not in dist.get_backend_config():
        return None
    _State.memory = None  # until all have agreed on one
    gloo: Any = dist.group.WORLD._get_backend(torch.device("cpu"))  # type: ignore[union-attr]
    patience = gloo.options._timeout.total_seconds()
    made = SharedMemory.create(world_size()) if rank() == 0 else None
    try:
        path, memory = agree(made), None
        with contextlib.suppress(OSError):  # on another machine
            memory = SharedMemory(path, rank(), world_size(), patience) if path else None
        someone_cannot = any_rank(memory is None, torch.device("cpu"))
    finally:
        if made:
            os.unlink(made)  # it lives on until all have left
    if memory and someone_cannot:
        memory.close()
    return None if someone_cannot else memory


def hide_from_compiler() -> None:
    """Have compiled steps run `gather` and `draw` as they are, and `add_up` as one operation.

    This imports the compiler, which a process that works alone is spared. Do it before there is a
    process group: imported later, the compiler would hold on to its connections.
    """
    if _State.gathered is None:
        _State.gathered = torch.compiler.disable(_Gather.apply)
        _State.drawn = torch.compiler.disable(_drawn)
        name = "skdeepclust::add_up"
        _State.add_up = torch.library.custom_op(name, _add_up, mutates_args=("x",))


@contextlib.contextmanager
def batch(n_rows: int) -> Iterator[None]:
    """Tell `gather` and `draw` how many rows the batch of all ranks has."""
    was, _State.rows = _State.rows, n_rows
    try:
        yield
    finally:
        _State.rows = was


def rank() -> int:
    """Number of this process among those that work together, 0 if it works alone."""
    return dist.get_rank() if _State.joined else 0


def world_size() -> int:
    """How many processes work together, 1 if this one works alone."""
    return dist.get_world_size() if _State.joined else 1


def own_share(n: int) -> slice:
    """Which of `n` rows are this rank's.

    Parameters
    ----------
    n : int
        Rows of all ranks together.

    Returns
    -------
    slice
        In the order of the ranks; the first ranks have one more where it does not divide.

    Examples
    --------
    >>> own_share(10)
    slice(0, 10, None)
    """
    size, more = divmod(n, world_size())
    start = rank() * size + min(rank(), more)
    return slice(start, start + size + (rank() < more))


def gather(rows: Tensor) -> Tensor:
    """Rows of the whole batch, as a single process would have them.

    Parameters
    ----------
    rows : Tensor of shape (v b, ...)
        What this rank made of its share of the batch, b rows of each of v views, view after
        view.

    Returns
    -------
    Tensor of shape (v B, ...)
        The B rows of each view. The gradient of each row goes back to the rank it came from,
        summed over the ranks.
    """
    if not _State.joined:
        return rows
    return _State.gathered(rows, own_share(_State.rows), _State.rows)


def gather_share(rows: Tensor, share: slice, n: int) -> Tensor:
    """All `n` rows, of which `rows` are those of `share`; takes no gradient.

    Parameters
    ----------
    rows : Tensor of shape (len(share), ...)
        This rank's; there may be none.
    share : slice
        Where they belong. The shares of all ranks make up the whole.
    n : int
        Number of all rows.

    Returns
    -------
    Tensor of shape (n, ...)
    """
    return _sum_parts(rows.detach(), share, n) if _State.joined else rows


class _Gather(torch.autograd.Function):
    """Shares into the whole; backwards the sum of all ranks' gradients into shares."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, share: slice, n: int) -> Tensor:
        ctx.share, ctx.n = share, n
        return _sum_parts(rows, share, n)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor, None, None]:
        (grad,) = grads
        whole = grad.clone(memory_format=torch.contiguous_format)
        return _part(add_up(whole), ctx.share, ctx.n), None, None


def _sum_parts(rows: Tensor, share: slice, n: int) -> Tensor:
    """Put every rank's rows into their place; the sum with the others' zeros is exact."""
    size = len(range(n)[share])
    views = len(rows) // size if size else 1
    whole = rows.new_zeros(views * n, *rows.shape[1:])
    whole.unflatten(0, (views, n))[:, share] = rows.unflatten(0, (views, size))
    return add_up(whole)


def _part(whole: Tensor, share: slice, n: int) -> Tensor:
    return whole.unflatten(0, (-1, n))[:, share].flatten(0, 1)


def draw(sample: Callable[[Tensor], Tensor], like: Tensor) -> Tensor:
    """Random numbers for the rows of `like`: those that a single process would draw for them.

    Parameters
    ----------
    sample : callable
        ``sample(x)`` draws for each row of x, from torch's global generator. Every rank draws for
        the whole batch and keeps its share, so that no two rows have the same numbers.
    like : Tensor of shape (v b, ...)
        Rows of this rank's share of the batch, of v views.

    Returns
    -------
    Tensor of shape (v b, ...)
    """
    return _State.drawn(sample, like) if _State.joined and _State.rows else sample(like)


def _drawn(sample: Callable[[Tensor], Tensor], like: Tensor) -> Tensor:
    share, n = own_share(_State.rows), _State.rows
    shape = (len(like) // (share.stop - share.start) * n, *like.shape[1:])
    return _part(sample(like.new_empty_strided(shape, like.stride())), share, n)


def add_up(x: Tensor) -> Tensor:
    """Sum `x` over the ranks, in place; takes no gradient.

    Parameters
    ----------
    x : Tensor
        Of one shape and dtype on all ranks, contiguous.

    Returns
    -------
    Tensor
        `x`, bitwise the same on all ranks.

    Raises
    ------
    LostRankError
        If another process has ended.
    """
    if _State.joined:
        # For the compiler one operation, which leaves the graph whole.
        (_State.add_up if torch.compiler.is_compiling() else _add_up)(x)
    return x


def _add_up(x: Tensor) -> None:
    with _naming_the_lost():
        if _State.memory and x.is_cpu:
            _State.memory.add_up(x)
        else:
            dist.all_reduce(x)


def average(tensors: Iterable[Tensor]) -> None:
    """Replace tensors by their means over the ranks, in place.

    Parameters
    ----------
    tensors : iterable of Tensor
        Floating; of the same shapes, in the same order, on all ranks.
    """
    for group in _groups(tensors) if _State.joined else ():
        _write(add_up(_flat(group)).div_(world_size()), group)


def spread_from_first(tensors: Iterable[Tensor]) -> None:
    """Replace tensors by those of rank 0, in place.

    Parameters
    ----------
    tensors : iterable of Tensor
        Of the same shapes and dtypes, in the same order, on all ranks.
    """
    for group in _groups(tensors) if _State.joined else ():
        flat = _flat(group)
        with _naming_the_lost():
            dist.broadcast(flat, 0)
        _write(flat, group)


def _groups(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors of one dtype, as many as make up a message of a good size."""
    groups: dict[torch.dtype, list[Tensor]] = {}
    sizes: dict[torch.dtype, int] = {}
    for tensor in tensors:
        kind = tensor.dtype
        groups.setdefault(kind, []).append(tensor.detach())
        sizes[kind] = sizes.get(kind, 0) + tensor.numel()
        if sizes[kind] >= _MESSAGE:
            sizes[kind] = 0
            yield groups.pop(kind)
    yield from groups.values()


def _flat(group: list[Tensor]) -> Tensor:
    if len(group) == 1 and group[0].is_contiguous():  # large ones are not copied
        return group[0].view(-1)
    return torch.cat([tensor.reshape(-1) for tensor in group])


def _write(flat: Tensor, group: list[Tensor]) -> None:
    for tensor, part in zip(group, flat.split([t.numel() for t in group]), strict=True):
        if tensor.data_ptr() != part.data_ptr():
            tensor.copy_(part.view(tensor.shape))


def rows_of_ranks(row: Tensor) -> Tensor:
    """One row of every rank, (n_ranks, *shape), in their order."""
    return gather_share(row[None], slice(rank(), rank() + 1), world_size())


def agree(value: Any) -> Any:
    """Rank 0's `value`, any small object that pickles."""
    if not _State.joined:
        return value
    shared = [value]
    with _naming_the_lost():
        dist.broadcast_object_list(shared, 0)
    return shared[0]


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether `flag` holds on any rank."""
    return bool(add_up(torch.tensor(float(flag), device=device)) > 0) if _State.joined else flag


def union(names: set[str]) -> set[str]:
    """What is in the `names` of any rank."""
    if not _State.joined:
        return names
    gathered: list[Any] = [None] * world_size()
    with _naming_the_lost():
        dist.all_gather_object(gathered, names)
    return set().union(*gathered)


@contextlib.contextmanager
def _naming_the_lost() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise LostRankError(str(error)) from error
