"""OpenLTH's files: masks in `mask.pth`, weights in `model_ep0_it50.pth`, and the step in a name.

https://github.com/facebookresearch/open_lth names files so in `foundations/paths.py`, and counts steps in
`foundations/step.py`: epoch ep and iteration it are step ep x iterations per epoch + it, with it below that number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from oneticket.ground.errors import WrongFileError

MASK = "mask.pth"


class Point(NamedTuple):
    """The epoch, and the iteration in it, in a file's name."""

    epoch: int
    iteration: int


def point(path: Path) -> Point | None:
    """The point in a file's name; None for another kind of name.

    >>> point(Path("level_3/main/model_ep2_it50.pth")), point(Path("model.pth"))
    (Point(epoch=2, iteration=50), None)
    """
    found = re.fullmatch(r"model_ep(\d{1,12})_it(\d{1,12})\.pth", path.name)
    return Point(int(found[1]), int(found[2])) if found else None


def rewound(mask: Path) -> Path:
    """The weights that belong to a `mask.pth`: of the models in its folder the earliest, from which training started.

    Raises FileError if there is none.
    """
    models = [(found, path) for path in mask.absolute().parent.glob("model_ep*.pth") if (found := point(path))]
    if not models:
        raise WrongFileError(
            "holds masks, and no model_ep*_it*.pth lies beside it; give the file of the weights (`--weights`)"
        )
    return mask.with_name(min(models)[1].name)


def rewind(at: Point, step: int | None, *, whose: str = "the file") -> tuple[str, int]:
    """The rewind point, in words and as a step; `step` gives it if the name counts epochs.

    Raises FileError if it is missing, or contradicts the name.

    >>> rewind(Point(0, 50), None), rewind(Point(2, 0), 938)
    (('50it', 50), ('2ep', 938))
    """
    epoch, iteration = at
    if not epoch:
        if step not in (None, iteration):
            raise WrongFileError(f"{whose}: the name says step {iteration}, --step says {step}")
        return f"{iteration}it", iteration
    words = f"epoch {epoch}, iteration {iteration}"
    if step is None:
        raise WrongFileError(
            f"{whose}: the name says {words}, and not how many iterations make an epoch; give the step, `--step`: "
            f"{epoch} x iterations per epoch + {iteration}"
        )
    per_epoch, rest = divmod(step - iteration, epoch)
    if rest or per_epoch <= iteration:
        raise WrongFileError(
            f"{whose}: the name says {words}, which is step {epoch} x iterations per epoch + {iteration}, not {step}"
        )
    return (f"{epoch}ep", step) if not iteration else (f"{step}it", step)


def parts(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Masks and weights of its `checkpoint.pth`, a pruned model's state dict; no masks in another's.

    >>> import torch
    >>> masks, weights = parts({"mask_fc___weight": torch.ones(1), "model.fc.weight": torch.ones(1)})
    >>> list(masks), list(weights)
    (['fc.weight'], ['fc.weight'])
    """
    weights = {name.removeprefix("model."): one for name, one in tensors.items() if name.startswith("model.")}
    masks = {
        name.removeprefix("mask_").replace("___", "."): one for name, one in tensors.items() if name.startswith("mask_")
    }
    whole = len(weights) + len(masks) == len(tensors) and masks.keys() <= weights.keys()
    return (masks, weights) if whole else ({}, {})
