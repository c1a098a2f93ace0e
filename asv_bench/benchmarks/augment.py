"""Each augmentation preset on a batch of 256."""

import torch

from benchmarks import common
from skdeepclust.augment import OF_VECTORS, PRESETS


class Preset:
    """All views of the preset, as a training step makes them."""

    params = tuple(PRESETS)
    param_names = ("preset",)
    timer = common.timer

    def setup(self, preset):
        torch.manual_seed(common.SEED)
        self.x = torch.from_numpy(common.random_images(256, side=32)).float() / 255
        if preset in OF_VECTORS:
            self.x = common.random_rows(256, 784)
        views = PRESETS[preset](self.x.shape[1:])
        self.views = views if isinstance(views, tuple) else (views,)

    def time_views(self, preset):
        for view in self.views:
            view(self.x)
