"""Run what the papers ran, in slices that fit a time limit, and write what came of it.

    python asv_bench/reproduce.py --method propos --data cifar10 --recipe fast --seeds 0 1 2 \\
        --data-home DIR --minutes 9     # again and again, until it ends with status 0
    python asv_bench/reproduce.py --recipe small --data-home DIR    # what two cores can carry
    python asv_bench/reproduce.py --ablation --recipe fast          # ProPos' two open questions
    python asv_bench/reproduce.py --trade-off --recipe fast         # whether less would do
    python asv_bench/reproduce.py --show --method secu --recipe fast
    python asv_bench/reproduce.py --table       # docs/reproduction.md and its plots, run nothing
    python asv_bench/reproduce.py --check       # exit with 1 if that page is out of date

A run is one method with one recipe on one data set from one seed. Its state is a folder below
--state, from which the next call goes on, bit for bit on a CPU; its result is a file below --out.
A run that has one is not run again: delete the file for that. Exit status: 0 when all runs have
ended, 75 when the minutes are over and there is more to do (EX_TEMPFAIL: call again), 2 for
arguments that make no sense, 1 when a run has failed (its file says why), 130 or 143 after Ctrl-C
or SIGTERM, which leave a state to go on from as well.
"""

import argparse
import difflib
import json
import math
import shutil
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE)]  # what runs is the tree whose commit is recorded

from published import ABLATION, ALL, DATA, FIRST, RECIPES, TRADE_OFF, recipe  # noqa: E402

from skdeepclust.cli._arguments import integer  # noqa: E402

NOT_FINISHED = 75
INTERRUPTED = 130

# -- runs ---------------------------------------------------------------------------------


def run_all(args, deadline):
    """Run what has not ended yet, one after the other; the exit status."""
    import torch
    from slices import Run, clock

    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)  # hours later would be late to find that it cannot
    runs = [Run(args, method, seed) for seed in args.seeds for method in args.method]
    begun = False
    for run in runs:
        if ended(run):
            print(f"{run.name}: there already", flush=True)
            continue
        # However short the minutes, a call makes a step: a loop of calls comes to its end.
        late, begun = begun and clock() >= deadline, True
        if late or not conclude(run, deadline):
            print(f"{run.name}: not finished, call again", flush=True)
            return NOT_FINISHED
    return int(any("error" in read(run.file) for run in runs))


def ended(run):
    """Whether there is a result of these settings, or an error that is to stand."""
    row = read(run.file) if run.file.exists() else {}
    return run.key.items() <= row.items() and not (run.args.retry and "error" in row)


def conclude(run, deadline):
    """Train a run and write its row; False when the time is over before."""
    from slices import fit, write

    from skdeepclust.engine.loop import Diverged

    try:
        found = fit(run, deadline)
    except (Diverged, MemoryError, RuntimeError) as error:  # the other runs are to have their time
        told = " ".join(f"{type(error).__name__}: {error}".split())
        found = {"error": told} | run.ran_on | run.facts
    if found is None:
        return False
    write(run.file, run.key | found)
    if "error" not in found:
        shutil.rmtree(run.state, ignore_errors=True)
    print(f"{run.name}: {outcome(found)}", flush=True)
    return True


def outcome(row):
    if "error" in row:
        return f"failed: {row['error']}"
    told = [f"ACC {figures['acc']:.4f} on {split}" for split, figures in row["scores"].items()]
    told += [f"{row['bank_acc']:.4f} of the bank"] if "bank_acc" in row else []
    return f"{', '.join(told)}; {row['seconds']:.0f} s in {len(row['slices'])} slices"


# -- the command line ---------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """Say in one line what to mend."""

    def error(self, message):
        self.exit(2, f"{self.prog}: {message} (see --help)\n")


def parse(argv):
    formatter = argparse.RawDescriptionHelpFormatter
    parser = Parser("reproduce.py", description=__doc__, formatter_class=formatter)
    add_choices(parser)
    add_limits(parser)
    add_places(parser)
    for name, text in (
        ("show", "print the recipe of each method, run nothing"),
        ("table", "write the page and its plots, run nothing"),
        ("check", "compare the page with the files, run nothing"),
    ):
        parser.add_argument(f"--{name}", action="store_true", help=text)
    args = parser.parse_args(argv)
    sets = list(ABLATION) * args.ablation + list(TRADE_OFF) * args.trade_off
    args.method = sets or args.method or list(FIRST)
    if args.epochs and args.out is None:
        parser.error("--epochs is for trials, which are not to replace results: give --out")
    args.root = args.root or ROOT
    args.out = args.out or args.root / "asv_bench" / "results" / "reproduction"
    return parser, args


def add_choices(parser):
    method, data = named("method", ALL), named("data set", DATA)
    parser.add_argument("--method", nargs="+", type=method, help=f"default: {' '.join(FIRST)}")
    for option, names in (("--ablation", ABLATION), ("--trade-off", TRADE_OFF)):
        parser.add_argument(option, action="store_true", help=f"stands for {', '.join(names)}")
    parser.add_argument("--data", type=data, default="cifar10", help="default: cifar10")
    parser.add_argument("--recipe", type=named("recipe", RECIPES), default="paper")
    parser.add_argument("--seeds", nargs="+", type=integer(0), default=[0], help="default: 0")
    parser.add_argument("--device", default="auto", help="default: a GPU if there is one")
    parser.add_argument("--threads", type=integer(1), default=1, help="default: 1")


def add_limits(parser):
    parser.add_argument("--minutes", type=minutes, default=math.inf, help="of this call")
    parser.add_argument("--every", type=integer(1), help="epochs between scores and states")
    parser.add_argument("--epochs", type=integer(1), help="for trials, with --out")
    parser.add_argument("--retry", action="store_true", help="run again what has failed")
    parser.add_argument("--eager", action="store_true", help="do not compile the step on CUDA")


def add_places(parser):
    parser.add_argument("--data-home", help="folder of the data sets, as the fetchers take it")
    parser.add_argument("--state", type=Path, default=HERE / ".reproduce", help="to go on from")
    parser.add_argument("--out", type=Path, help="folder of the JSON files of trials")
    parser.add_argument("--root", type=Path, help="where docs/ is")
    parser.add_argument("--commit", help="of the tree, where there is no git to ask")


def named(kind, known):
    def parse(text):
        name = text.lower()
        if name in known:
            return name
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise argparse.ArgumentTypeError(
            f"no {kind} is named {text!r}; {hint}there are {', '.join(known)}"
        )

    return parse


def minutes(text):
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not found > 0:
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text!r}")
    return found


def read(path):
    return json.loads(path.read_text())


def main(argv=None):
    start = time.monotonic()
    parser, args = parse(argv)
    try:
        if args.show:
            print("\n\n".join(str(recipe(name, args.data, args.recipe)) for name in args.method))
            return 0
        if args.table or args.check:
            import reproduction

            return reproduction.main(args)
        return run_all(args, start + 60 * args.minutes)
    except KeyboardInterrupt:
        print("Interrupted; the same command goes on from here.", file=sys.stderr)
        return INTERRUPTED
    except (OSError, ValueError) as error:
        parser.error(" ".join(str(error).split()))


if __name__ == "__main__":
    sys.exit(main())
