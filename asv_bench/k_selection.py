"""What number of clusters KSelection finds on data sets whose number is known, by each criterion.

    python asv_bench/k_selection.py                     # run what is not there yet, then the table
    python asv_bench/k_selection.py --criteria merge --force
    python asv_bench/k_selection.py --table             # write the table only
    python asv_bench/k_selection.py --check             # exit with 1 if the table is out of date

A model is trained once for each data set, method, seed and number of clusters that it is trained
at, and all criteria choose on its embedding. With --embeddings FOLDER embeddings are kept there,
and taken from there the next time, so that a criterion can be tried without training anew. No
choice reads the classes: the table shows their number beside what was found, and some rows are of
the images of some classes only.
"""

import argparse
import functools
import os
import sys
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE)]

import numpy as np  # noqa: E402
from entrants import DATASETS  # noqa: E402
from report import table  # noqa: E402
from results import commit, put, read, splice, write_lines  # noqa: E402

FILE = HERE / "results" / "k_selection.json"
PAGE = ROOT / "docs" / "no_idea_of_k.md"
CRITERIA = ("merge", "silhouette", "simplified_silhouette", "davies_bouldin", "stability")
BLOBS = {"blobs3": 3, "blobs6": 6, "blobs15": 15}
# Images of some classes only, in the embedding of all.
PARTS = {
    f"{name} {','.join(map(str, classes))}": (name, classes)
    for name in ("digits", "mnist10k")
    for classes in ((0, 1, 2), (0, 3, 4, 6, 9), (1, 2, 3, 5, 7, 8))
}
COLUMNS = {name: data.column for name, data in DATASETS.items()}
COLUMNS |= {name: f"drawn shapes, {k}" for name, k in BLOBS.items()}
COLUMNS |= {
    part: f"{COLUMNS[name]}, classes {', '.join(map(str, classes))}"
    for part, (name, classes) in PARTS.items()
}
RANGE = range(2, 31)
# What is trained where nothing is said: data set, method, numbers it is trained at, seeds.
PLAN = [
    ("digits", "IDFDClustering", (20,), (0, 1, 2)),
    ("mnist10k", "IDFDClustering", (20,), (0,)),
    ("coil20", "IDFDClustering", (30,), (0,)),
    *((name, "IDFDClustering", (20,), (0,)) for name in BLOBS),
    *((name, "IDFDClustering", (20,), (0,)) for name in PARTS),
    ("digits", "IDFDClustering", (5, 10), (0,)),
    ("digits", "pixels", (0,), (0,)),
    ("digits", "ProPosClustering", (5, 10, 20), (0,)),
]
KEY = ("dataset", "method", "trained_at", "seed", "criterion")


def load(dataset, data_home):
    """Images and their classes."""
    if dataset in BLOBS:
        from skdeepclust.datasets import make_image_blobs

        return make_image_blobs(1_000, n_classes=BLOBS[dataset], random_state=0)
    return DATASETS[dataset].load(data_home)


def n_classes(dataset):
    if dataset in PARTS:
        return len(PARTS[dataset][1])
    return BLOBS.get(dataset) or DATASETS[dataset].n_clusters


def embed(job, args):
    """Embedding of a data set, or of some of its classes."""
    dataset, *how = job
    if dataset not in PARTS:
        return embed_all(dataset, *how, args.data_home, args.embeddings)
    dataset, classes = PARTS[dataset]
    z = embed_all(dataset, *how, args.data_home, args.embeddings)
    return z[np.isin(load(dataset, args.data_home)[1], classes)]


@functools.cache
def embed_all(dataset, method, trained_at, seed, data_home, folder):
    """Embedding of a trained model, or the pixels."""
    kept = folder and folder / f"{dataset}-{method}-{trained_at}-{seed}.npy"
    if kept and kept.exists():
        return np.load(kept)
    X, _ = load(dataset, data_home)
    if method == "pixels":
        return X.reshape(len(X), -1).astype(np.float32) / max(1, X.max())
    import skdeepclust

    z = getattr(skdeepclust, method)(trained_at, random_state=seed).fit(X).transform(X)
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.save(kept, z)
    return z


def choose(z, criterion, seed):
    """What KSelection finds on an embedding."""
    from sklearn.preprocessing import FunctionTransformer

    from skdeepclust.model_selection import KSelection

    selection = KSelection(FunctionTransformer(), RANGE, criterion=criterion, random_state=seed)
    selection.fit(z)
    scores = {k: round(score, 4) for k, score in selection.scores_.items()}
    return {"found": selection.best_n_clusters_, "scores": scores}


def run(args):
    """Fill the file, one row at a time."""
    for dataset, method, numbers, seeds in PLAN:
        if dataset not in args.datasets or method not in args.methods:
            continue
        for job in [(dataset, method, k, seed) for k in numbers for seed in seeds]:
            rows = read(FILE)
            done = {tuple(row[name] for name in KEY) for row in rows}
            wanted = [c for c in args.criteria if args.force or (*job, c) not in done]
            if not wanted:
                continue
            z = embed(job, args)
            for criterion in wanted:
                key = dict(zip(KEY, (*job, criterion), strict=True))
                row = key | {"classes": n_classes(dataset)} | choose(z, criterion, job[3])
                print(f"{job} {criterion}: {row['found']} of {row['classes']}", flush=True)
                save(row | {"commit": commit()})


def save(row):
    rows = [old for old in read(FILE) if any(old[name] != row[name] for name in KEY)] + [row]
    write_lines(FILE, sorted(rows, key=lambda row: [str(row[name]) for name in KEY]))


def render(rows):
    """A line for each embedding, a column for each criterion."""
    jobs = [
        (dataset, method, k, seed)
        for dataset, method, numbers, seeds in PLAN
        for k in numbers
        for seed in seeds
    ]
    found = {tuple(row[name] for name in KEY): row["found"] for row in rows}
    head = ["data", "classes", "representation", "trained at k", "seed"]
    lines = []
    for dataset, method, k, seed in jobs:
        cells = [found.get((dataset, method, k, seed, criterion)) for criterion in CRITERIA]
        if any(cells):
            name = "pixels" if method == "pixels" else f"`{method}`"
            known = [COLUMNS[dataset], n_classes(dataset), name, k or "-", seed]
            lines.append(list(map(str, [*known, *(cell or "-" for cell in cells)])))
    return table([*head, *(f"`{criterion}`" for criterion in CRITERIA)], lines)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-home")
    parser.add_argument("--datasets", nargs="+", choices=list(COLUMNS), default=list(COLUMNS))
    methods = sorted({job[1] for job in PLAN})
    parser.add_argument("--methods", nargs="+", choices=methods, default=methods)
    parser.add_argument("--criteria", nargs="+", choices=CRITERIA, default=list(CRITERIA))
    parser.add_argument("--embeddings", type=Path, help="where embeddings are kept")
    parser.add_argument("--force", action="store_true", help="choose again what is there")
    parser.add_argument("--table", action="store_true", help="run nothing, write the table")
    parser.add_argument("--check", action="store_true", help="run nothing, compare the table")
    args = parser.parse_args(argv)
    if not (args.table or args.check):
        run(args)
    block = render(read(FILE))
    if not args.check:
        print(block)
    return put({PAGE: splice(PAGE.read_text(), block, PAGE.name)}, args.check)


if __name__ == "__main__":
    sys.exit(main())
