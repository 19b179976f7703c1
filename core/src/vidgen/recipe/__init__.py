"""Recipes: YAML that names components, checked before anything starts."""

from vidgen.recipe.load import Recipe, load_recipe

__all__ = ["Recipe", "load_recipe"]
