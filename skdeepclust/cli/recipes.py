"""``skdeepclust recipes``: print published settings, and ours for the clock."""

import argparse
from typing import Any

import skdeepclust
from skdeepclust.cli._arguments import add_json, method, short

__all__ = ["add_to"]


def add_to(commands: Any) -> argparse.ArgumentParser:
    """Add the command; returns its parser."""
    recipes: argparse.ArgumentParser = commands.add_parser(
        "recipes",
        help="print the settings of known runs",
        description="List the recipes of all methods or of one, published runs and ours for the "
        "clock, or print one.",
        epilog="example: skdeepclust recipes propos cifar10",
    )
    recipes.add_argument(
        "method", nargs="?", type=method, metavar="METHOD", help="for example propos"
    )
    recipes.add_argument("name", nargs="?", metavar="NAME", help="for example cifar10")
    add_json(recipes)
    recipes.set_defaults(run=_run)
    return recipes


def _run(args: argparse.Namespace) -> dict[str, Any]:
    from skdeepclust.recipes import RECIPES, find

    if args.name is not None:
        recipe = find(args.method, args.name)
        print(recipe)
        return _described(recipe)
    names = [args.method] if args.method else skdeepclust.METHODS
    for name in names:
        _list(name, RECIPES.get(name, ()))
    return {name: [_described(recipe) for recipe in RECIPES.get(name, ())] for name in names}


def _described(recipe: Any) -> dict[str, Any]:
    return {
        "name": recipe.name,
        "version": recipe.version,
        "data": recipe.data.title,
        "fitted": recipe.fitted,
        "n_samples": recipe.n_samples,
        "parameters": recipe.params,
    }


def _list(name: str, found: Any) -> None:
    print(f"{name} ({short(name)})" if found else f"{name} has no recipes")
    width = max((len(recipe.name) for recipe in found), default=0)
    for recipe in found:
        n = f"{recipe.n_samples:,} images"
        print(f"  {recipe.name:<{width}}  {recipe.data.title}, {recipe.fitted}: {n}")
