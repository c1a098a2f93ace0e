"""All that a training is at one moment: taken off a net, and put back."""

import contextlib
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skdeepclust.engine.images import Batches
from skdeepclust.engine.tree import NotStorable, pack
from skdeepclust.ops import collective

__all__ = ["capture", "restore"]


def capture(loop: Any) -> dict[str, Any]:
    """Copy the state of a training between two steps.

    Parameters
    ----------
    loop : Loop
        In training.

    Returns
    -------
    dict
        A tree for `skdeepclust.engine.tree.pack`; nothing in it changes any more.
    """
    net = loop.net
    run = net.run
    return {
        "epoch": run.epoch,
        "step": run.step,
        "lr_share": run.lr_share,
        "tensors": _cloned(_tensors(net.module_)),
        "flags": _flags(net.objective),
        "optimizer": _cloned(net.optimizer_.state_dict()),
        "scaler": _cloned(net.scaler.state_dict()),
        "health": _cloned(vars(net.health)),
        "history": net.rows[: run.epoch],
        "callbacks": {name: _attributes(callback) for name, callback in net.callbacks_},
        "random": _generators(net, loop.batches),
        "midway": _cloned(loop.midway),
        "stopped": loop.stopped_early,
    }


@torch.no_grad()
def restore(loop: Any, state: dict[str, Any]) -> None:
    """Put a captured state back.

    Parameters
    ----------
    loop : Loop
        As of `capture`, of the same method, parameters and samples.
    state : dict
        What it returned; it is left as it is.
    """
    net = loop.net
    run = net.run
    run.epoch, run.step, run.lr_share = state["epoch"], state["step"], state["lr_share"]
    for name, value in state["tensors"].items():
        _put(net.module_, name, value)
    vars(net.objective).update(state["flags"])
    _restore_optimizer(net.optimizer_, state["optimizer"])
    net.scaler.load_state_dict(state["scaler"])
    vars(net.health).update(_cloned(state["health"]))
    net.rows = state["history"]
    for name, callback in net.callbacks_:
        vars(callback).update(_cloned(state["callbacks"].get(name, {})))
    _set_generators(net, loop.batches, state["random"])
    loop.midway = _cloned(state["midway"])
    if loop.midway is not None:
        totals = loop.midway["totals"]
        loop.midway["totals"] = {k: v.to(net.device) for k, v in totals.items()}
    loop.stopped_early = state["stopped"]
    run.forget_features()


def _tensors(module: Any) -> dict[str, Tensor | None]:
    """What changes in training: all of the objective, and what augmentations remember."""
    found: dict[str, Tensor | None] = dict(module.objective.named_parameters("objective"))
    for prefix, part in (("objective", module.objective), ("views", module.views)):
        for name, child in part.named_modules(prefix=prefix):
            found |= {f"{name}.{key}": buffer for key, buffer in child._buffers.items()}
    return found


def _put(module: nn.Module, name: str, value: Tensor | None) -> None:
    owner, _, key = name.rpartition(".")
    part = module.get_submodule(owner)
    there = getattr(part, key)
    if value is not None and there is not None and there.shape == value.shape:
        there.copy_(value)
    else:  # a buffer that grows, or was not there yet
        where = next(module.buffers()).device
        setattr(part, key, None if value is None else value.to(where, copy=True))


def _restore_optimizer(optimizer: Any, state: dict[str, Any]) -> None:
    optimizer.load_state_dict(_cloned(state))
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                # Fused steps go through memory in the order of the parameter's.
                values[name] = torch.empty_like(parameter).copy_(value)


def _flags(objective: nn.Module) -> dict[str, Any]:
    return {
        name: value
        for name, value in vars(objective).items()
        if isinstance(value, bool | int | float) and name[0] != "_" and name != "training"
    }


def _attributes(callback: Any) -> dict[str, Any]:
    """What a callback has learned, as far as it is data: a progress bar is not."""
    learned = {}
    for name, value in vars(callback).items():
        if name.endswith("_") and not name.startswith("_"):
            with contextlib.suppress(NotStorable):
                copy = _cloned(value)
                pack(copy, {}, name)
                learned[name] = copy
    return learned


def _cloned(tree: Any, place: str = "state") -> Any:
    """A copy of a tree of data that shares nothing with it."""
    if isinstance(tree, Tensor):
        return tree.detach().clone()
    if isinstance(tree, np.ndarray):
        return tree.copy()
    if isinstance(tree, dict):
        return {k: _cloned(v, f"{place}.{k}") for k, v in tree.items()}
    if type(tree) in (list, tuple):  # one with names is built in another way
        return type(tree)(_cloned(v, f"{place}.{i}") for i, v in enumerate(tree))
    if tree is None or isinstance(tree, bool | int | float | str | np.generic):
        return tree
    raise NotStorable(place, tree)


# -- random numbers ---------------------------------------------------------------------------


def _generators(net: Any, batches: Batches) -> dict[str, Any]:
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    version, words, gauss_next = random.getstate()
    device = torch.device(net.device)
    own = net.own_random_numbers.states
    return {
        "torch": torch.get_rng_state(),
        "device": _device_state(device),
        "run": net.run.generator.get_state(),
        "batches": batches.generator.get_state(),
        "numpy": [kind, np.asarray(keys, np.int64), position, has_gauss, gauss],
        "python": [version, torch.tensor(words), gauss_next],
        "ranks": [collective.rows_of_ranks(state.to(net.device)).cpu() for state in own],
    }


def _set_generators(net: Any, batches: Batches, states: dict[str, Any]) -> None:
    device = torch.device(net.device)
    torch.set_rng_state(states["torch"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["device"], device)
    elif device.type != "cpu":
        torch.get_device_module(device.type).set_rng_state(states["device"])
    net.run.generator.set_state(states["run"])
    batches.generator.set_state(states["batches"])
    kind, keys, position, has_gauss, gauss = states["numpy"]
    np.random.set_state((kind, keys.astype(np.uint32), position, has_gauss, gauss))
    version, words, gauss_next = states["python"]
    random.setstate((version, tuple(words.tolist()), gauss_next))
    ranks = states["ranks"]
    if ranks and len(ranks[0]) == collective.world_size():  # else other streams, not the same
        net.own_random_numbers.states[:] = [rows[collective.rank()].clone() for rows in ranks]


def _device_state(device: torch.device) -> Tensor | None:
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return None if device.type == "cpu" else torch.get_device_module(device.type).get_rng_state()
