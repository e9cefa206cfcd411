"""At what a part compares its sources: at equal epochs, at equal steps, or as they are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from oneticket.ground.errors import SpecError
from oneticket.ground.when import When
from oneticket.lottery.spec import SearchSpec
from oneticket.study.spec import Equal


def check_equal(equal: Equal | None, asked: Mapping[str, SearchSpec], *, where: str) -> None:
    """Raise SpecError unless all sources have one length of training and one rewind point, written in one unit.

    `asked`: name of a source -> its search. At equal epochs their times are in epochs. At equal steps, times in steps
    are not changed: `equal` then only states and checks what the rows say. `where`: a part.
    """
    if equal is None:
        return
    for field, times in (
        ("training.budget", {name: one.training.budget for name, one in asked.items()}),
        ("rewind", {name: one.rewind for name, one in asked.items()}),
    ):
        if len({*times.values()}) > 1:
            said = ", ".join(f"{time} ({name})" for name, time in times.items())
            raise SpecError(
                f'{where}: equal = "{equal}": expected one {field} for all sources, to compare them so, got {said}; '
                "write one in the study or the part, or leave equal out"
            )
        for name, time in times.items():
            if equal == "epochs" and time.unit != "ep" and time.count:
                raise SpecError(
                    f'{where}: equal = "epochs": expected a {field} in epochs, such as 8ep, got {time} ({name}); '
                    'write it in epochs, or equal = "steps"'
                )


def in_steps(asked: SearchSpec, *, own: int, first: int) -> SearchSpec:
    """A search at equal steps: its times in epochs mean as many steps as the part's first source takes for them.

    `own`, `first`: steps of an epoch of its own data, and of the first source's. What is as many steps anyway stays as
    it is written, and so does its address.

    >>> asked = SearchSpec(data="digits:a", model="mlp", training={"budget": "8ep"}, rewind="1ep")
    >>> found = in_steps(asked, own=10, first=25)
    >>> str(found.training.budget), str(found.rewind), in_steps(asked, own=25, first=25) == asked
    ('200it', '25it', True)
    """

    def steps(time: When) -> When:
        return time if time.steps(own) == time.steps(first) else When(count=time.steps(first), unit="it")

    return _timed(asked, steps)


def same_search(one: SearchSpec, other: SearchSpec, *, epoch: int, other_epoch: int) -> bool:
    """Whether two searches are equal in all but how their times are written, which give equal steps.

    `epoch`, `other_epoch`: steps of an epoch of each.

    >>> asked = SearchSpec(data="digits:a", model="mlp", training={"budget": "8ep"}, rewind="1ep")
    >>> written = asked.but(training={"budget": "80it"}, rewind="10it")
    >>> [same_search(asked, written, epoch=steps, other_epoch=steps) for steps in (10, 11)]
    [True, False]
    """
    return _counted(one, epoch) == _counted(other, other_epoch)


def _counted(asked: SearchSpec, epoch: int) -> SearchSpec:
    """A search with all its times in steps."""
    return _timed(asked, lambda time: When(count=time.steps(epoch), unit="it"))


def _timed(asked: SearchSpec, steps: Callable[[When], When]) -> SearchSpec:
    """A search with other times."""
    optimizer = asked.optimizer
    milestones = tuple(map(steps, optimizer.milestones))
    if steps(optimizer.warmup) != optimizer.warmup or milestones != optimizer.milestones:
        optimizer = optimizer.but(warmup=steps(optimizer.warmup), milestones=milestones)
    return asked.but(
        training=asked.training.but(budget=steps(asked.training.budget)),
        rewind=steps(asked.rewind),
        optimizer=optimizer,
    )


def twice(name: str, source: SearchSpec, own: SearchSpec) -> str:
    """The error text for a set that a part searches as a source and otherwise as the target's own, under one name."""
    ways = [f"budget {one.training.budget}, rewind {one.rewind}" for one in (source, own)]
    return (
        f"{name} is searched in two ways, as a source ({ways[0]}) and as the target's own ({ways[1]}), and both would "
        "be called the same; give it as a target under a name of its own, with its target_training"
    )
