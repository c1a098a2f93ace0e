"""Compare methods on whole data sets, and write the tables and the plot that show it.

    python asv_bench/results.py             # run what is not there yet, then write the tables
    python asv_bench/results.py --table     # write the tables and the plot only
    python asv_bench/results.py --check     # exit with 1 if a table is not what the files give

The files results/<data set>.json hold one row for each run. A row is run again only when the
parameters or the number of threads have changed, or with --force. Every row runs in a process
of its own and is saved as it ends, so an interrupted call continues where it stopped. The
methods of other packages need: pip install "skdeepclust[bench]"
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE)]  # what runs is the tree whose commit is recorded

from entrants import DATASETS, GROUPS, entrants, settings  # noqa: E402
from report import BEGIN, END, SCORES, draw, render  # noqa: E402

THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "LOKY_MAX_CPU_COUNT",
)

# -- what to run --------------------------------------------------------------------------


def plan(args):
    """The data set and the identity of every row that is not there yet."""
    jobs = []
    for dataset in args.datasets:
        try:
            DATASETS[dataset].load(args.data_home)
        except FileNotFoundError as error:
            print(f"{dataset}: skipped. {error}", flush=True)
            continue
        for name in chosen(args.methods, dataset):
            jobs += [(dataset, key) for key in missing(args, dataset, name)]
    return jobs


def chosen(wanted, dataset):
    """Names of methods; a group stands for its members."""
    found = entrants()
    unknown = set(wanted or ()) - found.keys() - set(GROUPS)
    if unknown:
        names = ", ".join([*GROUPS, *found])
        raise SystemExit(f"No method is named {', '.join(sorted(unknown))}; there are {names}.")
    return [
        name
        for name, entrant in found.items()
        if dataset in entrant.datasets and (not wanted or {name, entrant.group} & set(wanted))
    ]


def missing(args, dataset, name):
    entrant = entrants()[name]
    try:
        model = entrant.build(DATASETS[dataset], 0, args.device, args.epochs)
    except ImportError as error:
        if not entrant.needs:
            raise
        print(f'{dataset}: {name} skipped. {error}: pip install "skdeepclust[bench]"', flush=True)
        return []
    device = args.device if "device" in model.get_params() else "cpu"
    key = {"method": name, "device": device, "settings": settings(model), "threads": args.threads}
    rows = [] if args.force else read(args.out / f"{dataset}.json")
    keys = [{**key, "seed": seed} for seed in args.seeds]
    return [key for key in keys if not any(stands(row, key, args.limit) for row in rows)]


def stands(row, key, limit):
    """Whether a row answers: a failure does, unless it may now have more time."""
    return key.items() <= row.items() and not row.get("limit", limit) < limit


# -- running ------------------------------------------------------------------------------


def run(args):
    """Run what is not there yet, saving each row as it ends."""
    jobs = plan(args)
    print(f"{len(jobs)} rows to run", flush=True)
    with ThreadPoolExecutor(args.jobs) as pool:
        ends = {pool.submit(fit_apart, args, *job): job for job in jobs}
        try:
            for count, end in enumerate(as_completed(ends), 1):
                dataset, key = ends[end]
                save(args.out / f"{dataset}.json", key | end.result() | environment(key["method"]))
                told = outcome(end.result())
                name = f"{dataset}: {key['method']}, seed {key['seed']}"
                print(f"[{count}/{len(jobs)}] {name}: {told}", flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def fit_apart(args, dataset, key):
    """Fit in a process of its own: what it measured, or why there is nothing."""
    request = {name: key[name] for name in ("method", "seed", "device")}
    request |= {"dataset": dataset, "epochs": args.epochs, "data_home": args.data_home}
    few = os.environ | dict.fromkeys(THREADS, str(args.threads))
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "row.json"
        command = [sys.executable, str(HERE / "row.py"), json.dumps(request), str(answer)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        try:
            ended = subprocess.run(command, env=few, timeout=args.limit, check=False, **quiet)
        except subprocess.TimeoutExpired:
            return {"error": f"not finished within {args.limit:g} s", "limit": args.limit}
        if answer.exists():
            return json.loads(answer.read_text())
    if ended.returncode in (-signal.SIGINT, -signal.SIGTERM):  # somebody stopped it
        raise KeyboardInterrupt
    last = ended.stderr.decode(errors="replace").strip().splitlines()[-1:]
    return {"error": " ".join([f"ended with exit status {ended.returncode}", *last])}


def outcome(row):
    if "error" in row:
        return f"failed: {row['error']}"
    scores = " ".join(f"{name.upper()} {row[name]:.4f}" for name in SCORES)
    return f"{scores}, {row['seconds']:.1f} s, {row['peak_memory_mb']} MB"


def environment(method):
    """Commit, versions and hardware behind a run."""
    import sklearn
    import torch
    from joblib import cpu_count

    import skdeepclust

    return {
        "commit": commit(),
        "skdeepclust": skdeepclust.__version__,
        "torch": torch.__version__,
        "sklearn": sklearn.__version__,
        "peers": {name: metadata.version(name) for name in entrants()[method].needs},
        "cpu": cpu_model(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cores": cpu_count(),
    }


def commit():
    """The commit of this tree, with a mark if its code has been changed since; or None."""
    code = "skdeepclust", "asv_bench", ":!asv_bench/results"  # which rows are written to
    try:
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", *code)
        return _git("rev-parse", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments):
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL).strip()


def cpu_model():
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    facts = {name.strip(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    name = facts.get("model name") or platform.processor() or platform.machine()
    fast = [flag for flag in ("avx2", "avx512f", "avx512_bf16") if flag in facts.get("flags", "")]
    return f"{name}, {fast[-1]}" if fast else name


# -- the files ----------------------------------------------------------------------------


def read(path):
    return json.loads(path.read_text()) if path.exists() else []


def save(path, row):
    """Add a row in the place of those that it replaces."""
    write(path, [old for old in read(path) if not replaces(row, old)] + [row])


def write(path, rows):
    """Save rows in the order of the tables."""
    names = list(entrants())
    write_lines(path, sorted(rows, key=lambda r: (place(r, names), r["device"], r["seed"])))


def write_lines(path, rows):
    """Save rows, one a line, so that a difference between versions can be read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(map(json.dumps, rows))
    scratch = path.with_suffix(".tmp")
    scratch.write_text(f"[\n{lines}\n]\n")
    scratch.replace(path)


def place(row, names):
    known = row["method"] in names
    return (names.index(row["method"]) if known else len(names), row["method"])


def replaces(new, old):
    """Whether a run takes the place of another: the same again, or of other parameters."""
    if (new["method"], new["device"]) != (old["method"], old["device"]):
        return False
    same = all(new[name] == old[name] for name in ("settings", "threads"))
    return new["seed"] == old["seed"] or not same


# -- the texts ----------------------------------------------------------------------------


def recorded(folder):
    rows = {name: read(folder / f"{name}.json") for name in DATASETS}
    return {name: found for name, found in rows.items() if found}


def texts(folder, root):
    """What README.md and docs/results.md should hold."""
    summary, page = render(recorded(folder))
    readme = root / "README.md"
    text = readme.read_text() if readme.exists() else ""
    return {root / "docs" / "results.md": page, readme: splice(text, summary, "README.md")}


def splice(text, block, name):
    """Put a block between the two markers of a text."""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise SystemExit(f"{name} must hold the lines {BEGIN} and {END} once each.")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{block}\n{END}{rest.split(END)[1]}"


def put(wanted, check):
    """Write pages, or with `check` tell which are out of date; the exit status."""
    stale = [
        path.name for path, text in wanted.items() if not path.exists() or path.read_text() != text
    ]
    if check and stale:
        print(f"Not what the recorded runs give: {', '.join(stale)}. Run with --table.")
    elif not check:
        for path, text in wanted.items():
            path.write_text(text)
    return int(check and bool(stale))


# -- the command line ---------------------------------------------------------------------


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_choices(parser)
    parser.add_argument("--data-home", help="folder of the data sets, as the fetchers take it")
    parser.add_argument("--threads", type=int, default=1, help="of each row; default: 1")
    parser.add_argument("--jobs", type=int, default=1, help="rows at once; default: 1")
    parser.add_argument("--limit", type=float, default=3600, help="seconds; default: 3600")
    parser.add_argument("--force", action="store_true", help="run again what is there")
    parser.add_argument("--out", type=Path, help="folder of the JSON files of trials")
    parser.add_argument("--root", type=Path, help="where README.md and docs/ are")
    parser.add_argument("--table", action="store_true", help="run nothing, write the tables")
    parser.add_argument("--check", action="store_true", help="run nothing, compare the tables")
    args = parser.parse_args(argv)
    if args.epochs and args.out is None:
        parser.error("--epochs is for trials, which are not to replace results: give --out")
    args.trial = args.epochs is not None or (args.out is not None and args.root is None)
    args.root = args.root or ROOT
    args.out = args.out or args.root / "asv_bench" / "results"
    return args


def add_choices(parser):
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=list(DATASETS))
    groups = ", ".join(GROUPS)
    parser.add_argument("--methods", nargs="+", metavar="NAME", help=f"or {groups}; default: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--device", default="cpu", help="of the deep methods")
    parser.add_argument("--epochs", type=int, help="of our methods, for trials, with --out")


def main(argv=None):
    args = parse(argv)
    if args.check:
        return put(texts(args.out, args.root), check=True)
    if not args.table:
        run(args)
    if args.table or not args.trial:
        put(texts(args.out, args.root), check=False)
        draw(recorded(args.out), args.root / "docs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
