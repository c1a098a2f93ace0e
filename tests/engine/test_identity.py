"""A parameter is told from another by what it is and holds, in this process and the next."""

import copy
import functools
import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.transforms import Compose, RandomHorizontalFlip, v2

from skdeepclust.engine.identity import described
from skdeepclust.engine.tree import pack

STRENGTH, UNUSED = 0.5, 1


class Scale:
    """A callable with a setting."""

    sign = 1

    def __init__(self, by: Any):
        self.by = by
        self._calls = 0

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        self._calls += 1
        return x * self.by * self.sign


@dataclass(slots=True)
class Slotted:
    by: float

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.by


class Net(nn.Module):
    def __init__(self, by: float):
        super().__init__()
        self.by = by
        self.layer = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) * self.by


def closing_over(by: Any) -> Callable[..., Any]:
    return lambda x: x * by


def net(by: float = 1.0, seed: int = 0) -> Net:
    torch.manual_seed(seed)
    return Net(by)


def compose(p: float) -> Compose:
    return Compose([RandomHorizontalFlip(p), v2.GaussianBlur(3)])


def of_class(call: Callable[..., Any]) -> Any:
    return type("Same", (), {"__call__": call})()


PAIRS = {
    "closures": (lambda: closing_over(1), lambda: closing_over(2)),
    "closures of arrays": (
        lambda: closing_over(np.arange(3)),
        lambda: closing_over(np.arange(3) + 1),
    ),
    "code": (lambda: lambda x: x + 1, lambda: lambda x: x - 1),
    "names": (lambda: lambda x: x.flip(0), lambda: lambda x: x.roll(0)),
    "defaults": (lambda: lambda x, by=1: x, lambda: lambda x, by=2: x),
    "attributes": (lambda: Scale(1), lambda: Scale(2)),
    "attributes of attributes": (lambda: Scale(Scale(1)), lambda: Scale(Scale(2))),
    "methods": (lambda: Scale(1).__call__, lambda: Scale(2).__call__),
    "code of methods": (
        lambda: of_class(lambda self, x: x + 1),
        lambda: of_class(lambda self, x: x - 1),
    ),
    "slots": (lambda: Slotted(1), lambda: Slotted(2)),
    "partials": (
        lambda: functools.partial(torch.add, other=Scale(1)),
        lambda: functools.partial(torch.add, other=Scale(2)),
    ),
    "modules": (lambda: net(1.0), lambda: net(2.0)),
    "weights": (lambda: net(seed=0), lambda: net(seed=1)),
    "torchvision's": (lambda: compose(0.5), lambda: compose(0.4)),
    "lists": (lambda: [compose(0.5), None], lambda: [compose(0.4), None]),
    "dtypes": (lambda: v2.ToDtype(torch.float32), lambda: v2.ToDtype(torch.float64)),
    "tensors": (lambda: Scale(torch.ones(3)), lambda: Scale(torch.ones(4))),
    "arrays of objects": (
        lambda: Scale(np.array([None, Scale(1)])),
        lambda: Scale(np.array([None, Scale(2)])),
    ),
    "sparse tensors": (
        lambda: Scale(torch.eye(3).to_sparse()),
        lambda: Scale(2 * torch.eye(3).to_sparse()),
    ),
    "NaN": (lambda: [float("nan")], lambda: [float("inf")]),
    "generators' wrappers": (
        lambda: Scale([np.random.RandomState(0), 1]),
        lambda: Scale([np.random.RandomState(0), 2]),
    ),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_what_differs_is_told_apart_and_what_is_equal_is_not(pair):
    one, other = pair
    assert described(one()) == described(one()) == described(copy.deepcopy(one()))
    assert described(one()) != described(other())
    tensors: dict[str, torch.Tensor] = {}
    pack(described(one()), tensors)  # can be written
    assert not tensors


def test_what_a_function_uses_belongs_to_it(monkeypatch):
    def scaled(x):
        return helped(x)

    def helped(x):
        return x * STRENGTH

    before = described(scaled)
    monkeypatch.setitem(globals(), "UNUSED", 2)
    assert described(scaled) == before
    monkeypatch.setitem(globals(), "STRENGTH", 0.4)
    assert described(scaled) != before


def test_constants_of_a_class_belong_to_its_objects(monkeypatch):
    before = described(Scale(1))
    monkeypatch.setattr(Scale, "sign", -1)
    assert described(Scale(1)) != before


CALLS, CACHE = 0, {}


def test_what_use_of_the_module_leaves_behind_does_not_matter():
    def counting(x):
        global CALLS
        CALLS += 1
        CACHE[CALLS] = 1.0
        return x

    @torch.autocast("cpu")
    def cast(x):
        return x @ x

    before = described(counting), described(cast)
    counting(1), cast(torch.eye(2))
    CACHE.clear()
    assert (described(counting), described(cast)) == before


class Odd:
    """Computed attributes that fail, and text that does."""

    def __init__(self):
        self.shown = 1

    @property
    def broken(self):
        raise RuntimeError

    def __getattr__(self, name):
        raise KeyError(name)

    def __repr__(self):
        raise RuntimeError

    def __call__(self, x):
        return x


def test_nothing_that_an_object_does_is_an_error():
    chain = None
    for _ in range(2000):
        chain = Scale(chain)
    for odd in (Odd(), torch.empty(2, device="meta"), chain, np.frompyfunc(abs, 1, 1)):
        assert described(odd) == described(odd)


def test_orders_of_keys_do_not_matter():
    assert described({"a": 1, "b": 2}) == described({"b": 2, "a": 1})


def test_what_use_leaves_behind_does_not_matter():
    used, drawn = Scale(1), np.random.RandomState(0)
    used(torch.ones(1))
    assert described(used) == described(Scale(1))
    before = described(Scale(drawn))
    drawn.normal()
    assert described(Scale(drawn)) == before
    module = net()
    before = described(module)
    module.eval()(torch.ones(1, 3))
    assert described(module) == before


def test_weights_can_be_left_out():
    assert described(net(seed=0), weights=False) == described(net(seed=1), weights=False)
    assert described(net(1.0), weights=False) != described(net(2.0), weights=False)


def test_names_are_told_and_contents_are_short():
    assert described(net()).startswith(f"{__name__}.Net #")
    assert len(described(net())) < 60
    assert described(closing_over).startswith(f"{__name__}.closing_over #")
    assert described(nn.LazyLinear(2)) == described(nn.LazyLinear(2)) != described(nn.LazyLinear(3))
    assert described([1, None, "auto", 0.5, np.float32(2)]) == [1, None, "auto", 0.5, 2.0]


def test_cycles_and_what_leads_to_everything_end():
    first = Scale([np, logging.getLogger("name")])
    before = described(first)
    logging.getLogger("another")
    assert described(first) == before
    first.by = [first, {"back": first}]
    assert described(first) == described(first)


SCRIPT = '''
import torch
from torch import nn
{comment}
STRENGTH = {{"blur": (0.5, 1)}}

def helped(x):
    return x.sum() in {{"a", "b", "c", "d"}} or STRENGTH

class Augment(nn.Module):
    """{doc}"""
    kinds = {{"a", "b", "c"}}

    def __init__(self):
        super().__init__()
        self.names = {{"e", "f", "g", "h"}}
        self.other = lambda x: helped(x)

    def extra_repr(self):
        return str(self.names)

    @staticmethod
    def forward(x):
        return x + 1

from skdeepclust.engine.identity import described
print(described([Augment(), lambda x: Augment()(x), helped]))
'''


def test_the_next_process_says_the_same(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(comment="", doc="Plain."))
    edited = SCRIPT.format(comment="# another line\n", doc="Another.")
    one, other = (
        subprocess.run([sys.executable, *how], capture_output=True, text=True, check=True).stdout
        for how in ([script], ["-c", edited])
    )
    assert one.count("__main__") == one.count("#") == 3
    assert one == other
