"""Nearest centres, round after round, by asking again only where the centres' moves leave doubt."""

import math

import torch
from torch import Tensor

from skdeepclust.ops._nearest import least, rows_at_once

__all__ = ["Bounds"]

# Columns of a product that other work on a row costs as much time as: finding the least of scores,
# copying a row that is asked about alone, measuring the way to its own centre.
_LEAST, _COPY, _OWN = 16, 32, 48
# How much slower few rows at once are, and with both bounds; and the share of a full round's time
# below which one with bounds is worth its trouble.
_SLOWER, _PAYS = 1.2, 0.9
# Rows, at most, that tell how many leave doubt, and by how many the centres are tried that are
# asked directly: products like multiples of the width of vectors.
_SOME, _STEP = 1024, 16
# Columns of the narrowest temporary that parts of rows are made for.
_NARROW = 128


class Bounds:
    """Labels of given rows for centres that move little from round to round.

    Each row has an upper bound of the distance to its own centre and a lower one of that to any
    other. The moves of the centres widen them, and while they do not cross, the label stays. The
    few centres that moved far are asked directly, so that they spoil no bounds. Labels are those
    of full rounds, but for ties within rounding.

    Parameters
    ----------
    x : Tensor of shape (n_samples, dim)
        The rows, on a CPU.
    square : Tensor of shape (n_samples, 1)
        Their squared norms.

    References
    ----------
    G. Hamerly, "Making k-means even faster", SDM 2010: the two bounds.
    Y. Ding et al., "Yinyang k-means", ICML 2015: centres in groups by how far they move.
    """

    def __init__(self, x: Tensor, square: Tensor):
        self.x, self.square = x, square[:, 0]
        self.slack = 8 * torch.finfo(x.dtype).eps
        self.labels = torch.empty(len(x), dtype=torch.int64)
        self.upper, self.lower = torch.empty_like(self.square), torch.empty_like(self.square)
        self.some = torch.arange(0, len(x), -(-len(x) // _SOME))
        self.bounded = False  # all rows, or only some
        self.centers = x[:0]  # those of the round before: none

    def assign(self, centers: Tensor) -> Tensor:
        """Find the nearest centre of each row.

        Parameters
        ----------
        centers : Tensor of shape (K, dim)
            Those of this round.

        Returns
        -------
        Tensor of shape (n_samples,), int64
            The labels; the next round writes them into the same tensor.
        """
        before, self.centers = self.centers, centers
        self.offset = centers.square().sum(1)
        self.largest = self.offset.max()
        plan = self._plan(centers - before) if len(before) else None
        if plan is not None and self.bounded:
            self._check_doubtful(*plan)
        else:
            self._check_all(bounded=plan is not None)
        return self.labels

    def _plan(self, moves: Tensor) -> tuple[Tensor, Tensor] | None:
        """The centres to ask directly and how far others moved; None if a full round is quicker."""
        shift = torch.linalg.vector_norm(moves, dim=1)
        known = slice(None) if self.bounded else self.some
        self.upper[known] += shift[self.labels[known]]
        far, order = shift.sort(descending=True)
        lower, upper = self.lower[self.some], self.upper[self.some]
        slack = lower - upper
        tight = lower - self._own(self.x[self.some], self.labels[self.some])
        k = len(shift)
        hot = torch.arange(0, k // 2 + 1, _STEP)
        measured, asked = ((s[:, None] < far[hot]).float().mean(0) for s in (slack, tight))
        time = (hot + _LEAST) * (hot > 0) + _OWN * measured + (_SLOWER * k + _COPY) * asked
        if float(time.min()) > _PAYS * (k + _LEAST):
            return None
        best = int(hot[time.argmin()])
        return order[:best], far[best]

    def _check_all(self, bounded: bool) -> None:
        """Ask all rows, and find the bounds of all or of some."""
        step = rows_at_once(self.x, len(self.offset))
        for start in range(0, len(self.x), step):
            rows = slice(start, start + step)
            self._ask(rows, self.x[rows], bounded)
        if not bounded:
            self._ask(self.some, self.x[self.some], True)
        self.bounded = bounded

    def _check_doubtful(self, hot: Tensor, far: Tensor) -> None:
        """Ask all rows about some centres, and about the others those whose bounds cross."""
        self.lower -= far
        place = torch.full((len(self.offset),), -1)
        place[hot] = torch.arange(len(hot))
        offset, flat = self.offset[hot], self.centers[hot].T
        step = rows_at_once(self.x, max(_NARROW, len(hot)))
        at_once = rows_at_once(self.x, len(self.offset))
        for start in range(0, len(self.x), step):
            rows = slice(start, start + step)
            part, labels, lower = self.x[rows], self.labels[rows], self.lower[rows]
            if len(hot):
                score = torch.addmm(offset, part, flat, alpha=-2)
                own = place[labels]
                mine = (own >= 0).nonzero()[:, 0]
                score[mine, own[mine]] = math.inf
                torch.minimum(lower, self._root(score.amin(1), rows, -1), out=lower)
            doubtful = (self.upper[rows] > lower).nonzero()[:, 0]
            if not len(doubtful):
                continue
            part = part[doubtful]
            upper = self._own(part, labels[doubtful])
            self.upper[rows][doubtful] = upper
            still = upper > lower[doubtful]
            asked = (start + doubtful[still]).split(at_once), part[still].split(at_once)
            for some, these in zip(*asked, strict=True):
                self._ask(some, these, True)

    def _ask(self, rows: slice | Tensor, part: Tensor, bounded: bool) -> None:
        """Find the nearest centre of some rows, and their bounds."""
        score = torch.addmm(self.offset, part, self.centers.T, alpha=-2)
        value, place = least(score)
        self.labels[rows] = place
        if bounded:
            score.scatter_(1, place[:, None], math.inf)
            self.upper[rows] = self._root(value, rows, 1)
            self.lower[rows] = self._root(score.amin(1), rows, -1)

    def _own(self, part: Tensor, labels: Tensor) -> Tensor:
        """Distances of rows to their own centres, from above."""
        ways = part - self.centers[labels]
        return torch.linalg.vector_norm(ways, dim=1) * (1 + self.slack)

    def _root(self, score: Tensor, rows: slice | Tensor, sign: int) -> Tensor:
        """Distances of scores, which lack |x|^2, rounded up or down beyond their rounding."""
        square = self.square[rows]
        margin = self.slack * (square + self.largest)
        return (score + square + sign * margin).clamp_min_(0).sqrt_()
