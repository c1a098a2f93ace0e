"""Fit one method to one data set, in a process of its own: called by results.py.

    python asv_bench/row.py '{"dataset": ...}' FILE

Seconds and peak memory are then those of this method alone. The answer is written to FILE.
"""

import json
import statistics
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]  # what runs is the tree whose commit is recorded


def fit(dataset, method, seed, device, epochs, data_home):
    """Fit and score on the same images, and time the fit."""
    import numpy as np
    from entrants import DATASETS, entrants

    from skdeepclust.metrics import clustering_report

    images, target = DATASETS[dataset].load(data_home)
    entrant = entrants()[method]
    model = entrant.build(DATASETS[dataset], seed, device, epochs)
    X = images if entrant.takes_images else rows_of_pixels(images)
    start, worked = time.perf_counter(), time.process_time()
    labels = model.fit_predict(X)
    # Far fewer seconds of work than of waiting tell that the machine was busy with other things.
    times = {
        "seconds": round(time.perf_counter() - start, 2),
        "cpu_seconds": round(time.process_time() - worked, 2),
    }
    clusters, labels = np.unique(labels, return_inverse=True)  # noise, -1, is a cluster as well
    row = clustering_report(target, labels) | times
    row |= {"peak_memory_mb": peak_memory_mb(), "n_clusters": len(clusters)}
    return row | training(model)


def rows_of_pixels(images):
    return images.reshape(len(images), -1).astype("float32") / 255


def training(model):
    """Rounds of training, and of the package's methods their speed and loss."""
    rounds = {"n_iter": getattr(model, "n_iter_", None)}
    history = getattr(model, "history_", None)
    if history is None:
        return rounds
    speed = statistics.median(epoch["images_per_second"] for epoch in history)
    loss = [round(epoch["loss"], 4) for epoch in history]
    return rounds | {"images_per_second": round(speed), "loss": loss}


def peak_memory_mb():
    """Most memory that this process held at once.

    Linux's ru_maxrss will not do where there is better: a new process takes over that of the
    process that started it.
    """
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    peaks = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    if peaks:
        return round(int(peaks[0]) / 1024)
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)


def main(request, answer):
    try:
        row = fit(**json.loads(request))
    except Exception as error:  # whatever goes wrong in a method of others is recorded
        row = {"error": f"{type(error).__name__}: {error}"}
    Path(answer).write_text(json.dumps(row))


if __name__ == "__main__":
    main(*sys.argv[1:])
