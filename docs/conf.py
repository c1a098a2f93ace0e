"""Sphinx configuration."""

import importlib
import inspect
import re
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS / "_ext"), str(DOCS.parent)]

import skdeepclust  # noqa: E402

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
    "preset_table",
    "recipe_table",
]
exclude_patterns = ["_build", "_generated"]
templates_path = ["_templates"]

html_theme = "pydata_sphinx_theme"
html_title = project
html_theme_options = {"secondary_sidebar_items": ["page-toc"], "show_prev_next": False}
html_show_sourcelink = False
# Pages without pages below them have nothing to navigate to.
html_sidebars = {page.stem: [] for page in DOCS.glob("*.md") if "toctree" not in page.read_text()}
toc_object_entries_show_parents = "hide"

myst_enable_extensions = ["amsmath", "deflist", "dollarmath"]
myst_heading_anchors = 3

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
