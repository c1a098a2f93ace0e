"""Measure accuracy and speed on whole data sets, and write the tables that show them.

    python asv_bench/results.py             # run what is not there yet, then write the tables
    python asv_bench/results.py --table     # write the tables only
    python asv_bench/results.py --check     # exit with 1 if a table is not what the files give

The files results/<data set>.json hold one row for each run. A row is run again only when the
parameters have changed, or with --force.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # what runs is the tree whose commit is recorded
DATASETS = {
    "digits": "Digits of scikit-learn: 1,797 images, 8 x 8, grey, 10 classes",
    "mnist10k": "MNIST, test part: 10,000 images, 28 x 28, grey, 10 classes",
}
BASELINES = {"KMeans": "k-means on pixels", "SpectralClustering": "spectral clustering on pixels"}
SCORES = ("acc", "nmi", "ari")
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
NOTHING_YET = "No results have been recorded yet; `python asv_bench/results.py` records them."

# -- running ------------------------------------------------------------------------------


def run(args):
    """Fit every method to every data set with every seed, saving each run as it ends."""
    for dataset in args.datasets:
        try:
            images, target = load(dataset, args.data_home)
        except FileNotFoundError as error:
            print(f"{dataset}: skipped. {error}", flush=True)
            continue
        for method in args.methods or methods_for(dataset):
            for seed in args.seeds:
                run_one(args, dataset, method, seed, images, target)


def run_one(args, dataset, method, seed, images, target):
    model = make(method, seed, args)
    key = {
        "method": method,
        "seed": seed,
        "device": "cpu" if method in BASELINES else args.device,
        "settings": settings(model),
    }
    path = args.out / f"{dataset}.json"
    rows = read(path)
    if not args.force and any(key.items() <= row.items() for row in rows):
        print(f"{dataset}: {method}, seed {seed} is there already", flush=True)
        return
    row = key | measure(model, images, target) | environment()
    write(path, [old for old in rows if not replaces(key, old)] + [row])
    scores = " ".join(f"{name.upper()} {row[name]:.4f}" for name in SCORES)
    print(f"{dataset}: {method}, seed {seed}: {scores}, {row['seconds']:.1f} s", flush=True)


def load(dataset, data_home):
    from skdeepclust.datasets import fetch_mnist, load_digits_images

    if dataset == "digits":
        return load_digits_images(return_X_y=True)
    return fetch_mnist(split="test", data_home=data_home, return_X_y=True)


def methods_for(dataset):
    from skdeepclust import METHODS

    # Spectral clustering decomposes a matrix of all pairs: for few images only.
    baselines = [name for name in BASELINES if dataset == "digits" or name == "KMeans"]
    return [*baselines, *METHODS]


def make(method, seed, args):
    """Build an unfitted clusterer into 10 clusters, all else as it is by default."""
    import skdeepclust

    if method == "KMeans":
        from sklearn.cluster import KMeans

        return KMeans(10, n_init=10, random_state=seed)
    if method == "SpectralClustering":
        from sklearn.cluster import SpectralClustering

        return SpectralClustering(10, affinity="nearest_neighbors", random_state=seed)
    epochs = {"max_epochs": args.epochs} if args.epochs else {}
    model = getattr(skdeepclust, method)
    return model(10, device=args.device, random_state=seed, **epochs)


def settings(model):
    """Parameters that a result depends on, other than seed and device."""
    aside = {"random_state", "device", "verbose", "callbacks"}
    return {name: value for name, value in model.get_params().items() if name not in aside}


def measure(model, images, target):
    """Fit and score on the same images, and time the fit."""
    from skdeepclust.metrics import clustering_report

    deep = hasattr(model, "max_epochs")
    X = images if deep else images.reshape(len(images), -1) / 255
    start = time.perf_counter()
    labels = model.fit(X).labels_
    seconds = time.perf_counter() - start
    row = clustering_report(target, labels) | {"seconds": round(seconds, 2)}
    row["n_iter"] = getattr(model, "n_iter_", None)
    if deep:
        speeds = [epoch["images_per_second"] for epoch in model.history_]
        row["images_per_second"] = round(statistics.median(speeds))
        row["loss"] = [round(epoch["loss"], 4) for epoch in model.history_]
    return row


def environment():
    """Commit, versions and hardware behind a run."""
    import sklearn
    import torch
    from joblib import cpu_count

    import skdeepclust

    return {
        "commit": commit(),
        "skdeepclust": skdeepclust.__version__,
        "torch": torch.__version__,
        "sklearn": sklearn.__version__,
        "cpu": cpu_model(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cores": cpu_count(),
        "threads": torch.get_num_threads(),
    }


def commit():
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    try:
        return subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL).strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def cpu_model():
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


# -- the files ----------------------------------------------------------------------------


def read(path):
    return json.loads(path.read_text()) if path.exists() else []


def write(path, rows):
    """Save rows, one a line, so that a difference between versions can be read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = sorted(rows, key=lambda row: (order(row["method"]), row["device"], row["seed"]))
    lines = ",\n".join(json.dumps(row) for row in rows)
    scratch = path.with_suffix(".tmp")
    scratch.write_text(f"[\n{lines}\n]\n")
    scratch.replace(path)


def replaces(new, old):
    """Whether a run takes the place of another: the same again, or of other parameters."""
    if (new["method"], new["device"]) != (old["method"], old["device"]):
        return False
    return new["seed"] == old["seed"] or new["settings"] != old["settings"]


def order(method):
    return (list(BASELINES).index(method), "") if method in BASELINES else (len(BASELINES), method)


# -- the tables ---------------------------------------------------------------------------


def render(folder):
    """Make the block of README.md and the page docs/results.md from the files."""
    recorded = {name: read(folder / f"{name}.json") for name in DATASETS}
    recorded = {name: rows for name, rows in recorded.items() if rows}
    summary = "\n\n".join(summarise(name, rows) for name, rows in recorded.items())
    summary = summary or NOTHING_YET
    details = "\n\n".join(detail(name, rows) for name, rows in recorded.items())
    page = PAGE.format(begin=BEGIN, end=END, summary=summary, details=details)
    return summary, page.rstrip() + "\n"


def summarise(dataset, rows):
    """One line for each method: mean and standard deviation over the seeds."""
    head = ["method", "runs", *(name.upper() for name in SCORES), "seconds", "GPU seconds"]
    lines = [summary_cells(group) for group in by_method(rows)]
    caption = "mean ± standard deviation over runs with different seeds"
    return f"**{DATASETS[dataset]}**; {caption}; {hardware(rows)}\n\n{table(head, lines)}"


def summary_cells(rows):
    method = rows[0]["method"]
    on_cpu = [row for row in rows if row["device"] == "cpu"]
    on_gpu = [row for row in rows if row["device"] != "cpu"]
    scores = [spread([row[name] for row in on_cpu or on_gpu], ".3f") for name in SCORES]
    missing = "-" if method in BASELINES else "not yet measured"
    seconds = [
        spread([row["seconds"] for row in part], ".1f") or missing for part in (on_cpu, on_gpu)
    ]
    return [title(method), str(len(on_cpu or on_gpu)), *scores, *seconds]


def detail(dataset, rows):
    """Every run of a data set, and what it ran on."""
    head = ["method", "device", "seed", *(name.upper() for name in SCORES)]
    head += ["epochs or iterations", "seconds", "images per second"]
    lines = [detail_cells(row) for group in by_method(rows) for row in group]
    ran_on = "\n".join(f"- {text}" for text in sorted({software(row) for row in rows}))
    return f"## {DATASETS[dataset]}\n\n{ran_on}\n\n{table(head, lines)}"


def detail_cells(row):
    scores = [format(row[name], ".4f") for name in SCORES]
    rounds, speed = (str(row.get(name) or "-") for name in ("n_iter", "images_per_second"))
    run = [title(row["method"]), row["device"], str(row["seed"])]
    return [*run, *scores, rounds, format(row["seconds"], ".1f"), speed]


def by_method(rows):
    methods = sorted({row["method"] for row in rows}, key=order)
    return [[row for row in rows if row["method"] == method] for method in methods]


def title(method):
    return BASELINES.get(method, f"`{method}`")


def spread(values, form):
    if len(values) < 2:
        return "".join(format(value, form) for value in values)
    return f"{statistics.mean(values):{form}} ± {statistics.stdev(values):{form}}"


def hardware(rows):
    machines = {f"{row['cpu']}, threads: {row['threads']}" for row in rows}
    return " and ".join(sorted(machines))


def software(row):
    at = row["commit"][:12] if row["commit"] else "not recorded"
    gpu = row["gpu"] or "none"
    return (
        f"{row['cpu']}, cores: {row['cores']}, threads: {row['threads']}, GPU: {gpu}; "
        f"skdeepclust {row['skdeepclust']} (commit {at}), torch {row['torch']}, "
        f"scikit-learn {row['sklearn']}"
    )


def table(head, lines):
    rows = [head, ["---"] + ["---:"] * (len(head) - 1), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


PAGE = """% Written by asv_bench/results.py from asv_bench/results/*.json: do not edit.

# Results

What `python asv_bench/results.py` measured, at default parameters.

{begin}
{summary}
{end}

**Protocol.** Every method is fitted to all images and scored on the same images; it never sees
the classes. The clusters are those of the last epoch: no epoch, seed or parameter of a run is
chosen by its score. The default parameters themselves were settled by trials on the digits and
one on MNIST that looked at ACC, so read these figures as those of tuned defaults. ACC is the
accuracy after Hungarian matching, NMI the mutual information
normalised by the arithmetic mean of the entropies, ARI the adjusted Rand index. Seconds are the
wall time of one `fit`. k-means takes the best of 10 restarts, spectral clustering works on a graph
of nearest neighbours.

{details}
"""


def splice(text, block, name):
    """Put a block between the two markers of a text."""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise SystemExit(f"{name} must hold the lines {BEGIN} and {END} once each.")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{block}\n{END}{rest.split(END)[1]}"


def tables(folder, root):
    """What README.md and docs/results.md should hold."""
    summary, page = render(folder)
    readme = root / "README.md"
    text = readme.read_text() if readme.exists() else ""
    return {root / "docs" / "results.md": page, readme: splice(text, summary, "README.md")}


def check(wanted):
    """Names of the files that are not what the recorded runs give."""
    return [
        path.name for path, text in wanted.items() if not path.exists() or path.read_text() != text
    ]


# -- the command line ---------------------------------------------------------------------


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=list(DATASETS))
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="default: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--data-home", help="where fetch_mnist looks")
    parser.add_argument("--device", default="cpu", help="of the deep methods")
    parser.add_argument("--epochs", type=int, help="not the default: for trials, with --out")
    parser.add_argument("--force", action="store_true", help="run again what is there")
    parser.add_argument("--out", type=Path, help="folder of the JSON files")
    parser.add_argument("--root", type=Path, default=ROOT, help="where README.md and docs/ are")
    parser.add_argument("--table", action="store_true", help="run nothing, write the tables")
    parser.add_argument("--check", action="store_true", help="run nothing, compare the tables")
    args = parser.parse_args(argv)
    if args.epochs and args.out is None:
        parser.error("--epochs is for trials, which are not to replace results: give --out")
    args.out = args.out or args.root / "asv_bench" / "results"
    return args


def main(argv=None):
    args = parse(argv)
    if args.check:
        stale = check(tables(args.out, args.root))
        if stale:
            print(f"Not what the recorded runs give: {', '.join(stale)}. Run with --table.")
        return int(bool(stale))
    if not args.table:
        run(args)
    if not args.epochs:
        for path, text in tables(args.out, args.root).items():
            path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
