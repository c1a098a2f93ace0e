"""Two processes give what one gives: this file, run by torchrun, is the script of each."""

import json
import os
import platform
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from skorch.callbacks import Callback
from torch import nn

import skdeepclust
from skdeepclust.datasets import make_image_blobs
from skdeepclust.nn.norm import RankBatchNorm, ghost_batch_norm, rank_batch_norm
from skdeepclust.ops import collective
from skdeepclust.ops.shared_memory import SharedMemory

pytestmark = [
    pytest.mark.usefixtures("wide"),  # processes do not know of less
    pytest.mark.filterwarnings("ignore:Clusters .* hold no sample"),
    pytest.mark.filterwarnings("ignore::skdeepclust.CollapseWarning"),
]

# 5 batches an epoch, the last of 11 samples: shares of 10 and 10, and of 6 and 5.
X, _ = make_image_blobs(91, n_classes=3, random_state=0)
# Channels last, so that random numbers of the shape of the batch have its layout.
DATA = {"grey": X, "vectors": X[:, 0, 1:4, 1:4].reshape(91, -1)}
DATA["colour"] = np.ascontiguousarray(np.concatenate([X, X, 1 - X], axis=1).transpose(0, 2, 3, 1))
# Random numbers of their own; running statistics that the ranks can only average.
INEXACT = ("dropout", "ghost")
LIGHT = {"batch_size": 20, "max_epochs": 5, "embedding_dim": 8, "warmup_epochs": 1}
OWN = {
    "IDFDClustering": {},
    "ProPosClustering": {"hidden_dim": 16, "scattering_warmup": 1, "noise_std": 0.01},
    "SeCuClustering": {"hidden_dim": 16, "heads": (3, 6)},
    "CDCClustering": {"hidden_dim": 16, "instance_dim": 8, "early_heads": (6,)},
}
# All methods as they are, then what some of them synchronise besides.
LATE = {"CDCClustering": {"early_heads": ()}}
SINGLE = {"precision": "float32", "lr": 1e-3, "max_epochs": 4}
CASES = {name: (name, {}) for name in skdeepclust.METHODS} | {
    # Without CDC's early heads: what follows them starts from a least squares fit, which magnifies
    # rounding a thousand times.
    **{f"single {name}": (name, SINGLE | LATE.get(name, {})) for name in skdeepclust.METHODS},
    "IDFO": ("IDFDClustering", {"decorrelation": "orthogonal"}),
    "resampling": ("ProPosClustering", {"resample": True, "augment": None}),
    "entropy": ("SeCuClustering", {"constraint": "entropy", "evaluation": "head"}),
    "CoKe": ("SeCuClustering", {"centers": "mean", "self_label_epochs": 2}),
    "queue": ("CDCClustering", {"early_heads": (), "queue_size": 30}),
    "vectors": ("ProPosClustering", {"data": "vectors", "backbone": "mlp"}),
    "colour": ("IDFDClustering", {"data": "colour", "backbone": "convnet", "max_epochs": 2}),
    "frozen": ("CDCClustering", {"freeze_backbone": True, "max_epochs": 2}),
    "ghost": ("IDFDClustering", {"norm_batch_size": 2}),
    "dropout": ("IDFDClustering", {"backbone": "dropout", "augment": "own"}),
}
# Broken off, they have to end bit for bit as they would have.
BROKEN = ("IDFDClustering", "ProPosClustering", "CoKe", "queue", "ghost", "dropout")


class Net(nn.Sequential):
    """Smooth, so that rounding stays small; its batch norms see images and vectors."""

    num_features = 6

    def __init__(self, *last):
        super().__init__(
            nn.Conv2d(1, 4, 3, stride=2), nn.BatchNorm2d(4), nn.Softplus(), nn.Flatten(),
            nn.Linear(36, 6), nn.BatchNorm1d(6), nn.Softplus(), *last,
        )  # fmt: skip


def estimator(case, **changes):
    name, params = CASES[case]
    shared = {"precision": "float64", "optimizer": "sgd", "lr": 0.01, "backbone": Net()}
    params = LIGHT | shared | OWN.get(name, {}) | params | {"random_state": 0} | changes
    params.pop("data", None)
    if params["backbone"] == "dropout":
        params["backbone"] = Net(nn.Dropout(0.2))
    if params.get("augment") == "own":
        params["augment"] = lambda x: x + 0.1 * torch.rand_like(x)
    return getattr(skdeepclust, name)(3, **params)


def fit(case, **changes):
    torch.manual_seed(0)  # of the net
    data = DATA[CASES[case][1].get("data", "grey")]
    model = estimator(case, **changes).fit(data)
    if os.environ.get("RANK", "0") == "0":
        np.testing.assert_array_equal(model.predict(data), model.labels_)  # waits for nobody
    state = {k: v for k, v in model.net_.module_.state_dict().items() if v.numel()}
    return {
        "labels": torch.from_numpy(model.labels_),
        "state": state,
        "losses": [row["loss"] for row in model.history_],
        "changes": [row["label_change"] for row in model.history_],
    }


# -- what the processes run -----------------------------------------------------------------------


def whole_and_share(*shape, n=7, views=2):
    """Rows of views of a batch of n, and which of them are this rank's."""
    generator = torch.Generator().manual_seed(3)
    whole = torch.randn(views * n, *shape, generator=generator, dtype=torch.float64)
    share = collective.own_share(n)
    return whole, torch.cat([part[share] for part in whole.chunk(views)])


def check_gather():
    whole, rows = whole_and_share(3)
    whole.requires_grad_()
    rows.requires_grad_()
    weight = torch.arange(42, dtype=torch.float64).view(14, 3)
    with collective.batch(7):
        assert torch.equal(collective.gather(rows), whole)
        loss = (collective.gather(rows) ** 3 * weight).sum()
    loss.backward()
    (whole**3 * weight).sum().backward()
    expected = torch.cat([part[collective.own_share(7)] for part in whole.grad.chunk(2)])
    # The mean over the ranks of what depends on all rows of each.
    torch.testing.assert_close(rows.grad / collective.world_size(), expected)


def check_draw():
    with collective.batch(7):
        whole, rows = whole_and_share(2, 3)
        torch.manual_seed(1)
        drawn = collective.draw(torch.randn_like, rows)
        torch.manual_seed(1)
        expected = torch.randn_like(whole)
        assert torch.equal(collective.gather(drawn), expected)


def check_messages():
    me, all_ranks = collective.rank(), collective.world_size()
    mean = (all_ranks - 1) / 2
    tensors = [torch.full((3, 2), float(me)).T, torch.full((1,), me, dtype=torch.float64)]
    collective.average(tensors)
    assert all((tensor == mean).all() for tensor in tensors)
    tensors = [torch.tensor([me, me]), torch.full((2, 2), float(me)), torch.tensor(me)]
    collective.spread_from_first(tensors)
    assert all((tensor == 0).all() for tensor in tensors)
    assert collective.agree(("first", me)) == ("first", 0)
    assert collective.any_rank(me == 1, torch.device("cpu"))
    assert not collective.any_rank(False, torch.device("cpu"))
    assert collective.union({str(me)}) == {str(i) for i in range(all_ranks)}
    rows = collective.own_share(1)  # the others have none
    part = torch.ones(1, 2)[rows]
    assert torch.equal(collective.gather_share(part, rows, 1), torch.ones(1, 2))


def check_batch_norm():
    for shape, layer, layout in (
        ((5,), nn.BatchNorm1d, torch.contiguous_format),
        ((5, 3, 2), nn.BatchNorm2d, torch.channels_last),
        ((5, 4), nn.BatchNorm1d, torch.contiguous_format),
    ):
        for options in ({}, {"affine": False, "momentum": None}, {"track_running_stats": False}):
            compare_batch_norms(layer(5, **options).double(), *whole_and_share(*shape), layout)


def compare_batch_norms(norm, whole, rows, layout):
    for values in norm.parameters():
        nn.init.normal_(values, 1.0, generator=torch.Generator().manual_seed(5))
    whole[:, 0] = rows[:, 0] = 2.0  # one that does not vary
    ours = rank_batch_norm(nn.Sequential(norm), torch.device("cpu"))[0]
    assert isinstance(ours, RankBatchNorm) and ours.weight is norm.weight
    ours = rank_batch_norm(nn.Sequential(type(norm)(5).double()), torch.device("cpu"))[0]
    ours.__dict__.update({k: v for k, v in vars(norm).items() if k[0] != "_"})
    for kind in ("_parameters", "_buffers"):
        copies = {k: None if v is None else v.clone() for k, v in getattr(norm, kind).items()}
        getattr(ours, kind).update(copies)
    for values in (*norm.parameters(), *ours.parameters()):
        values.detach_().requires_grad_()
    whole = whole.contiguous(memory_format=layout).requires_grad_()
    rows = rows.contiguous(memory_format=layout).requires_grad_()
    for _ in range(2):
        y = ours(rows)
        (y.sin() * y).sum().backward()
        expected = norm(whole)
        (expected.sin() * expected).sum().backward()
    close = {"rtol": 1e-10, "atol": 1e-10}
    part = [chunk[collective.own_share(7)] for chunk in expected.chunk(2)]
    torch.testing.assert_close(y, torch.cat(part), **close)
    part = [chunk[collective.own_share(7)] for chunk in whole.grad.chunk(2)]
    torch.testing.assert_close(rows.grad, torch.cat(part), **close)
    for mine, theirs in zip(ours.parameters(), norm.parameters(), strict=True):
        torch.testing.assert_close(collective.add_up(mine.grad.clone()), theirs.grad, **close)
    for mine, theirs in zip(ours.buffers(), norm.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs, **close)
    torch.testing.assert_close(ours.eval()(rows), norm.eval()(rows))


def check_batch_norm_of_half_precision():
    whole, rows = whole_and_share(5, 4, 3)
    whole, rows = whole.bfloat16(), rows.bfloat16()
    exact = whole.double()
    whole, rows = (x.contiguous(memory_format=torch.channels_last) for x in (whole, rows))
    norm, ours = nn.BatchNorm2d(5).double(), RankBatchNorm(nn.BatchNorm2d(5))
    exact.requires_grad_()
    rows.requires_grad_()
    y, expected = ours(rows), norm(exact)
    assert y.dtype == torch.bfloat16
    (y * y.sin()).sum().backward()
    (expected * expected.sin()).sum().backward()
    part = [chunk[collective.own_share(7)] for chunk in exact.grad.chunk(2)]
    torch.testing.assert_close(rows.grad.double(), torch.cat(part), rtol=0.05, atol=0.05)
    # Moments do not round to the precision of x.
    torch.testing.assert_close(ours.running_mean.double(), norm.running_mean, rtol=0, atol=1e-6)
    torch.testing.assert_close(ours.running_var.double(), norm.running_var, rtol=0, atol=1e-6)


def check_sums():
    me, all_ranks = collective.rank(), collective.world_size()
    generator = torch.Generator().manual_seed(me)
    n = (1 << 20) + 3  # more than a message of any kind
    for x in (
        torch.randn(n, generator=generator),
        torch.randn(7, 2, generator=generator, dtype=torch.float64),
        torch.randn(5, generator=generator).bfloat16(),
        torch.randint(2**40, (3,), generator=generator),
        torch.tensor(me + 0.5),
        torch.empty(0),
    ):
        parts = [x.new_empty(x.shape) for _ in range(all_ranks)]
        torch.distributed.all_gather(parts, x)
        expected = torch.stack(parts).sum(0).to(x.dtype)
        assert collective.add_up(x) is x
        torch.testing.assert_close(x, expected, rtol=0, atol=0)


CHECKS = (
    check_sums,
    check_gather,
    check_draw,
    check_messages,
    check_batch_norm,
    check_batch_norm_of_half_precision,
)


def unseen(*args):
    raise OSError("no such file")


class Impatient(Callback):
    """Stops one rank only."""

    def on_epoch_end(self, net, **kwargs):
        if collective.rank() == 1 and net.run.epoch == 2:
            raise KeyboardInterrupt


class Crash(Callback):
    """Ends all ranks in the middle of the third epoch."""

    def on_batch_end(self, net, **kwargs):
        if net.run.step == 12:
            raise RuntimeError("crash")


class Poison(Callback):
    """Spoils a weight of one rank only, at the end of every epoch."""

    def on_batch_end(self, net, **kwargs):
        if collective.rank() == 1 and net.run.step % net.run.n_steps == 0:
            next(net.objective.parameters()).data[0] = torch.nan


def diverged():
    try:
        estimator("IDFDClustering", callbacks=[Poison()]).fit(X)
    except ValueError as error:
        return str(error)
    raise AssertionError("nothing was noticed")


def broken_off(case, folder):
    """What `fit` gives when it is called again after a crash."""
    folder = Path(folder) / case
    try:
        fit(case, checkpoint=folder, callbacks=[Crash()])
    except RuntimeError:
        if os.environ["RANK"] == "0":  # it writes that; the other one may get here first
            assert (folder / "stage1.previous.safetensors").exists()
        return fit(case, checkpoint=folder)
    raise AssertionError("there was no crash")


def equivalence(folder):
    rank = os.environ["RANK"]
    results = {case: fit(case) for case in CASES}
    from skdeepclust.engine.processes import together

    with together(torch.device("cpu")):
        results["memory"] = collective._State.memory is not None
        for check in CHECKS:
            check()
    with pytest.MonkeyPatch.context() as patch:  # as on several machines
        patch.setattr(SharedMemory, "create", lambda n_ranks: None)
        with together(torch.device("cpu")):
            assert collective._State.memory is None
            for check in CHECKS:
                check()
    with pytest.MonkeyPatch.context() as patch:  # one cannot see the file
        if rank == "1":
            patch.setattr(SharedMemory, "__init__", unseen)
        with together(torch.device("cpu")):
            assert collective._State.memory is None
            check_sums()
    stopped = estimator("IDFDClustering", callbacks=[Impatient()], verbose=2).fit(X)
    results["stopped"] = stopped.n_iter_
    results["diverged"] = diverged()
    results["broken"] = {case: broken_off(case, folder) for case in BROKEN}
    torch.save(results, Path(folder) / f"{rank}.pt")


class Death(Callback):
    def __init__(self):
        self.last = 0.0

    def on_batch_end(self, net, **kwargs):
        self.last = time.monotonic()
        if collective.rank() == 1 and net.run.step == 3:
            os._exit(3)


def failures(folder):
    rank, told = int(os.environ["RANK"]), {}
    try:
        estimator("CDCClustering").fit(X[: 91 - rank])
    except Exception as error:
        told["samples"] = f"{type(error).__name__}: {error}"
    death = Death()
    try:
        estimator("CDCClustering", callbacks=[death]).fit(X)
    except Exception as error:
        told["death"] = f"{type(error).__name__}: {error}"
        told["seconds"] = time.monotonic() - death.last
    (Path(folder) / f"{rank}.json").write_text(json.dumps(told))


# -- and what is expected of them -----------------------------------------------------------------


def environment():
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    quiet = {"PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
    return {**os.environ, "PYTHONPATH": path, **quiet}


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """Train them once for all processes of the tests, in a folder that these share."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "ranks"
    printed = folder / "printed.txt"
    with FileLock(f"{folder}.lock"):
        if not printed.exists():
            folder.mkdir(exist_ok=True)
            printed.write_text(train_ranks(folder))
    results = [torch.load(folder / f"{i}.pt", weights_only=True) for i in range(2)]
    return results, printed.read_text()


def train_ranks(folder):
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    run = subprocess.run(
        [sys.executable, *command, __file__, "equivalence", str(folder)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    return run.stdout


@pytest.mark.parametrize("case", CASES)
def test_ranks_are_equal(case, ranks):
    (first, second), _ = ranks
    np.testing.assert_array_equal(first[case]["labels"], second[case]["labels"])
    for name, value in first[case]["state"].items():
        assert torch.equal(value, second[case]["state"][name]), name
    assert first[case]["losses"] == second[case]["losses"]


@pytest.mark.parametrize("case", [case for case in CASES if case not in INEXACT])
def test_two_processes_equal_one(case, ranks):
    two, one = ranks[0][0][case], fit(case)
    np.testing.assert_array_equal(two["labels"], one["labels"])
    close = 1e-5 if case.startswith("single") else 1e-10
    for name, value in one["state"].items():
        torch.testing.assert_close(
            two["state"][name],
            value,
            rtol=close,
            atol=close,
            msg=lambda m, name=name: f"{name}: {m}",
        )
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=0, atol=close)
    np.testing.assert_allclose(two["changes"], one["changes"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", BROKEN)
def test_what_was_broken_off_ends_as_it_would_have(case, ranks):
    for rank in ranks[0]:
        broken, whole = rank["broken"][case], rank[case]
        for name, value in whole["state"].items():
            assert torch.equal(broken["state"][name], value), name
        assert torch.equal(broken["labels"], whole["labels"])
        assert broken["losses"] == whole["losses"]


def test_one_rank_speaks_and_one_may_stop_all(ranks):
    (first, second), printed = ranks
    assert first["stopped"] == second["stopped"] == 2
    assert printed.count("IDFDClustering") == 2  # a line for each epoch


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64") or not os.path.isdir("/dev/shm"),
    reason="a machine whose processes do not share memory",
)
def test_ranks_of_one_machine_share_memory(ranks):
    assert all(rank["memory"] for rank in ranks[0])


def test_all_ranks_tell_what_diverged_on_one(ranks):
    for rank in ranks[0]:
        assert rank["diverged"].startswith("Training diverged in epoch 1: weights not finite.")


def test_the_end_of_one_rank_is_the_end_of_all(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, "failures", str(tmp_path)],
            env=environment() | launch | {"RANK": str(i), "LOCAL_RANK": str(i)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [p.returncode for p in processes] == [0, 3], errors[0][-4000:]
    told = json.loads((tmp_path / "0.json").read_text())
    assert told["samples"].startswith("RuntimeError: Training stopped on rank 0: rank 1 failed")
    assert "X has shape (90, 1, 8, 8) on rank 1 and (91, 1, 8, 8) on rank 0" in told["samples"]
    died = "RuntimeError: Training stopped on rank 0: rank 1 ended without an error of its own"
    assert told["death"].startswith(died)
    assert told["seconds"] < 30


# -- alone ----------------------------------------------------------------------------------------


def test_a_process_alone_changes_nothing():
    x = torch.randn(4, 2, requires_grad=True)
    with collective.batch(4):
        assert collective.gather(x) is x
    assert collective.gather_share(x, slice(0, 4), 4) is x
    assert collective.own_share(4) == slice(0, 4)
    assert (collective.rank(), collective.world_size()) == (0, 1)
    assert collective.agree(x) is x
    assert collective.any_rank(True, x.device) and not collective.any_rank(False, x.device)
    before = x.detach().clone()
    collective.average([x.data])
    collective.spread_from_first([x.data])
    assert torch.equal(collective.add_up(x), before)
    norm = nn.Sequential(nn.BatchNorm1d(2))
    assert type(rank_batch_norm(norm, x.device)[0]) is nn.BatchNorm1d


def test_batch_norm_that_spans_ranks_is_an_ordinary_one_alone():
    x, norm = torch.randn(6, 3), nn.BatchNorm1d(3)
    ours = RankBatchNorm(nn.BatchNorm1d(3))
    assert torch.equal(ours(x), norm(x))
    assert ours.state_dict().keys() == norm.state_dict().keys()
    assert torch.equal(ours.eval()(x), norm.eval()(x))


def test_gpus_take_the_batch_norm_of_torch(monkeypatch):
    monkeypatch.setattr("skdeepclust.nn.norm.world_size", lambda: 2)
    net = rank_batch_norm(Net(), torch.device("cuda", 0))
    norms = [m for m in net if "Norm" in type(m).__name__]
    assert [type(norm) for norm in norms] == [nn.SyncBatchNorm] * 2
    # Another stage of the training finds them there.
    assert rank_batch_norm(net, torch.device("cuda", 0))[1] is norms[0]
    on_cpu = rank_batch_norm(net, torch.device("cpu"))[1]
    assert type(on_cpu) is RankBatchNorm
    assert rank_batch_norm(net, torch.device("cpu"))[1] is on_cpu


def test_more_than_a_batch_norm_is_refused(monkeypatch):
    class Activated(nn.BatchNorm1d):
        def forward(self, x):
            return super().forward(x).relu()

    monkeypatch.setattr("skdeepclust.nn.norm.world_size", lambda: 2)
    with pytest.raises(ValueError, match="Activated is more than a batch norm"):
        rank_batch_norm(nn.Sequential(Activated(2)), torch.device("cpu"))
    with pytest.raises(ValueError, match="Activated is more than a batch norm"):
        ghost_batch_norm(nn.Sequential(Activated(2)), 4)


@pytest.mark.parametrize(("n", "sizes"), [(7, [3, 2, 2]), (3, [1, 1, 1]), (2, [1, 1, 0])])
def test_shares_follow_one_another(monkeypatch, n, sizes):
    shares = []
    monkeypatch.setattr(collective, "world_size", lambda: 3)
    for i in range(3):
        monkeypatch.setattr(collective, "rank", lambda i=i: i)
        shares.append(range(n)[collective.own_share(n)])
    assert [len(share) for share in shares] == sizes
    assert [i for share in shares for i in share] == list(range(n))


def test_a_batch_has_a_sample_for_every_process(monkeypatch):
    monkeypatch.setattr("skdeepclust.base.world_size", lambda: 8)
    with pytest.raises(ValueError, match="batch_size=4 must be >= the number of processes, 8"):
        estimator("IDFDClustering", batch_size=4).fit(X)


class Full(Net):
    def forward(self, x):
        if torch.is_grad_enabled():
            raise torch.OutOfMemoryError("out of memory")
        return super().forward(x)


def test_a_share_that_does_not_fit_is_named(monkeypatch):
    monkeypatch.setattr("skdeepclust.engine.step.world_size", lambda: 2)
    with pytest.raises(MemoryError, match="on rank 0, whose share is 20: take a smaller"):
        estimator("IDFDClustering", backbone=Full()).fit(X)


if __name__ == "__main__":
    {"equivalence": equivalence, "failures": failures}[sys.argv[1]](sys.argv[2])
