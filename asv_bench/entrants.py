"""The data sets and the methods that results.py compares."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

# -- data sets ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Dataset:
    title: str
    column: str  # its name at the head of a column
    n_images: int
    n_clusters: int
    load: Callable[[str | None], tuple[np.ndarray, np.ndarray]]


def load_digits(data_home):
    from skdeepclust.datasets import load_digits_images

    return load_digits_images(return_X_y=True)


def load_test_part(fetcher, data_home):
    import skdeepclust.datasets

    fetch = getattr(skdeepclust.datasets, fetcher)
    return fetch(split="test", data_home=data_home, return_X_y=True)


def load_coil20(data_home):
    """COIL-20 has no download in the package: two files in the folder of the others."""
    home = data_home or os.environ.get("SKDEEPCLUST_DATA", "~/skdeepclust_data")
    folder = Path(home).expanduser() / "coil20"
    if not (folder / "train_x.npy").exists():
        raise FileNotFoundError(
            "The data home holds no coil20/train_x.npy and coil20/train_y.npy: 1,440 grey uint8 "
            "images of 32 x 32 pixels and the objects, 0 to 19, that they show."
        )
    return np.load(folder / "train_x.npy"), np.load(folder / "train_y.npy").astype(np.int64)


def imbalanced(load, data_home, ratio=10):
    """Thin out the classes, the last to a share of 1 / ratio, those between in equal ratios."""
    images, target = load(data_home)
    counts = np.bincount(target)
    shares = ratio ** -np.linspace(0, 1, len(counts))
    random = np.random.RandomState(0)
    kept = [
        random.permutation(np.flatnonzero(target == c))[: round(counts.min() * share)]
        for c, share in enumerate(shares)
    ]
    kept = np.sort(np.concatenate(kept))
    return images[kept], target[kept]


BALANCED = {
    "digits": Dataset(
        title="Digits of scikit-learn: 1,797 images, 8 x 8, grey, 10 classes",
        column="digits",
        n_images=1797,
        n_clusters=10,
        load=load_digits,
    ),
    "mnist10k": Dataset(
        title="MNIST, test part: 10,000 images, 28 x 28, grey, 10 classes",
        column="MNIST test",
        n_images=10_000,
        n_clusters=10,
        load=partial(load_test_part, "fetch_mnist"),
    ),
    "fashion10k": Dataset(
        title="Fashion-MNIST, test part: 10,000 images, 28 x 28, grey, 10 classes",
        column="Fashion-MNIST test",
        n_images=10_000,
        n_clusters=10,
        load=partial(load_test_part, "fetch_fashion_mnist"),
    ),
    "coil20": Dataset(
        title="COIL-20: 1,440 images, 32 x 32, grey, 20 objects",
        column="COIL-20",
        n_images=1440,
        n_clusters=20,
        load=load_coil20,
    ),
    "cifar10k": Dataset(
        title="CIFAR-10, test part: 10,000 images, 32 x 32, colour, 10 classes",
        column="CIFAR-10 test",
        n_images=10_000,
        n_clusters=10,
        load=partial(load_test_part, "fetch_cifar10"),
    ),
}
DATASETS = BALANCED | {
    "digits-imbalanced": Dataset(
        title="Digits, imbalanced: 710 images, 174 zeros to 17 nines",
        column="digits 10:1",
        n_images=710,
        n_clusters=10,
        load=partial(imbalanced, load_digits),
    ),
    "mnist-imbalanced": Dataset(
        title="MNIST, test part, imbalanced: 3,646 images, 892 zeros to 89 nines",
        column="MNIST test 10:1",
        n_images=3646,
        n_clusters=10,
        load=partial(imbalanced, BALANCED["mnist10k"].load),
    ),
}

# -- methods ------------------------------------------------------------------------------

GROUPS = ("method", "variant", "peer", "ablation")
# Methods that another choice of parameters turns a method of the package into.
VARIANTS = {
    "BYOL": ("BYOL + k-means", "ProPosClustering", {"scattering_weight": 0, "noise_std": 0}),
    "InstanceDiscrimination": (
        "instance discrimination + k-means",
        "IDFDClustering",
        {"decorrelation_weight": 0},
    ),
}
# One parameter changed at a time, on the digits, or where it matters.
ABLATIONS = {
    "SeCuClustering": [
        {"evaluation": "head"},
        {"heads": (10,)},
        {"constraint": "entropy"},
        {"label_weight": 0},
        {"label_weight": 1},
        {"centers": "mean"},
    ],
    "CDCClustering": [
        {"early_heads": ()},
        {"temperature": 0.2},
        {"temperature": 0.5},
        {"category_scale": 0.5},
        {"category_scale": 2},
        {"queue_size": 0},
        {"queue_size": 512},
    ],
}
# Batches of 64 digits hardly need company to fill 10 clusters; on COIL-20 there are 20.
ABLATED_ON = {"queue_size": ("digits", "coil20")}
REMARKS = {'SeCuClustering(centers="mean")': ", which is CoKe"}


@dataclass(frozen=True)
class Entrant:
    title: str
    group: str  # of GROUPS
    build: Callable[..., Any]  # of data set, seed, device and epochs
    datasets: tuple[str, ...] = tuple(DATASETS)
    needs: tuple[str, ...] = ()  # distributions of the extra `bench`
    base: str = ""  # the method that an ablation changes

    @property
    def takes_images(self):
        return self.group != "peer"


def entrants():
    """All methods by name, in the order of the tables."""
    return _methods() | _variants() | _peers() | _ablations()


def _methods():
    from skdeepclust import METHODS

    return {name: Entrant(f"`{name}`", "method", partial(_ours, name, {})) for name in METHODS}


def _variants():
    return {
        name: Entrant(title, "variant", partial(_ours, method, parameters), tuple(BALANCED))
        for name, (title, method, parameters) in VARIANTS.items()
    }


def _ablations():
    from skdeepclust import METHODS

    found = {}
    for method in METHODS:
        for parameters in ABLATIONS.get(method, []):
            name = f"{method}({', '.join(f'{k}={_shown(v)}' for k, v in parameters.items())})"
            title = f"`{name}`{REMARKS.get(name, '')}"
            build = partial(_ours, method, parameters)
            (parameter,) = parameters
            datasets = ABLATED_ON.get(parameter, ("digits",))
            found[name] = Entrant(title, "ablation", build, datasets, base=method)
    return found


def _shown(value):
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _peers():
    umap, clustpy = ("umap-learn",), ("clustpy",)
    found = {
        "KMeans": Entrant("k-means on pixels", "peer", _kmeans),
        "SpectralClustering": Entrant("spectral clustering on pixels", "peer", _spectral),
        "UMAP+KMeans": Entrant("UMAP + k-means", "peer", _umap_kmeans, needs=umap),
        "UMAP+HDBSCAN": Entrant("UMAP + HDBSCAN", "peer", _umap_hdbscan, needs=umap),
    }
    for name, parameters in CLUSTPY.items():
        needs = clustpy + umap if name == "N2D" else clustpy
        build = partial(_clustpy, name, parameters)
        found[name] = Entrant(f"{name} (ClustPy)", "peer", build, tuple(BALANCED), needs)
    return found


def _ours(name, parameters, dataset, seed, device, epochs=None):
    import skdeepclust

    more = {"max_epochs": epochs} if epochs else {}
    method = getattr(skdeepclust, name)
    return method(dataset.n_clusters, device=device, random_state=seed, **parameters, **more)


# -- peers: what they need is imported only when they run ---------------------------------


def _kmeans(dataset, seed, device, epochs=None):
    from sklearn.cluster import KMeans

    return KMeans(dataset.n_clusters, n_init=10, random_state=seed)


def _spectral(dataset, seed, device, epochs=None):
    from sklearn.cluster import SpectralClustering

    parameters = {"affinity": "nearest_neighbors", "random_state": seed}
    return SpectralClustering(dataset.n_clusters, **parameters)


def _umap(seed):
    """As UMAP's documentation advises for clustering."""
    from umap import UMAP

    return UMAP(n_neighbors=30, min_dist=0.0, n_components=10, random_state=seed, n_jobs=1)


def _umap_kmeans(dataset, seed, device, epochs=None):
    from sklearn.pipeline import make_pipeline

    return make_pipeline(_umap(seed), _kmeans(dataset, seed, device))


def _umap_hdbscan(dataset, seed, device, epochs=None):
    from sklearn.cluster import HDBSCAN
    from sklearn.pipeline import make_pipeline

    # UMAP's documentation takes clusters of 500 or more of MNIST's 70,000 images.
    smallest = max(10, dataset.n_images // 140)
    return make_pipeline(_umap(seed), HDBSCAN(min_cluster_size=smallest, min_samples=10, copy=True))


# Parameters other than ClustPy's defaults. DDC and DipDECK find the number of clusters
# themselves. N2D's default, a t-SNE map with a dimension for each cluster, is an error from four
# clusters on; this is the map of the paper of N2D instead.
CLUSTPY = {
    "DEC": {},
    "IDEC": {},
    "DDC": {},
    "DipDECK": {},
    "N2D": {"manifold_params": {"n_neighbors": 20, "min_dist": 0.0}},
    "VaDE": {},
}
FINDS_K = ("DDC", "DipDECK")


def _clustpy(name, parameters, dataset, seed, device, epochs=None):
    import clustpy.deep

    parameters = {**parameters, "device": device, "random_state": seed}
    if name not in FINDS_K:
        parameters["n_clusters"] = dataset.n_clusters
    if name == "N2D":
        from umap import UMAP

        in_map = {**parameters["manifold_params"], "n_components": dataset.n_clusters}
        parameters |= {"manifold_class": UMAP, "manifold_params": in_map}
    return getattr(clustpy.deep, name)(**parameters)


# -- what a result depends on -------------------------------------------------------------


# Where and how a run takes place, but not what comes out.
_ASIDE = (
    "callbacks checkpoint checkpoint_every compile device on_error random_state storage verbose"
).split()


def settings(model):
    """Parameters that a result depends on, other than the seed, as JSON holds them.

    What is off (None or False) is left out: a parameter that is new changes no result before it
    is used, and the rows from before it stand.
    """
    parameters = model.get_params().items()
    return {
        name: _plain(value)
        for name, value in parameters
        if name.split("__")[-1] not in _ASIDE and value is not None and value is not False
    }


def _plain(value):
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    # Objects by name: what they print may hold an address in memory.
    return getattr(value, "__qualname__", type(value).__name__)
