"""`vidgen data`: its commands by name, one small file each, imported when it is called."""

from importlib import import_module

import click

COMMANDS = {
    "scan": "Make a table of the videos and images in a folder.",
    "validate": "Check a table against its files.",
    "plan": "Show the batches that a recipe makes of its data.",
    "preview": "Show the clips that training will see, as a page.",
    "info": "Describe a table.",
    "filter": "Keep some rows of a table.",
    "merge": "Put tables one below the other.",
    "join": "Add columns of another table.",
    "split": "Divide a table into training and validation.",
    "shard": "Cut a table into equal parts.",
}


class DataCommands(click.Group):
    """Commands that are imported one by one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, or None."""
        if cmd_name not in COMMANDS:
            return None
        return import_module(f"vidgen_data.commands.{cmd_name}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in the help text, without importing the commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=DataCommands, name="data", context_settings={"help_option_names": ["-h", "--help"]})
def data() -> None:
    """Make, check, plan and cut tables of clips."""
