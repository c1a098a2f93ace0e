"""The directive ``recipe-table``: all recipes of all methods, from the code."""

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

import skdeepclust
from skdeepclust.recipes import RECIPES

HEADER = ("recipe", "trained on", "images", "network", "size", "epochs", "published ACC")


def accuracy(recipe):
    """The first published figure: the authors' own at these settings, where it is known."""
    found = [result for result in recipe.results if result.acc is not None]
    return f"{found[0].acc} ({found[0].source})" if found else ""


def describe(recipe):
    params = recipe.params
    network = f"{params['backbone']}, {params['stem']} stem"
    trained_on = f"{recipe.data.title}, {recipe.fitted}"
    size, epochs = str(params["image_shape"][1]), str(params["max_epochs"])
    images = f"{recipe.n_samples:,}"
    return f'``"{recipe.name}"``', trained_on, images, network, size, epochs, accuracy(recipe)


def table(method):
    lines = [f".. rubric:: {method}", "", ".. list-table::", "   :header-rows: 1", ""]
    for row in (HEADER, *map(describe, RECIPES[method])):
        first, *others = row
        lines += [f"   * - {first}", *(f"     - {cell}" for cell in others)]
    return [*lines, ""]


class RecipeTable(SphinxDirective):
    def run(self):
        methods = [method for method in skdeepclust.METHODS if method in RECIPES]
        text = [line for method in methods for line in table(method)]
        node = nodes.container()
        self.state.nested_parse(StringList(text, "recipe-table"), self.content_offset, node)
        return node.children


def setup(app):
    app.add_directive("recipe-table", RecipeTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
