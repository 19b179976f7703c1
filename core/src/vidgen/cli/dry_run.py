"""What `--dry-run` prints."""

from rich.console import Console
from rich.table import Table

from vidgen.interfaces import Context
from vidgen.recipe import Recipe


def print_plan(recipe: Recipe) -> None:
    """Build on the meta device and print what would be done."""
    job = recipe.registry.build(recipe.job, Context(registry=recipe.registry, recipe=recipe.plain()))
    table = Table(show_header=False, box=None, pad_edge=False)
    for label, value in job.dry_run().items():
        table.add_row(f"[dim]{label}[/dim]", value)
    console = Console()
    console.print(table)
    console.print("Nothing was started.", style="green")
