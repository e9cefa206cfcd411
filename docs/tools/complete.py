"""The build fails where a name that people use has no entry on the site."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from cyclopts import App
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import SphinxError

import oneticket
from oneticket.cli.dispatch import app as commands

# Everything public in these has an entry; the other modules are inner rooms, or are entered through these.
ROOMS = (
    "oneticket.ticket.file",
    "oneticket.publish.hub",
    "oneticket.publish.card",
    "oneticket.publish.shipped",
    "oneticket.publish.fit",
    "oneticket.publish.standing",
    "oneticket.publish.zoo",
    "oneticket.integrations.lightning",
    "oneticket.integrations.transformers",
    "oneticket.integrations.accelerate",
    "oneticket.integrations.masks",
    "oneticket.export",
    "oneticket.lottery.controls",
    "oneticket.claims.claims",
    "oneticket.claims.judge",
    "oneticket.stats.stats",
    "oneticket.study.grid",
    "oneticket.plot",
    "oneticket.ground.errors",
)
GUIDES = (
    "index.md",
    "tour.md",
    "researcher.md",
    "several.md",
    "practitioner.md",
    "deployer.md",
    "data.md",
    "settings.md",
    "notebooks/researcher.md",
    "notebooks/practitioner.md",
    "notebooks/deployer.md",
)


class Undocumented(SphinxError):
    """Names without an entry."""

    category = "Undocumented"


def missing(app: Sphinx, env: BuildEnvironment) -> None:
    """Raise with the names, if there are any."""
    entries = {_place(name) for name in env.get_domain("py").objects}
    wanted = {f"oneticket.{name}" for name in oneticket.__all__}
    wanted |= {name for room in ROOMS for name in public(room)}
    wanted |= {name for guide in GUIDES for name in imported((Path(app.srcdir) / guide).read_text())}
    absent = [name for name in sorted(wanted) if _place(name) not in entries]
    labels = env.get_domain("std").anonlabels
    absent += [
        f"oneticket {name}" for name in named(commands) if f"cyclopts-oneticket-{name}".replace(" ", "-") not in labels
    ]
    if absent:
        raise Undocumented(f"no entry on the site for: {', '.join(absent)}; add them to docs/api, with a docstring")


def public(room: str) -> Iterator[str]:
    """The functions and classes that a room makes; of one with a face, those that it names there."""
    module = import_module(room)
    named_there = getattr(module, "__all__", None)
    for name, thing in vars(module).items():
        ours = name in named_there if named_there else getattr(thing, "__module__", None) == room
        if ours and not name.startswith("_") and (inspect.isclass(thing) or inspect.isfunction(thing)):
            yield f"{room}.{name}"


def imported(page: str) -> Iterator[str]:
    """What a guide's code takes from the package, by `from oneticket.room import name` and `oneticket.Name`."""
    for block in re.findall(r"```(?:python|\{code-cell\} python)\n(.*?)```", page, re.S):
        for room, names in re.findall(r"^from (oneticket\S*) import (.+)$", block, re.M):
            yield from (f"{room}.{name.split(' as ')[0].strip()}" for name in names.split("#")[0].split(","))
        yield from (f"oneticket.{name}" for name in re.findall(r"\boneticket\.([A-Za-z]\w*)\(", block))


def named(app: App, before: str = "") -> Iterator[str]:
    """Every command, inner ones after their outer one, as they are typed."""
    for name in app:
        if not name.startswith("-"):
            yield before + name
            yield from named(app[name], f"{before}{name} ")


def _label(command: str) -> str:
    """The anchor that the command line's page gives a command."""
    return f"cyclopts-oneticket-{command.replace(' ', '-')}"


def _place(name: str) -> tuple[str, str]:
    """Where a thing is made, so that one entry serves for all names that it goes by."""
    module, _, last = name.rpartition(".")
    try:
        thing = getattr(import_module(module), last)
    except (ImportError, AttributeError):
        return module, last
    return getattr(thing, "__module__", module) or module, getattr(thing, "__qualname__", last)


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls; entries are known once all pages are read, and before one is written."""
    app.connect("env-check-consistency", missing)
    return {"parallel_read_safe": True}
