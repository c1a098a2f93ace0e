"""No window opens, and no figure stays open."""

import pytest


@pytest.fixture(autouse=True)
def closed_figures():
    import matplotlib

    matplotlib.use("Agg")
    yield
    import matplotlib.pyplot as plt

    plt.close("all")
