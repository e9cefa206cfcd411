"""Plans: from specs to the steps that answer them. Steps with equal keys are one step, however often planned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from oneticket.data.facts import per_epoch
from oneticket.ground import canon
from oneticket.ground.errors import SpecError
from oneticket.lottery.accounting import check_start, first_step
from oneticket.lottery.arms import ARMS, CROSSED, OF_TARGET, WHOLE
from oneticket.lottery.outline import seen_at
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.search import unlike_start
from oneticket.lottery.spec import HeadStart, TransferSpec
from oneticket.models.spec import MODELS, ModelSpec
from oneticket.store.step import Step
from oneticket.study.cells import Cell, Origin
from oneticket.study.labels import Labels, data_label
from oneticket.study.origins import code_digests
from oneticket.study.steps import Blank, SourceTicket, TransferStep, recalled
from oneticket.task.inputs import Inputs


def search_cells(origin: Origin) -> tuple[Cell, ...]:
    """The networks that a search itself trains: the dense one at level 0, then its tickets."""
    return tuple(
        Cell(
            step=step,
            arm="ticket" if level else "dense",
            level=level,
            replicate=origin.replicate,
            called=origin.called,
            origin=origin,
        )
        for level, step in enumerate(origin.levels)
    )


def transfer_cells(
    spec: TransferSpec,
    *,
    origin: Origin,
    own: Origin | None,
    arms: Iterable[str],
    levels: Iterable[int],
    context: RunContext,
    called: Labels | None = None,
    part: str = "",
    head_start: HeadStart = "equal",
    equal: str | None = None,
) -> tuple[Cell, ...]:
    """One cell per arm and level; those of all weights once. The target's own ticket is a ticket like any other.

    `called`: names of the network, and of the target's data and optimizer; by default their own. `head_start`: see
    `lottery/accounting`; `equal`: what sources are compared at.

    Raises SpecError for a level that the source does not have, for an arm without its source, and for weights that have
    seen as many target steps as there are.
    """
    inputs = Inputs.read(origin.network)
    facts = context.facts(spec.data, spec.task, inputs)
    target = context.selection(spec.data, spec.task, inputs).digest
    seen = seen_at(spec, origin.seen, inputs, context)
    own_seen = seen_at(spec, own.seen, inputs, context) if own else None
    # Arms that keep nothing of a ticket have a network for the available inputs, whatever the source's were.
    alone = canon.Written({**origin.network, **facts.inputs.plain(), "classes": facts.outputs})
    digests = {"data_digest": facts.digest, **code_digests(recalled(ModelSpec, origin.network["spec"]), spec)}

    shown = called or Labels(model=origin.called.model, data=data_label(spec.data), optimizer=spec.optimizer.name)
    same: dict[str, Any] = {"replicate": origin.replicate, "called": shown, "part": part}
    same |= {"head": spec.head, "head_start": head_start, "equal": equal}
    total = spec.training.budget.steps(per_epoch(facts, spec.training.batch))

    def step(arm: str, source: Blank | SourceTicket, start: int = 0) -> Step:
        code = {"control_digest": ARMS.digest(arm)} if ARMS.is_own(arm) else {}
        return TransferStep(
            spec=spec,
            arm=SAME.get(arm, arm),
            replicate=origin.replicate,
            digests={**digests, **code},
            source=source,
            start=check_start(arm, start, total),
        ).step

    cells: list[Cell] = []
    levels = tuple(levels)
    for arm in arms:
        if arm in BLANK:
            for level in (0,) if arm in WHOLE else levels:
                blank = Blank(network=alone, remaining=None if arm == "dense" else _at(origin, level))
                cells.append(Cell(step=step(arm, blank), arm=arm, level=level, **same))
            continue
        if own is None and arm in (*OF_TARGET, *CROSSED):
            raise SpecError(f"arm {arm}: the target's own search is not planned")
        source = own if own and arm in OF_TARGET else origin
        if arm in SEARCHED and not source.levels:
            what = "a consensus" if source.agreed else "a file"
            raise SpecError(
                f"arm {arm}: {what} does not say {SEARCHED[arm]}; plan the search and the transfer in one study"
            )
        if arm in BOOKS and source.file is not None and source.file.kind == "ticket":
            raise SpecError(f"arm {arm}: a ticket's file does not hold the weights that its mask prunes; give a book")
        if arm == "mask-init" and not source.search:
            raise SpecError("arm mask-init: the source names no search, so its initial weights are not known")
        if own and arm in CROSSED:
            _check_crossing(arm, source, own)
        if spec.head != "fresh" and not ARMS.is_own(arm) and arm != "mask-only":  # which has the target's own weights
            _check_head(spec.head, source.network["classes"], facts.outputs)
        shared = None if arm == "own-reinit" else source
        found = own_seen if own_seen and arm in OF_TARGET else seen
        start = first_step(arm, source=found, own=own_seen, digest=target, head_start=head_start)
        for level in (0,) if arm in WHOLE else levels:
            _at(source, level)
            crossed = own.needs(level, arm) if own and arm in CROSSED else ()
            if arm == "own-search" and source.levels:
                made = source.levels[level]
            else:
                made = step(arm, SourceTicket(level=level, needs=(*source.needs(level, arm), *crossed)), start)
            cells.append(Cell(step=made, arm=arm, level=level, origin=shared, **same))
    return tuple(cells)


def searches(cells: Iterable[Cell]) -> tuple[Origin, ...]:
    """The planned searches that cells take their tickets from, each once, as deep as any cell needs it."""
    found: dict[str, Origin] = {}
    for cell in cells:
        for origin in cell.origin.each if cell.origin else ():
            if origin.levels:
                root = origin.levels[:2][-1].key  # level 1 of a search that follows a consensus is another one's
                found[root] = max(found.get(root, origin), origin, key=lambda origin: len(origin.levels))
    return tuple(found.values())


def closure(steps: Iterable[Step]) -> tuple[Step, ...]:
    """All steps that these need, themselves included, each once, every need before what needs it."""
    order: dict[str, Step] = {}

    def visit(step: Step) -> None:
        if step.key not in order:
            for need in step.needs:
                visit(need)
            order[step.key] = step

    for step in steps:
        visit(step)
    return tuple(order.values())


def _check_crossing(arm: str, source: Origin, own: Origin) -> None:
    """Refuse masks and weights of different networks or initialisations."""
    one, other = Inputs.read(source.network), Inputs.read(own.network)
    if one != other:
        raise SpecError(f"arm {arm}: the source takes {one}, the target's own {other}; give sets of the same inputs")
    if source.remaining.get(0) != own.remaining.get(0):
        raise SpecError(
            f"arm {arm}: the source has {source.remaining.get(0)} prunable weights, the target's own ticket "
            f"{own.remaining[0]}; leave the output layer dense"
        )
    if source.search.get("seed") != own.search["seed"]:
        raise SpecError(
            f"arm {arm}: the source's search has seed {source.search.get('seed')}, the target's own "
            f"{own.search['seed']}, so they begin from other weights; give both the same"
        )
    if not begin_alike(source.network, own.network, seed=own.search["seed"]):
        raise SpecError(
            f"arm {arm}: the source has {source.network['classes']} outputs, the target's own "
            f"{own.network['classes']}, and {own.network['spec']['name']} draws other weights for them, though from "
            "one seed; give sets of as many classes, or a model that makes its output layer last"
        )


def begin_alike(one: Mapping[str, Any], other: Mapping[str, Any], *, seed: int) -> bool:
    """Whether two networks (as `Origin.network`) begin from one W_0, output layers apart, by that seed.

    Known networks of one spec do, so nothing is built for them.
    """
    drawn = MODELS.is_own(one["spec"]["name"]) and one != other
    return not drawn or unlike_start([one, other], seed=seed) is None


def _check_head(head: str, has: int, needs: int) -> None:
    """Refuse to keep an output layer that is not the target's."""
    if has != needs:
        raise SpecError(
            f"head: {head} takes the source's own output layer, which has {has} outputs, and the target needs {needs}; "
            "take head fresh, which makes a new one"
        )


def _at(source: Origin, level: int) -> int:
    if level not in source.remaining:
        first, last = min(source.remaining), max(source.remaining)
        held = f"{first} to {last}, the levels of the source" if first < last else f"{first}, the ticket's own"
        raise SpecError(f"level: expected {held}, got {level}")
    return source.remaining[level]


SAME = {"own": "ticket", "own-reinit": "reinit"}
"""Arms of the target's own search -> the same work as an arm of any source."""

SEARCHED = {
    "corrected-random": "which weights the dense network brought to zero",
    "trained-signs": "which signs the trained weights of a level have",
}
"""Arms that no file is enough for, and what it lacks."""

BOOKS = ("layerwise-random-kept", *CROSSED, "dense-rewound", "mask-init")
"""Arms that a single ticket's file is not enough for."""

BLANK = ("dense", "global-random")
"""Arms that need a network and a density, but no search."""
