"""Sphinx configuration."""

import importlib
import inspect
import math
import re
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS / "_ext"), str(DOCS.parent)]

import matplotlib  # noqa: E402
from sphinx_gallery.sorting import ExplicitOrder  # noqa: E402

import skdeepclust  # noqa: E402

matplotlib.use("agg")

project = "skdeepclust"
author = copyright = "The skdeepclust developers"
version = release = skdeepclust.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_parser",
    "augmented",
    "sphinx_gallery.gen_gallery",
    "preset_table",
    "recipe_table",
]
exclude_patterns = ["_build", "_generated"]
templates_path = ["_templates"]

# Pages of the gallery, in the order in which to read them.
EXAMPLES = [
    "quickstart.py",
    "plot_compare_methods.py",
    "plot_look_at_clusters.py",
    "plot_healthy_training.py",
    "plot_augmentations.py",
    "plot_number_of_clusters.py",
    "plot_pretrained.py",
    "plot_grid_search.py",
    "plot_resume_and_save.py",
    "plot_own_method.py",
]

html_theme = "pydata_sphinx_theme"
html_title = project
html_theme_options = {
    "secondary_sidebar_items": {
        "**": ["page-toc"],
        **{f"examples/{Path(name).stem}": [] for name in EXAMPLES},  # room for code
    },
    "show_prev_next": False,
}
html_show_sourcelink = False
# Pages without pages below them have nothing to navigate to.
html_sidebars = {page.stem: [] for page in DOCS.glob("*.md") if "toctree" not in page.read_text()}
toc_object_entries_show_parents = "hide"

myst_enable_extensions = ["amsmath", "deflist", "dollarmath"]
myst_heading_anchors = 3

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "examples",
    "within_subsection_order": ExplicitOrder(EXAMPLES),
    "backreferences_dir": "api/backreferences",
    "doc_module": ("skdeepclust",),
    "capture_repr": (),  # pages show what is printed and drawn, no addresses of objects
    "download_all_examples": False,
    "remove_config_comments": True,
    "min_reported_time": math.inf,  # how long the build took is nobody's business
    "write_computation_times": False,
    "parallel": 2,  # examples at once
    "show_signature": False,
}

autodoc_member_order = "bysource"
autodoc_typehints = "none"
numpydoc_show_class_members = False


def public(module):
    """Names that a module exports, by kind; what the package itself exports has its own page."""
    exported = importlib.import_module(module)
    kinds = {"Classes": [], "Functions": [], "Data": []}
    for name in sorted(set(exported.__all__) - set(skdeepclust.__all__), key=str.lower):
        value = getattr(exported, name)
        routine = inspect.isroutine(value)
        kind = "Classes" if inspect.isclass(value) else "Functions" if routine else "Data"
        kinds[kind].append(name)
    return kinds


autosummary_context = {"public": public}
suppress_warnings = [
    "config.cache",  # a function in the configuration is built anew each time
    "ref.python",  # several classes have a `shape`; numpydoc asks for it by that name alone
]


def escape_shapes(app, what, name, obj, options, lines):
    """In a shape such as (B, *sizes) the star is no emphasis."""
    lines[:] = [re.sub(r"(?<!`)(\((?:\w+, )+)\*", r"\1\\*", line) for line in lines]


def setup(app):
    app.connect("autodoc-process-docstring", escape_shapes, priority=100)
