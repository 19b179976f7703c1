"""`vidgen data preview RECIPE [META] -o preview.html`: what training will see."""

from pathlib import Path

import click

from vidgen_data.options import FILE, FORCE, GIVEN, RECIPE


@click.command()
@RECIPE
@GIVEN
@click.option("-o", "--output", required=True, type=FILE, help="Page to write, .html.")
@click.option("--count", default=24, show_default=True, type=click.IntRange(min=1), help="Clips of all buckets.")
@click.option("--epoch", default=0, show_default=True, type=click.IntRange(min=0), help="Which epoch.")
@click.option("--animated", is_flag=True, help="Moving pictures instead of three frames.")
@FORCE
def command(
    recipe: Path, given: tuple[str, ...], output: Path, count: int, epoch: int, animated: bool, force: bool
) -> None:
    """Write a page of the first clips of each bucket, cut, scaled and chosen in time as training will do.

    META is used in place of the recipe's data_path. KEY.PATH=VALUE changes any key of the recipe.
    """
    from vidgen.errors import UserError

    from vidgen_data.contact_sheet import page
    from vidgen_data.output import check_free, write_page
    from vidgen_data.recipe_data import load
    from vidgen_data.terminal import console
    from vidgen_data.viewing import sheets

    if output.suffix.lower() != ".html":
        raise UserError(f"{output}: a page's name ends in .html")
    check_free(output, force=force)
    data = load(recipe, given, ranks=1, with_model=False)
    made = sheets(data, count=count, epoch=epoch)
    cards = [card for sheet in made for card in sheet.cards]
    failed = sum(card.video is None for card in cards)
    facts = f"{len(cards)} of {data.dataset.table.num_rows:,} rows, epoch {epoch}, seed {data.seed}"
    write_page(output, page(f"Data of {data.name}", facts, made, animated=animated), force=force)
    console().print(f"{output}: {len(cards)} clips of {len(made)} buckets, {output.stat().st_size / 1e6:.1f} MB")
    if failed:
        console().print(f"{failed} of them cannot be read; the page says why")
