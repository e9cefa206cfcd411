"""The commands, whose flags come from the specs, and their exit codes. PyTorch is not imported before one needs it."""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import sys
import warnings
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Group, Parameter

from oneticket.cli.help import ALL, EXIT_CODES, HELP, CommonFlags, groups
from oneticket.cli.mistakes import FAILED, USAGE, error_message, exit_code
from oneticket.cli.parameters import sound
from oneticket.ground.allocator import uncollected
from oneticket.ground.errors import KeptWarning, OneticketError
from oneticket.ground.extras import naming_extras
from oneticket.ground.url import without_password
from oneticket.session.terminal import any_encoding, out, tell


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish", "powershell"], Parameter(help="The shell.")] = "bash", /
) -> int:
    """Print the script that lets a shell complete commands and flags."""
    out().print(application().generate_completion(shell=shell), soft_wrap=True)
    return 0


def application(shown: Literal["common", "all"] | None = None, *, only: str | None = None) -> App:
    """The whole command line; or one that only shows its help, of long commands the common flags alone, or all.

    `only`: with no other command than this one, whose module alone is then imported.
    """
    options = Group("Options", sort_key=len(HELP))
    made, titles = App(name="oneticket", help_epilogue=EXIT_CODES, group_commands=options, **SETTINGS), groups()
    for number, (name, entry) in enumerate(HELP.items()):
        if only not in (None, name):
            continue
        command, short = _found(COMMANDS[name]), bool(entry.common) and shown == "common"
        about: dict[str, Any] = {
            "group": titles[entry.group],
            "sort_key": number,
            "help_epilogue": entry.epilogue(name, short=short),
            "usage": f"Usage: oneticket {name} {entry.usage}" if entry.usage else None,
        }
        if isinstance(command, App):
            about |= {"group_commands": Group("Commands"), "default_parameter": SETTINGS["default_parameter"]}
            for field, value in about.items():
                setattr(command, field, value)
            made.command(command)
            continue
        if name in FLAGS:
            from oneticket.cli.flags import with_flags

            command = with_flags(_found(FLAGS[name]), grouped=not short, starred=shown is not None)(command)
        if short:
            about["help_formatter"] = CommonFlags(entry.common)
        made.command(command, name=name, **about)
    return made


def run(tokens: list[str] | None = None) -> int:
    """Run a command and return its exit code; a user's mistake is reported in words, without a traceback."""
    any_encoding()
    if tokens is None:  # a process of our own: at its end Python would search all modules for garbage, for a second
        atexit.register(gc.freeze)
    tokens = sys.argv[1:] if tokens is None else tokens
    asked = {"--help", "-h", ALL} & {*tokens}
    only = tokens[0] if tokens and tokens[0] in COMMANDS else None
    shown: Literal["common", "all"] = "all" if ALL in tokens else "common"
    tokens = ["--help" if token == ALL else token for token in tokens]
    try:
        with uncollected():
            chosen = application(shown) if asked else application(only=only)
        with naming_extras(), _kept_warnings_in_lines():
            code: int = chosen(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        tell(f"oneticket: {without_password(error_message(error, application(), tokens))}", style="red")
        code = USAGE
    except OneticketError as error:
        tell(f"oneticket: {without_password(str(error))}", style="red")
        code = exit_code([error])
    except OSError as error:
        with contextlib.suppress(OSError):
            what = f"{error.filename}" if error.filename else "cannot write the output"
            tell(f"oneticket: {what}: {error.strerror or error}", style="red")
        code = FAILED
    return code


@contextlib.contextmanager
def _kept_warnings_in_lines() -> Iterator[None]:
    """Report each stored file that is not used in one line; show other warnings as usual."""
    with warnings.catch_warnings():
        warnings.simplefilter("default", KeptWarning)
        before = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, KeptWarning):
                tell(f"oneticket: {message}", style="yellow")
            else:
                before(message, category, *where, **more)

        warnings.showwarning = show
        yield


def _default(value: object) -> object:
    """What the help says of a default: nothing of a switch that is off, and nothing of an empty list."""
    return None if value is False or value == () else value


SETTINGS: dict[str, Any] = {
    "help": "Find a lottery ticket once, keep it in a safe file, transfer it anywhere, and see whether it won.",
    "version_flags": ["--version"],
    "help_format": "plaintext",
    "help_on_error": False,
    "suppress_keyboard_interrupt": False,
    "default_parameter": Parameter(validator=sound, show_default=_default),
}
FLAGS = {"find": "study.spec:FindSpec", "transfer": "study.spec:ComparisonSpec"}
"""The commands that take the fields of a spec as flags, and where the spec is."""

COMMANDS = {
    "demo": "cli.commands:demo",
    "init": "cli.studies:init",
    "zoo": "cli.tickets:zoo",
    "show": "cli.tickets:show",
    "find": "cli.commands:find",
    "transfer": "cli.commands:transfer",
    "consensus": "cli.tickets:consensus",
    "study": "cli.studies:study",
    "status": "cli.studies:status",
    "report": "cli.studies:report",
    "board": "cli.studies:board",
    "score": "cli.tickets:score",
    "push": "cli.tickets:push",
    "pull": "cli.tickets:pull",
    "import": "cli.tickets:import_",
    "verify": "cli.tickets:verify",
    "export": "cli.tickets:export",
    "store": "cli.studies:store",
    "completion": "cli.dispatch:completion",
}
"""Where each command is: none is imported for another one's sake."""


def _found(where: str) -> Any:
    """The command or spec of that place."""
    module, name = where.split(":")
    return getattr(importlib.import_module(f"oneticket.{module}"), name)


def __getattr__(name: str) -> App:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return application()
