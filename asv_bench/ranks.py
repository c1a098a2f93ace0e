"""Two processes train together, and one is killed: how the other ends, and what is left."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from skorch.callbacks import Callback
from subjects import METHODS, images, make, same

from skdeepclust.ops.collective import rank

HERE = Path(__file__).resolve()


class Kill(Callback):
    """Kills a rank after so many steps, and has the others write down when that was."""

    def __init__(self, who, step, folder):
        self.who, self.step, self.folder = who, step, folder

    def on_batch_end(self, net, **kwargs):
        if net.run.step == self.step and rank() == self.who:
            Path(self.folder, "killed").write_text(str(time.time()))
            os.kill(os.getpid(), signal.SIGKILL)


def broken_off(folder, name, who, step):
    make(name, checkpoint=folder, callbacks=[Kill(int(who), int(step), folder)]).fit(images())


def resumed(folder):
    """Whether each training that was broken off ends as one that was not."""
    found, unbroken = {}, {}
    for name, at in json.loads(Path(folder, "points.json").read_text()):
        if name not in unbroken:
            unbroken[name] = make(name).fit(images())
        again = make(name, checkpoint=Path(folder, at)).fit(images())
        found[at] = same(again, unbroken[name])
    Path(folder, f"{os.environ['RANK']}.json").write_text(json.dumps(found))


def ended(*args):
    """Exit status and last line of both processes, started as by a launcher, and when they left."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared |= {"PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE), *map(str, args)]
    processes = [
        subprocess.Popen(
            command,
            env=os.environ | shared | {"RANK": str(i), "LOCAL_RANK": str(i)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    told = []
    for process in processes:
        try:
            told.append("".join(process.communicate(timeout=600)[1].strip().splitlines()[-1:]))
        except subprocess.TimeoutExpired:
            process.kill()
            told.append("it hangs")
    return [p.returncode for p in processes], told, time.time()


def killed(folder, name, who, step):
    """Seconds until the other rank left, or None if it did not do so with a word on the cause."""
    status, told, end = ended("broken_off", folder, name, who, step)
    other = 1 - who
    well = status[who] == -signal.SIGKILL and status[other] == 1
    if well and f"Training stopped on rank {other}: " in told[other]:
        return end - float(Path(folder, "killed").read_text())
    print(name, who, step, status, told, file=sys.stderr)
    return None


def ranks(scale):
    """One of two ranks is killed at ten points, the first and the second in turn."""
    rng, points, seconds = np.random.default_rng(0), [], []
    with tempfile.TemporaryDirectory() as folder:
        for i in range(max(1, round(10 * scale))):
            name, at = METHODS[i % len(METHODS)], f"{i}"
            Path(folder, at).mkdir()
            seconds.append(killed(Path(folder, at), name, i // 2 % 2, int(rng.integers(1, 16))))
            points.append((name, at))
        Path(folder, "points.json").write_text(json.dumps(points))
        status, told, _ = ended("resumed", folder)
        assert status == [0, 0], told
        found = [json.loads(Path(folder, f"{i}.json").read_text()) for i in range(2)]
    well = [s is not None and s <= 30 for s in seconds]
    bitwise = [found[0][at] and found[1][at] for _, at in points]
    passed = sum(a and b for a, b in zip(well, bitwise, strict=True))
    slowest = max((s for s in seconds if s is not None), default=None)
    return {"passed": passed, "of": len(points), "slowest_end_s": slowest}


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    {"broken_off": broken_off, "resumed": resumed}[sys.argv[1]](*sys.argv[2:])
