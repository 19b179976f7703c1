"""What `--dry-run` prints."""

from vidgen.cli.table import console, table
from vidgen.interfaces import Context
from vidgen.recipe import Recipe


def print_plan(recipe: Recipe, ranks: int = 1) -> None:
    """Build on the meta device and print what would be done by so many processes."""
    context = Context(registry=recipe.registry, recipe=recipe.plain(), num_ranks=ranks)
    job = recipe.registry.build(recipe.job, context)
    plan = table("what", "found", header=False)
    for label, value in job.dry_run().items():
        plan.add_row(label, value)
    console().print(plan)
    console().print("Nothing was started.", style="green")
