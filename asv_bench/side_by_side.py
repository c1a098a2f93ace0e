"""Time this package beside its alternatives, in one run, and write the table that shows it.

    python asv_bench/side_by_side.py                    # measure, then write docs/performance.md
    python asv_bench/side_by_side.py --only kmeans      # measure a part again
    python asv_bench/side_by_side.py --table            # write the table only
    python asv_bench/side_by_side.py --check            # exit with 1 if the table is out of date

The others need: pip install "skdeepclust[bench]". Everything has one thread, and a pair takes
turns, so that a noisy machine is noisy to both: the ratios are what to read.
"""

import argparse
import contextlib
import itertools
import json
import os
import statistics
import sys
import time
from importlib import metadata
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE)]

import numpy as np  # noqa: E402
from report import short, table  # noqa: E402
from results import commit, cpu_model, put, splice  # noqa: E402

FILE = HERE / "results" / "side_by_side.json"
GPU_FILE = HERE / "results" / "gpu.json"
PAGE = ROOT / "docs" / "performance.md"
PEERS = ("torch", "torchvision", "scikit-learn", "faiss-cpu", "kornia", "lightly", "clustpy")
REPEATS = 5


def processor_seconds(function):
    """What a call takes."""
    start = time.process_time()
    function()
    return time.process_time() - start


def itself(function):
    """What a function says that a part of it took: the clock of those that time themselves."""
    return function()


def pair(what, unit, ours, peers, work=1.0, repeats=REPEATS, clock=processor_seconds):
    """Rows of one comparison: functions in turn, seconds by the clock, the median of each.

    `work` is what a call does, in units: with it rows say units per second, without seconds.
    """
    named = {"skdeepclust": ours, **peers}
    found = {name: [] for name in named}
    for function in named.values():  # what is built or cached once does not count
        function()
    for _ in range(repeats):
        for name, function in named.items():
            found[name].append(clock(function))
    seconds = {name: statistics.median(values) for name, values in found.items()}
    return [
        {
            "what": what,
            "who": name,
            "value": work / value if work != 1 else value,
            "unit": unit,
            "ratio": None if name == "skdeepclust" else value / seconds["skdeepclust"],
            "spread": (max(found[name]) - min(found[name])) / value,
        }
        for name, value in seconds.items()
    ]


# -- augmentation -------------------------------------------------------------------------


def augmentation():
    """SimCLR's views of 256 images of 32 x 32 pixels."""
    import torch
    from PIL import Image

    from skdeepclust.augment import PRESETS

    pixels = np.random.default_rng(0).integers(0, 256, (256, 32, 32, 3), dtype=np.uint8)
    pictures = [Image.fromarray(image) for image in pixels]
    batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    ours, on_pil, v2, by_kornia = PRESETS["simclr"]((3, 32, 32)), *_others_views()
    return pair(
        "augmentation, 32 x 32, SimCLR's",
        "images/s",
        lambda: ours(batch.float() / 255),
        {
            "torchvision on PIL": lambda: [on_pil(picture) for picture in pictures],
            "torchvision v2, an image at a time": lambda: [v2(image) for image in batch],
            "kornia": lambda: by_kornia(batch.float() / 255),
        },
        work=256,
    )


def _others_views():
    """The same views by torchvision, on pictures and on tensors, and by kornia."""
    import kornia.augmentation as K
    import torch
    from torchvision import transforms as T1
    from torchvision.transforms import v2 as T2

    jitter = (0.4, 0.4, 0.4, 0.1)

    def steps(T):
        crop = T.RandomResizedCrop(32, scale=(0.2, 1.0))
        color = T.RandomApply([T.ColorJitter(*jitter)], p=0.8)
        return [crop, T.RandomHorizontalFlip(), color, T.RandomGrayscale(p=0.2)]

    by_kornia = K.AugmentationSequential(
        K.RandomResizedCrop((32, 32), scale=(0.2, 1.0)),
        K.RandomHorizontalFlip(),
        K.ColorJitter(*jitter, p=0.8),
        K.RandomGrayscale(p=0.2),
    )
    on_pil = T1.Compose([*steps(T1), T1.ToTensor()])
    return on_pil, T2.Compose([*steps(T2), T2.ToDtype(torch.float32, scale=True)]), by_kornia


# -- k-means ------------------------------------------------------------------------------


def kmeans():
    """To the inertia of 25 iterations of Lloyd from equal centres, on directions around 30."""
    rows = []
    for shape in ((60_000, 256, 10), (60_000, 512, 200), (200_000, 128, 1000)):
        rows += _lloyd(*shape)
    return rows


def _data(n, dim):
    import torch
    import torch.nn.functional as F

    generator = torch.Generator().manual_seed(0)
    around = torch.randn(30, dim, generator=generator)
    which = torch.randint(30, (n,), generator=generator)
    noise = torch.randn(n, dim, generator=generator)
    return F.normalize(noise + 0.8 * around[which], dim=1)


def _lloyd(n, dim, k):
    import faiss
    from sklearn.cluster import KMeans

    from skdeepclust.ops.kmeans import kmeans as ours

    iterations = 25 if k < 64 else 10  # which end lower, as the table shows
    x = _data(n, dim)
    rows, init, inertia = x.numpy(), x[:k].clone(), {}

    def here():
        inertia["skdeepclust"] = float(ours(x, k, init=init, max_iter=iterations, tol=0)[2])

    def sklearn():
        how = {"n_init": 1, "max_iter": 25, "tol": 0, "algorithm": "lloyd"}
        inertia["scikit-learn"] = KMeans(k, init=init.numpy(), **how).fit(rows).inertia_

    def by_faiss():
        model = faiss.Kmeans(dim, k, niter=25, max_points_per_centroid=n, seed=0)
        model.train(rows, init_centroids=init.numpy())
        inertia["faiss-cpu"] = float(model.index.search(rows, 1)[0].sum())

    faiss.omp_set_num_threads(1)
    peers = {"scikit-learn": sklearn, "faiss-cpu": by_faiss}
    fewer = f" (ours {iterations})" if iterations < 25 else ""
    what = f"k-means, 25 iterations{fewer}, {n:,} x {dim}, k = {k:,}"
    found = pair(what, "s", here, peers, repeats=3 if k < 1000 else 1)
    for row in found:
        row["inertia"] = inertia[row["who"]]
    return found


def seeding(n=60_000, dim=512, k=200):
    """k-means++ alone."""
    import torch
    from sklearn.cluster import kmeans_plusplus

    from skdeepclust.ops.kmeans import kmeans as ours

    x = _data(n, dim)
    generator = torch.Generator().manual_seed(0)
    return pair(
        f"k-means++ seeds, {n:,} x {dim}, k = {k:,}",
        "s",
        lambda: ours(x, k, max_iter=0, generator=generator),
        {"scikit-learn": lambda: kmeans_plusplus(x.numpy(), k, random_state=0)},
        repeats=1,
    )


# -- scores -------------------------------------------------------------------------------


def scores():
    """ACC, NMI and ARI of a million labels, and the matching of many clusters."""
    from scipy.optimize import linear_sum_assignment
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
    from sklearn.metrics.cluster import contingency_matrix

    from skdeepclust.metrics import clustering_accuracy, clustering_report

    def labels(k):
        rng = np.random.default_rng(0)
        y, other = rng.integers(k, size=(2, 1_000_000))
        return y, np.where(rng.random(len(y)) < 0.7, y, other)

    def matched(y, found):
        table = contingency_matrix(y, found)
        return table[linear_sum_assignment(-table)].sum() / len(y)

    y, found = labels(1000)
    many, many_found = labels(10_000)
    calls = matched, normalized_mutual_info_score, adjusted_rand_score
    return pair(
        "ACC, NMI and ARI, 1,000,000 labels, 1,000 clusters",
        "s",
        lambda: clustering_report(y, found),
        {"scikit-learn and scipy": lambda: [call(y, found) for call in calls]},
    ) + pair(
        "ACC, 1,000,000 labels, 10,000 clusters",
        "s",
        lambda: clustering_accuracy(many, many_found),
        {"scikit-learn and scipy": lambda: matched(many, many_found)},
        repeats=1,
    )


# -- training -----------------------------------------------------------------------------

BATCH, STEPS = 64, 3  # of ResNet-18


def training():
    """Views per second of training steps."""
    return _plain_loop() + _lightly() + _clustpy()


def _images(n):
    return np.random.default_rng(0).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)


def _resnet18():
    from skdeepclust.backbones import make_backbone

    return make_backbone("resnet18", (3, 32, 32), "small")


def _steps(method, X, skipped, steps, **params):
    """A function that trains and returns the seconds of some steps in the middle."""
    from window import Window, watch

    import skdeepclust

    model = getattr(skdeepclust, method)(10, device="cpu", random_state=0, **params)
    return lambda: watch(model, X, Window(skipped, steps)).seconds


def _plain_loop():
    """IDFD's step against the same network and loss in float32, without augmentation."""
    import torch

    from skdeepclust.methods.idfd import instance_discrimination, update_bank
    from skdeepclust.nn.heads import Encoder

    X = _images(BATCH * 8)
    x = torch.from_numpy(X).permute(0, 3, 1, 2).contiguous().float() / 255
    encoder = Encoder(_resnet18(), None, 64)
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.03, momentum=0.9)
    bank = torch.nn.functional.normalize(torch.randn(len(x), 64), dim=1)

    def steps():
        for index in torch.arange(STEPS * BATCH).split(BATCH):
            optimizer.zero_grad()
            z = encoder(x[index])
            instance_discrimination(z, bank, index).backward()
            optimizer.step()
            update_bank(bank, index, z.detach())

    how = {"backbone": "resnet18", "batch_size": BATCH, "optimizer": "sgd"}
    how |= {"decorrelation_weight": 0}
    ours = _steps("IDFDClustering", X, 1, STEPS, **how)
    what = "training, ResNet-18 at 32 x 32, instance discrimination"
    peers = {"a plain loop in float32, images prepared": lambda: processor_seconds(steps)}
    return pair(what, "views/s", ours, peers, work=STEPS * BATCH, repeats=3, clock=itself)


def _lightly():
    """BYOL with the same network, lightly's parts put together as its documentation does."""
    X = _images(BATCH * 8)
    step, batches = _lightly_step(), _lightly_batches(X)

    def steps():
        for views in itertools.islice(batches, STEPS):
            step(*views)

    how = {"backbone": "resnet18", "batch_size": BATCH, "optimizer": "sgd"}
    how |= {"scattering_weight": 0, "noise_std": 0}
    ours = _steps("ProPosClustering", X, 1, STEPS, **how)
    what = "training, ResNet-18 at 32 x 32, BYOL"
    peers = {"lightly": lambda: processor_seconds(steps)}
    return pair(what, "views/s", ours, peers, work=2 * STEPS * BATCH, repeats=3, clock=itself)


def _lightly_step():
    import copy

    import torch
    from lightly.loss import NegativeCosineSimilarity
    from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
    from lightly.models.utils import deactivate_requires_grad, update_momentum
    from torch import nn

    online = nn.Sequential(_resnet18(), BYOLProjectionHead(512, 256, 64))
    predictor = BYOLPredictionHead(64, 256, 64)
    target = copy.deepcopy(online)
    deactivate_requires_grad(target)
    optimizer = torch.optim.SGD([*online.parameters(), *predictor.parameters()], lr=0.06)
    criterion = NegativeCosineSimilarity()

    def step(first, second):
        update_momentum(online, target, m=0.996)
        p1, p2 = predictor(online(first)), predictor(online(second))
        with torch.no_grad():
            z1, z2 = target(first), target(second)
        loss = (criterion(p1, z2) + criterion(p2, z1)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def _lightly_batches(X):
    import torch
    from lightly.transforms import SimCLRTransform
    from PIL import Image

    transform = SimCLRTransform(32, cj_strength=0.5, min_scale=0.2, gaussian_blur=0.0)

    class Pictures(torch.utils.data.Dataset):
        def __len__(self):
            return len(X)

        def __getitem__(self, i):
            return transform(Image.fromarray(X[i]))

    return torch.utils.data.DataLoader(Pictures(), BATCH, shuffle=True, drop_last=True)


def _clustpy():
    """Epochs on the digits as vectors; ClustPy's autoencoder decodes as well as it encodes."""
    from clustpy.deep import DEC
    from clustpy.deep.neural_networks import FeedforwardAutoencoder

    from skdeepclust.datasets import load_digits_images

    X = load_digits_images().images.reshape(1797, -1).astype(np.float32) / 16
    epochs, steps = 10, 10 * 17  # the last batch of an epoch has 5 samples
    network = FeedforwardAutoencoder, {"layers": [64, 256, 256, 64]}

    def dec(n):
        how = {"pretrain_epochs": 0, "clustering_epochs": n, "neural_network": network}
        model = DEC(10, batch_size=112, embedding_size=64, device="cpu", random_state=0, **how)
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
            return processor_seconds(lambda: model.fit(X))

    how = {"backbone": "mlp", "embedding_dim": 64, "batch_size": 112}
    ours = _steps("IDFDClustering", X, 17, steps, **how)
    return pair(
        "training, three layers of 256 on vectors, batches of 112",
        "samples/s",
        ours,
        {"DEC of ClustPy, with a decoder": lambda: dec(2 + epochs) - dec(2)},
        work=epochs * len(X),
        repeats=3,
        clock=itself,
    )


def overhead():
    """What the engine adds to a bare loop over the same net, optimizer and samples."""
    import torch
    from window import Window, watch

    import skdeepclust

    X = np.random.default_rng(0).normal(size=(8 * 300, 16))  # an epoch is longer than the window
    how = {"backbone": "identity", "embedding_dim": 8, "batch_size": 8, "device": "cpu"}
    model = skdeepclust.IDFDClustering(4, **how)
    steps = 200

    def engine():
        return watch(model, X, Window(45, steps)).seconds

    net = watch(model, X, Window(45, 1)).net
    learner, optimizer, run = net.module_, net.optimizer_, net.run
    samples = torch.from_numpy(X).float()
    batches = torch.randperm(len(X)).split(8)

    def bare():
        for step in range(steps):
            index = batches[step % len(batches)]
            optimizer.zero_grad()
            terms = learner(samples[index], index)
            torch.stack(list(terms.values())).sum().backward()
            optimizer.step()
            with torch.no_grad():
                learner.objective.on_step_end(run)

    learner.train()
    peers = {"a bare loop": lambda: processor_seconds(bare)}
    rows = pair("a step of a tiny net", "us", engine, peers, clock=itself)
    return [{**row, "value": row["value"] * 1e6 / steps} for row in rows]


# -- the page -----------------------------------------------------------------------------

PARTS = {f.__name__: f for f in (augmentation, kmeans, seeding, scores, training, overhead)}


def measure(names):
    """Measure these parts; those of an earlier call stay."""
    found, ran_on = read(), environment()
    for name in names:
        rows = PARTS[name]()
        for row in rows:
            print({key: value for key, value in row.items() if value is not None}, flush=True)
        found[name] = {"environment": ran_on, "rows": rows}
        ordered = {part: found[part] for part in PARTS if part in found}
        FILE.write_text(json.dumps(ordered, indent=1) + "\n")


def read():
    return json.loads(FILE.read_text()) if FILE.exists() else {}


def environment():
    versions = {name: metadata.version(name) for name in PEERS}
    return {"commit": commit(), "cpu": cpu_model(), "threads": 1, **versions}


def render(found):
    """Both tables, from the JSON files alone."""
    return f"## On a CPU\n\n{_side_by_side(found)}\n\n## On a GPU\n\n{_gpu()}"


def _gpu():
    if not GPU_FILE.exists():
        return "Not yet measured; `python asv_bench/gpu.py --out asv_bench/results/gpu.json` does."
    found = json.loads(GPU_FILE.read_text())
    kinds = dict.fromkeys(row["kind"] for row in found["rows"])
    parts = [_gpu_table([row for row in found["rows"] if row["kind"] == kind]) for kind in kinds]
    versions = f"torch {found['torch']}, CUDA {found['cuda']}"
    ran_on = f"On {found['device']}; commit {short(found['commit'])}, {versions}."
    planned, measured = len(_planned()), sum("error" not in row for row in found["rows"])
    if measured < planned:
        ran_on += f" Not yet measured: {planned - measured} of the {planned} rows of gpu.py."
    return "\n\n".join([*parts, ran_on])


def _planned():
    import gpu

    return list(gpu.plan(gpu.parse(["--out", "gpu.json"])))


def _gpu_table(rows):
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_plain(row.get(name, "-")) for name in names] for row in rows]
    return table([name.replace("_", " ").replace("h200", "H200") for name in names], cells)


def _plain(value):
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _side_by_side(found):
    if not found:
        return "Not yet measured."
    lines = [_cells(row) for part in found.values() for row in part["rows"]]
    ran = [f"{name}: {_told(part['environment'])}" for name, part in found.items()]
    head = ["", "", "figure", "over ours, in seconds"]
    return "\n".join([table(head, lines), "", "These ran on:", "", *(f"- {text}" for text in ran)])


def _cells(row):
    inertia = f", inertia {row['inertia']:.1f}" if "inertia" in row else ""
    ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
    value = format(row["value"], ",.0f" if row["value"] >= 1000 else ".4g")
    return [row["what"], row["who"], f"{value} {row['unit']}{inertia}", ratio]


def _told(environment):
    versions = ", ".join(f"{name} {environment[name]}" for name in PEERS)
    return f"{environment['cpu']}, one thread; commit {short(environment['commit'])}, {versions}"


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--table", action="store_true", help="measure nothing, write the table")
    parser.add_argument("--check", action="store_true", help="measure nothing, compare the table")
    args = parser.parse_args(argv)
    if not (args.table or args.check):
        measure(args.only)
    return put({PAGE: splice(PAGE.read_text(), render(read()), PAGE.name)}, args.check)


if __name__ == "__main__":
    sys.exit(main())
