"""What `--dry-run` prints."""

from vidgen.cli.table import console, table
from vidgen.interfaces import Context
from vidgen.recipe import Recipe


def print_plan(recipe: Recipe) -> None:
    """Build on the meta device and print what would be done."""
    job = recipe.registry.build(recipe.job, Context(registry=recipe.registry, recipe=recipe.plain()))
    plan = table("what", "found", header=False)
    for label, value in job.dry_run().items():
        plan.add_row(label, value)
    console().print(plan)
    console().print("Nothing was started.", style="green")
