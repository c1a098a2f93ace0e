"""Throughput on a GPU: training steps, k-means and augmentation, as JSON.

    python asv_bench/gpu.py --out gpu.json --commit $(git rev-parse HEAD)

Takes about 8 minutes on one GPU, after which no row begins (--minutes), and needs no data. The
package need not be installed: it is imported from this tree. Every row is written as it ends, so
that an interrupted call keeps what it measured. What accuracy the time on a GPU buys is another
command's, which goes on where its last call stopped (exit status 75: call again):

    python asv_bench/reproduce.py --recipe fast --device cuda --data-home DIR --minutes 9 \\
        --out DIR --commit $(git rev-parse HEAD)
"""

import argparse
import json
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from window import Window, watch  # noqa: E402

import skdeepclust  # noqa: E402
from skdeepclust.augment import OF_VECTORS, PRESETS, make_augmentations  # noqa: E402
from skdeepclust.augment.views import Views  # noqa: E402
from skdeepclust.engine.recorded import RecordedViews  # noqa: E402
from skdeepclust.ops.kmeans import kmeans  # noqa: E402

# Microseconds of one view, forward and backward, and of one view forward only, that an H200 needs
# when computing and moving memory do not overlap: 790 TFLOP/s in bfloat16 and 4.3 TB/s, the
# outputs of all convolutions moved 14.5 and 5 times. Larger images have a stem that makes less of
# them, whose work nobody has counted.
ROOFLINE = {("resnet18", 32): (8.3, 2.8), ("resnet34", 32): (15.7, 5.3)}
KMEANS = ((60_000, 256, 10), (60_000, 512, 200), (200_000, 128, 1000))

# -- training -----------------------------------------------------------------------------

# What a method does at first is left out: the window lies where its loss is the whole one.
WHOLE_LOSS = {
    "ProPosClustering": {"scattering_warmup": 0},
    "CDCClustering": {"early_heads": ()},
}


def train(args, method, backbone, side, batch_size, compiled):
    """Views per second of the steps of one method, its first epoch left out."""
    n = args.images if side == args.side else args.images // 2
    images = np.random.default_rng(0).integers(0, 256, (n, 3, side, side), dtype=np.uint8)
    model = getattr(skdeepclust, method)(
        10,
        backbone=backbone,
        batch_size=batch_size,
        device=args.device,
        compile=compiled,
        random_state=0,
        **WHOLE_LOSS.get(method, {}),
    )
    window = Window(-(-n // batch_size) + args.warm, args.steps, args.clock)
    watch(model, images, window)
    speed = window.views / window.seconds
    row = {"views_per_second": round(speed), "seconds": round(window.seconds, 3)}
    if floor := roofline(method, backbone, side):
        row["share_of_h200_roofline"] = round(speed * floor * 1e-6, 3)
    return row


def roofline(method, backbone, side):
    """Microseconds of a view; ProPos' target network sees every view, too."""
    both, forward = ROOFLINE.get((backbone, side), (0, 0))
    return both + forward if method == "ProPosClustering" else both


def training_rows(args):
    """Arguments of `train`, the most telling first."""
    methods = list(skdeepclust.METHODS)
    plan = [
        (method, args.backbone, args.side, batch_size, compiled)
        for batch_size in args.batch_sizes
        for method in methods
        for compiled in (False, True)
    ]
    others = () if args.quick else (("resnet34", 32), ("resnet18", 96))
    return plan + [(methods[0], *other, args.batch_sizes[-1], False) for other in others]


# -- k-means and augmentation -------------------------------------------------------------


def cluster(args, rows, dim, k):
    """Iterations from given centres, their excess over 25 of Lloyd's in double, and seeding."""
    generator = torch.Generator(args.device).manual_seed(0)
    x = torch.randn(rows, dim, device=args.device, generator=generator)
    row, exact = {}, lloyd(x.double(), x[:k].double(), 25)
    for iterations in (25, 10):  # of the latter many clusters need no more
        how = {"init": x[:k].clone(), "max_iter": iterations, "tol": 0}
        row[f"of_{iterations}_ms"] = milliseconds(args, lambda how=how: kmeans(x, k, **how))
        row[f"excess_of_{iterations}"] = round(float(kmeans(x, k, **how)[2]) / exact - 1, 6)
    seeding = {"max_iter": 0, "generator": generator}
    return row | {"seeding_ms": milliseconds(args, lambda: kmeans(x, k, **seeding))}


def lloyd(x, centers, iterations):
    """Inertia after so many iterations of the plain algorithm; a centre without rows stays."""
    for _ in range(iterations):
        labels = torch.cat([torch.cdist(part, centers).argmin(1) for part in x.split(1 << 14)])
        sums = torch.zeros_like(centers).index_add_(0, labels, x)
        sizes = torch.bincount(labels, minlength=len(centers))[:, None]
        centers = torch.where(sizes > 0, sums / sizes, centers)
    return sum(
        float(torch.cdist(part, centers).amin(1).square().sum()) for part in x.split(1 << 14)
    )


def augment(args, preset, batch_size=512):
    """Views per second of one preset, from images on the device, also as a graph."""
    shape = (1 if preset == "grayscale" else 3, args.side, args.side)
    x = torch.randint(256, (batch_size, *shape), dtype=torch.uint8, device=args.device)
    half = [0.5] * shape[0]
    views = Views.for_images(make_augmentations(preset, shape, 2), 0, 255, half, half)
    views = views.to(args.device)
    row = {"views_per_second": round(2 * batch_size / best(args, lambda: views(x)))}
    if recorded := RecordedViews.of(views, torch.channels_last, x.device):
        recorded(x), recorded(x)  # before it is recorded
        row["as_a_graph"] = round(2 * batch_size / best(args, lambda: recorded(x)))
    return row


def milliseconds(args, function):
    return round(1e3 * best(args, function), 3)


def best(args, function, repeats=5):
    """Least seconds of several calls, after one that does not count."""
    function()
    found = []
    for _ in range(repeats):
        start = args.clock()
        function()
        found.append(args.clock() - start)
    return min(found)


# -- the command line ---------------------------------------------------------------------


def plan(args):
    """Name, arguments and function of every row."""
    shapes = [(2_000, 16, 64)] if args.quick else KMEANS
    for shape in shapes:
        yield "k-means", dict(zip(("rows", "dim", "k"), shape, strict=True)), cluster
    for preset in PRESETS:
        if preset not in OF_VECTORS:
            yield "augmentation", {"preset": preset}, augment
    for arguments in training_rows(args):
        names = ("method", "backbone", "side", "batch_size", "compiled")
        yield "training", dict(zip(names, arguments, strict=True)), train


def measure(args):
    start, rows = time.perf_counter(), []
    for kind, given, function in plan(args):
        if time.perf_counter() - start > 60 * args.minutes:
            row = {"error": f"not begun within {args.minutes:g} minutes"}
        else:
            row = attempt(function, args, given)
        rows.append({"kind": kind, **given, **row})
        print(json.dumps(rows[-1]), flush=True)
        args.out.write_text(json.dumps({**environment(args), "rows": rows}, indent=1) + "\n")


def attempt(function, args, given):
    """A row, or why there is none: one failure must not cost the others their time."""
    try:
        return function(args, **given)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def environment(args):
    cuda = args.device.startswith("cuda")
    return {
        "commit": args.commit,
        "skdeepclust": skdeepclust.__version__,
        "torch": torch.__version__,
        "cuda": torch.version.cuda if cuda else None,
        "device": torch.cuda.get_device_name() if cuda else "cpu",
    }


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    parser.add_argument("--commit", help="of the tree, where there is no git to ask")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=8, help="after which no row begins")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run at all?")
    args = parser.parse_args(argv)
    args.batch_sizes, args.backbone, args.side = (128, 512), "resnet18", 32
    args.images, args.warm, args.steps = 50_000, 20, 60
    if args.quick:
        args.batch_sizes, args.backbone, args.side = (8,), "convnet", 8
        args.images, args.warm, args.steps = 32, 1, 2
    args.clock = after_cuda if args.device.startswith("cuda") else time.perf_counter
    return args


def after_cuda():
    torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    measure(parse(sys.argv[1:]))
