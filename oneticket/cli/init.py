"""`oneticket init`: a study file with comments, to be changed and run."""

from __future__ import annotations

from pathlib import Path

from oneticket.ground import disk
from oneticket.ground.errors import SpecError
from oneticket.session.terminal import say


def init(file: Path) -> int:
    """Write the file and print what to do next; an existing file is not touched."""
    if file.suffix != ".toml":
        raise SpecError(f"{file}: expected a file that ends in .toml, such as {file.with_suffix('.toml')}")
    if not disk.create(file, STUDY.encode()):
        raise SpecError(f"{file}: exists already; choose another name or remove it")
    say(f"{file} is written. Change what you like, then:")
    for command in ("study {} --dry-run", "study {}", "report {} --out report --open"):
        say(f"  oneticket {command.format(file)}")
    return 0


STUDY = """\
# A study: tickets are found on every source and trained on every target, beside controls.
# As it stands it runs in about a minute. Times are epochs ("2ep") or optimizer steps ("100it").
title = "Half a of the digits to half b"

levels = [3, 7, 11]  # level n keeps 0.8^n of the weights: 51 %, 21 %, 8.6 %
replicates = 3       # how often everything is done, each time with other random numbers
rewind = "20it"      # weights go back to this point of training after every pruning
arms = ["dense", "ticket", "reinit", "global-random"]  # dense network, ticket, and the controls
claims = ["C2"]      # what the report judges: C1 to C6

[training]
budget = "5ep"       # how long every network trains
batch = 64

[models]             # names of your own on the left
net = {name = "mlp", widths = [100, 100]}
# net = "resnet-20"  # or a model of your own: "mine.py:function"

[optimizers]
sgd = {name = "sgd", lr = 0.1}
# adam = "adam"      # a second one makes all pairs of source and target optimizer

[sets]               # names, folders of images, .npz, .csv and .parquet files, "mine.py:function"
first = {data = "digits:a"}
second = {data = "digits:b"}
# cifar = {data = {name = "cifar10", per_class = 500}}

[parts.halves]       # every source is transferred to every target; a study may have several parts
sources = ["first"]
targets = ["second"]
"""
