"""``skdeepclust demo``: all methods on real images."""

import argparse
import importlib.util
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import skdeepclust
from skdeepclust.cli._arguments import add_json, integer, new_file
from skdeepclust.cli._results import fit_quietly, scores_in_words

__all__ = ["add_to"]

_SUFFIXES = (".png", ".pdf", ".svg")


def add_to(commands: Any) -> argparse.ArgumentParser:
    """Add the command; returns its parser."""
    text = (
        "Cluster scikit-learn's 1,797 handwritten digits with k-means on the pixels and with each "
        "method of skdeepclust, print a table and draw a picture. Takes a few minutes."
    )
    demo: argparse.ArgumentParser = commands.add_parser(
        "demo",
        help="cluster real images and look at it",
        description=text,
        epilog="example: skdeepclust demo --out digits.png",
    )
    demo.add_argument(
        "--out",
        type=new_file(*_SUFFIXES),
        default=Path("skdeepclust_demo.png"),
        metavar="FILE",
        help="the picture: .png, .pdf or .svg (default: %(default)s)",
    )
    demo.add_argument("--seed", type=integer(0), default=0, metavar="N", help="default: 0")
    demo.add_argument(
        "--epochs",
        type=integer(1),
        metavar="N",
        help="epochs of each method (default: a third of its default number)",
    )
    demo.add_argument(
        "--jobs",
        type=integer(1),
        metavar="N",
        help="methods that train at once (default: as many as there are cores; 1 with a GPU)",
    )
    add_json(demo)
    demo.set_defaults(run=_run)
    return demo


# -- clustering -------------------------------------------------------------------------------


@dataclass
class _Clustering:
    name: str
    labels: np.ndarray
    seconds: float
    model: Any


def _run(args: argparse.Namespace) -> dict[str, Any]:
    from skdeepclust.datasets import load_digits_images

    images, target = load_digits_images(return_X_y=True)
    n_classes = len(np.unique(target))
    print(
        f"{len(images):,} handwritten digits of 8 x 8 pixels, {n_classes} clusters. "
        "The classes serve to score, not to train.",
        flush=True,
    )
    if args.epochs is None:
        print("For a first look, each method trains for a third of its default epochs.", flush=True)
    found = [_kmeans(images, n_classes, args.seed)]
    _print_result(target, found[0])
    for clustering in _cluster_all(images, n_classes, args):
        found.append(clustering)
        _print_result(target, clustering)
    _print_table(target, found)
    _picture(images, target, found[1:], args)
    return {clustering.name: _figures(target, clustering) for clustering in found}


def _kmeans(images: np.ndarray, n_clusters: int, seed: int) -> _Clustering:
    from sklearn.cluster import KMeans

    start = time.perf_counter()
    pixels = images.reshape(len(images), -1)
    model = KMeans(n_clusters, n_init=10, random_state=seed).fit(pixels)
    return _Clustering("k-means on pixels", model.labels_, time.perf_counter() - start, model)


def _cluster_all(
    images: np.ndarray, n_clusters: int, args: argparse.Namespace
) -> Iterator[_Clustering]:
    """Train the methods side by side: on tiny images a second core does not speed up one."""
    import torch
    from joblib import Parallel, cpu_count, delayed

    names = skdeepclust.METHODS
    jobs = args.jobs or (1 if torch.cuda.is_available() else cpu_count())
    settings: dict[str, Any] = {"random_state": args.seed}
    if jobs == 1 and sys.stderr.isatty():  # a log file has no use for a progress bar
        settings["verbose"] = 1
    work = (delayed(_cluster)(name, images, n_clusters, args.epochs, settings) for name in names)
    yield from Parallel(min(jobs, len(names)), return_as="generator")(work)


def _cluster(
    name: str, images: np.ndarray, n_clusters: int, epochs: int | None, settings: dict[str, Any]
) -> _Clustering:
    model = getattr(skdeepclust, name)(n_clusters, **settings)
    model.set_params(max_epochs=epochs or model.max_epochs // 3)  # to see it in three minutes
    print(f"\n{name}: training for {model.max_epochs} epochs", file=sys.stderr, flush=True)
    start = time.perf_counter()
    fit_quietly(model, images)
    if model.net_.interrupted:
        raise KeyboardInterrupt
    return _Clustering(name, model.labels_, time.perf_counter() - start, model)


def _figures(target: np.ndarray, found: _Clustering) -> dict[str, float]:
    from skdeepclust.metrics import clustering_report

    return {**clustering_report(target, found.labels), "seconds": found.seconds}


def _print_result(target: np.ndarray, found: _Clustering) -> None:
    figures = _figures(target, found)
    seconds = figures.pop("seconds")
    sizes = np.sort(np.bincount(found.labels))[::-1]
    print(f"{found.name}: {scores_in_words(figures)}  {seconds:.1f} s")
    print(f"  cluster sizes {' '.join(map(str, sizes))}", flush=True)


def _print_table(target: np.ndarray, found: list[_Clustering]) -> None:
    width = max(len(clustering.name) for clustering in found)
    print(f"\n{'method':<{width}}    ACC    NMI    ARI  seconds")
    for clustering in found:
        row = "{acc:7.3f}{nmi:7.3f}{ari:7.3f}{seconds:9.1f}".format(**_figures(target, clustering))
        print(f"{clustering.name:<{width}}{row}")
    print(flush=True)


# -- picture ----------------------------------------------------------------------------------


def _picture(images: np.ndarray, target: np.ndarray, found: list[_Clustering], args: Any) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        print("No picture, because matplotlib is not installed: pip install matplotlib")
        return
    print("Drawing the picture ...", flush=True)
    _draw(images, target, found).savefig(args.out, dpi=150)
    print(
        f"The picture is in {args.out.resolve()}\n"
        f"  left: images of each cluster of {found[-1].name}; right: a map of all images, "
        "coloured by cluster.\n  Clusters bear the name of the class that they match best."
    )


def _draw(images: np.ndarray, target: np.ndarray, found: list[_Clustering]) -> Any:
    from matplotlib.figure import Figure

    from skdeepclust.inspection import ClusterGalleryDisplay, EmbeddingDisplay

    n_columns = -(-len(found) // 2)
    widths = [7.4] + [3.6] * n_columns  # inches, of the clusters and of each map
    figure = Figure(figsize=(sum(widths), 5.2), layout="constrained")
    grid = figure.add_gridspec(2, 1 + n_columns, width_ratios=widths)
    title: Any = {"loc": "left", "size": 11, "weight": "bold"}
    axes = figure.add_subplot(grid[:, 0], anchor="N")
    axes.set_title(f"Clusters of {found[-1].name}", **title)
    ClusterGalleryDisplay.from_estimator(found[-1].model, images, y=target, ax=axes)
    for i, clustering in enumerate(found):
        axes = figure.add_subplot(grid[i // n_columns, 1 + i % n_columns])
        axes.set_title(clustering.name, **title)
        EmbeddingDisplay.from_estimator(clustering.model, images, y=target, ax=axes)
    return figure
