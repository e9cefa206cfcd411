"""The networks of a comparison: what each is called, and what it keeps of whose search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from oneticket.ground.table import Table


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """A network of a comparison: its `label` in tables and legends, its `phrase` in sentences, and what it `keeps`.

    `mask`: whose search gives the mask, or its number of weights; "all" for a full one. `weights`: whose rewound
    weights it starts from, the source's or the target's own; None for initial or new ones. `head`: the output layer
    that is asked for, or always the rewound one.
    """

    label: str
    phrase: str
    keeps: str
    mask: Literal["source", "own", "all"] = "source"
    weights: Literal["source", "own"] | None = None
    head: Literal["asked", "rewound"] = "asked"


ARMS = Table(
    kind="arm",
    rows={
        "dense": Arm(
            label="dense",
            phrase="the dense network",
            keeps="all weights, from the replicate's own initialisation",
            mask="all",
        ),
        "ticket": Arm(
            label="ticket",
            phrase="the ticket",
            keeps="the source's mask over its rewound weights",
            weights="source",
        ),
        "own": Arm(
            label="the target's own ticket",
            phrase="the target's own ticket",
            keeps="the ticket of a search on the target itself, with that search's mask and rewound weights",
            mask="own",
            weights="own",
        ),
        "own-search": Arm(
            label="the target's own ticket, its own head",
            phrase="the target's own ticket as its search trained it",
            keeps="the ticket found on the target itself with its rewound output layer, as its own search trained it",
            mask="own",
            weights="own",
            head="rewound",
        ),
        "mask-only": Arm(
            label="the target's weights, same mask",
            phrase="the same mask over the target's own rewound weights",
            keeps="the source's mask over the weights rewound on the target itself",
            weights="own",
        ),
        "weights-only": Arm(
            label="the target's mask, same weights",
            phrase="the target's own mask over the source's rewound weights",
            keeps="the source's rewound weights under the mask found on the target itself",
            mask="own",
            weights="source",
        ),
        "dense-rewound": Arm(
            label="rewound dense",
            phrase="the source's rewound dense network",
            keeps="all of the source's rewound weights, none of them pruned",
            mask="all",
            weights="source",
        ),
        "own-reinit": Arm(
            label="the target's mask, new weights",
            phrase="the target's own mask with new weights",
            keeps="the mask found on the target itself over new weights",
            mask="own",
        ),
        "mask-init": Arm(
            label="initial weights, same mask",
            phrase="the same mask over the initial weights",
            keeps="the source's mask over the initial weights that its search began from",
        ),
        "signs": Arm(
            label="new magnitudes, same mask and signs",
            phrase="the same mask and signs with new magnitudes",
            keeps="the ticket's mask and the signs of its rewound weights, new magnitudes (Zhou et al., 2019)",
        ),
        "trained-signs": Arm(
            label="new magnitudes, same mask, trained signs",
            phrase="the same mask and the signs of its trained weights with new magnitudes",
            keeps="the ticket's mask and the signs that its weights had after the source's training, new magnitudes "
            "(Oh et al., 2025)",
        ),
        "permuted-weights": Arm(
            label="permuted weights, same mask",
            phrase="the same mask with its weights permuted",
            keeps="the ticket's mask, its remaining weights permuted in each layer (Frankle et al., 2021)",
            weights="source",
        ),
        "reinit": Arm(
            label="new weights, same mask",
            phrase="the same mask with new weights",
            keeps="the ticket's mask over new weights (Frankle and Carbin, 2019)",
        ),
        "layerwise-random-kept": Arm(
            label="layerwise random, rewound weights",
            phrase="the layerwise random mask over rewound weights",
            keeps="the ticket's mask permuted in each layer, over the source's rewound weights (Frankle et al., 2021)",
            weights="source",
        ),
        "layerwise-random": Arm(
            label="layerwise random",
            phrase="the layerwise random ticket",
            keeps="the ticket's mask permuted in each layer, over new weights (Su et al., 2020)",
        ),
        "corrected-random": Arm(
            label="random beside natural zeros",
            phrase="the random ticket that takes natural zeros last",
            keeps="as many new weights as the ticket has, anywhere, but those that the dense network brought to zero "
            "by itself are pruned first (Caron et al., 2020)",
        ),
        "global-random": Arm(
            label="global random",
            phrase="the global random ticket",
            keeps="as many new weights as the ticket has, anywhere (the paper's random ticket; Morcos et al., 2019)",
        ),
    },
)
"""All networks of a comparison, in the order of lines in tables and legends; `lottery/controls` makes them."""


def words_of(arm: str) -> Arm:
    """An arm's name, and what it keeps; a control of the user's own by its path.

    >>> words_of("reinit").label, words_of("mine.py:control").phrase
    ('new weights, same mask', 'the control mine.py:control')
    """
    own = Arm(label=arm, phrase=f"the control {arm}", keeps="a control of the study's own")
    return ARMS.get(arm, own)


CONTROLS = Table(kind="control", rows={name: arm for name, arm in ARMS.items() if name not in ("dense", "ticket")})
"""Arms that a transfer can compare with the dense network and the ticket."""

OF_TARGET = tuple(name for name, arm in ARMS.items() if {arm.mask, arm.weights} in ({"own"}, {"own", None}))
"""The arms that are taken from the target's own search and nothing else."""

CROSSED = tuple(name for name, arm in ARMS.items() if {arm.mask, arm.weights} == {"own", "source"})
"""The arms that are made of the source's search and of the target's own, from one initialisation."""

WHOLE = tuple(name for name, arm in ARMS.items() if arm.mask == "all")
"""The arms that keep all weights, so that they are trained once and not for each level."""
