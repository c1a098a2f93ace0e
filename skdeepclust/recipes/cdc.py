"""Recipes of CDC, all reconstructed: no setting of the paper is known to us."""

from skdeepclust.recipes.recipe import (
    AUTO_PRECISION,
    DATA_SETS,
    MADE_HERE,
    OURS,
    Recipe,
    Result,
    cite,
)

__all__ = ["FAST", "RECIPES"]

_METHOD = "CDCClustering"
_REFERENCES = {
    "abstract": "Ding et al., arXiv:2306.05439, 2023; the rest of the text was not consulted",
    "reconstruction": "our own choice; there is no official code",
    **OURS,
}

_SHARED = (
    cite(
        "reconstruction",
        temperature=1.0,
        assignment_temperature=0.1,
        category_scale=1.0,
        instance_dim=128,
        sinkhorn_epsilon=0.05,
        sinkhorn_iterations=10,
        queue_size=None,
        max_epochs=1000,
        batch_size=512,
        schedule="cosine",
        warmup_epochs=0,
    )
    | cite("reconstruction, the plain method without our early heads", early_heads=())
    | cite("reconstruction, the usual SGD of this field", optimizer="sgd", momentum=0.9)
    | cite("reconstruction, the usual SGD of this field", weight_decay=5e-4)
    | cite("reconstruction, 0.06 x 512 / 256", lr=0.12)
    | cite("reconstruction, autocast with GradScaler as SeCu", precision="float16")
    | cite("reconstruction, SimCLR's with crops from 0.2", augment="simclr")
)
_RESNET18 = cite("reconstruction, as SeCu", backbone="resnet18") | cite(
    "reconstruction, width of the backbone", embedding_dim=512, hidden_dim=512
)
_CIFAR = (
    _RESNET18 | cite("reconstruction, as SeCu", stem="small", image_shape=(3, 32, 32)) | _SHARED
)
FAST = (
    cite("ours: two fifths of 1,000: 9 minutes at 60 % of the roofline", max_epochs=400)
    | cite("ours: twice the negatives", batch_size=1024)
    | cite("ours: 0.06 x 1024 / 256", lr=0.24)
    | cite("ours: the higher rate is reached in steps", warmup_epochs=10)
)
_STL10 = (
    _RESNET18
    | cite("reconstruction, as SeCu", stem="small-pool", image_shape=(3, 96, 96))
    | _SHARED
)
_IMAGENET1K = (
    cite("reconstruction, as SeCu", backbone="resnet50", stem="imagenet")
    | cite("reconstruction, as SeCu", image_shape=(3, 224, 224))
    | cite("reconstruction, width of the backbone", embedding_dim=2048, hidden_dim=2048)
    | _SHARED
    | cite("reconstruction, MoCo v2's", augment="simclr")
)

_NOTES = (
    "Not a published setting: every value is a reconstruction that satisfies what the abstract "
    "says of the method.",
    "Split and scores as for SeCu, since the paper's are not known.",
)


def _small(name: str, settings: dict, fitted: str = "train") -> Recipe:
    return Recipe(
        _METHOD,
        name,
        DATA_SETS[name],
        fitted=fitted,
        scored="test",
        settings=settings,
        references=_REFERENCES,
        notes=_NOTES,
        version=2,
    )


RECIPES = (
    _small("cifar10", _CIFAR),
    Recipe(
        _METHOD,
        "cifar10-fast",
        DATA_SETS["cifar10"],
        fitted="train",
        scored="test",
        settings={**_CIFAR, **AUTO_PRECISION, **FAST},
        references=_REFERENCES,
        notes=(MADE_HERE, *_NOTES),
    ),
    _small("cifar100-20", _CIFAR),
    _small("stl10", _STL10, "train+unlabeled"),
    Recipe(
        _METHOD,
        "imagenet1k",
        DATA_SETS["imagenet1k"],
        fitted="train",
        scored="test",
        settings=_IMAGENET1K,
        references=_REFERENCES,
        results=(Result("abstract", acc=53.4),),
        not_expressed=(
            "A queue of 65,536 keys as further negatives, as in MoCo (reconstruction).",
        ),
        notes=_NOTES,
        version=2,
    ),
)
