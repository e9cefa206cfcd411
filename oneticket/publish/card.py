"""The card: what a ticket or book is, its origin, rewind point, scores and use, as Markdown."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping

from oneticket.ground.errors import SpecError
from oneticket.publish.card_scores import card_scores
from oneticket.publish.markdown import MOST_ROWS, bullets, table
from oneticket.ticket.book import Book
from oneticket.ticket.density import Density
from oneticket.ticket.describe import (
    TIED,
    agreement,
    at,
    columns,
    data_settings,
    network,
    percent,
    several_heads,
    text,
    word,
)
from oneticket.ticket.ticket import Ticket


def card(
    thing: Ticket | Book,
    *,
    name: str,
    license: str | None = None,
    data_license: str | None = None,
    where: str | None = None,
) -> str:
    """A README.md with YAML front matter, as the Hugging Face Hub shows it.

    `name`: its title. `license`: of the file, such as mit. `data_license`: of the data that it was found on, to
    override the one known here. `where`: what loads it, by default the name. The card says only what the file holds,
    and names what was not measured. Raises SpecError for a licence that is not one line of text.

    >>> import torch
    >>> from oneticket.ticket.contract import Contract
    >>> from oneticket.ticket.mask import Mask
    >>> mask = Mask({"fc.weight": torch.tensor([[True, False]])})
    >>> ticket = Ticket(mask=mask, weights={"fc.weight": torch.ones(1, 2)}, contract=Contract(rewind="0it", step=0))
    >>> print(card(ticket, name="user/name").split("# ")[1].splitlines()[2])
    A lottery ticket for a network that is not named: of 2 prunable weights 1 remains, a density of 50 %; of all ...
    """
    for what, given in (("license", license), ("data_license", data_license)):
        if given is not None and (not given.strip() or not given.isprintable() or len(given) > 200):
            raise SpecError(f"{what}: expected one line of text such as mit, got {given!r}")
    ticket = thing[thing.levels] if isinstance(thing, Book) else thing
    parts = (
        _front(thing, license),
        f"# {text(name)}\n\n{_sentence(thing, ticket.weight_counts)}",
        f"## From where\n\n{bullets(_lineage(thing))}",
        f"## How it begins\n\n{bullets(_contract(thing))}",
        f"## Scores\n\n{card_scores(thing)}",
        _levels(thing) if isinstance(thing, Book) else "",
        f"## Density per layer{' at the sparsest level' if isinstance(thing, Book) else ''}\n\n{_layers(ticket)}",
        f"## How to use it\n\n{_use(thing, name if where is None else where)}",
        f"## Licence\n\n{bullets(_licences(thing, license, data_license))}",
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _front(thing: Ticket | Book, license: str | None) -> str:
    """The YAML, each value as JSON text, which is valid YAML for any characters."""
    facts: dict[str, object] = {
        "library_name": "oneticket",
        "tags": ["oneticket", "lottery-ticket", "pruning", "sparse"],
    }
    if license is not None:
        common = license.lower() in LICENCES
        facts |= {"license": license.lower()} if common else {"license": "other", "license_name": license}
    hub = [name if re.fullmatch(r"[\w.-]+/[\w.-]+", name, re.ASCII) else "" for name in _names(thing)]
    known = [DATA[name][1] if name in DATA else repo for name, repo in zip(_names(thing), hub, strict=True)]
    if repos := [*filter(None, dict.fromkeys(known))]:
        facts["datasets"] = repos
    return "---\n" + "\n".join(f"{name}: {json.dumps(value)}" for name, value in facts.items()) + "\n---"


def _sentence(thing: Ticket | Book, counts: Density) -> str:
    what = f"A book of {len(thing)} lottery tickets" if isinstance(thing, Book) else "A lottery ticket"
    whom = text(network(thing)) or "a network that is not named"
    sparsest = " at the sparsest" if isinstance(thing, Book) else ""
    remain = "1 remains" if counts.remaining == 1 else f"{counts.remaining:,} remain"
    return (
        f"{what} for {whom}: of {counts.total:,} prunable weights {remain}{sparsest}, "
        f"a density of {percent(counts.prunable)}; of all {counts.whole:,} weights of the model, "
        f"{percent(counts.model)} remain."
        f"\n\nIts id is {thing.id}; the file is checked against it whenever it is read, and holds no code."
    )


def _lineage(thing: Ticket | Book) -> Iterator[tuple[str, str]]:
    search = at(thing.lineage, "search")
    for name in ("data", "task", "model", "optimizer", "training", "pruning", "rewind", "seed"):
        value = search.get(name) if isinstance(search, Mapping) else None
        value = at(thing.model, "spec") or value if name == "model" else value
        each = data_settings(thing) if name == "data" else [value]
        if any(each) or name != "task":  # classification has no entry
            yield name, "; ".join(filter(None, map(_settings, each))) or "not known"
    if found := columns(thing):
        yield "columns", text(found)
    if found := agreement(thing):
        yield "consensus", text(found)
    yield "replicate", _settings(thing.lineage.get("replicate")) or "not known"
    if isinstance(thing, Ticket):
        yield "level", _settings(thing.lineage.get("level")) or "not known"
    if source := _settings({k: v for k, v in thing.lineage.items() if k not in TOLD}):
        yield "also", source


def _contract(thing: Ticket | Book) -> Iterator[tuple[str, str]]:
    own = thing.contract
    yield "rewind", f"to {text(own.rewind)}, optimizer step {own.step}"
    given = IMPORTED if "imported" in thing.lineage else {}
    for name, words in CONTRACT.items():
        yield name, given.get(name) or words[getattr(own, name)]
    yield "head", "; ".join(", ".join(map(text, names)) or TIED for names in own.heads) or "not named"
    if found := several_heads(thing):
        yield "outputs", text(found)


def _levels(book: Book) -> str:
    lines = [
        (str(n), percent(counts.prunable), percent(counts.model), f"{counts.remaining:,}")
        for n, counts in enumerate(book.weight_counts)
    ]
    return f"## Levels\n\n{table(('level', 'density', 'of all weights', 'remaining'), lines)}"


def _layers(ticket: Ticket) -> str:
    shapes, counts = ticket.mask.shapes, ticket.mask.counts
    lines = [
        (
            text(name),
            "×".join(map(str, shape)) or "1",
            f"{counts[name]:,}",
            percent(counts[name] / max(math.prod(shape), 1)),
        )
        for name, shape in shapes.items()
    ]
    dense = [text(name) for name in ticket.weights if name not in shapes]
    shown = ", ".join(dense[:12]) + (f" and {len(dense) - 12} more" if len(dense) > 12 else "")
    return f"{table(('layer', 'shape', 'remaining', 'density'), lines)}\n\nDense by policy: {shown or 'nothing'}."


def _use(thing: Ticket | Book, where: str) -> str:
    choice = f", level={thing.levels}" if isinstance(thing, Book) else ""
    return (
        "```python\nimport oneticket\n"
        f"ticket = oneticket.Ticket.from_pretrained({json.dumps(where)}{choice})\n"
        "ticket.apply(model)                      # writes the weights; says what matched\n"
        "guard = ticket.attach(model, optimizer)  # pruned weights stay zero in any loop\n```"
    )


def _licences(thing: Ticket | Book, license: str | None, data_license: str | None) -> Iterator[tuple[str, str]]:
    yield "this file", text(license) if license else "not given"
    known = [(name, DATA[name][0] if name in DATA else "not known") for name in _names(thing)]
    ours = known[0][1] if len(known) == 1 else "; ".join(f"{text(name)}: {words}" for name, words in known)
    yield "the data it was found on", text(data_license) if data_license else ours


def _names(thing: Ticket | Book) -> list[str]:
    """The sets that it was found on, without their halves (`:a`)."""
    return [*dict.fromkeys(word(at(each, "name")).partition(":")[0] for each in data_settings(thing))]


def _settings(value: object, depth: int = 0) -> str:
    """A mapping's settings, its name first, or one value; without empty values and mappings below the third level."""
    if not isinstance(value, Mapping):
        return "" if value is None else text(value)
    if depth == 3:
        return "…"
    given = [(k, v) for k, v in value.items() if v not in (None, "", [], {})]
    given.sort(key=lambda each: each[0] != "name")
    return ", ".join(
        _settings(v, depth + 1) if k == "name" else f"{text(k)} {_settings(v, depth + 1)}" for k, v in given[:MOST_ROWS]
    )


TOLD = ("search", "replicate", "level", "columns", "heads", "consensus")
"""Entries of a lineage that have a line of their own."""

LICENCES = (
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0"),
    *("cc-by-nc-4.0", "cc-by-nc-sa-4.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "mpl-2.0", "unlicense"),
)

# Licence as its publishers state it, and the Hub's dataset.
DATA: dict[str, tuple[str, str]] = {
    "cifar10": ("no licence given; cite Krizhevsky 2009", "uoft-cs/cifar10"),
    "cifar100": ("no licence given; cite Krizhevsky 2009", "uoft-cs/cifar100"),
    "diabetes": ("no licence given; cite Efron, Hastie, Johnstone and Tibshirani 2004, as in scikit-learn", ""),
    "digits": ("CC BY 4.0, UCI Optical Recognition of Handwritten Digits, as in scikit-learn", ""),
    "fashion_mnist": ("MIT, Zalando SE", "zalando-datasets/fashion_mnist"),
    "imagenet": ("non-commercial research and education only, under ImageNet's terms of access", "ILSVRC/imagenet-1k"),
    "mnist": ("CC BY-SA 3.0, Yann LeCun and Corinna Cortes", "ylecun/mnist"),
    "mnist1d": ("Apache-2.0, Sam Greydanus", ""),
    "svhn": ("non-commercial use only", "ufldl-stanford/svhn"),
}

CONTRACT: dict[str, dict[str, str]] = {
    "weights": {"rewound": "those of the rewind point"},
    "buffers": {"rewound": "BatchNorm statistics and the like are those of the rewind point too"},
    "optimizer": {"fresh": "its state starts empty"},
    "schedule": {
        "continued": "the learning rate continues from the rewind step",
        "caller": "the loop that found it set the learning rate",
    },
    "order": {
        "paired": "data order is that of the replicate, counted from the rewind step",
        "caller": "the loop that found it set the data order",
    },
    "dead": {
        "zero-held": "pruned weights are zero and are held at zero",
        "zero-held+folded": "pruned weights are zero and held; units that nothing feeds may have been constants",
    },
}

IMPORTED = {
    "weights": "as the caller gave them; the caller states their step",
    "buffers": "BatchNorm statistics and the like are as the caller gave them too",
}
"""Replaces CONTRACT's words for a ticket imported from another tool's files."""
