"""`vidgen convert FILE [-o RECIPE]`: a configuration or launch script of another project to a recipe."""

from pathlib import Path

import click


@click.command(name="convert", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where to write the recipe; printed when silent.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def convert(file: Path, output: Path | None, force: bool) -> None:
    """Turn another project's configuration into a recipe.

    FILE is a configuration of Open-Sora 1.0, 1.1 or 1.2 (.py), or a training or sampling script of Open-Sora-Plan 1.3
    (.sh). It is read, never run. What has no counterpart is listed.
    """
    from vidgen_convert.conversion import converted
    from vidgen_convert.output import check_output, write_text
    from vidgen_convert.telling import tell

    check_output(output, force=force)
    draft, text = converted(file)
    if output is None:
        click.echo(text, nl=False)
    else:
        write_text(output, text)
    tell(draft, text, output)
