"""The directive ``preset-table``: what each augmentation preset consists of, from the code."""

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from skdeepclust.augment import OF_VECTORS, PRESETS

SIZE = (3, 32, 32)


def steps(module):
    return "; ".join(f"``{step!r}``" for step in module)


def describe(name, preset):
    """Rows of a list-table: the preset's name, its purpose, the steps of its view or views."""
    purpose = preset.__doc__.partition("\n")[0]
    made = preset((64,) if name in OF_VECTORS else SIZE)
    views = made if isinstance(made, tuple) else (made,)
    first, *others = [steps(view) for view in views]
    lines = [f'* - ``"{name}"``', f"  - {purpose}", f"  - {first}"]
    for view in others:
        lines += ["", f"    Second view: {view}"]
    return lines


class PresetTable(SphinxDirective):
    def run(self):
        lines = [".. list-table::", "   :header-rows: 1", "   :widths: 12 38 50", ""]
        rows = ["* - preset", "  - what it is", "  - steps, in order"]
        for name, preset in PRESETS.items():
            rows += describe(name, preset)
        text = lines + [f"   {row}" for row in rows]
        node = nodes.container()
        self.state.nested_parse(StringList(text, "preset-table"), self.content_offset, node)
        return node.children


def setup(app):
    app.add_directive("preset-table", PresetTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
