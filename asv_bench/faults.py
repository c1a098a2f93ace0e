"""Faults, in full counts: what is killed, damaged, poisoned or repeated, and what comes of it.

    python asv_bench/faults.py --out asv_bench/results/faults.json     # minutes; some of an hour
    python asv_bench/faults.py --only flips --scale 0.01
    python asv_bench/faults.py --table                                 # into docs/reliability.md

Each part prints what it did and what it found; ``passed`` is how many did as they should. Tests,
some of them slow, run samples of the same. Reads the digits of scikit-learn, needs no network, but
what ``pip install ".[test]"`` installs.
"""

import argparse
import gc
import json
import os
import platform
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from collapse import collapse
from fuzz import inputs, judged, parameters
from odd import odd
from ranks import ranks
from results import commit, cpu_model, put, splice
from skorch.callbacks import Callback
from subjects import METHODS, images, make, same

import skdeepclust
from skdeepclust.engine.archive import read
from skdeepclust.engine.checkpoint import Checkpoint, Stage

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs" / "reliability.md"
RESULTS = HERE / "results" / "faults.json"


def broken_off(number, scale):
    """Start a training in a process of its own, send a signal at a random moment, go on."""
    rng, outcome = np.random.default_rng(0), {}
    X = images()
    for name in METHODS:
        unbroken, passed, slowest = make(name).fit(X), 0, 0.0
        for _ in range(round(20 * scale)):
            with tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, __file__, "--victim", name, folder]
                victim = subprocess.Popen(
                    command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
                )
                seconds = float(victim.stdout.readline())  # it tells how long a training takes
                time.sleep(rng.uniform(0, seconds))
                sent = time.perf_counter()
                victim.send_signal(number)
                victim.wait()
                slowest = max(slowest, time.perf_counter() - sent)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    passed += same(make(name, checkpoint=folder).fit(X), unbroken)
        outcome[name] = {"passed": passed, "of": round(20 * scale), "slowest_exit_s": slowest}
    passed, of = (sum(row[key] for row in outcome.values()) for key in ("passed", "of"))
    return {"passed": passed, "of": of, "by_method": outcome}


def victim(name, folder):
    X = images()
    started = time.perf_counter()
    make(name).fit(X)
    print(time.perf_counter() - started, flush=True)
    make(name, checkpoint=folder).fit(X)


def kills(scale):
    return broken_off(signal.SIGKILL, scale)


def terminations(scale):
    return broken_off(signal.SIGTERM, scale)


def refused(path, content):
    path.write_bytes(content)
    try:
        skdeepclust.load(path)
    except ValueError as error:
        return str(path) in str(error)
    return False


def flips(scale):
    """Single bits all over a saved model, and every kind of cut and appendix."""
    rng, n = np.random.default_rng(0), round(10_000 * scale)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        make("IDFDClustering", backbone="mlp", embedding_dim=8).fit(images()).save(path)
        whole, passed = path.read_bytes(), 0
        header = 8 + int.from_bytes(whole[:8], "little")
        # Half of them in the header, which is the smaller part.
        bits = [*rng.integers(0, 8 * header, n // 2), *rng.integers(0, 8 * len(whole), n - n // 2)]
        for bit in bits:
            damaged = bytearray(whole)
            damaged[bit // 8] ^= 1 << int(bit % 8)
            passed += refused(path, damaged)
        return {"passed": passed, "of": n, "bytes": len(whole)}


def truncations(scale):
    rng, n = np.random.default_rng(1), round(1_000 * scale)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        make("CDCClustering", backbone="mlp", embedding_dim=8).fit(images()).save(path)
        whole = path.read_bytes()
        cuts = [whole[: rng.integers(0, len(whole))] for _ in range(n - n // 10)]
        more = [whole + rng.bytes(int(rng.integers(1, 100))) for _ in range(n // 10)]
        return {"passed": sum(refused(path, content) for content in cuts + more), "of": n}


def cuts(scale):
    """Writing a state ends after every percent of its bytes, by a full disk or with the process."""
    points = range(0, 100, max(1, round(1 / scale)))
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "whole")
        make("IDFDClustering", checkpoint=whole, backbone="mlp", embedding_dim=8).fit(images())
        size = (whole / "stage1.safetensors").stat().st_size
        ends = [(size * percent // 100, how) for percent in points for how in ("full", "killed")]
        passed = sum(cut(whole, Path(folder, f"{i}"), *end) for i, end in enumerate(ends))
    return {"passed": passed, "of": len(ends), "bytes": size}


def cut(whole, folder, n_bytes, how):
    """Whether the state before is found after the next one could not be written."""
    folder.mkdir()
    shutil.copy(whole / "stage1.previous.safetensors", folder / "stage1.safetensors")
    child = os.fork()
    if child == 0:
        os._exit(write_until(whole / "stage1.safetensors", folder, n_bytes, how))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    expected = {"full": 0, "killed": -signal.SIGXFSZ}[how]
    left = [path.name for path in folder.iterdir() if path.name.endswith(".tmp")]
    with Checkpoint(folder, 1, {}) as kept:
        kept.identity = read(folder / "stage1.safetensors", "checkpoint", 1)["identity"]
        found = kept.stage().load()
    names = sorted(path.name for path in folder.iterdir())
    well = status == expected and found["epoch"] == 3 and bool(left) == (how == "killed")
    return well and names == ["lock", "stage1.safetensors"]


def write_until(path, folder, n_bytes, how):
    """Write a state where a file may have so many bytes; 0 if the error names the folder."""
    tree = read(path, "checkpoint", 1)
    if how == "killed":
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python makes an error of it
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))
    stage = Stage(Checkpoint(folder, 1, tree["identity"]), folder / "stage1.safetensors")
    try:
        stage.save(tree["state"])
        stage.close()
    except OSError as error:
        return int(str(folder) not in str(error))
    return 1


def poisoned(scale):
    """A NaN in a batch, a gradient or a weight at a random step."""
    rng, n, passed = np.random.default_rng(0), round(100 * scale), 0
    X, outcome = images(), {"recovered": 0, "error": 0, "missed": 0}
    for i in range(n):
        name, turn = METHODS[i % len(METHODS)], i // len(METHODS)
        what, step = ("batch", "gradient", "weight")[turn % 3], int(rng.integers(1, 16))
        poison = Poison(what, step)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                found = make(name, callbacks=[poison]).fit(X)
                healthy = np.isfinite(found.transform(X)).all()
                noticed = any("diverged" in str(w.message) for w in told)
                kind = "recovered" if healthy and (noticed or not poison.done) else "missed"
            except ValueError as error:
                kind = "error" if "diverged" in str(error) else "missed"
        outcome[kind] += 1
        passed += kind != "missed"
    return {"passed": passed, "of": n, **outcome}


class Poison(Callback):
    def __init__(self, what, step):
        self.what, self.step, self.done = what, step, False

    def _now(self, net, kind):
        return kind == self.what and not self.done and net.run.step == self.step

    def on_batch_begin(self, net, batch=None, **kwargs):
        if self._now(net, "batch"):
            batch["x"] = batch["x"].float().fill_(torch.nan)
            self.done = True

    def on_grad_computed(self, net, named_parameters, **kwargs):
        if self._now(net, "gradient"):
            for _, parameter in named_parameters:
                if parameter.grad is not None:
                    parameter.grad.fill_(torch.nan)
                    self.done = True

    def on_batch_end(self, net, **kwargs):
        if self._now(net, "weight"):
            next(net.objective.parameters()).data[0] = torch.nan
            self.done = True


def pictures(scale):
    """Damaged image files of six formats, to be left out or named."""
    import io

    from PIL import Image, ImageFile

    rng, n, passed, read = np.random.default_rng(0), round(10_000 * scale), 0, 0
    pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    whole = []
    for kind in ("jpeg", "png", "webp", "gif", "bmp", "tiff"):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, kind)
        whole.append((kind, buffer.getvalue()))
    model = skdeepclust.BackboneKMeans(2, backbone="identity", weights=None, random_state=0)
    with tempfile.TemporaryDirectory() as folder:
        for i in range(n):
            kind, content = whole[i % 6]
            damaged = bytearray(content if i % 4 else content[: rng.integers(1, len(content))])
            for _ in range(rng.integers(1, 8)):
                damaged[rng.integers(min(len(damaged), 400 if i % 2 else 10**9))] = rng.integers(
                    256
                )
            Path(folder, f"{i:05d}.{kind}").write_bytes(damaged)
        found = model.set_params(on_error="skip", image_shape=(3, 16, 16)).fit(folder)
        left_out = found.labels_ < 0
        read = int((~left_out).sum())
        named = [path for path, out in zip(found.image_paths_, left_out, strict=True) if out]
        passed = n if sorted(named) == sorted(found.skipped_) else 0
        assert passed, (named[:3], found.skipped_[:3])
        first = judged(lambda: model.set_params(on_error="raise").fit(folder), [folder])[0]
        assert first == "refused", first
    passed *= before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    return {"passed": int(passed), "of": n, "decoded": read, "left_out": n - read}


def leaks(scale):
    """Memory, threads, open files and global state over many fits in one process."""
    import threading

    X, n = images(60), round(1_000 * scale)
    params = {"backbone": "mlp", "embedding_dim": 4, "max_epochs": 1, "warmup_epochs": 0}
    before = torch.get_rng_state(), torch.get_num_threads(), torch.get_default_dtype()
    files = Path("/proc/self/fd")
    start = 0
    for i in range(n):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            make(METHODS[i % len(METHODS)], **params).fit(X)
        if i == 9:
            gc.collect()
            start, opened, threads = rss(), len(list(files.iterdir())), threading.active_count()
    gc.collect()
    grown = (rss() - start) / 2**20
    after = torch.get_rng_state(), torch.get_num_threads(), torch.get_default_dtype()
    clean = torch.equal(before[0], after[0]) and before[1:] == after[1:]
    kept = len(list(files.iterdir())) == opened and threading.active_count() == threads
    return {"passed": int(grown <= 5 and clean and kept), "of": 1, "fits": n, "grown_mib": grown}


def rss():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cost(scale):
    """What a checkpoint after every epoch takes of an epoch of ResNet-18."""
    X = np.random.default_rng(0).integers(0, 256, (2_000, 3, 32, 32), dtype=np.uint8)
    params = {"backbone": "resnet18", "max_epochs": 1, "random_state": 0, "device": "cpu"}
    model = skdeepclust.ProPosClustering(10, **params).fit(X)  # the largest state: two networks
    per_image = 1 / model.history_[-1]["images_per_second"]
    from skdeepclust.engine.archive import write

    state = {"a": dict(model.net_.module_.state_dict()), "b": model.net_.optimizer_.state_dict()}
    with tempfile.TemporaryDirectory() as folder:
        seconds = []
        for _ in range(5):
            started = time.perf_counter()
            write(Path(folder, "state"), "checkpoint", 1, state)
            seconds.append(time.perf_counter() - started)
            size = Path(folder, "state").stat().st_size
    epoch = 50_000 * per_image
    share = float(np.median(seconds)) / epoch
    return {
        "passed": int(share <= 0.02), "of": 1, "write_s": float(np.median(seconds)),
        "mib": size / 2**20, "epoch_of_50000_s": epoch, "share": share,
    }  # fmt: skip


PARTS = {
    "kills": (kills, "SIGKILL at a random moment, then `fit` again: bitwise as unbroken"),
    "terminations": (terminations, "SIGTERM at a random moment, then `fit` again: bitwise"),
    "cuts": (
        cuts,
        "writing a state ends after each percent of it, by an error or with the process",
    ),
    "ranks": (
        ranks,
        "SIGKILL of one of two processes: the other says so, then `fit` again: bitwise",
    ),
    "flips": (flips, "one flipped bit of a saved model: refused"),
    "truncations": (truncations, "a saved model cut off or with bytes appended: refused"),
    "poisoned": (poisoned, "NaN in a batch, gradient or weight: set right, or an error"),
    "collapse": (collapse, "collapses, planted: a warning; healthy trainings: none"),
    "parameters": (parameters, "parameters that nobody would pass: an error that names one"),
    "inputs": (
        inputs,
        "samples of any shape, type and content: it works, or an error that says so",
    ),
    "pictures": (pictures, "damaged image files of six formats: left out and listed, or named"),
    "odd": (odd, "no extras, no home, odd locales, `python -O`: the same results; the demo runs"),
    "leaks": (leaks, "many fits in one process: at most 5 MiB, nothing left open or changed"),
    "cost": (cost, "a checkpoint after every epoch: at most 2 % of an epoch of ResNet-18"),
}


def table(found):
    lines = ["| fault | tried | as it should be |", "|---|---|---|"]
    for name, (_, words) in PARTS.items():
        row = found["parts"].get(name)
        tried = "not yet measured" if row is None else f"{row['of']:,}"
        passed = "" if row is None else f"{row['passed']:,}{_more(row)}"
        lines.append(f"| {words} | {tried} | {passed} |")
    return "\n".join([*lines, "", *_abouts(found["parts"])])


def _abouts(parts):
    """What was measured where, and with which commit."""
    where = {}
    for name, row in parts.items():
        changed = " with changes" if row["commit"].endswith("-dirty") else ""
        about = (
            f"commit {row['commit'][:7]}{changed}, {row['processor']}, {row['threads']} threads, "
            f"Python {row['python']}, torch {row['torch']}"
        )
        where.setdefault(about, []).append(name)
    return [f"{', '.join(names)}: {about}.\n" for about, names in where.items()]


def _more(row):
    if "by_method" in row:
        slowest = max(method["slowest_exit_s"] for method in row["by_method"].values())
        return f"; the slowest end took {slowest:.1f} s"
    if "slowest_end_s" in row:
        return f"; the slowest end took {row['slowest_end_s']:.1f} s"
    if "planted" in row:
        return (
            f" ({row['reported']} of {row['planted']} collapses told, {row['false_alarms']} false "
            f"alarms in {row['healthy']} healthy ones)"
        )
    if "grown_mib" in row:
        return f" ({row['fits']:,} fits, {row['grown_mib']:+.1f} MiB after the tenth)"
    if "slowest_refusal_s" in row:
        worked = row.get("worked", 0)
        return f" ({worked:,} worked; slowest refusal {row['slowest_refusal_s'] * 1e3:.0f} ms)"
    if "decoded" in row:
        return f" ({row['decoded']:,} could still be decoded)"
    if "recovered" in row:
        return f" ({row['recovered']} set right, {row['error']} errors)"
    if "share" in row:
        return (
            f" ({row['write_s']:.2f} s for {row['mib']:.0f} MiB, {row['share']:.2%} of an epoch of "
            "50,000 images)"
        )
    return ""


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full counts")
    parser.add_argument("--out", type=Path, help="JSON; parts that it has from before stay")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--victim", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.victim:
        return victim(*args.victim)
    if args.table or args.check:
        block = table(json.loads(RESULTS.read_text()))
        return put({DOCS: splice(DOCS.read_text(), block, DOCS.name)}, args.check)
    found = {"parts": {}}
    if args.out and args.out.exists():
        found = json.loads(args.out.read_text())
    about = {
        "commit": commit() or "unknown",
        "python": platform.python_version(), "torch": torch.__version__,
        "processor": cpu_model(), "threads": torch.get_num_threads(),
    }  # fmt: skip
    for name in args.only:
        started = time.perf_counter()
        row = PARTS[name][0](args.scale)
        found["parts"][name] = row | about | {"seconds": round(time.perf_counter() - started, 1)}
        print(name, json.dumps(found["parts"][name]), flush=True)
        if args.out:
            args.out.write_text(json.dumps(found, indent=1) + "\n")
    return None


if __name__ == "__main__":
    sys.exit(main())
