"""The command line: commands whose flags come from the specs. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Group, Parameter

from oneticket.cli.help import ALL, EXIT_CODES, HELP, CommonFlags, groups
from oneticket.cli.mistakes import told
from oneticket.cli.parameters import HOW, KEEP, How, Keep, Quiet, Rows, SpecFile, Track, sound, with_flags
from oneticket.cli.status import LOADING, telling
from oneticket.cli.studies import board, init, report, status, store, study
from oneticket.cli.tickets import consensus, export, import_, pull, push, score, show, verify, zoo
from oneticket.ground.errors import KeptWarning, OneticketError, SpecError
from oneticket.ground.extras import naming_extras
from oneticket.ground.phase import phase
from oneticket.ground.spec import Spec
from oneticket.session.terminal import any_encoding, out, tell
from oneticket.study.spec import CarrySpec, FindSpec

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def find(
    *,
    out: Annotated[Path, Parameter(help="Folder for the books (one per replicate) and the rows.")],
    given: dict[str, Any],
    spec: SpecFile = None,
    rows: Rows = None,
    track: Track = None,
    how: How = HOW,
    store: Keep = KEEP,
    quiet: Quiet = False,
) -> int:
    """Find tickets: train, prune the smallest weights, rewind the rest, repeat. Writes a book of all levels."""
    with telling(quiet=quiet):
        with phase(LOADING):
            from oneticket.cli.find import find as command
        return command(given=given, spec=spec, out=out, rows=rows, track=track or [], how=how, store=store, quiet=quiet)


def transfer(
    source: Annotated[Path, Parameter(help="A folder that `find` made, a book or ticket file, or a shipped ticket.")],
    /,
    *,
    given: dict[str, Any],
    spec: SpecFile = None,
    rows: Rows = None,
    track: Track = None,
    how: How = HOW,
    store: Keep = KEEP,
    quiet: Quiet = False,
    run_code: Annotated[
        bool, Parameter(help="Allow running the code of a network that the source names by import path.", negative="")
    ] = False,
) -> int:
    """Train tickets on other data or with another optimizer, and compare with the dense network and controls.

    Settings that are not given (model, training, optimizer) are those of the source.
    """
    with telling(quiet=quiet):
        with phase(LOADING):
            from oneticket.cli.transfer import transfer as command
        return command(
            source,
            given=given,
            spec=spec,
            rows=rows,
            track=track or [],
            how=how,
            store=store,
            quiet=quiet,
            run_code=run_code,
        )


def demo(
    *,
    out: Annotated[Path, Parameter(help="Folder for tickets, rows, charts and the report.")] = Path("demo"),
    store: Keep = KEEP,
    quiet: Quiet = False,
) -> int:
    """Run the whole method in a minute: find tickets on half of scikit-learn's digits, transfer to the other half."""
    with telling(quiet=quiet):
        with phase(LOADING):
            from oneticket.cli.demo import demo as command
        return command(out=out, store=store, quiet=quiet)


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish", "powershell"], Parameter(help="The shell.")] = "bash", /
) -> int:
    """Print the script that lets a shell complete commands and flags."""
    out().print(app.generate_completion(shell=shell), soft_wrap=True)
    return 0


def application(shown: Literal["common", "all"] | None = None) -> App:
    """The whole command line; or one that only shows its help, of long commands the common flags alone, or all."""
    options = Group("Options", sort_key=len(HELP))
    made, titles = App(name="oneticket", help_epilogue=EXIT_CODES, group_commands=options, **SETTINGS), groups()
    for number, (name, entry) in enumerate(HELP.items()):
        command, short = COMMANDS[name], bool(entry.common) and shown == "common"
        about: dict[str, Any] = {
            "group": titles[entry.group],
            "sort_key": number,
            "help_epilogue": entry.epilogue(name, short=short),
        }
        if isinstance(command, App):
            for field, value in about.items():
                setattr(command, field, value)
            made.command(command)
            continue
        if name in FLAGS:
            command = with_flags(FLAGS[name], grouped=not short, starred=shown is not None)(command)
        if short:
            about["help_formatter"] = CommonFlags(entry.common)
        made.command(command, name=name, **about)
    return made


def main(tokens: list[str] | None = None) -> None:
    """Run a command and leave with its exit code; a user's mistake is told in words, without a traceback."""
    any_encoding()
    tokens = sys.argv[1:] if tokens is None else tokens
    chosen = application("all" if ALL in tokens else "common") if {"--help", "-h", ALL} & {*tokens} else app
    tokens = ["--help" if token == ALL else token for token in tokens]
    try:
        with naming_extras(), _kept_told():
            code = chosen(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        tell(f"oneticket: {told(error, app, tokens)}", style="red")
        code = USAGE
    except SpecError as error:
        tell(f"oneticket: {error}", style="red")
        code = USAGE
    except OneticketError as error:
        tell(f"oneticket: {error}", style="red")
        code = FAILED
    except OSError as error:
        with contextlib.suppress(OSError):
            what = f"{error.filename}" if error.filename else "cannot write the output"
            tell(f"oneticket: {what}: {error.strerror or error}", style="red")
        code = FAILED
    except KeyboardInterrupt:
        tell("oneticket: interrupted; run the same command to go on", style="yellow")
        code = INTERRUPTED
    sys.exit(code)


@contextlib.contextmanager
def _kept_told() -> Iterator[None]:
    """Tell in one line each what was kept and is not used; other warnings are shown as ever."""
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


SETTINGS: dict[str, Any] = {
    "help": "Find a lottery ticket once, keep it in a safe file, transfer it anywhere, and see whether it won.",
    "version_flags": ["--version"],
    "help_format": "plaintext",
    "help_on_error": False,
    "suppress_keyboard_interrupt": False,
    "default_parameter": Parameter(validator=sound),
}
FLAGS: dict[str, type[Spec]] = {"find": FindSpec, "transfer": CarrySpec}
"""The commands that take the fields of a spec as flags."""

COMMANDS: dict[str, Any] = {
    "demo": demo,
    "init": init,
    "zoo": zoo,
    "show": show,
    "find": find,
    "transfer": transfer,
    "consensus": consensus,
    "study": study,
    "status": status,
    "report": report,
    "board": board,
    "score": score,
    "push": push,
    "pull": pull,
    "import": import_,
    "verify": verify,
    "export": export,
    "store": store,
    "completion": completion,
}
app = application()
