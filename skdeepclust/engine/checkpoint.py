"""A folder that training is written to, again and again, and goes on from."""

import os
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from skdeepclust._paths import expanded
from skdeepclust.engine.archive import UNFINISHED, Damaged, read, sync_folder, write
from skdeepclust.engine.tree import NotStorable
from skdeepclust.engine.warn import warn_user
from skdeepclust.ops.collective import agree, rank

__all__ = ["AnotherTraining", "Checkpoint", "Stage", "in_use"]

_KIND, _VERSION = "checkpoint", 1


def in_use(folder: Path) -> bool:
    """Whether a training writes its states to a folder.

    Parameters
    ----------
    folder : Path
        That of a checkpoint.

    Returns
    -------
    bool
    """
    try:
        with FileLock(_lock(folder), timeout=0):
            return False
    except Timeout:
        return True


def _lock(folder: Path) -> Path:
    return folder / "lock"


class AnotherTraining(ValueError):
    """A folder holds the states of a training that is not the one that is to go on.

    Parameters
    ----------
    folder : path
        The folder.
    differences : list of str
        In what they differ, in words.
    """

    def __init__(self, folder: Path, differences: list[str]):
        self.differences = ", ".join(differences)
        super().__init__(
            f"checkpoint={str(folder)!r} holds another training: {self.differences}. Take what "
            "was taken then, or another folder."
        )


class Checkpoint:
    """The folder, held by one training at a time.

    Used in a ``with`` statement, it locks the folder; the lock ends with the process, however
    that ends. Of several processes the first reads and writes for all.

    Parameters
    ----------
    folder : path
        Made where there is none.
    every : int
        Epochs between two states.
    identity : dict of str to data
        What must be equal for a training to go on: method, parameters, samples.

    Raises
    ------
    ValueError
        On entering, if the folder is in use or is no folder.
    """

    def __init__(self, folder: str | os.PathLike[str], every: int, identity: Mapping[str, Any]):
        if not os.fspath(folder):
            raise ValueError("checkpoint='' names no folder: pass None for no checkpoints")
        self.folder = Path(expanded(folder))
        self.every = every
        self.identity = dict(identity)
        self.n_stages = 0

    def __enter__(self) -> Self:
        if rank() == 0:
            self._lock = self._locked()
            # Of a process that was killed.
            for unfinished in self.folder.glob(f".stage*{UNFINISHED}"):
                unfinished.unlink(missing_ok=True)
        return self

    def __exit__(self, *error: object) -> None:
        if rank() == 0:
            self._lock.release()

    def _locked(self) -> FileLock:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(_lock(self.folder))
            lock.acquire(timeout=0)
        except Timeout as error:
            raise ValueError(
                f"checkpoint={str(self.folder)!r} is in use by another training: give each a "
                "folder of its own"
            ) from error
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ValueError(
                f"checkpoint={str(self.folder)!r} cannot be written to: {reason}"
            ) from error
        return lock

    def stage(self) -> "Stage":
        """The next stage of the training; most methods have one."""
        self.n_stages += 1
        return Stage(self, self.folder / f"stage{self.n_stages}.safetensors")

    def differences(self, identity: Mapping[str, Any]) -> list[str]:
        """What is other than in the training that was written, in words."""
        found = []
        for name, mine in self.identity.items():
            theirs = identity.get(name)
            if mine != theirs and isinstance(mine, dict) and isinstance(theirs, dict):
                keys = [k for k in mine if mine[k] != theirs.get(k)]
                found += [f"{k} was {theirs.get(k)!r} and is {mine[k]!r}" for k in keys]
            elif mine != theirs:
                found.append(f"another {name}")
        return found


class Stage:
    """The states of one stage of a training: the last one, and the one before it.

    Parameters
    ----------
    checkpoint : Checkpoint
        Whose stage it is.
    path : Path
        File of the last state.
    """

    def __init__(self, checkpoint: Checkpoint, path: Path):
        self.checkpoint = checkpoint
        self.path = path
        self.previous = path.with_name(f"{path.stem}.previous{path.suffix}")
        # States are written while training goes on, one after the other.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="skdeepclust-checkpoint")
        self._writing: Future[None] | None = None

    def load(self) -> dict[str, Any] | None:
        """The last state that is whole, the same on all ranks; None if there is none.

        Raises
        ------
        AnotherTraining
            If it is of another training.
        ValueError
            If there are states but none is whole.
        """
        return agree(self._load() if rank() == 0 else None)

    def _load(self) -> dict[str, Any] | None:
        damaged: Damaged | None = None
        for path in (self.path, self.previous):
            try:
                found = read(path, _KIND, _VERSION)
            except FileNotFoundError:
                continue
            except Damaged as error:
                damaged = damaged or error
                continue
            if damaged:
                warn_user(f"{damaged}. Training goes on from the state before it.", UserWarning)
            self._check(found["identity"])
            return found["state"]
        if damaged:
            raise ValueError(f"checkpoint: {damaged}. Delete the folder to start afresh.")
        return None

    def _check(self, identity: Mapping[str, Any]) -> None:
        if found := self.checkpoint.differences(identity):
            raise AnotherTraining(self.checkpoint.folder, found)

    def save(self, state: dict[str, Any]) -> None:
        """Begin to write a state, and keep the one before it.

        Parameters
        ----------
        state : dict
            As of `skdeepclust.engine.state.capture`; nobody changes it any more.

        Raises
        ------
        OSError
            If the last one could not be written.
        """
        if rank():
            return
        self.wait()
        self._writing = self._writer.submit(self._write, state)

    def wait(self) -> None:
        """Have everything on the disk."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _write(self, state: dict[str, Any]) -> None:
        tree = {"identity": self.checkpoint.identity, "state": state}
        fresh = self.path.with_name(f"{self.path.name}.new")
        try:
            write(fresh, _KIND, _VERSION, tree)
        except NotStorable as error:
            raise TypeError(f"checkpoint: {error}") from error
        # At every moment one of the two names is that of a whole state.
        if self.path.exists():
            os.replace(self.path, self.previous)
        os.replace(fresh, self.path)
        sync_folder(self.path.parent)

    def close(self) -> None:
        """Finish writing."""
        try:
            self.wait()
        finally:
            self._writer.shutdown()
