"""What a parameter is, as data that two trainings can be compared by."""

import contextlib
import dis
import enum
import functools
import hashlib
import logging
import os
import re
import sys
import sysconfig
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

__all__ = ["described"]

_PLAIN = (bool, int, float, str, type(None))
_STANDARD = Path(sysconfig.get_paths()["stdlib"]).resolve()
_OF_SCRIPTS = ("__main__", "__mp_main__")
_INSTALLED = {"site-packages", "dist-packages"}


def described(value: Any, weights: bool = True) -> Any:
    """A parameter as data to compare.

    Data is itself. Anything else is its name with a digest of what it holds: tensors, public
    attributes, what functions close over, and code, unless that is of an installed package,
    with the global constants and functions it uses.

    Parameters
    ----------
    value : object
        Of a parameter.
    weights : bool, default=True
        Whether a module with other weights is another one.

    Returns
    -------
    object
        Of strings, numbers, None and lists.
    """
    return _Describer(weights).describe(value)


class _Describer:
    def __init__(self, weights: bool):
        self.weights = weights
        # Objects, held so that no other takes their id, and what was said of them.
        self.seen: dict[int, tuple[Any, str]] = {}

    def describe(self, value: Any) -> Any:
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, enum.Enum | bytes | complex):
            return str(value)
        if isinstance(value, _PLAIN):
            return value if value == value else "nan"
        if isinstance(value, os.PathLike):
            return os.fspath(value)
        if isinstance(value, types.ModuleType | logging.Logger):  # lead to all there is
            return _name(value)
        if isinstance(value, list | tuple):
            return [self.describe(part) for part in value]
        if isinstance(value, Mapping):
            pairs = [[self.describe(key), self.describe(part)] for key, part in value.items()]
            return sorted(pairs, key=repr)
        if isinstance(value, set | frozenset):
            return sorted(str(self.describe(part)) for part in value)
        if isinstance(value, functools.partial):
            return self.describe([value.func, value.args, *sorted(value.keywords.items())])
        if id(value) not in self.seen:
            self.seen[id(value)] = value, f"{_name(value)} itself"
            self.seen[id(value)] = value, self.of_object(value)
        return self.seen[id(value)][1]

    def of_object(self, value: Any) -> str:
        try:  # attributes may be computed, and anything may happen then
            held = list(self.held(value))
            text = "0x" if held or hasattr(value, "__qualname__") else repr(value)
        except Exception:
            return _name(value)
        if held:
            return f"{_name(value)} #{_digest(repr(held).encode())}"
        return _name(value) if "0x" in text else text  # of a dtype or a range, say

    def held(self, value: Any) -> Iterator[Any]:
        """What tells an object from others of its name."""
        if isinstance(value, Tensor | np.ndarray):
            objects = isinstance(value, np.ndarray) and value.dtype.hasobject
            yield self.describe(value.tolist()) if objects else _of_array(value)
        elif isinstance(value, types.CodeType):
            yield [_digest(value.co_code), value.co_names, self.describe(value.co_consts)]
        elif isinstance(value, types.FunctionType):
            yield from self.of_function(value)
        elif isinstance(value, types.MethodType):
            yield [self.describe(value.__func__), self.describe(value.__self__)]
        elif isinstance(value, type):
            yield from self.of_class(value)
        elif isinstance(value, nn.Module):
            yield from self.of_module(value)
        elif hasattr(type(value), "__enter__") and not _is_own(type(value)):
            return  # a file, a lock, a bar: it changes with use
        else:
            yield from self.of_class(type(value))
            yield from self.of_attributes(value)

    def of_function(self, function: types.FunctionType) -> Iterator[Any]:
        for cell in function.__closure__ or ():
            with contextlib.suppress(ValueError):  # empty as yet
                yield self.describe(cell.cell_contents)
        if _is_own(function):
            code = function.__code__
            if code.co_consts and code.co_consts[0] == function.__doc__:
                code = code.replace(co_consts=(None, *code.co_consts[1:]))
            yield self.describe([function.__defaults__, function.__kwdefaults__, code])
            for name in sorted(_globals(code)):
                value = function.__globals__.get(name)
                if _is_constant(value) or _is_own(value):
                    yield [name, self.describe(value)]

    def of_class(self, kind: type) -> Iterator[Any]:
        for base in filter(_is_own, kind.__mro__):
            for name, member in sorted(vars(base).items()):
                function = getattr(member, "fget", getattr(member, "__func__", member))
                constant = _is_constant(member) and not name.startswith("_")
                if isinstance(function, types.FunctionType) or constant:
                    yield [name, self.describe(function)]

    def of_module(self, module: nn.Module) -> Iterator[Any]:
        if self.weights:
            yield self.describe(module.state_dict())
        for name, part in module.named_modules():
            yield [name, _name(type(part))]
            if type(part).__module__.startswith("torch.nn."):
                yield re.sub(" at 0x[0-9a-fA-F]+", "", part.extra_repr())
            else:
                yield from self.of_class(type(part))
                yield from self.of_attributes(part)

    def of_attributes(self, value: Any) -> Iterator[Any]:
        slots = [name for kind in type(value).__mro__ for name in vars(kind).get("__slots__", ())]
        for name in sorted({*getattr(value, "__dict__", ()), *slots}):
            if not name.startswith("_") and name != "training" and hasattr(value, name):
                yield [name, self.describe(getattr(value, name))]


def _name(value: Any) -> str:
    kind = type(value)
    of_code = isinstance(value, type | types.FunctionType | types.BuiltinFunctionType)
    named = value if of_code or isinstance(value, types.ModuleType) else kind
    module = getattr(named, "__module__", None) or kind.__module__
    name = getattr(named, "__qualname__", getattr(named, "__name__", kind.__qualname__))
    return f"{module}.{name}".replace("__mp_main__", "__main__")


def _digest(content: Any) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def _of_array(value: Any) -> Any:
    if is_lazy(value):
        return "not yet initialised"
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = value if value.layout == torch.strided else value.to_dense()
        value = value.resolve_conj().resolve_neg().contiguous()
        content = value.reshape(-1).view(torch.uint8).numpy()
    else:
        content = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
    return [str(value.dtype), tuple(value.shape), _digest(content)]


def _is_constant(value: Any) -> bool:
    if isinstance(value, list | tuple | dict):  # an empty one is to be filled
        parts = list(value.values() if isinstance(value, dict) else value)
        return bool(parts) and all(map(_is_constant, parts))
    return value is not None and isinstance(value, _PLAIN)


def _is_own(code: Any) -> bool:
    """Whether it is a function or a class of no installed package: code that is edited."""
    if not isinstance(code, types.FunctionType | type):
        return False
    if code.__module__ in _OF_SCRIPTS:  # wherever they have been sent to
        return True
    file = getattr(sys.modules.get(code.__module__), "__file__", None)
    if file is None:
        return False
    path = Path(file).resolve()
    ours = code.__module__.partition(".")[0] == __name__.partition(".")[0]
    return not (ours or _INSTALLED & set(path.parts) or path.is_relative_to(_STANDARD))


def _globals(code: types.CodeType) -> set[str]:
    """Names of what a function reads of its module and does not set."""
    steps = list(dis.get_instructions(code))
    read, set_ = (
        {step.argval for step in steps if step.opname == name}
        for name in ("LOAD_GLOBAL", "STORE_GLOBAL")
    )
    parts = [_globals(part) for part in code.co_consts if isinstance(part, types.CodeType)]
    return read.union(*parts) - set_
