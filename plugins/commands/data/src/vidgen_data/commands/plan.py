"""`vidgen data plan RECIPE [META]`: the batches of an epoch, before anything is decoded."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vidgen_data.options import FILE, FORCE, GIVEN, RECIPE

if TYPE_CHECKING:
    from vidgen_data.occupancy import Occupancy
    from vidgen_data.recipe_data import RecipeData


@click.command()
@RECIPE
@GIVEN
@click.option("--ranks", default=1, show_default=True, type=click.IntRange(min=1), help="Data-parallel ranks.")
@click.option("--epoch", default=0, show_default=True, type=click.IntRange(min=0), help="Which epoch.")
@click.option("--rows", type=FILE, help="Also write the rows that are in no batch, with the reasons, to this table.")
@click.option("--no-model", is_flag=True, help="Count pixels in place of tokens; builds no model.")
@click.option("--suggest", is_flag=True, help="Print a bucketer section that fits the data, and stop.")
@FORCE
def command(
    recipe: Path,
    given: tuple[str, ...],
    ranks: int,
    epoch: int,
    rows: Path | None,
    no_model: bool,
    suggest: bool,
    force: bool,
) -> None:
    """Show which buckets the rows go to, why others are left out, and the batches, steps and tokens of an epoch.

    META is used in place of the recipe's data_path. KEY.PATH=VALUE changes any key of the recipe.
    """
    from vidgen.errors import UserError

    from vidgen_data.occupancy import assigned, plan, write_rows
    from vidgen_data.output import check_output
    from vidgen_data.recipe_data import load
    from vidgen_data.terminal import console

    if rows is not None:
        check_output(rows, force=force)
    data = load(recipe, given, ranks=ranks, with_model=not no_model)
    if suggest:
        _print_suggestion(data)
        return
    found = assigned(data, epoch=epoch, ranks=ranks)
    try:
        plan(data, found, epoch=epoch)
    except UserError:  # a plan that is refused is explained by the same tables
        _print_buckets(found, data)
        _print_reasons(found)
        raise
    _print_buckets(found, data)
    _print_reasons(found)
    _print_steps(found, data)
    if rows is not None:
        console().print(f"{rows}: {write_rows(found, data.dataset.table, rows, force=force):,} rows")


def _print_suggestion(data: "RecipeData") -> None:
    import yaml
    from vidgen.errors import UserError

    suggestion = getattr(data.bucketer, "suggest", None)
    if suggestion is None:
        raise UserError(
            f"the bucketer {data.bucketer_type} has no options to suggest. Name one of several sizes in the recipe, or "
            "on the command line: bucketer='{type: bucket, bucket_config: {240p: {51: [1.0, 8]}}}'"
        )
    section = {"bucketer": dict(suggestion(data.dataset.table))}
    click.echo(yaml.safe_dump(section, sort_keys=False, default_flow_style=None, width=120), nl=False)


def _print_buckets(found: "Occupancy", data: "RecipeData") -> None:
    from vidgen_data.terminal import console, table

    names = ("bucket", "frames", "size", "rows", "batch size", f"{data.unit} a clip", f"{data.unit} a batch")
    shown = table(*names, "batches", "clips", numbers=range(1, 9))
    for use in found.uses:
        if use.rows:
            bucket = use.bucket
            size, batch = "x".join(map(str, bucket.size)), bucket.batch_size
            numbers = (
                f"{use.rows:,}",
                str(batch or "varies"),
                f"{use.tokens:,}",
                f"{use.tokens * batch:,}" if batch else "",
            )
            shown.add_row(bucket.name, str(bucket.num_frames), size, *numbers, f"{use.batches:,}", f"{use.clips:,}")
    console().print(shown)
    empty = sum(not use.rows for use in found.uses)
    if empty:
        console().print(f"{empty:,} of {len(found.uses):,} buckets have no row")


def _print_reasons(found: "Occupancy") -> None:
    from vidgen_data.terminal import console, table

    rows, reasons = len(found.assignment.bucket), found.reasons()
    console().print(f"\n{rows:,} rows, {rows - sum(count for _, count in reasons):,} have a bucket")
    if reasons:
        shown = table("left out", "rows", numbers=(1,))
        for text, count in reasons:
            shown.add_row(text, f"{count:,}")
        console().print(shown)


def _print_steps(found: "Occupancy", data: "RecipeData") -> None:
    from vidgen_data.terminal import console, table

    left, repeated = int(found.left_over.sum()), found.clips - int(found.used.sum())
    shown = table("one epoch", "", numbers=(1,))
    shown.add_row(f"steps, on {found.ranks} rank(s)", f"{found.steps:,}")
    shown.add_row("batches", f"{found.steps * found.ranks:,}")
    shown.add_row("clips", f"{found.clips:,}")
    shown.add_row("rows left over", f"{left:,}")
    shown.add_row("rows repeated", f"{repeated:,}")
    shown.add_row(data.unit, f"{found.tokens:,}")
    shown.add_row(f"{data.unit} a step", f"{found.padded / max(found.steps, 1):,.0f}")
    if data.bucketer.ragged:
        shown.add_row("of a batch, padding", f"{1 - found.tokens / max(found.padded, 1):.1%}")
    if found.ranks > 1:
        shown.add_row("slowest rank over the average", f"{found.imbalance:.3f}")
        shown.add_row("in the worst step", f"{found.worst:.3f}")
    console().print("")
    console().print(shown)
