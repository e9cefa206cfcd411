"""Several sets with classes of their own on one network: each example is judged by its own set's outputs only.

The outputs of all sets are concatenated, which gives a linear head for each of them. A target's number shows its set,
so the outputs of other sets count for nothing and learn nothing from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from oneticket.ground.errors import SpecError
from oneticket.ground.metric import METRICS, Metric
from oneticket.task.task import Measure, Task


@dataclass(frozen=True, kw_only=True)
class Head:
    """The outputs of one of several sets: its name, how many there are, and how many test examples it has."""

    name: str
    outputs: int
    tests: int


def with_heads(task: Task, heads: Sequence[Head]) -> Task:
    """The task for several sets at once; for one set, without `heads`, the task itself.

    The loss is the mean over the examples of a batch, each over its own set's outputs. Every set's accuracy is a
    measure; results are compared by their mean, in which each set has equal weight whatever its number of test
    examples.

    Raises SpecError for a task other than classification.

    >>> from oneticket.task.task import CLASSIFICATION
    >>> heads = [Head(name="odd", outputs=2, tests=1), Head(name="even", outputs=3, tests=1)]
    >>> both, output = with_heads(CLASSIFICATION, heads), torch.tensor([[1.0, 0.0, 9.0, 0.0, 0.0]] * 2)
    >>> round(float(both.loss(output, torch.tensor([0, 2]), "none")[0]), 3), [*both.measures]
    (0.313, ['accuracy', 'accuracy on odd', 'accuracy on even'])
    """
    if not heads:
        return task
    if task.name != "classification":
        raise SpecError(f"task {task.name}: several datasets share a network for classification alone; give one")
    sets = _Sets(heads)
    every = sum(head.tests for head in heads)
    measures = {"accuracy": Measure(metric=METRICS["accuracy"], total=sets.right)}
    for number, head in enumerate(heads):
        metric = Metric(
            name=f"accuracy on {head.name}", low=0.0, high=1.0, margin=METRICS["accuracy"].margin, share=True
        )
        share = partial(_share, every=every, tests=head.tests)
        measures[metric.name] = Measure(metric=metric, total=partial(sets.right_of, number), score=share)
    return Task(
        name=task.name, loss=sets.loss, smoothed=sets.loss, measures=measures, counts="accuracy", targets=task.targets
    )


def _share(mean: float, *, every: int, tests: int) -> float:
    """From the share of all test examples to the share of the set's own."""
    return min(1.0, mean * every / tests)


class _Sets:
    """Which outputs belong to which set."""

    def __init__(self, heads: Sequence[Head]) -> None:
        tests = [head.tests for head in heads]
        self._ends = torch.tensor([*accumulate(head.outputs for head in heads)], device="cpu")
        self._owner = torch.repeat_interleave(torch.tensor([head.outputs for head in heads], device="cpu"))
        self._weight = torch.tensor([sum(tests) / (len(tests) * each) for each in tests], device="cpu")

    def loss(self, output: Tensor, target: Tensor, reduction: str, smoothing: float = 0.0) -> Tensor:
        """Cross-entropy over the own set's outputs; label smoothing is over these only."""
        own = self._own(target)
        masked = output.masked_fill(~own, -torch.inf)
        plain = cross_entropy(masked, target, reduction="none")
        if smoothing:
            even = -masked.log_softmax(1).masked_fill(~own, 0.0).sum(1) / own.sum(1)
            plain = (1 - smoothing) * plain + smoothing * even
        return {"none": plain, "sum": plain.sum(), "mean": plain.mean()}[reduction]

    def right(self, output: Tensor, target: Tensor) -> Tensor:
        """How many are right, weighted so that every set has equal weight."""
        return (self._hits(output, target) * self._weight.to(target.device)[self._of(target)]).sum()

    def right_of(self, number: int, output: Tensor, target: Tensor) -> Tensor:
        """How many of one set are right."""
        return (self._hits(output, target) & (self._of(target) == number)).sum()

    def _hits(self, output: Tensor, target: Tensor) -> Tensor:
        return output.masked_fill(~self._own(target), -torch.inf).argmax(1) == target

    def _own(self, target: Tensor) -> Tensor:
        return self._owner.to(target.device) == self._of(target)[:, None]

    def _of(self, target: Tensor) -> Tensor:
        return torch.bucketize(target, self._ends.to(target.device), right=True)
