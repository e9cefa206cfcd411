"""What is known before a search or transfer runs: the network, the rewind step, the data that weights have seen."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from oneticket.data.facts import Facts, per_epoch
from oneticket.ground.errors import DataError, SpecError
from oneticket.lottery.accounting import Seen
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.spec import SearchSpec, TransferSpec
from oneticket.models.build import check_kind
from oneticket.task.inputs import Inputs


def network(spec: SearchSpec, context: RunContext) -> dict[str, Any]:
    """The network in a ticket of that search: the model's spec, its inputs, and `classes`, the number of outputs.

    Raises ModelError for a set of a kind that the model does not take.
    """
    facts = context.facts(spec.data, spec.task)
    check_kind(spec.model, facts.inputs, whose=spec.data.called)
    return {"spec": spec.model.identity(), **facts.inputs.plain(), "classes": facts.outputs}


def rewind_step(spec: SearchSpec, facts: Facts) -> int:
    """The rewind point as an absolute step; SpecError if training ends before it."""
    epoch = per_epoch(facts, spec.training.batch)
    step, total = spec.rewind.steps(epoch), spec.training.budget.steps(epoch)
    if step >= total:
        raise SpecError(
            f'search.rewind: {spec.rewind} is step {step}, but `training.budget = "{spec.training.budget}"` ends at '
            f"step {total} ({epoch} steps an epoch); rewind earlier or train longer"
        )
    return step


def seen_at(spec: TransferSpec, seen: Seen, inputs: Inputs, context: RunContext) -> Seen:
    """The same with the digest of its training examples, if that tells whether they are the target's.

    A file has the digest of all of its data. If these are of the target's set, they are loaded as the file describes.
    """
    if seen.whole is None:
        return seen
    for data in (spec.data, seen.data):
        if data is not None and data.set == spec.data.set:
            with suppress(DataError):
                if context.facts(data, spec.task, inputs).digest == seen.whole:
                    return Seen(steps=seen.steps, digest=context.selection(data, spec.task, inputs).digest)
    return Seen(steps=seen.steps, digest=seen.whole)
