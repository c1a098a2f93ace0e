"""Run what the papers ran, in slices that fit a time limit, and write what came of it.

    python asv_bench/reproduce.py --method propos --data cifar10 --recipe fast --seeds 0 1 2 \\
        --data-home DIR --minutes 9     # again and again, until it ends with status 0
    python asv_bench/reproduce.py --recipe small --data-home DIR    # what two cores can carry
    python asv_bench/reproduce.py --ablation --recipe fast          # ProPos' two open questions
    python asv_bench/reproduce.py --show --method secu --recipe fast
    python asv_bench/reproduce.py --table       # docs/reproduction.md and its plots, run nothing
    python asv_bench/reproduce.py --check       # exit with 1 if that page is out of date

A run is one method with one recipe on one data set from one seed. Its state is a folder below
--state, from which the next call goes on, bit for bit on a CPU; its result is a file below --out,
and a run that has one is not run again. Exit status: 0 when all runs have ended, 75 when the
minutes are over and there is more to do (EX_TEMPFAIL: call again), 2 for arguments that make no
sense, 1 when a run has failed (its file says why), 130 or 143 after Ctrl-C or SIGTERM, which leave
a state to go on from as well.
"""

import argparse
import difflib
import functools
import hashlib
import json
import math
import shutil
import sys
import warnings
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE)]  # what runs is the tree whose commit is recorded

from entrants import settings  # noqa: E402
from published import ABLATION, ALL, DATA, EVERY, FIRST, RECIPES, load, recipe  # noqa: E402

NOT_FINISHED = 75
INTERRUPTED = 130
LABELS = "of the last epoch; no epoch, seed or setting was chosen by the classes"
MONITORED = (
    "labels that the method has at the end of an epoch, on the fitted split, to look at only"
)

# -- runs ---------------------------------------------------------------------------------


class Run:
    """One method with one recipe on one data set from one seed."""

    def __init__(self, args, method, seed):
        self.args, self.method, self.seed = args, method, seed
        self.recipe = recipe(method, args.data, args.recipe)
        self.name = f"{args.data}-{method}-{args.recipe}-seed{seed}"
        self.state = args.state / self.name
        self.file = args.out / f"{self.name}.json"

    def model(self):
        """The estimator; what only the device decides is no part of a recipe."""
        import skdeepclust
        from skdeepclust.engine.device import resolve_device

        device = resolve_device(self.args.device)
        given = self.recipe.params | {"device": str(device), "compile": device.type == "cuda"}
        if self.args.epochs:
            given["max_epochs"] = self.args.epochs
        estimator = getattr(skdeepclust, self.recipe.method)
        return estimator(random_state=self.seed, checkpoint=self.state, **given)

    @property
    def key(self):
        names = {"method": self.method, "data": self.args.data, "recipe": self.args.recipe}
        return {**names, "seed": self.seed, "settings": settings_of(self.model())}

    @property
    def ended(self):
        """Whether there is a result, or an error, of these settings."""
        return self.key.items() <= (read(self.file) or {}).items() and not self.args.force


def settings_of(model):
    """Parameters that a result depends on, as JSON holds them."""
    return {k: v for k, v in settings(model).items() if not k.startswith("checkpoint")}


@functools.lru_cache(maxsize=2)  # the splits of one run
def loaded(data, split, data_home, image_shape):
    return load(data, split, data_home, image_shape)


def images_of(run, split):
    shape = run.recipe.params.get("image_shape")
    return loaded(run.args.data, split, run.args.data_home, shape)


def fit(run, deadline):
    """Train until the end, or until the deadline; None then, else the row of the run."""
    from slices import Progress, Slice

    images, target = images_of(run, run.recipe.fitted)
    model = run.model()
    facts = {"commit": ran_on(run)["commit"], "device": device_name(model), "threads": threads()}
    progress = Progress(run.state / "progress.json", **facts)
    watch = Slice(target, run.args.every or EVERY[run.args.recipe], deadline, progress)
    try:
        model.set_params(callbacks=[watch]).fit(images)
    except SystemExit:
        if watch.over:
            return None
        raise
    finally:
        progress.tell(watch.epochs_, watch.curve_)
    if model.net_.interrupted:
        raise KeyboardInterrupt
    found = result(run, model, target, watch.curve_)
    progress.write()
    return found | {"seconds": round(progress.seconds, 1), "slices": progress.slices}


def result(run, model, target, curve):
    """What a finished training is worth."""
    from row import training
    from slices import scores

    fitted, scored = run.recipe.fitted, run.recipe.scored
    found = {fitted: scores(target, model.labels_)}
    if scored not in (None, fitted):
        images, classes = images_of(run, scored)
        found[scored] = scores(classes, model.predict(images))
    rounds = training(model)
    return {
        "scores": found,
        **bank_scores(model, target, run.seed),
        "n_iter": rounds["n_iter"],
        "images_per_second": rounds["images_per_second"],
        "training_seconds": round(sum(row["seconds"] for row in model.history_), 1),
        "collapsed": model.net_.collapsed,
        "labels_sha256": hashlib.sha256(model.labels_.tobytes()).hexdigest(),
        "curve": curve,
        "history": columns(model.history_),
    }


def bank_scores(model, target, seed):
    """Of k-means of IDFD's memory bank, which is what its paper clusters."""
    import torch
    from slices import scores

    from skdeepclust.ops.kmeans import kmeans

    bank = getattr(model.net_.objective, "bank", None)
    if bank is None:
        return {}
    generator = torch.Generator(bank.device).manual_seed(seed)
    labels = kmeans(bank, model.n_clusters, n_init=20, generator=generator)[1]
    found = scores(target, labels.cpu().numpy())
    return {f"bank_{name}": value for name, value in found.items()}


def columns(history):
    """The rows of a history as columns, None where a stage has no such figure."""
    names = dict.fromkeys(name for row in history for name in row)
    return {name: [plain(row.get(name)) for row in history] for name in names}


def plain(value):
    """A figure as JSON holds it."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.6g}") if math.isfinite(value) else None


def protocol(run):
    return {
        "fitted": run.recipe.fitted,
        "scored": run.recipe.scored or run.recipe.fitted,
        "images": run.recipe.n_samples,
        "published_recipe": ALL[run.method].published.get(run.args.data),
        "recipe_version": run.recipe.version,
        "labels": LABELS,
        "monitored": MONITORED,
    }


def ran_on(run):
    """Commit, versions and hardware."""
    from results import environment

    found = environment(run.recipe.method)
    del found["peers"]
    return found | ({"commit": run.args.commit} if run.args.commit else {})


def device_name(model):
    import torch
    from results import cpu_model

    cuda = torch.device(model.device).type == "cuda"
    return torch.cuda.get_device_name(model.device) if cuda else cpu_model()


def threads():
    import torch

    return torch.get_num_threads()


# -- all runs of a call -------------------------------------------------------------------


def run_all(args, deadline):
    """Run what has not ended yet, one after the other; the exit status."""
    import torch
    from slices import clock

    torch.set_num_threads(args.threads)
    runs = [Run(args, method, seed) for seed in args.seeds for method in args.method]
    status = 0
    for run in runs:
        if run.ended:
            print(f"{run.name}: there already", flush=True)
        elif clock() >= deadline:
            return NOT_FINISHED
        elif not conclude(run, deadline):
            return NOT_FINISHED
        status = status or int("error" in read(run.file))
    return status


def conclude(run, deadline):
    """Train a run and write its row; False when the time is over before."""
    from slices import write_json

    from skdeepclust.engine.loop import Diverged

    if run.args.force:
        shutil.rmtree(run.state, ignore_errors=True)
        run.args.force = False
    try:
        found = fit(run, deadline)
    except (Diverged, MemoryError, RuntimeError) as error:  # the other runs are to have their time
        found = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
    if found is None:
        print(f"{run.name}: not finished, run again", flush=True)
        return False
    more = {"estimator": run.recipe.method, "protocol": protocol(run), "restarted": False}
    write_json(run.file, run.key | more | ran_on(run) | {"threads": threads()} | found)
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
    args.method = list(ABLATION) if args.ablation else args.method or list(FIRST)
    args.trial = args.out is not None and args.root is None
    if args.epochs and not args.trial:
        parser.error("--epochs is for trials, which are not to replace results: give --out")
    args.root = args.root or ROOT
    args.out = args.out or args.root / "asv_bench" / "results" / "reproduction"
    return parser, args


def add_choices(parser):
    method, data = named("method", ALL), named("data set", DATA)
    parser.add_argument("--method", nargs="+", type=method, help=f"default: {' '.join(FIRST)}")
    parser.add_argument("--ablation", action="store_true", help=f"stands for {', '.join(ABLATION)}")
    parser.add_argument("--data", type=data, default="cifar10", help="default: cifar10")
    parser.add_argument("--recipe", type=named("recipe", RECIPES), default="paper")
    parser.add_argument("--seeds", nargs="+", type=integer(0), default=[0], help="default: 0")
    parser.add_argument("--device", default="auto", help="default: a GPU if there is one")
    parser.add_argument("--threads", type=integer(1), default=1, help="default: 1")


def add_limits(parser):
    parser.add_argument("--minutes", type=minutes, default=math.inf, help="of this call")
    parser.add_argument("--every", type=integer(1), help="epochs between two scores")
    parser.add_argument("--epochs", type=integer(1), help="for trials, with --out")
    parser.add_argument("--force", action="store_true", help="run the first one again")


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


def integer(least):
    def parse(text):
        if not text.isdecimal() or not least <= int(text) < 2**32:
            raise argparse.ArgumentTypeError(f"must be an integer >= {least}, got {text!r}")
        return int(text)

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
    return json.loads(path.read_text()) if path.exists() else None


def main(argv=None):
    from slices import clock

    start = clock()
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
    warnings.filterwarnings("ignore", "Training was interrupted")
    sys.exit(main())
