"""Published settings, and ours for the clock, as data with their sources; versioned."""

from collections.abc import Mapping

from skdeepclust.recipes import cdc, idfd, propos, secu
from skdeepclust.recipes.recipe import Recipe

__all__ = ["RECIPES", "Recipe", "find"]

RECIPES: Mapping[str, tuple[Recipe, ...]] = {
    "IDFDClustering": idfd.RECIPES,
    "ProPosClustering": propos.RECIPES,
    "SeCuClustering": secu.RECIPES,
    "CDCClustering": cdc.RECIPES,
}


def find(method: str, name: str) -> Recipe:
    """Find a recipe.

    Parameters
    ----------
    method : str
        Class name of the estimator.
    name : str
        Name of the recipe.

    Returns
    -------
    Recipe

    Raises
    ------
    ValueError
        If there is no such recipe; the message lists those there are.

    Examples
    --------
    >>> from skdeepclust.recipes import find
    >>> find("IDFDClustering", "cifar10").params["max_epochs"]
    2000
    """
    known = {recipe.name: recipe for recipe in RECIPES.get(method, ())}
    if name not in known:
        names = ", ".join(map(repr, known)) or "none"
        raise ValueError(f"recipe {name!r} of {method} is unknown; known are {names}")
    return known[name]
