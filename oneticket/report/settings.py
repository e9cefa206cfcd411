"""Settings in words: optimizers, trainings, searches and arms for the methods paragraphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from oneticket.ground.when import When
from oneticket.stats.words import listed


def optimizer(one: Mapping[str, Any]) -> str:
    """The settings of an optimizer that have an effect, in words.

    >>> optimizer({"name": "sgd", "lr": 0.03, "momentum": 0.9, "schedule": "cosine", "warmup": "50it"})
    'learning rate 0.03, momentum 0.9, cosine schedule, after 50 steps of warm-up'
    """
    facts = [
        f"{said} {_value(one[name])}"
        for name, said in (("lr", "learning rate"), ("rest_lr", "learning rate of the rest"), ("momentum", "momentum"))
        if one.get(name) is not None
    ]
    facts += ["Nesterov"] if one.get("nesterov") else []
    facts += [f"betas {' and '.join(map(_value, one['betas']))}"] if one.get("betas") else []
    facts += [f"weight decay {_value(one['weight_decay'])}"] if one.get("weight_decay") is not None else []
    facts += [f"{one['schedule']} schedule"] if one.get("schedule") else []
    if one.get("milestones"):
        facts += [f"times {_value(one['gamma'])} at {listed([span(each) for each in one['milestones']])}"]
    warm = When.parse(one.get("warmup", "0it"))
    return ", ".join([*facts, *([f"after {span(str(warm))} of warm-up"] if warm.count else [])])


def length(training: Mapping[str, Sequence[Any]]) -> str:
    """The settings of trainings that have an effect, in words, each with all its values.

    >>> length({"budget": ["2ep"], "batch": [50, 64], "clip": [None]})
    '2 epochs for each training, batches of 50 and 64'
    """
    facts = []
    for name, said in TRAINING.items():
        values = [value for value in training.get(name, []) if value not in (None, 0.0)]
        facts += (
            [said.format(listed([span(value) if name == "budget" else _value(value) for value in values]))]
            if values
            else []
        )
    return ", ".join(facts)


def span(text: str) -> str:
    """A length of training in words.

    >>> span("500it"), span("1ep")
    ('500 steps', '1 epoch')
    """
    when = When.parse(text)
    return f"{when.count:,} {UNITS[when.unit]}{'' if when.count == 1 else 's'}"


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


UNITS = {"ep": "epoch", "it": "step"}
TRAINING = {
    "budget": "{} for each training",
    "batch": "batches of {}",
    "smoothing": "label smoothing {}",
    "clip": "gradients clipped to norm {}",
    "precision": "{} arithmetic",
}
PRUNED = {
    "weight": "weights",
    "channel": "input channels",
    "filter": "filters",
    "block": "blocks",
    "head": "attention heads",
}
SHOTS = {
    "iterative": "weights were scored anew after the training of every level",
    "one-shot": "all masks were taken from the dense network",
}
COMPARED = {
    (True, True): "at equal steps and equal epochs",
    (True, False): "at equal steps, not epochs",
    (False, True): "at equal epochs, not steps",
    (False, False): "at neither equal steps nor equal epochs",
}
"""By whether steps are equal, and epochs."""

DRAWN = {
    True: "Where so many examples of each class are used, every replicate drew its own, the same for all networks.",
    False: "Where so many examples of each class are used, they are the same in all replicates, so intervals leave out "
    "how they were drawn.",
}
STARTS = {
    "equal": "Steps of the target inside rewound weights count: what starts from weights that were rewound on the "
    "target's own data began at step {} of its schedule, all others at step 0, so that all networks were trained for "
    "as many steps of the target.",
    "paper": "Steps of the target inside rewound weights do not count: all networks began at step 0 of the target's "
    "schedule, so what starts from weights that were rewound on the target's own data is ahead by those steps (Morcos "
    "et al., 2019). A level of the target's own search begins at its rewind point all the same.",
    "none": "All networks began at step 0 of the target's schedule, and none had been trained on the target before.",
}
HEADS = {
    "fresh": "new in every network",
    "keep": "the ticket's own",
    "sparse": "the ticket's own under its mask",
}
