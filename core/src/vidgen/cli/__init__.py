"""The command line: `vidgen COMMAND`, one small file a command, each imported when it is called.

Nothing here imports torch; a command that needs it does so when it starts work.
"""

from collections.abc import Iterator
from importlib import import_module

import click

from vidgen.cli.failing import shown

COMMANDS = {
    "run": "Run a recipe.",
    "plugins": "List what is installed.",
    "show": "Show a component's options.",
    "export": "Write a checkpoint's weights as one file.",
    "new-plugin": "Start a plugin of your own.",
    "doctor": "Check this machine and installation.",
}


class Commands(click.Group):
    """Core's commands, and those of plugins; imported one by one when needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands."""
        return [*COMMANDS, *sorted(self._of_plugins())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, or None."""
        if cmd_name in COMMANDS:
            return import_module(f"vidgen.cli.{cmd_name.replace('-', '_')}").command
        return self._of_plugins().get(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in `vidgen --help`, without importing core's commands."""
        rows = [*COMMANDS.items(), *((name, one.get_short_help_str()) for name, one in self._of_plugins().items())]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def _of_plugins(self) -> dict[str, click.Command]:
        from vidgen.errors import UserError

        commands: dict[str, click.Command] = {}
        for command in _offered():
            if command.name in COMMANDS or command.name in commands:
                raise UserError(f"two plugins offer the command {command.name!r}: uninstall one of them")
            commands[str(command.name)] = command
        return commands


def _offered() -> Iterator[click.Command]:
    """Commands of plugins; one whose commands cannot be loaded says so and stops nobody else."""
    from vidgen.registry import Registry

    for name, plugin in Registry.discover().hooks.list_name_plugin():
        try:
            yield from getattr(plugin, "vidgen_commands", tuple)()
        except Exception as error:
            click.echo(f"the commands of {name} could not be loaded: {type(error).__name__}: {error}", err=True)


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vidgen")
@click.option("--traceback", is_flag=True, help="Show where in the program an error was raised.")
def group(traceback: bool) -> None:
    """Train and sample video diffusion transformers; everything that varies is a plugin."""


def main() -> None:
    """Entry point of `vidgen`."""
    shown(group, prog_name="vidgen")
