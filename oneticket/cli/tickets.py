"""The commands about ticket files, such as show, verify, score and consensus; their work is imported when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from oneticket.cli.parameters import Json
from oneticket.cli.status import loading, telling
from oneticket.ground.phase import phase

READING = "reading tickets"

Key = Annotated[
    str | None,
    Parameter(help="Which entry of a checkpoint is the state dict, such as model.state.", metavar="NAME"),
]


def show(
    file: Annotated[Path, Parameter(help="A ticket file, a book file, or a folder that `find` made.")],
    /,
    *,
    level: Annotated[int | None, Parameter(help="The level whose layers are shown. Default: the last.")] = None,
    json: Json = False,
) -> int:
    """Print what is in a ticket or book: model, data, optimizer, rewind point, scores, layers."""
    from oneticket.cli.show import show as command

    return command(file, level=level, json=json)


def verify(
    file: Annotated[Path, Parameter(help="A ticket file, a book file, or a folder that `find` made.")],
    /,
    *,
    json: Json = False,
) -> int:
    """Check that a ticket or book is undamaged: recompute its digest, id and counts."""
    with telling(quiet=json), phase(READING):
        from oneticket.cli.show import verify as command

        return command(file, json=json)


def score(
    file: Annotated[Path, Parameter(help="A ticket file.")],
    rows: Annotated[
        list[Path], Parameter(help="Rows of transfers of this ticket, as `transfer --rows` and `demo` write them.")
    ],
    /,
    *,
    out: Annotated[Path | None, Parameter(help="Where to write the ticket. Default: FILE itself.")] = None,
) -> int:
    """Write the results of transfers into a ticket's file: each network's score, interval and n."""
    with telling(quiet=False), phase(READING):
        from oneticket.cli.score import score as command

        return command(file, rows, out=out)


def consensus(
    sources: Annotated[
        list[Path], Parameter(help="Books of searches that began from the same weights, or folders of them from find.")
    ],
    /,
    *,
    out: Annotated[
        Path, Parameter(name=["--out", "-o"], help="The book file to write; a folder if the sources are folders.")
    ],
    weights: Annotated[
        Literal["initial", "mean"],
        Parameter(help="Weights to start from: the initial ones of all searches, or the mean of their rewound ones."),
    ] = "initial",
    run_code: Annotated[
        bool, Parameter(help="Run the code of a network that the books name by import path.", negative="")
    ] = False,
) -> int:
    """Make one book of what several searches agree on: the weights that most of them keep."""
    with telling(quiet=False), phase(READING):
        from oneticket.cli.consensus import consensus as command

        return command(sources, out=out, weights=weights, run_code=run_code)


def zoo(
    where: Annotated[
        str | None,
        Parameter(
            help="A shipped ticket's name, a file or a Hub repository (user/name) for its card; or a folder, a Hub"
            " user (hf://user) or a Hub collection to list."
        ),
    ] = None,
    /,
    *,
    fits: Annotated[
        str | None,
        Parameter(
            name="--for",
            metavar="NAME",
            help="Say which ticket fits a model (resnet-20, mine.py:model) or a dataset (digits, ./folder, a file, "
            "org/name, mine.py:data), and why the others do not. Code that you name is run.",
        ),
    ] = None,
    json: Json = False,
) -> int:
    """List the tickets that ship with oneticket, of a folder or of the Hugging Face Hub, or print one's card."""
    with telling(quiet=json), phase(READING):
        from oneticket.cli.zoo import zoo as command

        return command(where, fits=fits, json=json)


def push(
    file: Annotated[Path, Parameter(help="A ticket or book file, or a shipped ticket's name.")],
    where: Annotated[str, Parameter(help="A Hub repository (user/name), or a folder (./name or file:///name).")],
    /,
    *,
    license: Annotated[
        str | None, Parameter(help="Licence of the file, such as mit, for the card.", metavar="TEXT")
    ] = None,
    data_license: Annotated[
        str | None, Parameter(help="Licence of the data, where it is not a known set.", metavar="TEXT")
    ] = None,
    revision: Annotated[
        str | None, Parameter(help="Branch of the repository; created if it does not exist.", metavar="NAME")
    ] = None,
    message: Annotated[str | None, Parameter(help="Message of the commit.", metavar="TEXT")] = None,
    private: Annotated[bool, Parameter(help="Make a new repository private.", negative="")] = False,
) -> int:
    """Publish a ticket or book with its card, on the Hugging Face Hub or in a folder."""
    with telling(quiet=False), phase(READING):
        from oneticket.cli.hub import push as command

        return command(
            file,
            where,
            license=license,
            data_license=data_license,
            revision=revision,
            message=message,
            private=private,
        )


def pull(
    where: Annotated[
        str, Parameter(help="A Hub repository (user/name), a folder, a file:// URL, a file, or a shipped name.")
    ],
    /,
    *,
    out: Annotated[Path, Parameter(help="The file to write.")],
    revision: Annotated[str | None, Parameter(help="Branch, tag or commit of the repository.", metavar="NAME")] = None,
    level: Annotated[int | None, Parameter(help="Take this level's ticket out of a book.")] = None,
    density: Annotated[float | None, Parameter(help="Take the ticket nearest this density out of a book.")] = None,
    filename: Annotated[
        str | None, Parameter(help="File there, if not ticket.safetensors or book.safetensors.", metavar="NAME")
    ] = None,
) -> int:
    """Download a ticket or book, check it, and write it to a file."""
    with telling(quiet=False), phase(READING):
        from oneticket.cli.hub import pull as command

        return command(where, to=out, revision=revision, level=level, density=density, filename=filename)


def export(
    ticket: Annotated[Path, Parameter(help="A ticket file, or a book or folder of books with --level or --density.")],
    /,
    *,
    to: Annotated[
        Literal["dense", "compact", "csr", "2:4", "onnx", "c"] | None,
        Parameter(help="The form to write. Default: none, only measure."),
    ] = None,
    out: Annotated[Path | None, Parameter(help="The file to write: .safetensors, .onnx or .c.")] = None,
    weights: Annotated[
        Path | None,
        Parameter(help="Trained weights, a state dict: .safetensors, .npz or .pth. Default: the ticket's own."),
    ] = None,
    key: Key = None,
    level: Annotated[int | None, Parameter(help="Of a book: the level to take.")] = None,
    density: Annotated[float | None, Parameter(help="Of a book: the level nearest to this density.")] = None,
    dynamic: Annotated[
        tuple[int, ...],
        Parameter(
            help="ONNX only: an input axis of variable size (2 is height, 3 is width). May be repeated.", negative=""
        ),
    ] = (),
    build: Annotated[
        bool, Parameter(help="C only: write a shared library for this machine as well (.so).", negative="")
    ] = False,
    int8: Annotated[bool, Parameter(help="C only: weights in 8 bits; the report says the error.", negative="")] = False,
    run_code: Annotated[
        bool, Parameter(help="Allow running the code of a network that the ticket names by import path.", negative="")
    ] = False,
    batch: Annotated[int, Parameter(help="Inputs in a timed batch.", validator=Number(gte=1))] = 1,
    rounds: Annotated[int, Parameter(help="How many times each form is timed.", validator=Number(gte=1))] = 30,
    json: Json = False,
) -> int:
    """Write a ticket's network in a form to deploy, and measure size and time of every form.

    Says in a sentence whether any form is faster. For your own model, use oneticket.export.export in Python.
    """
    with telling(quiet=json):
        with loading():
            from oneticket.cli.export import export as command
        return command(
            ticket,
            to=to,
            out=out,
            weights=weights,
            key=key,
            level=level,
            density=density,
            dynamic=dynamic,
            build=build,
            int8=int8,
            run_code=run_code,
            batch_size=batch,
            rounds=rounds,
            json=json,
        )


def import_(
    file: Annotated[Path, Parameter(help="A pruned state dict, or masks: .safetensors, .npz, or .pth (tensors only).")],
    /,
    *,
    out: Annotated[Path, Parameter(help="The ticket file to write.")],
    weights: Annotated[Path | None, Parameter(help="The weights that the masks belong to, a state dict.")] = None,
    format: Annotated[
        Literal["auto", "torch-prune", "masks", "open-lth", "zeros"],
        Parameter(help="What the file is. auto: find out. zeros: a checkpoint whose zeros are the mask."),
    ] = "auto",
    key: Key = None,
    step: Annotated[
        int | None,
        Parameter(
            help="The optimizer step of the weights. Default: as OpenLTH's file names say, or 0.",
            validator=Number(gte=0),
        ),
    ] = None,
    head: Annotated[
        tuple[str, ...],
        Parameter(
            help="A parameter of the output layer, which a transfer may replace. May be repeated.",
            negative="",
            metavar="NAME...",
        ),
    ] = (),
) -> int:
    """Make a ticket from another tool's files: torch.nn.utils.prune, masks, OpenLTH, or a checkpoint with zeros.

    No code in a file is run. What was inferred is reported and recorded in the ticket's lineage.
    """
    with telling(quiet=False), phase(READING):
        from oneticket.cli.import_ import import_ticket as command

        return command(file, out=out, weights=weights, format=format, key=key, step=step, head=head)
