"""From a study to its cells: each source transferred to each target, per replicate (long: all axes of a part)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any, TypeVar

from oneticket.data.facts import per_epoch
from oneticket.data.reading import Reading
from oneticket.data.spec import DataSpec
from oneticket.ground.brief import brief
from oneticket.ground.canon import dumps
from oneticket.ground.errors import SpecError, unknown
from oneticket.ground.spec import Spec, over
from oneticket.lottery.arms import ARMS, CROSSED, OF_TARGET
from oneticket.lottery.outline import rewind_step
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.spec import SearchSpec, TransferSpec
from oneticket.models.spec import ModelSpec
from oneticket.optim.spec import OptimizerSpec
from oneticket.store.step import Step
from oneticket.study.cells import Cell, Origin
from oneticket.study.complexity import check_complexity
from oneticket.study.consensus import consensus_origin
from oneticket.study.densities import levels_of
from oneticket.study.draws import subset
from oneticket.study.equal import check_equal, in_steps, same_search, twice
from oneticket.study.labels import Labels, called_in
from oneticket.study.merge import Role, located, naming, rewind, stated, training
from oneticket.study.origins import search_origin
from oneticket.study.overlaps import overlaps
from oneticket.study.plan import BLANK, closure, transfer_cells
from oneticket.study.sources import ConsensusSpec
from oneticket.study.spec import FIGURES, ComplexitySpec, PartSpec, SetSpec, StudySpec, TrainedSpec
from oneticket.task.inputs import ALIKE, Inputs
from oneticket.task.spec import USUAL, TaskSpec

S = TypeVar("S", bound=Spec)
T = TypeVar("T")

MOST_CELLS = 50_000
"""How many networks a part of a study may ask for. The largest part that ships asks for 10,296."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a study comes down to: its cells, and the words with which it is reported.

    `densities`: those at which claims are judged, each with the level that it means. `complexity`: which targets are
    simple. `parts`: what each part states of its design, also one that is not taken. `threads`: CPU threads of one
    training. `readings`: how each available set was read. `doubts`: what a reader of verdicts must know of the data,
    such as sources that share examples with a target. A function that returns a plan is a study too.
    """

    name: str
    cells: tuple[Cell, ...]
    title: str = ""
    note: str = ""
    claims: tuple[str, ...] = ()
    figures: tuple[str, ...] = tuple(FIGURES)
    margin: float | None = None
    densities: Mapping[float, int] = field(default_factory=dict)
    complexity: ComplexitySpec = field(default_factory=ComplexitySpec)
    parts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    threads: int = 1
    readings: tuple[Reading, ...] = ()
    doubts: tuple[str, ...] = ()

    __repr__ = brief

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """All its steps and what they need, each once, every need before what needs it."""
        return closure(cell.step for cell in self.cells)


def plan(study: StudySpec, context: RunContext) -> Plan:
    """The cells of a study. Loads its datasets, since their content is part of every address; trains nothing.

    Raises SpecError, naming the place in the study, for unknown names and settings that do not fit each other, and
    DataError for data that is missing.

    >>> study = StudySpec(name="mine", levels=[1, 2], arms=["dense", "ticket"], replicates=2, parts={
    ...     "halves": {"sources": ["digits:a"], "targets": ["digits:b"], "models": ["mlp"], "optimizers": ["sgd"]}})
    >>> len(plan(study, RunContext()).cells)
    6
    """
    check_complexity(study)
    strange = sorted(set(study.take) - set(study.parts))
    if strange:
        raise SpecError(f"take: {unknown('part', strange[0], study.parts)}")
    cells: dict[tuple[Any, ...], Cell] = {}
    origins: dict[tuple[Any, ...], Origin] = {}
    for name, part in study.parts.items():
        if not study.take or name in study.take:
            for cell in _Grid(study=study, name=name, part=part, context=context, origins=origins).cells():
                called = tuple(cell.labels.values())
                other = cells.setdefault(called, cell)
                if other.step.key != cell.step.key:
                    raise SpecError(
                        f"parts.{name}: two networks would have the same name in the report ({dumps(cell.labels)}); "
                        "give sources of several sizes of inputs parts of their own"
                    )
    words = ("name", "title", "note", "claims", "margin", "complexity", "figures", "threads")
    return Plan(
        **{name: getattr(study, name) for name in words},
        cells=tuple(cells.values()),
        densities=levels_of(study.densities or (), cells.values()),
        parts={name: stated(study, part) for name, part in study.parts.items()},
        readings=context.readings(),
        doubts=overlaps(cells.values(), context),
    )


@dataclass(frozen=True, kw_only=True)
class _Grid:
    """One part of a study, with the place that it is planned for.

    `origins`: the searches that are planned so far, also of other parts. `made`: specs and labels, each made once for
    all pairs of a source and a target. `shared`: what the cells are of that all sources share, and that are planned.
    """

    study: StudySpec
    name: str
    part: PartSpec
    context: RunContext
    origins: dict[tuple[Any, ...], Origin]
    made: dict[tuple[object, ...], Any] = field(default_factory=dict)
    shared: set[tuple[object, ...]] = field(default_factory=set)

    def cells(self) -> Iterator[Cell]:
        part, study = self.part, self.study
        models = self._named("model", part.models, study.models, ModelSpec)
        sources = [name if isinstance(name, ConsensusSpec) else self._set(name) for name in part.sources]
        targets = [self._set(name) for name in part.targets or part.sources if not isinstance(name, ConsensusSpec)]
        given = part.source_optimizers or part.optimizers, part.target_optimizers or part.optimizers
        before, after = (self._optimizers(names) for names in given)
        arms, levels = part.arms or study.arms, part.levels or study.levels
        replicates = part.replicates or study.replicates
        equals = part.equal or study.equal or (None,)
        axes: tuple[Sequence[Any], ...] = (equals, models, sources, before, targets, after, range(replicates))
        count = math.prod(len(axis) for axis in axes) * len(levels) * len(arms)
        if count > MOST_CELLS:
            raise SpecError(
                f"{self._here}: {count:,} networks, more than the {MOST_CELLS:,} that a part may have; take fewer "
                "replicates, levels, arms, sources or targets"
            )
        for equal, model, found_with in product(equals, models, before):
            each = [one for source in sources for one in self._members(source)]
            names = [str(self._called(model, one, found_with).data) for one in each]
            written = [self._search("source", model, one, found_with, 0) for one in each]
            check_equal(equal, dict(zip(names, written, strict=True)), where=self._here)
        for equal, model, source, found_with, target, trained_with, replicate in product(*axes):
            found = []
            for used in self._members(source):
                search = self._found(used, sources, model, found_with, replicate, equal)
                named = self._called(model, used, found_with)
                found.append((search, self._origin(search, replicate, named)))
            search, origin = found[0]
            if isinstance(source, ConsensusSpec):
                origin = self._consensus(source, [one for _, one in found])
            spec = self._transfer(target, trained_with, replicate)
            called = self._called(model, target, trained_with)
            asked = {arm for arm in arms if arm in (*OF_TARGET, *CROSSED)}
            is_own_ticket, own = False, None
            if asked:
                own_search = self._search("target", model, target, trained_with, replicate)
                there = [used for one in sources for used in self._members(one) if used.data == target.data]
                known = (self._found(used, sources, model, trained_with, replicate, equal) for used in there)
                # The same search may be planned already with its times written in another way.
                own_search = next((one for one in known if self._same(own_search, one)), own_search)
                is_own_ticket = own_search == search and not origin.agreed
                own = origin if is_own_ticket else self._origin(own_search, replicate, called)
                if not is_own_ticket and own.labels == origin.labels:
                    raise SpecError(f"{self._here}: {twice(str(called.data), search, own_search)}")
            with naming(f"{self._here}, set {called.data}"):
                inputs = self.context.facts(spec.data, self._task, Inputs.read(origin.network)).inputs
            if own and (Inputs.read(own.network) != inputs or own.remaining[0] != origin.remaining[0]):
                both = f"{Inputs.read(origin.network)} and {Inputs.read(own.network)}"
                raise SpecError(f"{self._here}: arm {min(asked)}: {both}; give the sets {ALIKE[inputs.kind]}")
            # On the source's own set the target's own arms repeat the source's, except for the output layer.
            taken = [arm for arm in arms if not (is_own_ticket and arm in asked and ARMS[arm].head == "asked")]
            # An arm that uses only a source's density is the same network for every source.
            of = *_named_by(spec), replicate, called, equal, dumps(origin.network), *origin.remaining.items()
            if (same := (*of, id(own), is_own_ticket)) in self.shared:
                taken = [arm for arm in taken if arm not in (*BLANK, *OF_TARGET)]
            self.shared.add(same)
            yield from transfer_cells(
                spec,
                origin=origin,
                own=own,
                arms=taken,
                levels=levels,
                context=self.context,
                called=called,
                part=self.name,
                head_start=part.head_start or study.head_start,
                equal=equal,
            )

    def _search(
        self, role: Role, model: ModelSpec, used: SetSpec, optimizer: OptimizerSpec, replicate: int
    ) -> SearchSpec:
        """The search on a set as a source, or as the target whose own it is."""

        def make() -> SearchSpec:
            point = rewind(role, self.study, self.part, used)
            return self._read(
                SearchSpec,
                role,
                used,
                data=self._drawn(used, replicate),
                task=self._task,
                model=model,
                optimizer=optimizer,
                training=training(role, self.study, self.part, used),
                pruning=over(self.study.pruning, self.part.pruning),
                seed=self.study.seed,
                **({} if point is None else {"rewind": point}),
            )

        return self._once(("search", role, *_named_by(model, used, optimizer), replicate), make)

    def _transfer(self, target: SetSpec, optimizer: OptimizerSpec, replicate: int) -> TransferSpec:
        """The training on a target."""

        def make() -> TransferSpec:
            return self._read(
                TransferSpec,
                "target",
                target,
                data=self._drawn(target, replicate),
                task=self._task,
                optimizer=optimizer,
                training=training("target", self.study, self.part, target),
                head=self.part.head or self.study.head,
                seed=self.study.seed,
            )

        return self._once(("transfer", *_named_by(target, optimizer), replicate), make)

    def _called(self, model: ModelSpec, used: SetSpec, optimizer: OptimizerSpec) -> Labels:
        """What they are called in this study."""
        key = ("called", *_named_by(model, used, optimizer))
        return self._once(key, lambda: called_in(self.study, model, used, optimizer))

    def _once(self, key: tuple[object, ...], make: Callable[[], T]) -> T:
        if key not in self.made:
            self.made[key] = make()
        found: T = self.made[key]
        return found

    def _members(self, source: SetSpec | ConsensusSpec) -> list[SetSpec]:
        """The sets that a source is searched on, each by itself."""
        return [self._set(name) for name in source.consensus] if isinstance(source, ConsensusSpec) else [source]

    def _consensus(self, source: ConsensusSpec, each: Sequence[Origin]) -> Origin:
        how = "; mean weights" * (source.weights == "mean") + "; at every level" * source.every_level
        called = f"consensus({', '.join(str(origin.called.data) for origin in each)}{how})"
        try:
            return consensus_origin(each, weights=source.weights, every_level=source.every_level, called=called)
        except SpecError as error:
            raise SpecError(f"{self._here}, source {error}") from None

    def _found(
        self,
        used: SetSpec,
        sources: Sequence[SetSpec | ConsensusSpec],
        model: ModelSpec,
        optimizer: OptimizerSpec,
        replicate: int,
        equal: str | None,
    ) -> SearchSpec:
        """The search on a set as one of the part's sources, at equal steps with the first one's."""
        search = self._search("source", model, used, optimizer, replicate)
        if equal != "steps":
            return search
        first = self._search("source", model, self._members(sources[0])[0], optimizer, replicate)
        with naming(f"{self._here}, set {self._called(model, used, optimizer).data}"):
            return in_steps(search, own=self._epoch(search), first=self._epoch(first))

    def _same(self, one: SearchSpec, other: SearchSpec) -> bool:
        """Whether two searches are one search, however their times are written."""
        return one == other or same_search(one, other, epoch=self._epoch(one), other_epoch=self._epoch(other))

    def _epoch(self, search: SearchSpec) -> int:
        return per_epoch(self.context.facts(search.data, search.task), search.training.batch)

    def _origin(self, spec: SearchSpec, replicate: int, called: Labels) -> Origin:
        with naming(f"{self._here}, set {called.data}"):
            facts = self.context.facts(spec.data, spec.task)
        try:
            rewind_step(spec, facts)
        except SpecError as error:
            raise SpecError(f"{self._here}, source {spec.data.called}: {error}") from None
        levels = max(self.part.levels or self.study.levels)
        asked = spec.identity().text, levels, replicate, called
        try:
            if asked not in self.origins:
                made = search_origin(spec, levels=levels, replicate=replicate, context=self.context, called=called)
                self.origins[asked] = made
            return self.origins[asked]
        except SpecError as error:
            raise SpecError(f"{self._here}.levels, source {spec.data.called}: {error}") from None

    def _drawn(self, used: SetSpec, replicate: int) -> DataSpec:
        """The data of a replicate."""
        return subset(used.data, replicate, self.study.subsets)

    def _set(self, named: str | tuple[str, ...]) -> SetSpec:
        """The set of that name, or of several names all of them as one."""
        first, *rest = self._named("set", (named,) if isinstance(named, str) else named, self.study.sets, SetSpec)
        if any(each.but(data=first.data) != first for each in rest):
            raise SpecError(
                f"{self._here}: {', '.join(named)}: are trained by settings of their own; write one set of all of "
                "them under [sets], with data = [...] and the settings that they share"
            )
        try:
            return first.but(data=[first.data, *(each.data for each in rest)]) if rest else first
        except SpecError as error:
            raise SpecError(f"{self._here}: {', '.join(named)}: {str(error).partition(': ')[2]}") from None

    @property
    def _task(self) -> TaskSpec:
        return self.part.task or self.study.task

    def _read(self, kind: type[S], role: Role, used: SetSpec, **fields: Any) -> S:
        """The spec of the merged settings; a mistake is named by the table that it was made in."""
        try:
            return kind.read(fields)
        except SpecError as error:
            sets = {f"sets.{name}": each for name, each in self.study.sets.items() if each == used}
            tables: dict[str, TrainedSpec] = {**sets, self._here: self.part, "": self.study}
            raise SpecError("\n".join(located(line, role, tables) for line in str(error).splitlines())) from None

    def _optimizers(self, given: tuple[str, ...] | None) -> list[OptimizerSpec]:
        """Those named; where the study names and defines none, the task's usual one, if it has one of its own."""
        usual = USUAL.get(self._task.name, {}).get("optimizer")
        if given is None and not self.study.optimizers and usual:
            return [OptimizerSpec.read(usual)]
        return self._named("optimizer", given, self.study.optimizers, OptimizerSpec)

    def _named(self, what: str, given: tuple[str, ...] | None, known: Mapping[str, S], kind: type[S]) -> list[S]:
        """What those names mean: what the study defines, or what is known everywhere."""
        if given is None:
            if len(known) == 1:
                return list(known.values())
            defined = f"several are defined ({', '.join(known)})" if known else "none is defined"
            raise SpecError(f"{self._here}.{what}s: {defined}; name those that this part takes")
        found = []
        for name in given:
            if name in known:
                found.append(known[name])
                continue
            try:
                found.append(kind.read({"data": name} if kind is SetSpec else name))
            except SpecError as error:
                near = f"{unknown(what, name, known)}; or " if known else ""
                raise SpecError(f"{self._here}: {near}{str(error).partition(': ')[2]}") from None
        return found

    @property
    def _here(self) -> str:
        return f"parts.{self.name}"


def _named_by(*specs: Spec) -> tuple[str, ...]:
    """The values that distinguish specs."""
    return tuple(spec.identity().text for spec in specs)
