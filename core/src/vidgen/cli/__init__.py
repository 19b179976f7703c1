"""The command line: `vidgen COMMAND`, one small file a command, each imported when it is called.

Nothing here imports torch; a command that needs it does so when it starts work.
"""

from importlib import import_module

import click

from vidgen.cli.failing import shown

COMMANDS = {
    "run": "Run a recipe.",
    "plugins": "List what is installed.",
    "show": "Show a component's options.",
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
        from vidgen.registry import Registry

        commands: dict[str, click.Command] = {}
        for offered in Registry.discover().hooks.hook.vidgen_commands():
            for command in offered:
                if command.name in COMMANDS or command.name in commands:
                    raise UserError(f"two plugins offer the command {command.name!r}: uninstall one of them")
                commands[str(command.name)] = command
        return commands


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vidgen")
@click.option("--traceback", is_flag=True, help="Show where in the program an error was raised.")
def group(traceback: bool) -> None:
    """Train and sample video diffusion transformers; everything that varies is a plugin."""


def main() -> None:
    """Entry point of `vidgen`."""
    shown(group, prog_name="vidgen")
