"""What arguments mean, for all commands."""

import argparse
import ast
import difflib
import importlib.util
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import skdeepclust
from skdeepclust._paths import expanded

__all__ = [
    "UNTRAINED",
    "add_classes",
    "add_folder",
    "add_json",
    "add_model",
    "add_page",
    "check_page",
    "estimator",
    "integer",
    "meant",
    "method",
    "new_file",
    "path",
    "setting",
    "short",
]

UNTRAINED = "BackboneKMeans"
# As other languages and files of settings write them.
_CONSTANTS = {"true": True, "false": False, "none": None, "null": None}


def method(text: str) -> str:
    """Class name of a method that trains, from that or its short form."""
    return _named(text, list(skdeepclust.METHODS))


def estimator(text: str) -> str:
    """Class name of any estimator, from that or its short form."""
    return _named(text, [*skdeepclust.METHODS, UNTRAINED])


def short(name: str) -> str:
    """Return what a method is called here: propos for ProPosClustering."""
    return name.lower().removesuffix("clustering").removeprefix("backbone")


def _named(text: str, names: list[str]) -> str:
    known = {short(name): name for name in names}
    if short(text) in known:
        return known[short(text)]
    hint = meant(short(text), known)
    raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(known)}{hint}")


def meant(text: str, known: Iterable[str]) -> str:
    """What ends a message on a name that is unknown: the one that it is near to, if any."""
    near = difflib.get_close_matches(text, list(known), n=1)
    return f": did you mean {near[0]}?" if near else ""


def integer(least: int) -> Callable[[str], int]:
    """Parse an integer that is not below another."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) < 2**32:
            raise argparse.ArgumentTypeError(f"must be an integer >= {least}, got {text!r}")
        return int(text)

    return parse


def setting(text: str) -> tuple[str, Any]:
    """Parse NAME=VALUE; a value that is no literal of Python, in any case, is a text."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE, got {text!r}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, _CONSTANTS.get(value.lower(), value)


def path(text: str) -> Path:
    """Parse a path; no shell expands the ~ of --out=~/clusters."""
    if not text:
        raise argparse.ArgumentTypeError("is empty: '.' is the current folder")
    return Path(expanded(text))


def existing(advice: str) -> Callable[[str], Path]:
    """Parse the path of what has to be there: found out before torch is imported."""

    def parse(text: str) -> Path:
        found = path(text)
        if not os.path.exists(found):  # pathlib's own raises for some names
            raise argparse.ArgumentTypeError(f"{text!r} does not exist: {advice}")
        return found

    return parse


def new_file(*suffixes: str) -> Callable[[str], Path]:
    """Parse the path of a file to write, with one of some endings."""

    def parse(text: str) -> Path:
        file = path(text)
        if file.suffix.lower() not in suffixes:
            raise argparse.ArgumentTypeError(f"{text!r} must end in {', '.join(suffixes)}")
        if not file.parent.is_dir():
            raise argparse.ArgumentTypeError(f"make the folder {str(file.parent)!r} first")
        if file.is_dir():
            raise argparse.ArgumentTypeError(f"{text!r} is a folder: name a file")
        return file

    return parse


def add_folder(command: argparse.ArgumentParser) -> None:
    """Let a command take a folder of images."""
    command.add_argument(
        "folder",
        type=existing("name a folder of images"),
        metavar="FOLDER",
        help="images, in sub-folders as well",
    )


def add_model(command: argparse.ArgumentParser) -> None:
    """Let a command take what `fit` has left."""
    command.add_argument(
        "model",
        type=existing("make one by skdeepclust fit"),
        metavar="MODEL",
        help="what fit has written, or a file of model.save",
    )
    command.add_argument("--device", help="auto, cpu, cuda or mps (default: as it was trained)")


def add_classes(command: argparse.ArgumentParser) -> None:
    """Let a command know the classes, to score by."""
    command.add_argument(
        "--classes",
        type=expanded,
        metavar="SOURCE",
        help="known classes, to score by and never to train: 'folders' takes the folder, below "
        "FOLDER, that each image lies in; FILE.csv has the columns file and class",
    )


def check_page(args: argparse.Namespace) -> None:
    """See before a training, not after it, that its report can be made."""
    if args.map == "umap" and importlib.util.find_spec("umap") is None:
        raise ImportError("--map umap needs umap-learn: pip install umap-learn")


def add_page(command: argparse.ArgumentParser) -> None:
    """Let a command say what its report looks like."""
    command.add_argument(
        "--map",
        choices=("tsne", "pca", "umap"),
        default="tsne",
        help="of the report (default: tsne)",
    )
    command.add_argument(
        "--max-images",
        type=integer(2),
        default=10_000,
        metavar="N",
        help="most images on the page (default: 10000)",
    )


def add_json(command: argparse.ArgumentParser) -> None:
    """Let a command answer programs."""
    command.add_argument(
        "--json", action="store_true", help="print the result as JSON, all else as messages"
    )
