"""Speed of several processes on the cores that one process has for itself, as JSON.

    python asv_bench/processes.py --processes 2 --out processes.json

Each method trains in one process with as many threads as there are processes, and in so many
processes with one thread each, with the same global batch; by turns, as often as ``--repeats``
says, of which the fastest counts. ``ratio`` is the speed of the latter over that of the former; it
should be about 1 or more on cores that nothing else uses. The package need not be installed: it is
imported from this tree, and needs no data.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]


def train(args):
    """Images per second of an epoch that is neither the first nor the slowest, by method."""
    import numpy as np
    import torch

    import skdeepclust

    torch.set_num_threads(args.threads)
    size = (args.images, 3, args.side, args.side)
    images = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    speeds = {}
    for name in args.methods or skdeepclust.METHODS:
        model = getattr(skdeepclust, name)(
            10,
            backbone=args.backbone,
            batch_size=args.batch_size,
            max_epochs=args.epochs + 1,
            device="cpu",
            random_state=0,
        )
        model._least_steps = 1  # the batch that was asked for
        rows = model.fit(images).history_[1:]
        speeds[name] = max(row["images_per_second"] for row in rows)
    if os.environ.get("RANK", "0") == "0":
        Path(args.out).write_text(json.dumps(speeds))


def measure(args, processes, threads):
    """Run this file in so many processes; images per second by method."""
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "speeds.json")
        sizes = [
            f"--{name.replace('_', '-')}={getattr(args, name)}"
            for name in ("images", "side", "batch_size", "epochs", "backbone")
        ]
        chosen = ["--methods", *args.methods] if args.methods else []
        own = [__file__, "--worker", "--out", out, f"--threads={threads}", *sizes, *chosen]
        start = [sys.executable, *(launch if processes > 1 else ()), *own]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONWARNINGS": "ignore"}
        for name in ("MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            environment.pop(name, None)
        subprocess.run(start, check=True, env=environment)
        return json.loads(Path(out).read_text())


def compare(args):
    n, one, several = args.processes, {}, {}
    for _ in range(args.repeats):
        for best, how in ((one, (1, n)), (several, (n, 1))):
            speeds = measure(args, *how)
            best.update({name: max(speeds[name], best.get(name, 0.0)) for name in speeds})
    rows = {
        name: {
            "one_process": round(one[name], 1),
            "several_processes": round(several[name], 1),
            "ratio": round(several[name] / one[name], 3),
        }
        for name in one
    }
    settings = {k: v for k, v in vars(args).items() if k not in ("out", "worker", "threads")}
    text = json.dumps({**settings, "unit": "images per second", "methods": rows}, indent=2)
    print(text)
    if args.out:
        Path(args.out).write_text(text + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=2, help="measured ones")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--backbone", default="convnet")
    parser.add_argument("--methods", nargs="*")
    parser.add_argument("--out")
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    (train if args.worker else compare)(args)


if __name__ == "__main__":
    main()
