"""How the command line fails: the error's own text on stderr, its exit status, no traceback unless asked for."""

import sys
import traceback

import click

from vidgen.errors import RunError, VidgenError
from vidgen.launch import LOST, leave_word


def shown(command: click.Command, prog_name: str) -> None:
    """Run a command and exit the process. Exit status: 0 done, 1 failed, 2 the user's mistake, 130 interrupted."""
    arguments = [text for text in sys.argv[1:] if text != "--traceback"]  # wherever it stands
    try:
        command.main(arguments, prog_name=prog_name, standalone_mode=False)
    except click.exceptions.Abort:
        _leave("interrupted", 130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _leave("interrupted", 130)
    except BrokenPipeError:
        sys.exit(1)
    except VidgenError as error:
        _leave(str(error), error.exit_status)
    except Exception as error:
        hint = "--traceback shows where; please report it if it looks like our mistake"
        _leave(f"{_described(error)}\n    {hint}", RunError.exit_status)


def _described(error: Exception) -> str:
    text = str(error).strip()
    if any(one in text for one in LOST):
        return f"another process of this run ended, and its own message says why ({text.splitlines()[0]})"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _leave(text: str, status: int) -> None:
    if "--traceback" in sys.argv:
        traceback.print_exc()
    if not leave_word(text, status):  # the launcher of several processes shows the first one's
        click.echo(text, err=True)
    sys.exit(status)
