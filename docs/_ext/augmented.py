"""The directive ``augmented``: what an augmentation makes of real images, drawn at each build."""

from pathlib import Path

import numpy as np
import torch
from docutils import nodes
from docutils.parsers.rst import directives
from matplotlib.figure import Figure
from sphinx.util.docutils import SphinxDirective
from torch import nn

import skdeepclust.augment as augment
from skdeepclust.augment import PRESETS

VIEWS = 8
FOLDER = "_generated"  # beside the pages; git ignores it


def photographs():
    """Squares of the photographs that come with scikit-learn: (4, 3, 96, 96) in [0, 1]."""
    from sklearn.datasets import load_sample_images

    temple, flower = load_sample_images().images
    cut = [temple[60:300, 60:300], temple[200:400, 400:600], flower[80:400, 150:470],
           flower[20:220, 420:620]]  # fmt: skip
    squares = [torch.from_numpy(np.array(square)).permute(2, 0, 1) / 255 for square in cut]
    small = [nn.functional.interpolate(s[None], (96, 96), mode="area") for s in squares]
    return torch.cat(small)


def digits():
    """A six, a nine, a two and a five: (4, 1, 8, 8) in [0, 1]."""
    from skdeepclust.datasets import load_digits_images

    images, target = load_digits_images(return_X_y=True)
    chosen = [np.flatnonzero(target == digit)[1] for digit in (6, 9, 2, 5)]
    return torch.from_numpy(images[chosen] / 255).float()[:, None]


IMAGES = {"photographs": photographs, "digits": digits}


def made(what, shape):
    """An augmentation by the name of a preset, or as the code of a module of the package."""
    if what in PRESETS:
        preset = PRESETS[what](shape)
        return preset[0] if isinstance(preset, tuple) else preset
    return eval(what, vars(augment) | {"Sequential": nn.Sequential})


def draw(path, images, what):
    """A row for each image: as it is, then views of it."""
    torch.manual_seed(0)
    function = made(what, tuple(images.shape[1:]))
    views = [images, *(function(images.clone()) for _ in range(VIEWS))]
    figure = Figure(figsize=(1 + VIEWS, len(images)), layout="constrained")
    axes = figure.subplots(len(images), 1 + VIEWS)
    for column, batch in enumerate(views):
        for row, image in enumerate(batch):
            ax = axes[row, column]
            ax.imshow(image.permute(1, 2, 0).clamp(0, 1).numpy(), cmap="gray", vmin=0, vmax=1)
            ax.set_xticks([])
            ax.set_yticks([])
            ax.spines[:].set_visible(False)
    axes[0, 0].set_title("image", fontsize=10)
    axes[0, 1].set_title("views", fontsize=10)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=72)


class Augmented(SphinxDirective):
    """``.. augmented:: PRESET OR CODE``, with ``:images:`` and ``:name:``."""

    required_arguments = 1
    final_argument_whitespace = True
    option_spec = {  # noqa: RUF012
        "images": lambda text: directives.choice(text, tuple(IMAGES)),
        "name": directives.unchanged_required,
    }

    def run(self):
        what, name = self.arguments[0], self.options["name"]
        path = Path(self.env.srcdir) / FOLDER / f"{name}.png"
        draw(path, IMAGES[self.options["images"]](), what)
        alt = f"Images, and beside each of them {VIEWS} views of it by {what}"
        return [nodes.figure("", nodes.image(uri=f"/{FOLDER}/{path.name}", alt=alt))]


def setup(app):
    app.add_directive("augmented", Augmented)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
