"""Errors in a command: all missing flags at once, and what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence

from cyclopts import App, CycloptsError
from cyclopts.exceptions import MissingArgumentError, UnknownOptionError

from oneticket.cli.help import ALL, HELP

MOST = 20  # arguments that a command may lack


def told(error: CycloptsError, app: App, tokens: Sequence[str]) -> str:
    """The mistake in words."""
    name = " ".join(error.command_chain or ())
    if isinstance(error, UnknownOptionError):
        option = (error.token.keyword or error.token.value).split("=")[0]
        known = {each for argument in error.argument_collection if argument.parse for each in argument.names}
        hint = f"; did you mean {near}?" if (near := meant(option, known)) else ";"
        every = ALL if name in HELP and HELP[name].common else "--help"
        return f"{name}: unknown option {option}{hint} `{' '.join(['oneticket', name, every])}` lists all options"
    if isinstance(error, MissingArgumentError):
        lacking, other = _lacking(app, tokens)
        lines = [*([told(other, app, tokens)] if other else ()), *([needs(name, lacking)] if lacking else ())]
        return "\n".join(lines) or str(error)
    return str(error)


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


def _lacking(app: App, tokens: Sequence[str]) -> tuple[list[str], CycloptsError | None]:
    """All arguments that a command needs and does not get, and what else is wrong with those that it gets.

    Something is put in the place of each until nothing more is missed. Nothing where a flag lacks its value.
    """
    lacking, given = list[str](), list(tokens)
    for _ in range(MOST):
        try:
            command, bound, _ = app.parse_args(given, exit_on_error=False, print_error=False)
        except MissingArgumentError as error:
            argument = error.argument
            if argument is None or not set(argument.names).isdisjoint(given):
                return [], None
            positional = not argument.field_info.is_keyword
            lacking.append(argument.name.lstrip("-").upper() if positional else argument.name)
            given += ["x"] if positional else [argument.name, "x"]
        except CycloptsError as error:
            return lacking, error
        else:
            more = getattr(command, "lacking", None)
            return [*lacking, *(more(bound.arguments) if more else ())], None
    return lacking, None


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
