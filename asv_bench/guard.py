"""Is this tree slower than a commit before it? Exit status 1 says yes, and the lines say where.

    python asv_bench/guard.py HEAD~1
    python asv_bench/guard.py v0.1 --bench methods --factor 1.05

asv runs the suite of this tree on the package of the commit and on that of this tree, and again
what was slower, or took more memory, by more than the factor: only what is so in every round
counts. Both sides of a round follow one another on one machine, in processor time, and take turns
in being first. The commit's files lie in a temporary folder meanwhile.
"""

import argparse
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
ASV = [sys.executable, "-m", "asv"]


def git(*arguments):
    return subprocess.run(
        ["git", "-C", ROOT, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def measure(tree, bench, folder):
    """Seconds, or bytes, of each benchmark and its parameters with the package of a tree."""
    folder.mkdir()
    config = json.loads((HERE / "asv.conf.json").read_text(encoding="utf-8"))
    config |= {
        "repo": str(ROOT),
        "benchmark_dir": str(HERE / config["benchmark_dir"]),
        "results_dir": str(folder / "results"),
    }
    path = folder / "asv.conf.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    run = [*ASV, "run", "--config", path, "--python=same", "--quick"]
    told = subprocess.run(
        [*run, "--set-commit-hash", git("rev-parse", "HEAD"), "--bench", bench],
        cwd=folder,
        env={**os.environ, "ASV_PYTHONPATH": str(tree)},  # before what is installed
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    found = dict(read(folder / "results"))
    if not found:  # a benchmark that fails is none, on either side; all of them are an error
        raise SystemExit(f"asv measured nothing in {tree}:\n{told.stdout[-2000:]}")
    return found


def read(folder):
    """Pairs of a benchmark with its parameters and what asv found, from asv's files."""
    for path in folder.glob("*/*.json"):
        if path.name == "machine.json":
            continue
        found = json.loads(path.read_text(encoding="utf-8"))
        for name, columns in found["results"].items():
            row = dict(zip(found["result_columns"], columns, strict=False))
            if re.search(r"\b(time|peakmem)_", name):
                cases = itertools.product(*row["params"])
                for case, value in zip(cases, row["result"] or (), strict=False):
                    if value is not None and value == value:  # asv's word for a failure is NaN
                        yield (name, *case), value


def slower(base, bench, rounds, factor, measure=measure):
    """Ratios, round by round, of what this tree is slower at than the tree `base` in each round."""
    ratios = {}
    with tempfile.TemporaryDirectory() as scratch:
        for i in range(rounds):
            sides, found = [("base", base), ("here", ROOT)], {}
            for side, tree in sides[:: (-1) ** i]:
                found[side] = measure(tree, bench, Path(scratch) / f"{i}-{side}")
            both = found["base"].keys() & found["here"].keys()
            now = {case: found["here"][case] / found["base"][case] for case in both}
            again = ratios if i else dict.fromkeys(both, ())
            ratios = {c: [*again[c], now[c]] for c in again if now.get(c, 0) > factor}
            print(f"round {i + 1}: {len(both)} measured, {len(ratios)} slower so far", flush=True)
            if not ratios:
                break
            bench = "|".join(sorted({re.escape(name) for name, *_ in ratios}))
    return dict(sorted(ratios.items()))


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", help="commit to compare with")
    parser.add_argument("--bench", default=".", help="only benchmarks that this expression finds")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--factor", type=float, default=1.1)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*ASV, "machine", "--yes"], check=True, capture_output=True, cwd=HERE)
        tree = Path(folder) / "base"
        git("worktree", "add", "--detach", tree, args.base)
        try:
            found = slower(tree, args.bench, args.rounds, args.factor)
        finally:
            git("worktree", "remove", "--force", tree)
    for (name, *case), ratios in found.items():
        print(f"{statistics.median(ratios):5.2f}x  {name}({', '.join(case)})")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
