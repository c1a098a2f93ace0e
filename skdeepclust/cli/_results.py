"""What commands say and leave behind."""

import argparse
import contextlib
import csv
import io
import os
import shutil
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "MODEL",
    "classes_of",
    "fit_quietly",
    "open_model",
    "read_folder",
    "refuse_existing",
    "relative",
    "scores",
    "scores_in_words",
    "sort_files",
    "title_of",
    "told_warnings",
    "unreadable",
    "write_labels",
]

MODEL = "model.safetensors"


@contextlib.contextmanager
def told_warnings() -> Iterator[list[str]]:
    """Print each warning as a line, once; yields them all."""
    found: list[str] = []

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        text = " ".join(str(message).split())
        if text not in found:
            found.append(text)
            print(f"Warning: {text}", file=sys.stderr, flush=True)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield found


def unreadable(skipped: Sequence[str]) -> str:
    """Say how many files are left out, and what stands for them."""
    if len(skipped) == 1:
        return f"{skipped[0]} could not be read, and has cluster -1"
    return f"{len(skipped):,} files could not be read, and have cluster -1"


def relative(path: str, folder: Path) -> str:
    """Return the name of an image inside its folder, with forward slashes."""
    return Path(os.path.relpath(path, folder)).as_posix()


def read_folder(args: argparse.Namespace, image_shape: Any) -> tuple[Any, list[str]]:
    """Return the images of the folder that an argument names, and their names inside it."""
    from skdeepclust.engine.files import ImageFiles

    images = ImageFiles(args.folder, image_shape, on_error="skip")
    return images, [relative(path, args.folder) for path in images.paths]


def fit_quietly(model: Any, images: Any) -> None:
    """Fit a model; of an interruption the command tells by itself, and how to go on."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Training was interrupted")
        model.fit(images)


def title_of(folder: Path) -> str:
    """Heading of the report on a folder."""
    return f"Clusters of {folder.resolve().name}"


def scores_in_words(found: dict[str, float]) -> str:
    """Return scores as people read them."""
    return "  ".join(f"{name.upper()} {value:.3f}" for name, value in found.items())


def open_model(args: argparse.Namespace) -> Any:
    """Load the model that an argument names, be it file, its folder, or what fit has written."""
    from skdeepclust.persistence import load

    places = [args.model, args.model / MODEL, args.model / "model" / MODEL]
    found = [place for place in places if place.is_file()]
    if not found:
        missing = f"MODEL={str(args.model)!r} holds no model: make one by skdeepclust fit"
        if (args.model / "checkpoint").is_dir():
            missing += ", whose run there was stopped: the same command goes on"
        raise FileNotFoundError(missing)
    # A command has no other answer to a broken file than to go on and tell.
    return load(found[0], on_error="skip", **({"device": args.device} if args.device else {}))


def refuse_existing(args: argparse.Namespace) -> None:
    """Do not replace a file unless that is wanted."""
    if args.out and args.out.exists() and not args.overwrite:
        raise ValueError(f"--out {args.out} exists: name another, or pass --overwrite")


# -- files ------------------------------------------------------------------------------------


def write_labels(
    file: Any, names: Sequence[str], labels: np.ndarray, classes: Sequence[str] | None = None
) -> None:
    """Write a row for each image: its file, its cluster and its class, where that is known.

    Parameters
    ----------
    file : path or file object
        A path is replaced once the new table is complete.
    names : sequence of str
        The files.
    labels : ndarray of shape (n_samples,), int
        Cluster of each; -1 for one that could not be read.
    classes : sequence of str, default=None
        Class of each.
    """
    if isinstance(file, os.PathLike):
        from skdeepclust.engine.archive import replacing

        text = io.StringIO()
        write_labels(text, names, labels, classes)
        with replacing(file) as opened:
            opened.write(text.getvalue().encode("utf-8", "surrogateescape"))
        return
    columns: list[Sequence[Any]] = [names, labels.tolist()]
    head = ["file", "cluster"]
    if classes is not None:
        columns.append(classes)
        head.append("class")
    table = csv.writer(file, lineterminator="\n")
    table.writerow(head)
    table.writerows(zip(*columns, strict=True))


def sort_files(how: str, folder: Path, names: Sequence[str], labels: np.ndarray, out: Path) -> None:
    """Put each image into the folder of its cluster, as a copy or a link.

    Parameters
    ----------
    how : {"copy", "symlink"}
        What to put there.
    folder : Path
        Where the images are.
    names : sequence of str
        Of the images, inside it.
    labels : ndarray of shape (n_samples,), int
        Cluster of each; those below 0 are left out.
    out : Path
        Where the folders are made. Those of clusters in it are replaced, and nothing else.
    """
    for old in out.iterdir() if out.is_dir() else ():
        if old.name.isdecimal():
            shutil.rmtree(old, ignore_errors=True)
    digits = len(str(labels.max(initial=0)))
    for name, k in zip(names, labels, strict=True):
        if k < 0:
            continue
        source = (folder / name).absolute()
        target = out / f"{k:0{digits}}" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if how == "symlink":
            target.symlink_to(source)
        else:
            shutil.copy2(source, target)


# -- classes ----------------------------------------------------------------------------------


def classes_of(source: str | None, names: Sequence[str]) -> list[str] | None:
    """Return the class of each image.

    Parameters
    ----------
    source : str or None
        ``"folders"``, or the path of a table with the columns file and class.
    names : sequence of str
        Of the images, inside their folder.

    Returns
    -------
    list of str or None
        None without a source.

    Raises
    ------
    ValueError
        If there is an image without a class, or with two, or the table cannot be read.
    """
    if source is None:
        return None
    if source == "folders":
        found = [Path(name).parent.as_posix() for name in names]
        if "." in found:
            raise ValueError(
                f"--classes folders: {names[found.index('.')]!r} lies in no sub-folder of FOLDER"
            )
        return found
    return _from_table(Path(source), names)


def _from_table(path: Path, names: Sequence[str]) -> list[str]:
    if path.is_dir() or not path.exists():
        raise ValueError(f"--classes {path} is no file: name a table, or say folders")
    with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        table = csv.DictReader(file)
        try:
            head, rows = table.fieldnames or (), list(table)
        except csv.Error as error:
            raise ValueError(f"--classes {path}: line {table.line_num + 1}: {error}") from error
    if not {"file", "class"} <= set(head):
        raise ValueError(f"--classes {path}: its first line must name the columns file, class")
    known: dict[str, str] = {}
    for row in rows:
        if row["file"] and row["class"]:
            name = Path(row["file"]).as_posix()
            if known.setdefault(name, row["class"]) != row["class"]:
                raise ValueError(f"--classes {path}: it has two classes for {name!r}")
    missing = [name for name in names if name not in known]
    if missing:
        raise ValueError(f"--classes {path}: it has no class for {missing[0]!r}")
    return [known[name] for name in names]


def scores(classes: Sequence[str] | None, labels: np.ndarray) -> dict[str, float] | None:
    """Return ACC, NMI and ARI over the images that have a cluster, if there are any."""
    from skdeepclust.metrics import clustering_report

    kept = labels >= 0
    if classes is None or not kept.any():
        return None
    return clustering_report(np.asarray(classes)[kept], labels[kept])
