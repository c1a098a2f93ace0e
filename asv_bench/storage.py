"""What holding and streaming images costs: images per second, and memory.

    python asv_bench/storage.py FOLDER --out asv_bench/results/storage.json

FOLDER holds photographs. Every row runs in a process of its own. Throughput: the fastest of a few
epochs of IDFD at 96 x 96, from memory and from the files. Memory: the peak of what the process
holds of its own, with few images and with many; pages of a memory map are the system's.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import numpy as np  # noqa: E402

SIDE, FEW = 96, 1000


def throughput(folder, backbone, storage, images):
    """Images per second of the fastest epoch but the first."""
    from skdeepclust import IDFDClustering, ImageFiles

    files = ImageFiles(folder, image_shape=(3, SIDE, SIDE))
    model = IDFDClustering(10, backbone=backbone, max_epochs=4, storage=storage, random_state=0)
    history = model.fit(files[:: max(1, len(files) // images)]).history_
    return {"images_per_second": round(max(row["images_per_second"] for row in history[1:]), 1)}


def fit_memory(n):
    """Peak of an epoch on a memory map of 60,000 x 3 x 32 x 32 bytes, or on its first rows."""
    from skdeepclust import IDFDClustering

    with tempfile.TemporaryDirectory() as folder:
        X = memory_map(folder, 60_000)[:n]
        with Peak() as peak:
            IDFDClustering(10, backbone="convnet", max_epochs=1, random_state=0).fit(X)
    return {"peak_mb": round(peak.mb)}


def predict_memory(folder, n):
    """Peak of prediction on n files."""
    from skdeepclust import IDFDClustering, ImageFiles

    files = ImageFiles(folder, image_shape=(3, 32, 32))
    model = IDFDClustering(10, max_epochs=1, random_state=0).fit(files[:256])
    many = files[np.arange(n) % len(files)]
    model.predict(files[:512])
    with Peak() as peak:
        model.predict(many)
    return {"peak_mb": round(peak.mb)}


def memory_map(folder, n):
    path = Path(folder) / "images.npy"
    made = np.lib.format.open_memmap(path, "w+", np.uint8, (n, 3, 32, 32))
    for start in range(0, n, FEW):
        rows = made[start : start + FEW]
        rows[:] = np.random.default_rng(start).integers(0, 256, rows.shape, dtype=np.uint8)
    made.flush()
    del made
    return np.load(path, mmap_mode="r")


class Peak:
    """Most memory of its own (not of files) that this process holds, looked at all the time."""

    def __enter__(self):
        self.mb, self.ends = 0.0, threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.ends.set()
        self.thread.join()

    def watch(self):
        while not self.ends.wait(0.01):
            lines = Path("/proc/self/status").read_text().splitlines()
            own = next(line for line in lines if line.startswith("RssAnon"))
            self.mb = max(self.mb, int(own.split()[1]) / 1024)


ROWS = [
    *(
        {"what": "throughput", "backbone": backbone, "storage": storage, "images": images}
        for backbone, images in (("convnet", 2000), ("resnet18", 300))
        for storage in ("device", "stream")
    ),
    *({"what": "fit_memory", "n": n} for n in (FEW, 60_000)),
    *({"what": "predict_memory", "n": n} for n in (10_000, 100_000)),
]


def measure(row, folder):
    given = {name: value for name, value in row.items() if name != "what"}
    if row["what"] == "fit_memory":
        return fit_memory(**given)
    return {"throughput": throughput, "predict_memory": predict_memory}[row["what"]](
        folder, **given
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=["throughput", "fit_memory", "predict_memory"])
    parser.add_argument("--row", type=json.loads, help="one row, in this process")
    args = parser.parse_args()
    if args.row:
        print(json.dumps(args.row | measure(args.row, args.folder)))
        return
    from results import commit, cpu_model

    rows = []
    for row in ROWS:
        if args.only in (None, row["what"]):
            rows.append(apart(row, args))
            print(rows[-1], flush=True)
    about = {"commit": commit(), "cpu": cpu_model(), "threads": args.threads}
    about["date"] = time.strftime("%Y-%m-%d")
    if args.out:
        args.out.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


def apart(row, args):
    few = os.environ | {"OMP_NUM_THREADS": str(args.threads)}
    command = [sys.executable, __file__, str(args.folder), "--row", json.dumps(row)]
    out = subprocess.run(command, check=True, capture_output=True, text=True, env=few).stdout
    return json.loads(out.splitlines()[-1])


if __name__ == "__main__":
    main()
