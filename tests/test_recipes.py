"""Recipes hold the published values, say where these are from, and can be fitted."""

import copy
import dataclasses
import json
import pickle
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.base import clone

import skdeepclust
from skdeepclust.augment import ColorJitter, make_augmentations
from skdeepclust.backbones import make_backbone
from skdeepclust.engine.images import Batches
from skdeepclust.engine.schedule import lr_factor
from skdeepclust.recipes import RECIPES, find
from skdeepclust.recipes.recipe import DATA_SETS, Recipe, Result, cite

METHODS = {name: getattr(skdeepclust, name) for name in skdeepclust.METHODS}
EVERY = [recipe for recipes in RECIPES.values() for recipe in recipes]
AVAILABLE = [recipe for recipe in EVERY if recipe.method in METHODS]
# Every version of every recipe, as it was released: {method: {name: {version: parameters}}}.
FROZEN = json.loads((Path(__file__).parent / "recipes.json").read_text(encoding="utf-8"))

each_recipe = pytest.mark.parametrize("recipe", EVERY, ids=lambda r: f"{r.method}-{r.name}")
each_available = pytest.mark.parametrize("recipe", AVAILABLE, ids=lambda r: f"{r.method}-{r.name}")


def build(recipe, **overrides):
    return METHODS[recipe.method].from_recipe(recipe.name, **overrides)


def objective(method, name):
    """Return the objective that a recipe trains, without its data."""
    model = METHODS[method].from_recipe(name)
    backbone = make_backbone(model.backbone, model.image_shape, model.stem)
    return model._objective(backbone, SimpleNamespace(**model.get_params(), n_samples=1000))


def count(module):
    return sum(p.numel() for p in module.parameters())


def steps(recipe, drop_last):
    images = range(recipe.n_samples)
    return len(Batches(images, recipe.params["batch_size"], drop_last, torch.Generator()))


def rate(recipe, epoch):
    p = recipe.params
    return p["lr"] * lr_factor(p["schedule"], epoch, p["max_epochs"], p["warmup_epochs"])


# -- values -----------------------------------------------------------------------------------


@each_recipe
def test_a_value_changes_only_with_the_version(recipe):
    versions = FROZEN[recipe.method][recipe.name]
    assert list(versions) == [str(v) for v in range(1, recipe.version + 1)]
    now = json.loads(json.dumps(recipe.params))
    assert now == versions[str(recipe.version)], (
        "a value changed: raise the recipe's version and add that to recipes.json"
    )


@each_recipe
def test_a_recipe_can_be_sent_to_another_process(recipe):
    assert pickle.dumps(recipe)
    make, parts = recipe.__reduce__()  # what another process gets of it
    assert make(*parts) == copy.deepcopy(recipe) == recipe


def test_no_recipe_disappears():
    now = {method: [recipe.name for recipe in recipes] for method, recipes in RECIPES.items()}
    assert {method: list(names) for method, names in FROZEN.items()} == now


@pytest.mark.parametrize(
    ("method", "name", "rates"),
    [
        (
            "IDFDClustering",
            "cifar10",
            {0: 3e-2, 599: 3e-2, 600: 3e-3, 950: 3e-4, 1300: 3e-5, 1650: 3e-6},
        ),
        (
            "ProPosClustering",
            "cifar10-resnet18",
            {1: 0.002, 25: 0.05, 50: 0.1, 300: 0.085355, 550: 0.05, 800: 0.014645, 1000: 0.000616},
        ),
        ("ProPosClustering", "cifar10", {25: 0.025, 50: 0.05, 550: 0.025, 1000: 0.000308}),
        ("SeCuClustering", "cifar10", {0: 0, 0.9: 0, 6: 0.1, 11: 0.2, 206: 0.1, 401: 0}),
        ("SeCuClustering", "cifar10-fast", {0: 0, 6: 0.2, 11: 0.4, 155.5: 0.2, 300: 0}),
        ("IDFDClustering", "cifar10-fast", {2.5: 0.06, 5: 0.12, 205: 0.06}),
        ("SeCuClustering", "imagenet1k", {0: 0, 6: 0.8, 11: 1.6, 506: 0.8, 1001: 0}),
    ],
)
def test_learning_rates(method, name, rates):
    found = {epoch: rate(find(method, name), epoch) for epoch in rates}
    assert found == pytest.approx(rates, abs=5e-7)


@pytest.mark.parametrize(
    ("method", "name", "drop_last", "expected"),
    [
        ("IDFDClustering", "cifar10", False, 391),
        ("ProPosClustering", "cifar10-resnet18", True, 117),
        ("ProPosClustering", "cifar10", True, 234),
        ("ProPosClustering", "cifar100-20", True, 234),
        ("ProPosClustering", "imagenet-dogs", True, 76),
        ("SeCuClustering", "cifar10", False, 156_791 // 401),
        ("SeCuClustering", "stl10", False, 821),
    ],
)
def test_steps_of_an_epoch(method, name, drop_last, expected):
    assert METHODS.get(method) is None or objective_drops(METHODS[method]) == drop_last
    assert steps(find(method, name), drop_last) == expected


def objective_drops(method):
    model = method(2, hidden_dim=4)
    hp = SimpleNamespace(**model.get_params(), n_samples=100)
    return model._objective(make_backbone("mlp", (4,)), hp).drop_last


@each_available
def test_batches_keep_their_published_size(recipe):
    assert build(recipe)._batch_size(recipe.n_samples) == recipe.params["batch_size"]


def test_published_parameter_counts():
    assert count(objective("IDFDClustering", "cifar10").encoder) == 11_234_496
    propos = objective("ProPosClustering", "cifar10")
    assert count(propos.online.head) == 3_158_272
    assert count(propos.predictor) == 2_109_696
    assert count(propos.online.backbone) == 21_276_992  # ResNet-34 with a 3x3 stem


@each_recipe
def test_heads_start_with_the_number_of_classes(recipe):
    k = recipe.n_clusters
    heads = recipe.params.get("heads")
    coke = (3000, 4000, 5000)
    assert heads is None or heads == (coke if k == 3000 else tuple(range(k, 10 * k + 1, k)))


# Typed from the descriptions of the official code, not from the recipes: a slip in these would be
# in recipes.json as well.
SECU = {  # batch, rates of encoder and centres, decay, epochs, (gamma, eta) or alpha, t_x, t_w, N
    "cifar10": (128, 0.2, 1.2, 1e-4, 401, (0.9, 0.1), 0.05, 0.05, 50_000),
    "cifar10-entropy": (128, 0.2, 1.2, 1e-4, 401, 6000, 0.05, 0.05, 50_000),
    "cifar100-20": (128, 0.2, 0.8, 1e-4, 801, (0.9, 0.1), 0.05, 0.05, 50_000),
    "cifar100": (128, 0.2, 0.01, 1e-4, 801, (0.9, 0.1), 0.05, 0.05, 50_000),
    "stl10": (128, 0.2, 0.8, 1e-4, 801, (0.9, 0.1), 0.05, 1.0, 105_000),
    "imagenet1k": (1024, 1.6, 4.2, 1e-6, 1001, (0.4, 20), 0.05, 0.05, 1_281_167),
    "imagenet1k-entropy": (1024, 1.6, 4.2, 1e-6, 1001, 100_000, 0.05, 0.05, 1_281_167),
}


@pytest.mark.parametrize("name", SECU)
def test_published_values_of_secu(name):
    recipe = find("SeCuClustering", name)
    p, sizes = recipe.params, ("min_size_ratio", "dual_lr")
    names = ("batch_size", "lr", "center_lr", "weight_decay", "max_epochs")
    *rest, constraint, t_x, t_w, n = SECU[name]
    assert [p[key] for key in names] == rest
    held = tuple(map(p.get, sizes)) if p["constraint"] == "size" else p["entropy_weight"]
    assert (held, p["temperature"], p["center_temperature"]) == (constraint, t_x, t_w)
    assert (recipe.n_samples, p["norm_batch_size"]) == (n, p["batch_size"])
    assert (p["momentum"], p["label_weight"], p["warmup_epochs"]) == (0.9, 0.2, 11)
    assert p["optimizer"] == ("lars" if name.startswith("imagenet") else "sgd")
    crop = {"cifar10": "secu", "imagenet1k": "secu-8"}.get(name.removesuffix("-entropy"), "secu-20")
    assert p["augment"] == crop and p["embedding_dim"] == 128


PROPOS = {  # network, side, batch, lambda, batch norm over, schedule of the target, resample, N
    "cifar10": ("resnet34", 32, 256, 0.1, 128, "cosine", False, 60_000),
    "cifar10-resnet18": ("resnet18", 32, 512, 0.1 / 4, 128, "constant", False, 60_000),
    "cifar100-20": ("resnet34", 32, 256, 0.1, 128, "cosine", True, 60_000),
    "cifar100-20-resnet18": ("resnet18", 32, 256, 0.1, 128, "cosine", True, 60_000),
    "stl10": ("resnet34", 96, 256, 0.1, 128, "cosine", True, 13_000),
    "imagenet10": ("resnet34", 96, 256, 0.1, 128, "cosine", True, 13_000),
    "imagenet-dogs": ("resnet34", 224, 256, 0.1, 128, "cosine", True, 19_500),
    "imagenet-dogs-96": ("resnet34", 96, 256, 0.1, 128, "cosine", True, 19_500),
    "tiny-imagenet": ("resnet34", 64, 256, 0.1, 128, "cosine", True, 100_000),
    "imagenet1k": ("resnet50", 224, 4096, 1e-3 / 8, 256, "cosine", False, 1_281_167),
}
PROPOS_RATES = {256: 0.05, 512: 0.1, 4096: 4.8}  # by the batch
PROPOS_SMALL = {
    "optimizer": "sgd",
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "max_epochs": 1000,
    "warmup_epochs": 50,
    "scattering_warmup": 50,
    "predictor_lr_scale": 10,
    "noise_std": 1e-3,
    "ema_momentum": 0.996,
    "recluster_every": 1,
}
PROPOS_IMAGENET1K = {
    "optimizer": "lars",
    "momentum": 0.9,
    "weight_decay": 1e-6,
    "max_epochs": 200,
    "warmup_epochs": 10,
    "predictor_lr_scale": 1,
    "noise_std": 1e-4,
    "ema_momentum": 0.99,
    "recluster_every": 10,
}


@pytest.mark.parametrize("name", PROPOS)
def test_published_values_of_propos(name):
    recipe = find("ProPosClustering", name)
    p = recipe.params
    network, side, batch, weight, norm, *rest, n = PROPOS[name]
    assert (p["backbone"], p["image_shape"]) == (network, (3, side, side))
    assert (p["batch_size"], p["lr"]) == (batch, PROPOS_RATES[batch])
    assert (p["scattering_weight"], p["norm_batch_size"]) == (pytest.approx(weight), norm)
    assert [p["ema_schedule"], p["resample"], recipe.n_samples] == [*rest, n]
    common = PROPOS_IMAGENET1K if name == "imagenet1k" else PROPOS_SMALL
    assert {key: p[key] for key in common} == common
    assert (p["temperature"], p["embedding_dim"], p["hidden_dim"]) == (0.5, 256, 4096)
    assert (p["schedule"], p["precision"]) == ("cosine", "float32")


IDFD = {
    "embedding_dim": 128,
    "hidden_dim": None,
    "temperature": 1.0,
    "decorrelation": "softmax",
    "decorrelation_temperature": 2.0,
    "decorrelation_weight": 1.0,
    "bank_momentum": 0.5,
    "optimizer": "sgd",
    "lr": 0.03,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "schedule": "multistep",  # its milestones are those of `test_learning_rates`
    "warmup_epochs": 0,
    "max_epochs": 2000,
    "batch_size": 128,
    "precision": "float32",
    "backbone": "resnet18",
}
CDC = {
    "temperature": 1.0,
    "assignment_temperature": 0.1,
    "category_scale": 1.0,
    "instance_dim": 128,
    "sinkhorn_epsilon": 0.05,
    "sinkhorn_iterations": 10,
    "optimizer": "sgd",
    "lr": 0.06 * 512 / 256,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "schedule": "cosine",
    "max_epochs": 1000,
    "batch_size": 512,
    "precision": "float16",
}


@pytest.mark.parametrize(
    ("recipe", "values"),
    [
        (r, v)
        for method, v in (("IDFD", IDFD), ("CDC", CDC))
        for r in RECIPES[f"{method}Clustering"]
    ],
    ids=lambda v: f"{v.method}-{v.name}" if isinstance(v, Recipe) else "",
)
def test_published_values_of_idfd_and_reconstructed_ones_of_cdc(recipe, values):
    ours = {name for name, s in recipe.settings.items() if s.source.startswith("ours")}
    values = {name: value for name, value in values.items() if name not in ours}
    assert {name: recipe.params[name] for name in values} == values


# -- sources ----------------------------------------------------------------------------------


@each_recipe
def test_every_source_begins_with_a_reference(recipe):
    sources = [s.source for s in (*recipe.settings.values(), *recipe.results)]
    for source in sources:
        assert re.split("[,:]| [0-9]", source)[0] in recipe.references, source
    assert all(recipe.references.values())


@pytest.mark.parametrize("recipe", RECIPES["CDCClustering"], ids=lambda r: r.name)
def test_cdc_claims_nothing_as_published(recipe):
    own = {"ours"} if recipe.name == "cifar10-fast" else set()
    sources = {re.split("[,:]", s.source)[0] for s in recipe.settings.values()}
    assert sources == {"reconstruction"} | own
    assert "Not a published setting" in str(recipe)


FAST = {
    "IDFDClustering": "cifar10",
    "ProPosClustering": "cifar10-resnet18",
    "SeCuClustering": "cifar10",
    "CDCClustering": "cifar10",
}


@pytest.mark.parametrize(("method", "name"), FAST.items())
def test_a_fast_recipe_differs_from_the_long_one_in_what_is_ours(method, name):
    fast, long = find(method, "cifar10-fast"), find(method, name)
    ours = {name for name, s in fast.settings.items() if s.source.startswith("ours: ")}
    kept = fast.settings.keys() - ours
    assert {n: fast.settings[n] for n in kept} == {
        n: s for n, s in long.settings.items() if n not in ours
    }
    assert fast.params["precision"] == "auto" and "max_epochs" in ours
    assert fast.params["max_epochs"] < long.params["max_epochs"]
    assert (fast.fitted, fast.scored, fast.data) == (long.fitted, long.scored, long.data)
    assert fast.not_expressed == long.not_expressed
    assert fast.results == () and "Not a published run" in fast.notes[0]
    assert "- ours: chosen here" in str(fast)


def test_only_fast_recipes_have_values_of_ours():
    for recipe in EVERY:
        ours = any(s.source.startswith("ours") for s in recipe.settings.values())
        assert ours == (recipe.name == "cifar10-fast"), recipe
        assert ours or "- ours:" not in str(recipe)


@each_recipe
def test_figures_are_percentages(recipe):
    for result in recipe.results:
        figures = [f for f in (result.nmi, result.acc, result.ari) if f is not None]
        assert figures and all(1 < f <= 100 for f in figures)


@each_recipe
def test_what_a_recipe_sets_has_no_place_in_a_run(recipe):
    machine = {"device", "random_state", "verbose", "callbacks", "compile", "deterministic"}
    assert not machine & set(recipe.params)


# There is no official code of CDC to differ from.
@pytest.mark.parametrize(
    "recipe",
    [r for r in EVERY if r.method != "CDCClustering"],
    ids=lambda r: f"{r.method}-{r.name}",
)
def test_what_differs_from_the_official_network_and_views_is_told(recipe):
    p, secu = recipe.params, recipe.method == "SeCuClustering"
    views = make_augmentations(
        p["augment"], p["image_shape"], 1 + (recipe.method != "IDFDClustering")
    )
    parts = [part for view in views for part in view.modules()]
    turns = any(part.hue != (0, 0) for part in parts if isinstance(part, ColorJitter))
    told = " ".join(recipe.not_expressed)
    assert ("YIQ" in told) == turns
    # In torchvision's own stem it is drawn as by SeCu's code; in IDFD's and ProPos' as by PyTorch.
    assert ("first convolution" in told) == (secu and p["stem"] != "imagenet")
    assert ("by PIL" in told) == ("Steps of rate 0" in told) == secu


@each_recipe
def test_two_passes_of_the_official_code_are_told(recipe):
    told = " ".join(recipe.not_expressed)
    propos = ("cifar10-resnet18", "cifar10-fast", "imagenet1k")
    twice = recipe.method == "SeCuClustering" or (
        recipe.method == "ProPosClustering" and recipe.name in propos
    )
    assert ("running statistics" in told) == twice


@pytest.mark.parametrize("recipe", RECIPES["ProPosClustering"], ids=lambda r: r.name)
def test_wrong_labels_are_told_of_recipes_with_both_views_in_one_pass(recipe):
    both = "running statistics" not in " ".join(recipe.not_expressed)
    assert ("labels of other images" in " ".join(recipe.notes)) == both


# -- printing ---------------------------------------------------------------------------------


@each_recipe
def test_a_printed_recipe_shows_everything(recipe):
    lines = str(recipe).splitlines()
    assert repr(recipe.name) in lines[0] and f"version {recipe.version}" in lines[0]
    assert f"{recipe.n_samples:,} images" in lines[1]
    start = next(i for i, line in enumerate(lines) if line.startswith("parameter "))
    table = lines[start : start + 1 + len(recipe.params)]
    assert [line.split()[0] for line in table[1:]] == list(recipe.params)
    column = table[0].index("source")
    given = [s.source for name, s in recipe.settings.items() if name != "n_clusters"]
    assert [line[column:] for line in table[2:]] == given
    assert all(line[column - 2 : column] == "  " for line in table)
    text = " ".join("\n".join(lines).split())
    for item in (*recipe.not_expressed, *recipe.notes):
        assert item in text
    assert all(len(line) <= 130 for line in lines)


def test_long_values_are_cut_and_unused_references_left_out():
    settings = cite("code, a.py", heads=tuple(range(10, 101, 10)), shape=(3, 8, 8), name="x")
    recipe = Recipe(
        *("M", "n", DATA_SETS["stl10"], "train", None, settings),
        references={"code": "o/r @1", "paper": "A, 2020"},
        results=(Result("code", acc=50.0),),
    )
    text = str(recipe)
    assert "(10, 20, ..., 100)" in text and "(3, 8, 8)" in text and "'x'" in text
    assert "scored on an unstated split" in text
    assert "- ACC 50.0  code" in text
    assert "- code: o/r @1" in text and "A, 2020" not in text
    assert "Notes" not in text


def test_a_recipe_is_short_in_a_dictionary_and_frozen():
    recipe = find("IDFDClustering", "cifar10")
    assert repr(recipe) == "<Recipe 'cifar10' of IDFDClustering, version 1>"
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.version = 2
    with pytest.raises(TypeError):
        recipe.settings["lr"] = None
    recipe.params["lr"] = None
    assert find("IDFDClustering", "cifar10").params["lr"] == 0.03


@pytest.mark.parametrize(
    ("name", "split", "size"),
    [
        ("cifar10", "train+test", 60_000),
        ("stl10", "train+test", 13_000),
        ("stl10", "train+unlabeled", 105_000),
        ("imagenet-dogs", "train", 19_500),
    ],
)
def test_sizes_of_splits(name, split, size):
    assert DATA_SETS[name].size(split) == size


# -- estimators -------------------------------------------------------------------------------


@each_available
def test_the_estimator_has_the_values_of_the_recipe(recipe):
    model = build(recipe)
    params = model.get_params()
    assert {name: params[name] for name in recipe.params} == recipe.params
    untouched = METHODS[recipe.method]().get_params()
    assert {n: params[n] for n in params if n not in recipe.params} == {
        n: untouched[n] for n in params if n not in recipe.params
    }
    assert clone(model).get_params() == params
    model._validate_params()


@each_available
def test_the_augmentation_fits_the_images_and_the_stem_the_network(recipe):
    model = build(recipe)
    n_views = 1 if recipe.method == "IDFDClustering" else 2
    assert len(make_augmentations(model.augment, model.image_shape, n_views)) == n_views
    assert model.stem != "auto" and model.backbone.startswith("resnet")


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_recipes_are_those_of_the_class(method):
    recipes = method.recipes()
    assert recipes and list(recipes) == [recipe.name for recipe in RECIPES[method.__name__]]
    assert {recipe.method for recipe in recipes.values()} == {method.__name__}
    recipes.clear()
    assert method.recipes()


@pytest.mark.filterwarnings("ignore:Clusters .* hold no sample")
@pytest.mark.filterwarnings("ignore::skdeepclust.CollapseWarning")  # hardly trained
@pytest.mark.parametrize("name", ["cifar10", "cifar10-fast"])
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_recipe_for_cifar10_can_be_fitted(method, name):
    images = np.random.default_rng(0).integers(0, 256, (80, 32, 32, 3), dtype=np.uint8)
    light = {"max_epochs": 1, "backbone": "convnet", "hidden_dim": 16, "precision": "float32"}
    if "heads" in method().get_params():
        light["heads"] = (10, 20)
    model = method.from_recipe(name, random_state=0, device="cpu", **light)
    model.fit(images)
    assert model.labels_.shape == (80,) and model.n_iter_ == 1
    assert np.isfinite(model.history_[0]["loss"])
    assert len(model.cluster_centers_) == 10


def test_overrides_win():
    method = skdeepclust.ProPosClustering
    model = method.from_recipe("cifar10", n_clusters=7, lr=0.01, verbose=2)
    assert (model.n_clusters, model.lr, model.verbose, model.max_epochs) == (7, 0.01, 2, 1000)
    assert method.from_recipe("cifar10").n_clusters == 10


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_an_unknown_recipe_lists_the_known(method):
    with pytest.raises(ValueError, match="'mnist' of " + method.__name__) as error:
        method.from_recipe("mnist")
    assert all(repr(name) in str(error.value) for name in method.recipes())


def test_a_method_without_recipes_says_so():
    class Fifth(skdeepclust.IDFDClustering):
        pass

    assert Fifth.recipes() == {}
    with pytest.raises(ValueError, match="of Fifth is unknown; known are none"):
        Fifth.from_recipe("cifar10")


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_an_unknown_override_is_named(method):
    with pytest.raises(TypeError, match="learning_rate"):
        method.from_recipe("cifar10", learning_rate=1)


def test_heads_follow_another_number_of_clusters():
    recipe = skdeepclust.SeCuClustering.from_recipe
    assert recipe("cifar10").heads == tuple(range(10, 101, 10))
    assert recipe("cifar10", n_clusters=7).heads == tuple(range(7, 71, 7))
    assert recipe("cifar10", n_clusters=7, heads=(7,)).heads == (7,)
