"""What the data sets are called, consist of and look like: data for one generic reader."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

SUPERCLASSES = {
    "aquatic_mammals": ("beaver", "dolphin", "otter", "seal", "whale"),
    "fish": ("aquarium_fish", "flatfish", "ray", "shark", "trout"),
    "flowers": ("orchid", "poppy", "rose", "sunflower", "tulip"),
    "food_containers": ("bottle", "bowl", "can", "cup", "plate"),
    "fruit_and_vegetables": ("apple", "mushroom", "orange", "pear", "sweet_pepper"),
    "household_electrical_devices": ("clock", "keyboard", "lamp", "telephone", "television"),
    "household_furniture": ("bed", "chair", "couch", "table", "wardrobe"),
    "insects": ("bee", "beetle", "butterfly", "caterpillar", "cockroach"),
    "large_carnivores": ("bear", "leopard", "lion", "tiger", "wolf"),
    "large_man-made_outdoor_things": ("bridge", "castle", "house", "road", "skyscraper"),
    "large_natural_outdoor_scenes": ("cloud", "forest", "mountain", "plain", "sea"),
    "large_omnivores_and_herbivores": ("camel", "cattle", "chimpanzee", "elephant", "kangaroo"),
    "medium_mammals": ("fox", "porcupine", "possum", "raccoon", "skunk"),
    "non-insect_invertebrates": ("crab", "lobster", "snail", "spider", "worm"),
    "people": ("baby", "boy", "girl", "man", "woman"),
    "reptiles": ("crocodile", "dinosaur", "lizard", "snake", "turtle"),
    "small_mammals": ("hamster", "mouse", "rabbit", "shrew", "squirrel"),
    "trees": ("maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"),
    "vehicles_1": ("bicycle", "bus", "motorcycle", "pickup_truck", "train"),
    "vehicles_2": ("lawn_mower", "rocket", "streetcar", "tank", "tractor"),
}
"""CIFAR-100's super-classes and their classes; labels follow the alphabet at both levels."""


@dataclass(frozen=True)
class ImageSet:
    """The facts about one data set.

    Attributes
    ----------
    name : str
        Name of its sub-folder of `data_home`.
    torchvision_class : str
        The class of `torchvision.datasets` that reads and downloads the official files.
    official_folder : str
        Where in a folder that class looks for them.
    part_arguments : callable
        Turns a part ("train", "test", "unlabeled") into that class's arguments.
    target_names : tuple of str
        Names of the classes, by label.
    description : str
        Text of `DESCR`.
    splits : tuple of str
        The values of `split`, whose parts are joined by "+".
    channels_first : bool
        Whether that class holds (n, C, H, W) images.
    """

    name: str
    torchvision_class: str
    official_folder: str
    part_arguments: Callable[[str], dict[str, Any]]
    target_names: tuple[str, ...]
    description: str
    splits: tuple[str, ...] = ("train", "test", "train+test")
    channels_first: bool = False


def superclass_of_class() -> np.ndarray:
    """Return the super-class of each of CIFAR-100's classes, by label.

    Returns
    -------
    ndarray of shape (100,)
        Labels 0, ..., 19.
    """
    superclass = {name: i for i, names in enumerate(SUPERCLASSES.values()) for name in names}
    return np.array([superclass[name] for name in CIFAR100.target_names])


def _train_flag(part: str) -> dict[str, Any]:
    return {"train": part == "train"}


def _split_name(part: str) -> dict[str, Any]:
    return {"split": part}


CIFAR10 = ImageSet(
    name="cifar10",
    torchvision_class="CIFAR10",
    official_folder="cifar-10-batches-py",
    part_arguments=_train_flag,
    target_names=(
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ),
    description="""CIFAR-10

60,000 colour photographs of 32 x 32 pixels in 10 classes of 6,000: 50,000 for training, 10,000 for
testing. https://www.cs.toronto.edu/~kriz/cifar.html
""",
)

CIFAR100 = ImageSet(
    name="cifar100",
    torchvision_class="CIFAR100",
    official_folder="cifar-100-python",
    part_arguments=_train_flag,
    target_names=tuple(sorted(name for names in SUPERCLASSES.values() for name in names)),
    description="""CIFAR-100

60,000 colour photographs of 32 x 32 pixels in 100 classes of 600, which form 20 super-classes of 5:
50,000 for training, 10,000 for testing. https://www.cs.toronto.edu/~kriz/cifar.html
""",
)

STL10 = ImageSet(
    name="stl10",
    torchvision_class="STL10",
    official_folder="stl10_binary",
    part_arguments=_split_name,
    target_names=(
        *("airplane", "bird", "car", "cat", "deer"),
        *("dog", "horse", "monkey", "ship", "truck"),
    ),
    description="""STL-10

13,000 colour photographs of 96 x 96 pixels in 10 classes of 1,300: 5,000 for training, 8,000 for
testing; and 100,000 without a label, of these and of other classes. All are cut from ImageNet.
https://cs.stanford.edu/~acoates/stl10
""",
    splits=("train", "test", "train+test", "unlabeled", "train+unlabeled", "train+test+unlabeled"),
    channels_first=True,
)

MNIST = ImageSet(
    name="mnist",
    torchvision_class="MNIST",
    official_folder="MNIST/raw",
    part_arguments=_train_flag,
    target_names=tuple("0123456789"),
    description="""MNIST

70,000 grey images of handwritten digits, 28 x 28 pixels, in 10 classes of about 7,000: 60,000 for
training, 10,000 for testing. http://yann.lecun.com/exdb/mnist
""",
)

FASHION_MNIST = ImageSet(
    name="fashion-mnist",
    torchvision_class="FashionMNIST",
    official_folder="FashionMNIST/raw",
    part_arguments=_train_flag,
    target_names=(
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    description="""Fashion-MNIST

70,000 grey images of articles of clothing, 28 x 28 pixels, in 10 classes of 7,000: 60,000 for
training, 10,000 for testing. https://github.com/zalandoresearch/fashion-mnist
""",
)
