"""``skdeepclust fit``: cluster a folder of images."""

import argparse
import contextlib
import inspect
import re
import shutil
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import skdeepclust
from skdeepclust._paths import expanded
from skdeepclust.cli._arguments import (
    UNTRAINED,
    add_classes,
    add_folder,
    add_json,
    add_page,
    check_page,
    estimator,
    integer,
    meant,
    path,
    setting,
    short,
)
from skdeepclust.cli._results import (
    MODEL,
    classes_of,
    fit_quietly,
    read_folder,
    relative,
    scores,
    scores_in_words,
    sort_files,
    title_of,
    told_warnings,
    unreadable,
    write_labels,
)

__all__ = ["add_to"]

_FEW = 1000  # images from which a network learns little
_LONG = 1_000_000  # images in all epochs that take a GPU more than the minute of a compiler
_OURS = {  # parameters that --set would set in vain
    "n_clusters": "give --n-clusters",
    "random_state": "give --seed",
    "checkpoint": "it is in OUT",
    "verbose": "a terminal gets a bar, a file a line for each epoch",
}
_EXAMPLES = """examples:
  skdeepclust fit photos --n-clusters 10
  skdeepclust fit photos --n-clusters 2-20 --method kmeans   (chooses how many)
  skdeepclust fit photos --n-clusters 10 --method secu --epochs 50 --sort copy --out sorted

OUT then holds labels.csv, the folder model, and report.html to open in a browser. After Ctrl-C or a
crash, the same command goes on where it was."""


def add_to(commands: Any) -> argparse.ArgumentParser:
    """Add the command; returns its parser."""
    fit: argparse.ArgumentParser = commands.add_parser(
        "fit",
        help="cluster a folder of images",
        description="Train on the images of a folder, put each into a cluster, and report on it.",
        epilog=_EXAMPLES,
    )
    add_folder(fit)
    fit.add_argument(
        "-k",
        "--n-clusters",
        type=_numbers,
        metavar="K",
        help="number of clusters (default: the recipe's, or 8); 2-20 chooses one of these, "
        "training twice",
    )
    fit.add_argument(
        "--method",
        type=estimator,
        default="IDFDClustering",
        metavar="NAME",
        help=f"{', '.join(map(short, skdeepclust.METHODS))} (default: idfd); or kmeans, on a "
        "pretrained network",
    )
    _add_training(fit)
    _add_results(fit)
    add_classes(fit)
    add_page(fit)
    add_json(fit)
    fit.set_defaults(run=_run)
    return fit


def _add_training(fit: argparse.ArgumentParser) -> None:
    fit.add_argument("--epochs", type=integer(1), metavar="N", help="default: as of the method")
    fit.add_argument("--recipe", metavar="NAME", help="see skdeepclust recipes")
    fit.add_argument(
        "--weights",
        type=expanded,
        help="of the network: DEFAULT downloads ImageNet's, or a file",
    )
    fit.add_argument("--device", help="auto, cpu, cuda or mps (default: auto)")
    fit.add_argument("--seed", type=integer(0), default=0, metavar="N", help="default: 0")
    fit.add_argument(
        "--size", type=integer(8), metavar="N", help="pixels of a side, as the network sees them"
    )
    fit.add_argument(
        "--set",
        type=setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any other parameter of the method, such as lr=0.001",
    )


def _add_results(fit: argparse.ArgumentParser) -> None:
    fit.add_argument(
        "--out",
        type=path,
        metavar="OUT",
        help="folder of the results (default: in the current one, by the name of FOLDER, "
        "NAME_clusters)",
    )
    fit.add_argument("--overwrite", action="store_true", help="replace what OUT holds")
    fit.add_argument(
        "--sort", choices=("copy", "symlink"), help="also put the images into OUT/clusters"
    )
    fit.add_argument("--no-report", action="store_true", help="write no report.html")


def _numbers(text: str) -> int | range:
    """Parse a number, or a range of them."""
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    if not found or int(found[1]) < 1 or (found[2] and not 2 <= int(found[1]) < int(found[2])):
        raise argparse.ArgumentTypeError(f"must be a number or a range like 2-20, got {text!r}")
    return range(int(found[1]), int(found[2]) + 1) if found[2] else int(found[1])


# -- the run ----------------------------------------------------------------------------------


def _run(args: argparse.Namespace) -> dict[str, Any]:
    wanted = args.n_clusters
    model = _estimator(args, wanted[-1] if isinstance(wanted, range) else wanted)
    with told_warnings() as told:
        images, names = _read(args, model)
        classes = classes_of(args.classes, names)
        out = args.out or Path(f"{args.folder.resolve().name}_clusters")
        _check(args, model, len(images), out)
        start = time.perf_counter()
        with _told_how_to_go_on(args, out):
            _train(args, model, images, out)
        seconds = time.perf_counter() - start
        result = _write(args, out, model, names, classes)
        if not args.no_report:
            result["report"] = _report(args, out / "report.html", model, images, classes)
        _tell_what_is_old(args, out)
    _forget(out)
    result |= {"seconds": round(seconds, 2), "warnings": told}
    _print_result(result)
    return result


def _read(args: argparse.Namespace, model: Any) -> tuple[Any, list[str]]:
    """Images of the folder and their names; --size keeps grey ones grey."""
    images, names = read_folder(args, None if args.size else model.image_shape)
    if not args.size:
        return images, names
    model.set_params(image_shape=(images.shape[1], args.size, args.size))
    return images.with_shape(model.image_shape), names


def _check(args: argparse.Namespace, model: Any, n_images: int, out: Path) -> None:
    """See before a training, not after it, that all can be done."""
    k = model.n_clusters
    least = k + isinstance(args.n_clusters, range)  # of a choice each must be less
    if n_images < max(2, least):
        raise ValueError(f"--n-clusters {k}: FOLDER holds too few images, {n_images}")
    if not args.no_report:
        check_page(args)
    _make_room(args, model, out)


def _estimator(args: argparse.Namespace, n_clusters: int | None) -> Any:
    """The estimator that the arguments describe, not fitted."""
    from skdeepclust.engine.device import resolve_device

    method = getattr(skdeepclust, args.method)
    chosen = _chosen_parameters(args, list(inspect.signature(method).parameters))
    if n_clusters:
        chosen["n_clusters"] = n_clusters
    if args.recipe is None:
        model = method(**chosen)
    elif hasattr(method, "from_recipe"):
        model = method.from_recipe(args.recipe, **chosen)
    else:
        raise ValueError(f"--recipe: {args.method} has no recipes")
    model._validate_params()  # before anything is written
    resolve_device(model.device)
    return model


def _chosen_parameters(args: argparse.Namespace, known: list[str]) -> dict[str, Any]:
    """Parameters of the method that are not to have their defaults."""
    if args.weights not in (None, "DEFAULT") and not Path(args.weights).is_file():
        raise FileNotFoundError(f"--weights {args.weights}: there is no such file")
    if args.epochs and "max_epochs" not in known:
        raise ValueError(f"--epochs: {args.method} trains nothing")
    options = {"max_epochs": args.epochs, "weights": args.weights, "device": args.device}
    given, others = options | {"on_error": "skip", "random_state": args.seed}, dict(args.set)
    for name, option in (options | {"image_shape": args.size}).items():
        if option is not None and name in others:
            raise ValueError(f"--set {name}: an option says {option} already, give one of the two")
    for name in others:
        if name in _OURS:
            raise ValueError(f"--set {name}: {_OURS[name]}")
        if name not in known:
            hint = meant(name, known) or f": it has {', '.join(known)}"
            raise ValueError(f"--set {name}: {args.method} has no parameter {name!r}{hint}")
    return {name: value for name, value in given.items() if value is not None} | others


def _make_room(args: argparse.Namespace, model: Any, out: Path) -> None:
    """See that nothing is lost and everything can be written."""
    from skdeepclust.engine.checkpoint import in_use

    folder, target = args.folder.resolve(), out.resolve()
    if args.sort and target.is_relative_to(folder):
        raise ValueError(f"--out {out}: with --sort, name a folder that is not inside FOLDER")
    if args.sort and folder.is_relative_to(target / "clusters"):
        raise ValueError(f"--out {out}: --sort would replace FOLDER in it, name another folder")
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file: name a folder")
    begun = [state for state in _states(out) if state.is_dir() and any(state.iterdir())]
    if any(map(in_use, begun)):
        raise ValueError(f"--out {out} is in use by another run: wait for it, or name another")
    if args.overwrite or not begun:  # a run that was refused leaves empty folders
        _forget(out)
    held = [entry.name for entry in out.iterdir()] if out.is_dir() else []
    if begun and not args.overwrite:  # a finished run removes its state
        _check_kind(args, model, out, begun)
        print(f"Going on with the run in {out}; --overwrite begins anew.")
    elif held and not args.overwrite:
        raise ValueError(f"--out {out} holds files already: name another, or pass --overwrite")
    out.mkdir(parents=True, exist_ok=True)


def _check_kind(args: argparse.Namespace, model: Any, out: Path, begun: list[Path]) -> None:
    """See that a run is of the kind of the one that was stopped; its checkpoint compares more."""
    choice, _ = _states(out)
    chooses = isinstance(args.n_clusters, range)
    if not hasattr(model, "checkpoint"):
        raise _another(out, f"its method trains, and {short(args.method)} does not")
    if (choice in begun) != chooses:
        kinds = ["one number", "a range"]
        raise _another(out, f"--n-clusters was {kinds[not chooses]} and is {kinds[chooses]}")


def _another(out: Path, differences: str) -> ValueError:
    return ValueError(
        f"--out {out} holds a run of other arguments or images that was stopped: {differences}. "
        "Give what was given then, or --overwrite to begin anew"
    )


def _states(out: Path) -> list[Path]:
    """Folders of the checkpoints of a run."""
    return [out / "checkpoint" / name for name in ("choice", "run")]


def _forget(out: Path) -> None:
    """Remove the checkpoints, and nothing that is not ours."""
    for state in _states(out):
        shutil.rmtree(state, ignore_errors=True)
    with contextlib.suppress(OSError):
        (out / "checkpoint").rmdir()


# -- training ---------------------------------------------------------------------------------


def _train(args: argparse.Namespace, model: Any, images: Any, out: Path) -> None:
    """Fit the model, from where a run before has stopped."""
    choice, run = _states(out)
    if isinstance(args.n_clusters, range):
        _keep(model, choice)
        found = _estimator(args, _chosen(args, model, images)).get_params(deep=False)
        model.set_params(**found | {"image_shape": model.image_shape})
    _keep(model, run)
    n, channels, height, width = images.shape
    larger = model.weights and model.image_shape is None
    hint = "; --size 160 shows the network more" if larger else ""
    print(f"{n:,} images, seen as {channels} x {height} x {width}{hint}")
    trains = model._n_epochs > 0
    more = f", {model._n_epochs} epochs. Ctrl-C stops; {_again(args)}" if trains else ""
    guess = "" if args.n_clusters or args.recipe else ", for want of -k (-k 2-20 chooses a number)"
    print(f"{args.method}: {model.n_clusters} clusters{guess}{more}.", flush=True)
    if trains and (channels == 3 or n < _FEW):
        print(_advice(n))
    if trains and not model.compile and _is_long_on_cuda(model, n):
        print("--set compile=True takes a minute, then the GPU trains several times as fast.")
    fit_quietly(model, images)
    _stop_if_interrupted(args, model)
    if trains:
        model.set_params(checkpoint=None)
    model.set_params(verbose=0)  # it is no business of who loads the model


@contextlib.contextmanager
def _told_how_to_go_on(args: argparse.Namespace, out: Path) -> Iterator[None]:
    """Have what ends a training say what there is to do, in the words of the command."""
    from skdeepclust.engine.checkpoint import AnotherTraining

    try:
        yield
    except AnotherTraining as error:
        raise _another(out, error.differences) from error
    except SystemExit:
        print(f"\nTerminated; {_again(args)}.", file=sys.stderr)
        raise


def _advice(n_images: int) -> str:
    other = f"compare with --method {short(UNTRAINED)}"
    if n_images < _FEW:
        return f"These are few images to learn from: {other}."
    return f"If these are photographs, {other}, whose network knows such from ImageNet."


def _is_long_on_cuda(model: Any, n_images: int) -> bool:
    from skdeepclust.engine.device import resolve_device

    on_cuda = resolve_device(model.device).type == "cuda"
    return on_cuda and n_images * int(model._n_epochs) > _LONG


def _again(args: argparse.Namespace) -> str:
    """What goes on after a stop."""
    return f"the same command{' without --overwrite' if args.overwrite else ''} goes on"


def _stop_if_interrupted(args: argparse.Namespace, model: Any) -> None:
    if model.net_.interrupted:
        done = f"Stopped after {model.n_iter_} of {model._n_epochs} epochs"
        raise KeyboardInterrupt(f"{done}; {_again(args)}.")


def _keep(model: Any, checkpoint: Path) -> None:
    """Have a model show how far it is, and one that trains leave its state."""
    # A log file has no use for a bar: a line for each epoch.
    model.set_params(verbose=1 if sys.stderr.isatty() else 2)
    if hasattr(model, "checkpoint"):
        checkpoint.mkdir(parents=True, exist_ok=True)
        model.set_params(checkpoint=checkpoint)


def _chosen(args: argparse.Namespace, model: Any, images: Any) -> int:
    from skdeepclust.model_selection import KSelection

    print(f"Choosing the number of clusters, by {args.method} with {model.n_clusters}", flush=True)
    selection = KSelection(model, args.n_clusters, random_state=args.seed).fit(images)
    _stop_if_interrupted(args, selection.estimator_)
    found = int(selection.best_n_clusters_)
    print(f"{found} clusters are chosen")
    return found


# -- results ----------------------------------------------------------------------------------


def _write(
    args: argparse.Namespace, out: Path, model: Any, names: list[str], classes: list[str] | None
) -> dict[str, Any]:
    """Write the labels and the model; returns what there is to say."""
    labels = model.labels_
    write_labels(out / "labels.csv", names, labels, classes)
    (out / "model").mkdir(exist_ok=True)
    found = scores(classes, labels)
    model.save(out / "model" / MODEL, card={"scores": found} if found else None)
    if args.sort:
        sort_files(args.sort, args.folder, names, labels, out / "clusters")
    last = model.history_[-1] if model.history_ else {}
    health = ("loss", "label_change", "size_entropy", "empty_clusters", "feature_std")
    return {
        "method": args.method,
        "n_images": len(labels),
        "n_clusters": model.n_clusters,
        "sizes": np.bincount(labels[labels >= 0], minlength=model.n_clusters),
        "skipped": [relative(file, args.folder) for file in model.skipped_],
        "epochs": model.n_iter_,
        # The first epoch has nothing to compare its clusters with.
        "health": {name: last[name] for name in health if np.isfinite(last.get(name, np.nan))},
        "scores": found,
        "labels": str(out / "labels.csv"),
        "model": str(out / "model"),
        "clusters": str(out / "clusters") if args.sort else None,
        "report": None,
    }


def _tell_what_is_old(args: argparse.Namespace, out: Path) -> None:
    """Warn of results of a run before that this one was not asked for."""
    written = {"clusters": bool(args.sort), "report.html": not args.no_report}
    for name, new in written.items():
        if not new and (out / name).exists():
            warnings.warn(f"{out / name} is not of this run, but was there before", stacklevel=2)


def _report(
    args: argparse.Namespace, page: Path, model: Any, images: Any, classes: list[str] | None
) -> str:
    from skdeepclust.inspection import ClusterReport

    print("Writing the report ...", flush=True)
    ClusterReport.from_estimator(
        model,
        images,
        y=classes,
        title=title_of(args.folder),
        max_images=args.max_images,
        map_method=args.map,
        random_state=args.seed,
    ).save(page)
    return str(page)


def _print_result(result: dict[str, Any]) -> None:
    from skdeepclust.engine.progress import duration

    sizes = result["sizes"]
    lines = [
        f"{result['n_clusters']} clusters of {sizes.min():,} to {sizes.max():,} images, "
        f"trained in {duration(result['seconds'])}"
    ]
    if result["skipped"]:
        lines.append(f"{unreadable(result['skipped'])} in labels.csv")
    if result["scores"]:
        lines.append(f"against the classes: {scores_in_words(result['scores'])}")
    for name in ("labels", "model", "clusters", "report"):
        if result[name]:
            lines.append(f"  {name:<9}{result[name]}")
    print("\n".join(lines))
