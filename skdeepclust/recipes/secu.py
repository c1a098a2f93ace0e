"""Recipes of SeCu."""

from skdeepclust.recipes.recipe import (
    AUTO_PRECISION,
    DATA_SETS,
    MADE_HERE,
    OURS,
    THEIR_VIEWS,
    Recipe,
    Result,
    cite,
    recite,
)

__all__ = ["FAST", "RECIPES"]

_METHOD = "SeCuClustering"
_REFERENCES = {
    "official code": "idstcv/SeCu @af6a992",
    "CoKe's code": "idstcv/CoKe @77228ae",
    "later tables": "SeCu's row in Table 2 of IDC, NeurIPS 2024, and of DCBoost, NeurIPS 2025",
    **OURS,
}

_SHARED = (
    cite("official code, main.py: SGD on all parameters", optimizer="sgd", weight_decay=1e-4)
    | cite(
        "official code, main.py",
        lr=0.2,
        momentum=0.9,
        schedule="delayed-cosine",
        warmup_epochs=11,
        batch_size=128,
        embedding_dim=128,
        label_weight=0.2,
        temperature=0.05,
    )
    | cite("official code, main.py: autocast with GradScaler", precision="float16")
    | cite("official code, secu/builder.py: one view at a time", norm_batch_size=128)
    | cite("official code, secu/builder.py: width of the backbone", hidden_dim=512)
    | cite("official code, secu/builder.py", centers="learned")
    | cite("official code: self-labelling is not released", self_label_epochs=0)
    | cite("official code: the first head, as trained", evaluation="head")
)
_SIZE = cite("official code, main.py", constraint="size", min_size_ratio=0.9, dual_lr=0.1)
_CIFAR = (
    cite("official code, nets/resnet_cifar.py", backbone="resnet18", stem="small")
    | cite("official code, main.py", image_shape=(3, 32, 32))
    | _SHARED
    | cite("official code, main.py", center_temperature=0.05)
)
_CIFAR10 = (
    _CIFAR
    | cite("official code, main.py: --min-crop 0.3", augment="secu")
    | cite("official code, run_cifar10.sh", max_epochs=401)
    | cite("official code, main.py", center_lr=1.2, heads=tuple(range(10, 101, 10)))
)
FAST = (
    cite("ours: three quarters of 401: 8 minutes at 60 % of the roofline", max_epochs=300)
    | cite("ours: twice the images a step; norms stay over 128", batch_size=256)
    | cite("ours: 0.2 x 256 / 128", lr=0.4)
    | cite("ours: the centres make half as many steps: 1.2 x 256 / 128", center_lr=2.4)
    | cite("ours: as published, although the rate is twice as high", warmup_epochs=11)
)
_STL10_CODE = "official code, run_stl10.sh"
_IMAGENET1K_CODE = "official code, main_imagenet.py"
_IMAGENET1K = (
    cite(
        _IMAGENET1K_CODE,
        backbone="resnet50",
        stem="imagenet",
        image_shape=(3, 224, 224),
        optimizer="lars",
        lr=1.6,
        momentum=0.9,
        weight_decay=1e-6,
        schedule="delayed-cosine",
        warmup_epochs=11,
        max_epochs=1001,
        batch_size=1024,
        embedding_dim=128,
        constraint="size",
        min_size_ratio=0.4,
        dual_lr=20,
        label_weight=0.2,
        temperature=0.05,
        center_temperature=0.05,
        center_lr=4.2,
        heads=tuple(range(1000, 10_001, 1000)),
    )
    | cite(f"{_IMAGENET1K_CODE}: autocast with GradScaler", precision="float16")
    | cite(f"{_IMAGENET1K_CODE}: crops from 0.08", augment="secu-8")
    | cite(f"{_IMAGENET1K_CODE}: SyncBN, one view at a time", norm_batch_size=1024)
    | cite("official code, secu/builder_imagenet.py", hidden_dim=2048, centers="learned")
    | cite("official code: self-labelling is not released", self_label_epochs=0)
    | cite("official code: the first head, as trained", evaluation="head")
)

_COKE_CODE = "CoKe's code, main_double_view.py"
_COKE = (
    recite(_IMAGENET1K, f"{_COKE_CODE}, whose settings SeCu took over")
    | cite(f"{_COKE_CODE}: the first of its heads", n_clusters=3000)
    | cite(_COKE_CODE, heads=(3000, 4000, 5000))
    | cite("CoKe's code, coke/builder_double_view.py: running means", centers="mean")
    | cite("CoKe's code, which has no such thing", center_lr=0, center_temperature=0.05)
    | cite("CoKe's code, which has no such thing", evaluation="head", self_label_epochs=0)
)

_NOT_EXPRESSED = (
    *THEIR_VIEWS,
    "Blur by PIL, whose boxes come near a Gaussian and whose edges are extended; ours is a "
    "Gaussian and reflects at the edges.",
    "Steps of rate 0 in the first epoch, which fill the momentum of the encoder; ours are none.",
    "Each view passed the network by itself, and each pass moved the running statistics of batch "
    "norm by 0.1; ours move by 0.1 in a step, which has both views.",
    "Batch norm by view in the last, smaller batch of an epoch, whose groups hold both views, and "
    "in several processes: each normalises its own share of both views.",
)
_NOT_EXPRESSED_SMALL = (
    "Kaiming-normal initialisation of the first convolution; ours is PyTorch's.",
    *_NOT_EXPRESSED,
)
_PROJECTOR = "A projector of three layers that ends in batch norm; ours has two layers."
_NOT_EXPRESSED_AT_224 = (
    *_NOT_EXPRESSED,
    _PROJECTOR,
    "A predictor 128-2048-128, whose outputs take part in assignment and both losses.",
    "The trust ratio of LARS by head; ours is one for the centres of all heads.",
    "At evaluation images are resized to 256 px, of which the central 224 are taken; the estimator "
    "takes images of 224 px as they are.",
)
_SELF_LABELLED = (
    "The figures are those that later papers cite, almost surely after self-labelling, whose code "
    "is not released: a run of this recipe is not to be measured by them."
)
_SCORED = (
    "Scored by SCAN's pipeline: predictions for the test split, matched with its classes. Figures "
    "of methods that train and score on train+test do not compare."
)

RECIPES = (
    Recipe(
        _METHOD,
        "cifar10",
        DATA_SETS["cifar10"],
        fitted="train",
        scored="test",
        settings=_CIFAR10 | _SIZE,
        references=_REFERENCES,
        results=(Result("later tables", 86.1, 93.0, 85.7),),
        not_expressed=_NOT_EXPRESSED_SMALL,
        notes=(
            _SELF_LABELLED,
            _SCORED,
            "The help text of main.py gives 0.4 as the default of the size ratio; its default, "
            "which the script uses, is 0.9.",
        ),
    ),
    Recipe(
        _METHOD,
        "cifar10-entropy",
        DATA_SETS["cifar10"],
        fitted="train",
        scored="test",
        settings=_CIFAR10
        | cite(
            "official code, run_cifar10_entropy.sh",
            constraint="entropy",
            entropy_weight=6000,
            max_epochs=401,
        ),
        references=_REFERENCES,
        not_expressed=_NOT_EXPRESSED_SMALL,
        notes=(_SCORED, "The entropy weight is 0.12 for each image."),
    ),
    Recipe(
        _METHOD,
        "cifar10-fast",
        DATA_SETS["cifar10"],
        fitted="train",
        scored="test",
        settings={**_CIFAR10, **_SIZE, **AUTO_PRECISION, **FAST},
        references=_REFERENCES,
        not_expressed=_NOT_EXPRESSED_SMALL,
        notes=(MADE_HERE, _SCORED),
        version=2,
    ),
    Recipe(
        _METHOD,
        "cifar100-20",
        DATA_SETS["cifar100-20"],
        fitted="train",
        scored="test",
        settings=_CIFAR
        | _SIZE
        | cite(
            "official code, run_cifar100_20.sh",
            max_epochs=801,
            center_lr=0.8,
            heads=tuple(range(20, 201, 20)),
        )
        | cite("official code, run_cifar100_20.sh: --min-crop 0.2", augment="secu-20"),
        references=_REFERENCES,
        results=(Result("later tables", 55.1, 55.2, 39.7),),
        not_expressed=_NOT_EXPRESSED_SMALL,
        notes=(_SELF_LABELLED, _SCORED),
    ),
    Recipe(
        _METHOD,
        "cifar100",
        DATA_SETS["cifar100"],
        fitted="train",
        scored="test",
        settings=_CIFAR
        | _SIZE
        | cite(
            "official code, run_cifar100.sh",
            max_epochs=801,
            center_lr=0.01,
            heads=tuple(range(100, 1001, 100)),
        )
        | cite("official code, run_cifar100.sh: --min-crop 0.2", augment="secu-20"),
        references=_REFERENCES,
        not_expressed=_NOT_EXPRESSED_SMALL,
        notes=(_SCORED,),
    ),
    Recipe(
        _METHOD,
        "stl10",
        DATA_SETS["stl10"],
        fitted="train+unlabeled",
        scored="test",
        settings=cite("official code, nets/resnet_stl.py", backbone="resnet18", stem="small-pool")
        | cite("official code, main.py", image_shape=(3, 96, 96))
        | _SHARED
        | _SIZE
        | cite(_STL10_CODE, max_epochs=801, center_lr=0.8, center_temperature=1.0)
        | cite("official code, main.py", heads=tuple(range(10, 101, 10)))
        | cite(f"{_STL10_CODE}: --min-crop 0.2", augment="secu-20"),
        references=_REFERENCES,
        results=(Result("later tables", 73.3, 83.6, 69.3),),
        not_expressed=(
            *_NOT_EXPRESSED_SMALL,
            "A second stage: the script calls this one stage 1, and no other is released.",
            "Average pooling over 7 x 7 positions: ours is over all of them, the same at 96 px.",
        ),
        notes=(_SELF_LABELLED, _SCORED),
    ),
    Recipe(
        _METHOD,
        "imagenet1k",
        DATA_SETS["imagenet1k"],
        fitted="train",
        scored="test",
        settings=_IMAGENET1K,
        references=_REFERENCES,
        not_expressed=_NOT_EXPRESSED_AT_224,
        notes=(_SCORED, "The author's script trains on 8 devices."),
    ),
    Recipe(
        _METHOD,
        "imagenet1k-entropy",
        DATA_SETS["imagenet1k"],
        fitted="train",
        scored="test",
        settings=_IMAGENET1K
        | cite(
            f"{_IMAGENET1K_CODE}, default of its command line",
            constraint="entropy",
            entropy_weight=100_000,
        ),
        references=_REFERENCES,
        not_expressed=(
            *_NOT_EXPRESSED_AT_224,
            "A rate of the centres that rises from 0 to `center_lr` by half a cosine; ours is "
            f"constant ({_IMAGENET1K_CODE}).",
        ),
        notes=(
            _SCORED,
            "The builder's default entropy weight is 90,000.",
            "`min_size_ratio` and `dual_lr` have no effect beside this constraint.",
        ),
    ),
    Recipe(
        _METHOD,
        "imagenet1k-coke",
        DATA_SETS["imagenet1k"],
        fitted="train",
        scored=None,
        settings=_COKE,
        references=_REFERENCES,
        not_expressed=(
            *_NOT_EXPRESSED,
            _PROJECTOR,
            "A predictor 128-2048-128, whose outputs the loss is averaged over, too.",
        ),
        notes=(
            "CoKe, with two views: learning of a representation with more clusters than classes. "
            "Its figures are of a linear classifier, 74.9 % of the test split.",
            "`center_lr` and `center_temperature` have no effect: the centres are means.",
        ),
    ),
)
