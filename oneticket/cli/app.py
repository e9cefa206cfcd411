"""The command line: commands whose flags come from the specs. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter

from oneticket.cli.parameters import HOW, KEEP, How, Keep, Quiet, Rows, sound, with_flags
from oneticket.cli.studies import report, status, store, study
from oneticket.cli.terminal import any_encoding, tell
from oneticket.cli.tickets import export, import_, pull, push, score, show, verify, zoo
from oneticket.ground.errors import KeptWarning, OneticketError, SpecError
from oneticket.ground.extras import naming_extras
from oneticket.study.spec import CarrySpec, FindSpec

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

app = App(
    name="oneticket",
    help="Find a lottery ticket once, keep it in a safe file, carry it anywhere, and see whether it won.",
    help_epilogue="Exit codes: 0 done, 1 something failed, 2 a mistake in the request, 130 interrupted (run again).",
    version_flags=["--version"],
    help_on_error=False,
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(validator=sound),
)


@app.command
@with_flags(FindSpec)
def find(
    *,
    out: Annotated[Path, Parameter(help="Folder for the books (one per replicate) and the rows.")],
    given: dict[str, Any],
    spec: Annotated[Path | None, Parameter(help="A TOML file with the same settings; flags go before it.")] = None,
    rows: Rows = None,
    how: How = HOW,
    store: Keep = KEEP,
    quiet: Quiet = False,
) -> int:
    """Find tickets: train, prune the smallest weights, rewind the rest, again; leaves a book of all levels.

    Example:

    oneticket find --data digits:a --model lenet-300-100 --optimizer sgd --levels 20 --replicates 3 --out digits-a
    """
    from oneticket.cli.find import find as command

    return command(given=given, spec=spec, out=out, rows=rows, how=how, store=store, quiet=quiet)


@app.command
@with_flags(CarrySpec)
def transfer(
    source: Annotated[Path, Parameter(help="A folder that `find` made, a book or ticket file, or a shipped ticket.")],
    /,
    *,
    given: dict[str, Any],
    spec: Annotated[Path | None, Parameter(help="A TOML file with the same settings; flags go before it.")] = None,
    rows: Rows = None,
    how: How = HOW,
    store: Keep = KEEP,
    quiet: Quiet = False,
    run_code: Annotated[
        bool, Parameter(help="Run the code of a network that the source names by import path.", negative="")
    ] = False,
) -> int:
    """Carry tickets to other data or another optimizer, beside the dense network and the controls.

    What is not asked for (model, training, optimizer) is as the source was trained.

    Example:

    oneticket transfer digits-a --data digits:b --optimizer adam --controls reinit,global-random --rows rows.csv
    """
    from oneticket.cli.transfer import transfer as command

    return command(source, given=given, spec=spec, rows=rows, how=how, store=store, quiet=quiet, run_code=run_code)


@app.command
def demo(
    *,
    out: Annotated[Path, Parameter(help="Folder for tickets, rows and charts.")] = Path("demo"),
    store: Keep = KEEP,
    quiet: Quiet = False,
) -> int:
    """The whole method in a minute: tickets from one half of scikit-learn's digits, carried to the other half."""
    from oneticket.cli.demo import demo as command

    return command(out=out, store=store, quiet=quiet)


for command in (show, verify, score, zoo, push, pull, export, study, report, status, store):
    app.command(command)
app.command(import_, name="import")


def main(tokens: list[str] | None = None) -> None:
    """Run a command and leave with its exit code; a user's mistake is told in words, without a traceback."""
    any_encoding()
    try:
        with naming_extras(), _kept_told():
            code = app(tokens, exit_on_error=False, print_error=False)
    except (CycloptsError, SpecError) as error:
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
