"""The same work in odd circumstances: another locale, no home, no extras, an optimising Python."""

import hashlib
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
from subjects import TINY, images, make

import skdeepclust
from skdeepclust.metrics import clustering_report

HERE = Path(__file__).resolve()
EXTRAS = ["matplotlib", "onnx", "onnxruntime", "onnxscript", "pandas", "timm"]
# What the environment says; what the interpreter is told; which packages there are not.
NOWHERE = "/dev/null/home"  # not to be read, made or written, whoever asks
ODD = {
    "no extra": ({}, [], EXTRAS),
    "no home": ({"HOME": NOWHERE, "XDG_CACHE_HOME": NOWHERE, "USERPROFILE": NOWHERE}, [], []),
    "time zone": ({"TZ": "Pacific/Apia"}, [], []),
    "Turkish": ({"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"}, [], []),
    "ASCII": ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, [], []),
    "python -O": ({}, ["-O"], []),
    "hashes": ({"PYTHONHASHSEED": "1234"}, [], []),
}
ODD["all at once"] = (
    {name: value for circumstances, _, _ in ODD.values() for name, value in circumstances.items()},
    ["-O"],
    EXTRAS,
)


def work(missing):
    """Each method trains, goes on, predicts, is saved and loaded; what comes of it, in short."""
    from PIL import Image

    sys.modules.update(dict.fromkeys(filter(None, missing.split(",")), None))
    digest, X = hashlib.sha256(), images(60)
    with tempfile.TemporaryDirectory() as folder:
        half = os.fsdecode("½".encode())  # whatever the locale takes its bytes for
        files, saved = Path(folder, f"photographs {half}"), Path(folder, f"model {half}")
        files.mkdir()
        for i, pixels in enumerate(X):
            Image.fromarray(pixels).save(files / f"{i:02d}.png")
        for name in skdeepclust.METHODS:
            params = TINY | {"checkpoint": Path(folder, name), "image_shape": (1, 8, 8)}
            make(name, **params).fit(files)
            model = make(name, **params).fit(files)
            model.save(saved)
            again = skdeepclust.load(saved)
            rows = [again.predict(files), model.predict(X), again.transform(X), model.labels_]
            digest.update(b"".join(np.ascontiguousarray(row).tobytes() for row in rows))
            report = clustering_report(model.labels_, again.labels_)
            digest.update(repr(report).encode())
    print(digest.hexdigest())


def outcome(name, demo=False):
    """What `work` tells in these circumstances, or which picture ``skdeepclust demo`` makes."""
    environment, options, missing = ODD[name] if name else ({}, [], [])
    root = str(HERE.parents[1])
    environment = os.environ | {"PYTHONWARNINGS": "ignore", "PYTHONPATH": root} | environment
    with tempfile.TemporaryDirectory() as folder:
        what = [str(HERE), ",".join(missing)]
        if demo:
            what = ["-m", "skdeepclust", "demo", "--epochs=1", "--jobs=1", "--out=demo.png"]
        done = subprocess.run(
            [sys.executable, *options, *what],
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
        )
        pictures = [path.name for path in Path(folder).glob("*.png")]
    if done.returncode:
        return done.stderr[-2000:]
    return " ".join(pictures) if demo else done.stdout.split()[-1]


def odd(scale):
    """All circumstances; ``skdeepclust demo`` under ``python -O`` and without a home."""
    usual, passed = outcome(None), 0
    names = list(ODD)[-max(1, round(len(ODD) * scale)) :]
    for name in names:
        found = outcome(name)
        passed += found == usual
        if found != usual:
            print(name, found, file=sys.stderr)
    demos = ["python -O", "no home"] if scale >= 1 else []
    for name in demos:
        found = outcome(name, demo=True)
        passed += found == "demo.png"
        if found != "demo.png":
            print("demo", name, found, file=sys.stderr)
    return {"passed": passed, "of": len(names) + len(demos)}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    work(*sys.argv[1:])
