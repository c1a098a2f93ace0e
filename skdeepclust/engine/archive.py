"""One file for tensors and a document: safetensors, under a digest of every byte."""

import contextlib
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from skdeepclust._paths import expanded
from skdeepclust.engine.tree import DTYPES, pack, unpack

__all__ = ["UNFINISHED", "Damaged", "read", "replacing", "sync_folder", "write"]

# Ending of files that are being written; a process that is killed leaves one.
UNFINISHED = ".tmp"

_BLANK = "0" * 64
_DIGEST = re.compile(rb'"sha256":"([0-9a-f]{64})"')
_LARGEST_HEADER = 100_000_000  # bytes; safetensors' own bound


class Damaged(ValueError):
    """A file that cannot be trusted to hold what was written."""


def write(path: str | os.PathLike[str], kind: str, version: int, tree: dict[str, Any]) -> None:
    """Write a tree of data and tensors so that a reader finds all of it or nothing.

    Parameters
    ----------
    path : path
        Of the file, which is replaced in one step once the new one is on the disk.
    kind : str
        What the file is, such as "model".
    version : int
        Of the layout of the tree.
    tree : dict
        As of `pack`. What is not a tensor can be read in the file's header.

    Raises
    ------
    NotStorable
        If the tree holds anything else.
    OSError
        If the file cannot be written; what was there before is untouched.
    """
    tensors: dict[str, Tensor] = {}
    document = {"kind": kind, "version": version, "content": pack(tree, tensors)}
    with replacing(path) as file:
        _fill(file, document, tensors)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Any]:
    """A file beside `path` that takes its place when it is complete and on the disk.

    Parameters
    ----------
    path : path
        What is there stays as it is until then, and for good if there is an error.

    Raises
    ------
    ValueError
        If `path` is a folder.
    OSError
        If the file cannot be written; it names `path`.
    """
    path = Path(expanded(path))
    if path.is_dir():
        raise ValueError(f"path={str(path)!r} is a folder: pass the name of a file in it")
    target = Path(os.path.realpath(path))  # a link stays one
    # Names may have 255 bytes, and a letter up to four.
    name = target.with_name(f".{target.name[:50]}-{secrets.token_hex(4)}{UNFINISHED}")
    try:
        with open(name, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(name)
        if isinstance(error, OSError) and error.errno:  # as of a full disk, which tells no name
            raise type(error)(error.errno, error.strerror, str(path)) from error
        raise
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, where the system can do that."""
    with contextlib.suppress(OSError, AttributeError):
        handle = os.open(folder, os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _fill(file: Any, document: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    # The tensors one by one: serialised together they would be in memory twice.
    header = _header(json.dumps(document, allow_nan=False, separators=(",", ":")), tensors)
    digest = hashlib.sha256()
    for part in (len(header).to_bytes(8, "little"), header, *map(_raw, tensors.values())):
        file.write(part)
        digest.update(part)
    (match,) = _DIGEST.finditer(header)
    file.seek(8 + match.start(1))
    file.write(digest.hexdigest().encode())


def _header(document: str, tensors: dict[str, Tensor]) -> bytes:
    entries: dict[str, Any] = {"__metadata__": {"sha256": _BLANK, "skdeepclust": document}}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.numel() * tensor.element_size()
        entries[name] = {
            "dtype": DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    header = json.dumps(entries, separators=(",", ":")).encode()
    return header + b" " * (-len(header) % 8)


def _raw(tensor: Tensor) -> Any:
    flat = tensor.detach().cpu().contiguous().view(-1)
    return flat.view(torch.uint8).numpy().data if flat.numel() else b""


def read(path: str | os.PathLike[str], kind: str, version: int) -> dict[str, Any]:
    """Read a tree that `write` has written; nothing of it is looked at before its digest.

    Parameters
    ----------
    path : path
        Of the file.
    kind : str
        As of `write`; other files are refused.
    version : int
        As of `write`; files of later versions are refused.

    Returns
    -------
    dict
        The tree. Its tensors are on the CPU.

    Raises
    ------
    Damaged
        If a single bit differs from what was written.
    ValueError
        If the file is something else, or a folder.
    FileNotFoundError
        If there is none.
    """
    path = expanded(path)
    if os.path.isdir(path):
        raise ValueError(f"path={os.fspath(path)!r} is a folder: pass the name of a file in it")
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(os.fstat(file.fileno()).st_size - 8, _LARGEST_HEADER):
            raise Damaged(f"{os.fspath(path)!r} is cut off, or is no file of skdeepclust")
        file.seek(0)
        content = file.read()
    document = _verified(content, 8 + length, path)
    if document.get("kind") != kind:
        raise ValueError(f"{os.fspath(path)!r} is a {document.get('kind')}, not a {kind}")
    if document.get("version") not in range(1, version + 1):
        raise ValueError(
            f"{os.fspath(path)!r} has version {document.get('version')} of the format, this "
            f"release of skdeepclust reads up to {version}: update it"
        )
    try:
        return unpack(document["content"], load_tensors(content))
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise Damaged(f"{os.fspath(path)!r} is not as it should be: {error}") from error


def _verified(content: bytes, end: int, path: Any) -> dict[str, Any]:
    """The document in a file's header, if the digest of the file is the one that it tells."""
    header = memoryview(content)[8:end]
    found = list(_DIGEST.finditer(header))
    if len(found) != 1:
        raise Damaged(f"{os.fspath(path)!r} is damaged, or is no file of skdeepclust")
    start, stop = 8 + found[0].start(1), 8 + found[0].end(1)
    digest = hashlib.sha256(memoryview(content)[:start])
    digest.update(_BLANK.encode())
    digest.update(memoryview(content)[stop:])
    if digest.hexdigest().encode() != bytes(content[start:stop]):
        raise Damaged(f"{os.fspath(path)!r} is damaged: it is not what was written (SHA-256)")
    try:
        metadata = _strict(bytes(header))["__metadata__"]
        document = _strict(metadata["skdeepclust"])
        if not isinstance(document, dict):
            raise ValueError("no document")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Damaged(f"{os.fspath(path)!r} holds no document: {error}") from error
    return document


def _strict(text: str | bytes) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)
