"""Rounds of Lloyd's algorithm on CUDA, by three kernels and two sums.

Neither the n x K distances nor the n x K memberships are ever written to memory.
"""
# mypy: allow-untyped-defs

import threading

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor
from triton import cdiv, next_power_of_2

__all__ = ["Rounds"]

# Programs of the second kernel that keep a large accelerator busy, and elements of partial sums
# that one of the third adds at once.
_BUSY, _AT_ONCE = 264, 1 << 14
# Sides of the tiles of products: rows, clusters and columns; no side can be below the least. Rows
# of so few columns are held whole while the nearest are sought.
_TILE, _COLUMNS, _LEAST, _WHOLE = 128, 64, 16, 128
# Rounds before they are recorded: kernels are compiled and loaded by then.
_WARM = 2


class Rounds:
    """Rounds of half precision from given rows: call it with centres, again and again.

    Parameters
    ----------
    rows : Tensor of shape (n_samples, dim)
        Contiguous, of half precision, less `mean`; a program of the last kernel holds a
        whole centre, so that dim has a limit.
    mean : Tensor of shape (dim,)
        What the rows have lost and the centres have not; float32.
    shape : tuple of int
        Runs and clusters, (runs, K).
    spherical : bool
        Whether centres are of norm 1.

    Notes
    -----
    Products are of half precision, their sums of float32, and their order is the same every
    time: each program adds up a part of the rows, and the last kernel the parts.
    """

    def __init__(self, rows: Tensor, mean: Tensor, shape: tuple[int, int], spherical: bool):
        self.rows, self.mean, self.shape, self.spherical = rows, mean, shape, spherical
        (n, dim), (runs, k) = rows.shape, shape
        self._side_k, self._side_d = (
            min(_TILE, max(_LEAST, next_power_of_2(size))) for size in (k, dim)
        )
        self._tiles = cdiv(k, self._side_k), cdiv(dim, self._side_d)
        parts = _BUSY // (self._tiles[0] * self._tiles[1] * runs)
        self._parts = max(1, min(parts, cdiv(n, _TILE)))
        self._labels = rows.new_empty(runs, n, dtype=torch.int32)
        self._scores = mean.new_empty(cdiv(n, _TILE), runs)
        self._sums = mean.new_empty(self._parts, runs, k, dim)
        self._sizes = mean.new_empty(self._parts, runs, k)
        self._centers = mean.new_empty(runs, k, dim)
        self._halves = rows.new_empty(runs, k, dim)  # in half precision, less the mean
        self._squares, self._way = mean.new_empty(2, runs, k)
        self._figures = mean.new_empty(2, runs)
        self._factors, self._known = mean.new_ones(runs), np.ones(runs)  # here and on the host
        self._rounds = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, centers: Tensor, factors: np.ndarray) -> tuple[Tensor, Tensor]:
        """Move centres towards the means of the rows nearest to each.

        Parameters
        ----------
        centers : Tensor of shape (runs, K, dim)
            Float32.
        factors : ndarray of shape (runs,)
            How far those of each run go, in units of the way to their means.

        Returns
        -------
        moved : Tensor of shape (runs, K, dim)
            Of norm 1 if `spherical`; without any rows a centre stays.
        figures : Tensor of shape (2, runs)
            Squared way from the centres of each run to the means, summed, and its inertia before
            they moved, but for a constant.

        The next call overwrites both.
        """
        if centers is not self._centers:
            self._centers.copy_(centers)
            self._halves.copy_(self._centers - self.mean)
            self._squares.copy_(self._halves.float().square().sum(2))
        if not np.array_equal(factors, self._known):
            self._factors.copy_(torch.as_tensor(factors))
            self._known = factors
        self._rounds += 1
        with torch.cuda.device_of(self.rows):  # Triton launches on what is the current one
            if self._rounds == _WARM + 1 and self._may_record():
                self._graph = self._record()
            if self._graph is None:
                self._launch()
            else:
                self._graph.replay()
        return self._centers, self._figures

    def _may_record(self) -> bool:
        # While a graph is recorded, older releases of PyTorch refuse random numbers to other
        # threads, in which fits may run.
        return self.rows.is_cuda and threading.current_thread() is threading.main_thread()

    def _record(self) -> torch.cuda.CUDAGraph | None:
        """A round as one launch: a host takes longer for one than an accelerator for a round."""
        graph, own, here = torch.cuda.CUDAGraph(), torch.cuda.Stream(), torch.cuda.current_stream()
        own.wait_stream(here)
        try:
            with torch.cuda.stream(own):
                graph.capture_begin(capture_error_mode="thread_local")
                try:
                    self._launch()
                finally:  # Ctrl-C, too, must not leave the stream recording
                    graph.capture_end()
        except RuntimeError:  # the driver records no such thing
            return None
        here.wait_stream(own)
        return graph

    def _launch(self) -> None:
        (n, dim), (runs, k) = self.rows.shape, self.shape
        warps = 8 if self._side_k > _LEAST else 4
        whole = dim <= _WHOLE
        _nearest[(cdiv(n, _TILE), runs)](
            self.rows, self._halves, self._squares, self._labels, self._scores, n, k, dim,
            _TILE, self._side_k, self._side_d if whole else _COLUMNS, whole,
            num_warps=warps, num_stages=2 if whole else 3,
        )  # fmt: skip
        _add[(*self._tiles, self._parts * runs)](
            self.rows, self._labels, self._sums, self._sizes, n, k, dim, runs,
            cdiv(cdiv(n, _TILE), self._parts), _TILE, self._side_k, self._side_d,
            num_warps=warps, num_stages=2,
        )  # fmt: skip
        width = next_power_of_2(dim)
        _move[(runs * k,)](
            self._sums, self._sizes, self.mean, self._centers, self._way, self._halves,
            self._squares, self._factors, self._parts, runs * k, k, dim, self.spherical,
            max(1, _AT_ONCE // width), width, num_warps=8,
        )  # fmt: skip
        torch.sum(self._way, 1, out=self._figures[0])
        torch.sum(self._scores, 0, out=self._figures[1])


# Numbers that one is not compiled for: a small trial then compiles what large calls run.
@triton.jit(do_not_specialize=["n", "k"])
def _nearest(
    rows, centers, squares, labels, scores, n, k, dim,
    TILE_N: tl.constexpr, TILE_K: tl.constexpr, TILE_D: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    """Nearest centre of `TILE_N` rows, for one run."""
    row = tl.program_id(0).to(tl.int64) * TILE_N + tl.arange(0, TILE_N)
    run = tl.program_id(1)
    least = tl.full([TILE_N], float("inf"), tl.float32)
    label = tl.zeros([TILE_N], tl.int32)
    column = tl.arange(0, TILE_D)
    x = tl.load(
        rows + row[:, None] * dim + column[None, :],
        mask=(row[:, None] < n) & (column[None, :] < dim),
        other=0.0,
    )
    for start in range(0, k, TILE_K):
        center = start + tl.arange(0, TILE_K)
        line = centers + (run * k + center[None, :]) * dim
        if WHOLE:
            c = tl.load(
                line + column[:, None],
                mask=(center[None, :] < k) & (column[:, None] < dim),
                other=0.0,
            )
            product = tl.dot(x, c)
        else:
            product = tl.zeros([TILE_N, TILE_K], tl.float32)
            for first in range(0, dim, TILE_D):
                here = first + column
                part = tl.load(
                    rows + row[:, None] * dim + here[None, :],
                    mask=(row[:, None] < n) & (here[None, :] < dim),
                    other=0.0,
                )
                c = tl.load(
                    line + here[:, None],
                    mask=(center[None, :] < k) & (here[:, None] < dim),
                    other=0.0,
                )
                product = tl.dot(part, c, product)
        square = tl.load(squares + run * k + center, mask=center < k, other=float("inf"))
        value, place = tl.min(square[None, :] - 2 * product, 1, return_indices=True)
        label = tl.where(value < least, start + place, label)
        least = tl.minimum(value, least)
    tl.store(labels + run.to(tl.int64) * n + row, label, mask=row < n)
    score = tl.sum(tl.where(row < n, least, 0.0), 0)
    tl.store(scores + tl.program_id(0) * tl.num_programs(1) + run, score)


@triton.jit(do_not_specialize=["n", "k", "runs", "steps"])
def _add(
    rows, labels, sums, sizes, n, k, dim, runs, steps,
    TILE_N: tl.constexpr, TILE_K: tl.constexpr, TILE_D: tl.constexpr,
):  # fmt: skip
    """Sums of the members of `TILE_K` clusters among a part of the rows, for one run."""
    center = tl.program_id(0) * TILE_K + tl.arange(0, TILE_K)
    column = tl.program_id(1) * TILE_D + tl.arange(0, TILE_D)
    part, run = tl.program_id(2) // runs, tl.program_id(2) % runs
    total = tl.zeros([TILE_K, TILE_D], tl.float32)
    size = tl.zeros([TILE_K], tl.float32)
    row = (part * steps).to(tl.int64) * TILE_N + tl.arange(0, TILE_N)
    labels += run.to(tl.int64) * n
    label = tl.load(labels + row, mask=row < n, other=-1)
    for _ in range(steps):
        x = tl.load(
            rows + row[:, None] * dim + column[None, :],
            mask=(row[:, None] < n) & (column[None, :] < dim),
            other=0.0,
        )
        row += TILE_N
        following = tl.load(labels + row, mask=row < n, other=-1)  # while the product waits for x
        member = label[None, :] == center[:, None]
        total = tl.dot(member.to(x.dtype), x, total)
        size += tl.sum(member.to(tl.float32), 1)
        label = following
    place = tl.program_id(2) * k + center
    known = (center[:, None] < k) & (column[None, :] < dim)
    tl.store(sums + place[:, None] * dim + column[None, :], total, mask=known)
    tl.store(sizes + place, size, mask=(center < k) & (tl.program_id(1) == 0))


@triton.jit(do_not_specialize=["parts", "count", "k"])
def _move(
    sums, sizes, mean, centers, way, halves, squares, factors,
    parts, count, k, dim,
    SPHERICAL: tl.constexpr, TILE_P: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """One centre towards the mean of its members, of which the parts are added."""
    center = tl.program_id(0)
    column = tl.arange(0, WIDTH)
    known = column < dim
    total = tl.zeros([WIDTH], tl.float32)
    size = 0.0
    for first in range(0, parts, TILE_P):
        part = first + tl.arange(0, TILE_P)
        place = part * count + center
        some = tl.load(
            sums + place[:, None] * dim + column[None, :],
            mask=(part[:, None] < parts) & known[None, :],
            other=0.0,
        )
        total += tl.sum(some, 0)
        size += tl.sum(tl.load(sizes + place, mask=part < parts, other=0.0), 0)
    origin = tl.load(mean + column, mask=known, other=0.0)
    old = tl.load(centers + center * dim + column, mask=known, other=0.0)
    new = total / tl.maximum(size, 1.0) + origin
    if SPHERICAL:
        new = new / tl.maximum(tl.sqrt(tl.sum(new * new, 0)), 1e-12)
    new = tl.where(size > 0, new, old)
    tl.store(way + center, tl.sum((new - old) * (new - old), 0))
    factor = tl.load(factors + center // k)
    if factor != 1:
        new = old + factor * (new - old)
        if SPHERICAL:
            new = new / tl.maximum(tl.sqrt(tl.sum(new * new, 0)), 1e-12)
    tl.store(centers + center * dim + column, new, mask=known)
    half = (new - origin).to(halves.dtype.element_ty)
    tl.store(halves + center * dim + column, half, mask=known)
    exact = half.to(tl.float32)
    tl.store(squares + center, tl.sum(exact * exact, 0))
