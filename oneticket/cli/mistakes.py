"""Errors in a command: all missing flags at once, and what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence

from cyclopts import App, CycloptsError
from cyclopts.exceptions import MissingArgumentError, UnknownCommandError, UnknownOptionError, UnusedCliTokensError

from oneticket.cli.help import ALL, HELP
from oneticket.ground.errors import RequestError, SpecError

DONE, FAILED, USAGE = 0, 1, 2
"""The exit codes that `help.EXIT_CODES` describes."""

MOST = 20  # arguments that a command may lack


def exit_code(errors: Iterable[BaseException]) -> int:
    """The code for what went wrong: 2 if all of it is a mistake in the request, 1 if anything failed, 0 if nothing did.

    >>> exit_code([]), exit_code([SpecError()]), exit_code([SpecError(), OSError()])
    (0, 2, 1)
    """
    kinds = {USAGE if isinstance(error, RequestError) else FAILED for error in errors}
    return FAILED if FAILED in kinds else USAGE if kinds else DONE


def error_message(error: CycloptsError, app: App, tokens: Sequence[str]) -> str:
    """The mistake in words."""
    chain = tuple(error.command_chain or ())
    name = " ".join(chain)
    if isinstance(error, UnknownCommandError):
        return _no_command(" ".join((error.unused_tokens or [])[:1]), app, chain)
    if isinstance(error, UnusedCliTokensError):
        return _too_many([*map(str, error.unused_tokens or ())], app, chain)
    if isinstance(error, UnknownOptionError | MissingArgumentError):
        lacking, unknown, other = _lacking(app, tokens)
        unknown = unknown or ([error] if isinstance(error, UnknownOptionError) else [])
        others = other if isinstance(other, str) else error_message(other, app, tokens) if other else ""
        first = _no_options(unknown) if unknown else ""
        return "\n".join(filter(None, [first, others, needs(name, lacking) if lacking else ""])) or str(error)
    return str(error)


def _no_options(errors: Sequence[UnknownOptionError]) -> str:
    """That there are no options of these names, and which were probably meant."""
    from oneticket.stats.words import listed

    name = " ".join(errors[0].command_chain or ())
    known = {each for argument in errors[0].argument_collection if argument.parse for each in argument.names}
    options = [(error.token.keyword or error.token.value).split("=")[0] for error in errors]
    near = [meant(option, known) for option in options]
    every = f"`{' '.join(['oneticket', name, ALL if name in HELP and HELP[name].common else '--help'])}`"
    if len(options) == 1:
        hint = f"; did you mean {near[0]}?" if near[0] else ";"
        return f"{name}: unknown option {options[0]}{hint} {every} lists all options"
    each = [f"{option} (did you mean {flag}?)" if flag else option for option, flag in zip(options, near, strict=True)]
    return f"{name}: unknown options {listed(each)}; {every} lists all options"


def _no_command(word: str, app: App, chain: Sequence[str]) -> str:
    """That there is no command of that name, and which was probably meant."""
    for part in chain:
        app = app[part]
    known = [name for name in app if not name.startswith("-")]
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    place = " ".join(["oneticket", *chain])
    hint = f"; did you mean {near[0]}?" if near else ";"
    return f"unknown command {word!r}{hint} `{place} --help` lists the commands: {', '.join(known)}"


def _too_many(words: Sequence[str], app: App, chain: Sequence[str]) -> str:
    """That these words are no arguments; a setting as Python writes it was probably meant as a flag."""
    for part in chain:
        app = app[part]
    names = {name for each in app.assemble_argument_collection() for name in each.names}
    split = [word.partition("=") for word in words]
    flags = [f"{flag} {value}" for name, sign, value in split if sign and (flag := meant(name, names))]
    hint = f"; did you mean {' '.join(flags)}?" if flags else ";"
    said = f"unexpected argument{'s' * (len(words) > 1)} {', '.join(map(repr, words))}"
    return f"{' '.join(chain)}: {said}{hint} `{' '.join(['oneticket', *chain, '--help'])}` describes what it takes"


def needs(name: str, lacking: Sequence[str]) -> str:
    """That a command needs these arguments, with an example."""
    from oneticket.stats.words import listed

    examples = HELP[name].examples if name in HELP else ()
    words = f"{name} needs {listed(lacking)}; `oneticket {name} --help` describes them"
    return f"{words}. For example:\n  {examples[0]}" if examples else words


def meant(option: str, known: Collection[str]) -> str:
    """The flag that was probably meant, or nothing.

    >>> meant("--learning-rate", {"--lr", "--length"}), meant("--level", {"--levels"}), meant("--xyz", {"--lr"})
    ('--lr', '--levels', '')
    """
    name = option.lstrip("-").lower().replace("_", "-")
    names = sorted(flag for flag in known if flag.startswith("--"))
    for candidate in (name, *MEANT.get(name, ())):
        if f"--{candidate}" in names:
            return f"--{candidate}"
    begun = [flag for flag in names if len(name) > 2 and flag.startswith(f"--{name}")]
    near = begun or difflib.get_close_matches(f"--{name}", names, n=1, cutoff=0.7)
    return near[0] if near else ""


def _lacking(app: App, tokens: Sequence[str]) -> tuple[list[str], list[UnknownOptionError], CycloptsError | str | None]:
    """All arguments that a command needs and does not get, all options that it does not have, and one other mistake.

    Something is put in the place of each until nothing more is missed. Nothing where a flag lacks its value.
    """
    lacking, given, unknown = list[str](), list(tokens), list[UnknownOptionError]()
    for _ in range(MOST):
        try:
            command, bound, _ = app.parse_args(given, exit_on_error=False, print_error=False)
        except MissingArgumentError as error:
            argument = error.argument
            if argument is None or not set(argument.names).isdisjoint(given):
                return [], [], None
            positional = not argument.field_info.is_keyword
            lacking.append(argument.name.lstrip("-").upper() if positional else argument.name)
            given += ["x"] if positional else [argument.name, "x"]
        except UnknownOptionError as error:
            # What else is lacking is told beside it.
            word = error.token.keyword or error.token.value
            unknown.append(error)
            at = next((number for number, each in enumerate(given) if each.partition("=")[0] == word), None)
            if at is None:
                return lacking, unknown, None
            valued = "=" not in given[at] and not (given[at + 1 : at + 2] or ["-"])[0].startswith("-")
            del given[at : at + 1 + valued]
        except CycloptsError as error:
            return lacking, unknown, error
        else:
            more = getattr(command, "lacking", None)
            try:
                return [*lacking, *(more(bound.arguments) if more else ())], unknown, None
            except SpecError as error:  # the file of settings cannot be read, so what it lacks is not known
                return lacking, unknown, str(error)
    return lacking, unknown, None


MEANT: Mapping[str, tuple[str, ...]] = {
    "learning-rate": ("lr",),
    "epochs": ("budget",),
    "steps": ("budget", "step"),
    "iterations": ("budget",),
    "batch-size": ("batch",),
    "bs": ("batch",),
    "dataset": ("data",),
    "target": ("data",),
    "network": ("model",),
    "net": ("model",),
    "arch": ("model",),
    "architecture": ("model",),
    "output": ("out",),
    "out-dir": ("out",),
    "output-dir": ("out",),
    "folder": ("out",),
    "optim": ("optimizer",),
    "opt": ("optimizer",),
    "sparsity": ("fraction", "density"),
    "pruning-rate": ("fraction",),
    "rate": ("fraction", "lr"),
    "amount": ("fraction",),
    "rounds": ("levels",),
    "depth": ("levels",),
    "runs": ("replicates",),
    "repeats": ("replicates",),
    "seeds": ("replicates", "seed"),
    "wd": ("weight-decay",),
    "l2": ("weight-decay",),
    "decay": ("weight-decay",),
    "grad-clip": ("clip",),
    "clip-norm": ("clip",),
    "gradient-clip": ("clip",),
    "label-smoothing": ("smoothing",),
    "scheduler": ("schedule",),
    "arms": ("controls",),
    "baselines": ("controls",),
    "config": ("spec",),
    "file": ("spec",),
    "settings": ("spec",),
    "cache": ("store",),
    "gpu": ("device",),
    "cuda": ("device",),
    "workers": ("threads", "cpus"),
    "cores": ("threads", "cpus"),
    "jobs": ("threads", "cpus"),
    "log": ("track",),
    "logger": ("track",),
    "tensorboard": ("track",),
    "wandb": ("track",),
    "mlflow": ("track",),
    "silent": ("quiet",),
    "format": ("to",),
    "licence": ("license",),
}
"""Names of flags in other tools, and their names here."""
