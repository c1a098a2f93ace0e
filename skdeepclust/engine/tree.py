"""Trees of data and tensors, as strict JSON and tensors by name."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["DTYPES", "NotStorable", "pack", "unpack"]

_DEEPEST = 64
# By the names that safetensors has for them.
DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


class NotStorable(TypeError):
    """A value that is neither data nor a tensor, with its place in the tree."""

    def __init__(self, place: str, value: object, reason: str = "which a file cannot hold"):
        super().__init__(f"{place} is a {type(value).__name__}, {reason}")
        self.place = place


def pack(tree: Any, tensors: dict[str, Tensor], place: str = "", depth: int = 0) -> Any:
    """Take a tree apart into strict JSON and the tensors in it.

    Parameters
    ----------
    tree : object
        Dicts, lists, tuples, strings, numbers, None, and between them tensors and arrays.
    tensors : dict of str to Tensor
        Filled with those of the tree, by names that tell their places.
    place : str, default=""
        What error messages call the tree.

    Returns
    -------
    object
        For `unpack`. Other things than JSON has are objects with one key that begins with "$".

    Raises
    ------
    NotStorable
        For anything else, and for what `unpack` refuses as nested too deep.

    Examples
    --------
    >>> import torch
    >>> tensors = {}
    >>> pack({"shape": (1, 2), "loss": float("nan"), "w": torch.ones(2)}, tensors)
    {'shape': {'$tuple': [1, 2]}, 'loss': {'$float': 'nan'}, 'w': {'$tensor': 'w'}}
    >>> tensors
    {'w': tensor([1., 1.])}
    """
    if depth > _DEEPEST:
        raise NotStorable(place, tree, f"nested more than {_DEEPEST} deep")
    if isinstance(tree, np.generic):
        tree = tree.item()
    if tree is None or isinstance(tree, bool | str):
        return tree
    if isinstance(tree, int):
        return int(tree)
    if isinstance(tree, float):
        return float(tree) if math.isfinite(tree) else {"$float": str(float(tree))}
    if isinstance(tree, Tensor | np.ndarray):
        return _pack_array(tree, tensors, place)
    if isinstance(tree, list | tuple):
        inside = depth + (1 if isinstance(tree, list) else 2)  # as `unpack` goes down
        parts = [pack(v, tensors, _join(place, i), inside) for i, v in enumerate(tree)]
        return parts if isinstance(tree, list) else {"$tuple": parts}
    if isinstance(tree, dict):
        packed = {k: pack(v, tensors, _join(place, k), depth + 1) for k, v in tree.items()}
        if all(isinstance(k, str) and k[:1] != "$" for k in packed):
            return packed
        return {"$items": [[pack(k, tensors, place, depth + 1), v] for k, v in packed.items()]}
    raise NotStorable(place, tree)


def _join(place: str, name: object) -> str:
    return f"{place}.{name}" if place else str(name)


def _pack_array(value: Tensor | np.ndarray, tensors: dict[str, Tensor], place: str) -> Any:
    tag = "$tensor" if isinstance(value, Tensor) else "$array"
    try:
        tensor = value if isinstance(value, Tensor) else torch.from_numpy(value)
    except (TypeError, ValueError) as error:  # of text; of the other order of bytes
        raise NotStorable(place, value) from error
    if tensor.dtype not in DTYPES or tensor.layout != torch.strided:
        raise NotStorable(place, value)
    name = place
    while name in tensors:  # a.b may be b in a, or the key a.b
        name += "~"
    tensors[name] = tensor
    return {tag: name}


def unpack(packed: Any, tensors: dict[str, Tensor], depth: int = 0) -> Any:
    """Put together what `pack` has taken apart.

    Parameters
    ----------
    packed : object
        What `pack` returned.
    tensors : dict of str to Tensor
        What it filled.

    Returns
    -------
    object
        The tree.

    Raises
    ------
    ValueError, KeyError, TypeError
        If `packed` is not of `pack`'s making.
    """
    if depth > _DEEPEST:
        raise ValueError(f"it is nested more than {_DEEPEST} deep")
    if isinstance(packed, list):
        return [unpack(v, tensors, depth + 1) for v in packed]
    if not isinstance(packed, dict):
        return packed
    if len(packed) == 1:
        ((tag, value),) = packed.items()
        if tag.startswith("$"):
            return _UNTAGGED[tag](value, tensors, depth + 1)
    return {k: unpack(v, tensors, depth + 1) for k, v in packed.items()}


_UNTAGGED: dict[str, Callable[[Any, dict[str, Tensor], int], Any]] = {
    "$float": lambda value, tensors, depth: {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[
        value
    ],
    "$tensor": lambda value, tensors, depth: tensors[value],
    "$array": lambda value, tensors, depth: tensors[value].numpy(),
    "$tuple": lambda value, tensors, depth: tuple(unpack(value, tensors, depth)),
    "$items": lambda value, tensors, depth: {
        unpack(k, tensors, depth): unpack(v, tensors, depth) for k, v in value
    },
}
