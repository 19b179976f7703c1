"""What a recipe says of its data, built without starting anything: dataset, bucketer, tokens of a clip."""

from collections.abc import Callable, Sequence
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

from attrs import evolve, frozen
from vidgen import load_recipe
from vidgen.engine.parts import build_dataset, build_on_meta, shared_context, token_grid
from vidgen.errors import UserError, VidgenError
from vidgen.interfaces import Bucketer, Context, Dataset, Size3

WITHOUT = "to plan without the model: --no-model counts pixels in place of tokens"
NEEDED = ("dataset", "bucketer", "batch_size", "seed")


@frozen(kw_only=True)
class RecipeData:
    """name: the recipe file. tokens: video size (T, H, W) -> `unit`s of one clip, tokens or pixels."""

    name: str
    seed: int
    dataset: Dataset
    bucketer: Bucketer
    bucketer_type: str
    tokens: Callable[[Size3], int]
    unit: str


def load(recipe: Path, given: Sequence[str], *, ranks: int, with_model: bool) -> RecipeData:
    """Read a recipe and build what concerns data.

    given: a table in place of the dataset's `data_path`, and `key.path=value` overrides, in any order.
    with_model: also the model and its encoders, without memory or weights, to count tokens.
    Raises: UserError.
    """
    loaded = load_recipe(recipe, _overrides(given))
    options: Any = loaded.job.options
    if not all(hasattr(options, name) for name in NEEDED):
        raise UserError(f"{recipe}: job {loaded.job.type} reads no data. Give a training recipe.")
    context = Context(registry=loaded.registry, recipe=loaded.plain(), num_ranks=ranks)
    context = evolve(shared_context(options, context), batch_size=options.batch_size)
    tokens: Callable[[Size3], int] = _token_count(options, context) if with_model else prod
    known = evolve(context, tokens=tokens if with_model else None)
    return RecipeData(
        name=str(recipe),
        seed=options.seed,
        dataset=build_dataset(context, options),
        bucketer=loaded.registry.build(options.bucketer, known),
        bucketer_type=options.bucketer.type,
        tokens=tokens,
        unit="tokens" if with_model else "pixels",
    )


def _overrides(given: Sequence[str]) -> list[str]:
    """Raises: UserError, when two tables are given."""
    tables = [text for text in given if "=" not in text or Path(text).exists()]
    if len(tables) > 1:
        raise UserError(f"two tables are given, {tables[0]} and {tables[1]}. `vidgen data merge` makes one of them.")
    changes = [text for text in given if text not in tables]
    return [*(f"dataset.data_path={_quoted(table)}" for table in tables), *changes]


def _quoted(text: str) -> str:
    """A text as YAML, whatever is in it."""
    return "'" + text.replace("'", "''") + "'"


def _token_count(options: Any, context: Context) -> Callable[[Size3], int]:
    if not hasattr(options, "model"):
        raise UserError("this job has no model whose tokens could be counted. --no-model counts pixels instead.")
    try:
        parts = build_on_meta(options, context)
    except VidgenError as error:
        raise UserError(f"{error}\n    {WITHOUT}") from error

    @cache
    def tokens(size: Size3) -> int:
        try:
            return prod(token_grid(parts.vae.latent_size(size), parts.model.patch_size))
        except UserError as error:
            frames, rows, columns = size
            raise UserError(f"clips of {frames} frames of {rows}x{columns}: {error}\n    {WITHOUT}") from error

    return tokens
