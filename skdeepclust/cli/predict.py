"""``skdeepclust predict``: put other images into the clusters of a model."""

import argparse
import sys
from typing import Any

from skdeepclust.cli._arguments import add_classes, add_folder, add_json, add_model, new_file
from skdeepclust.cli._results import (
    classes_of,
    open_model,
    read_folder,
    refuse_existing,
    scores,
    scores_in_words,
    told_warnings,
    unreadable,
    write_labels,
)

__all__ = ["add_to"]

_EXAMPLES = """examples:
  skdeepclust predict photos_clusters more_photos
  skdeepclust predict photos_clusters more_photos --out more.csv"""


def add_to(commands: Any) -> argparse.ArgumentParser:
    """Add the command; returns its parser."""
    predict: argparse.ArgumentParser = commands.add_parser(
        "predict",
        help="put other images into the clusters of a model",
        description="Assign the images of a folder to the clusters that fit has found, and print "
        "a table of files and clusters; -1 stands for a file that cannot be read.",
        epilog=_EXAMPLES,
    )
    add_model(predict)
    add_folder(predict)
    predict.add_argument(
        "--out", type=new_file(".csv"), metavar="FILE", help="write the table, as FILE.csv"
    )
    predict.add_argument("--overwrite", action="store_true", help="replace FILE.csv")
    add_classes(predict)
    add_json(predict)
    predict.set_defaults(run=_run)
    return predict


def _run(args: argparse.Namespace) -> dict[str, Any]:
    refuse_existing(args)
    with told_warnings() as warnings:
        model = open_model(args)
        images, names = read_folder(args, model.image_shape_in_)
        classes = classes_of(args.classes, names)
        labels = model.predict(images)
    if args.out or not args.json:
        write_labels(args.out or sys.stdout, names, labels, classes)
    found = scores(classes, labels)
    if args.out:
        print(f"{len(names):,} images are in {args.out}")
    skipped = [name for name, k in zip(names, labels, strict=True) if k < 0]
    if skipped:
        print(unreadable(skipped), file=sys.stderr)
    if found:
        print(f"against the classes: {scores_in_words(found)}", file=sys.stderr)
    return {
        "n_images": len(names),
        "labels": dict(zip(names, labels.tolist(), strict=True)),
        "skipped": skipped,
        "scores": found,
        "out": args.out,
        "warnings": warnings,
    }
