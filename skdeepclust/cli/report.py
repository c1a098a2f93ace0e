"""``skdeepclust report``: a page about what a model makes of images."""

import argparse
from pathlib import Path
from typing import Any

from skdeepclust.cli._arguments import (
    add_classes,
    add_folder,
    add_json,
    add_model,
    add_page,
    new_file,
)
from skdeepclust.cli._results import (
    classes_of,
    open_model,
    read_folder,
    refuse_existing,
    title_of,
    told_warnings,
)

__all__ = ["add_to"]


def add_to(commands: Any) -> argparse.ArgumentParser:
    """Add the command; returns its parser."""
    report: argparse.ArgumentParser = commands.add_parser(
        "report",
        help="make a page to look through the clusters",
        description="Write one HTML file that shows what a model makes of the images of a folder.",
        epilog="example: skdeepclust report photos_clusters more_photos --out more.html",
    )
    add_model(report)
    add_folder(report)
    report.add_argument(
        "--out",
        type=new_file(".html", ".htm"),
        default=Path("report.html"),
        metavar="FILE",
        help="default: report.html",
    )
    report.add_argument("--title", help="heading of the page")
    report.add_argument("--overwrite", action="store_true", help="replace FILE")
    add_classes(report)
    add_page(report)
    add_json(report)
    report.set_defaults(run=_run)
    return report


def _run(args: argparse.Namespace) -> dict[str, Any]:
    from skdeepclust.inspection import ClusterReport

    refuse_existing(args)
    with told_warnings() as warnings:
        model = open_model(args)
        images, names = read_folder(args, model.image_shape_in_)
        page = ClusterReport.from_estimator(
            model,
            images,
            y=classes_of(args.classes, names),
            title=args.title or title_of(args.folder),
            max_images=args.max_images,
            map_method=args.map,
        )
    page.save(args.out)
    print(f"{page.summary} The report is {args.out}")
    return {"report": args.out, "summary": page.summary, "warnings": warnings}
