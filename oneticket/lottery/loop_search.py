"""The search in the user's own loop, which trains every level (long: one class, whose docstring is its contract)."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from oneticket.apply.watch import Watch
from oneticket.ground.card import card_by
from oneticket.ground.errors import GuardError, SpecError, TrainingError, WrongPruneError
from oneticket.ground.streams import Streams
from oneticket.guard.guard import attach
from oneticket.guard.narrow import warn
from oneticket.lottery.division import Division
from oneticket.lottery.first_look import Start, start_mask, tell_dense, tell_zeros
from oneticket.lottery.level import Level, Optimizers, Schedulers
from oneticket.lottery.loop_settings import batch, check, names, split, when
from oneticket.lottery.progress import begun, read
from oneticket.lottery.resumed import digest_of
from oneticket.lottery.retired import Retired
from oneticket.lottery.rounds import close_level, level_mask, mask_at, open_level
from oneticket.lottery.snapshot import kept, live, unwrapped
from oneticket.pruning.criteria import Criterion, named
from oneticket.pruning.evidence import Losses
from oneticket.pruning.spec import PruningSpec
from oneticket.pruning.units import find
from oneticket.ticket.book import Book
from oneticket.ticket.density import Density, model_weights
from oneticket.ticket.heads import plain
from oneticket.ticket.mask import Mask
from oneticket.ticket.ticket import Ticket


class Search:
    """Iterative pruning with rewinding around your own loop: `for level in search:`, train with `level.optimizer`.

    The model as given is W_0. Level 0 trains it dense. After its k-th step (`rewind="kit"`) the search keeps parameters
    and buffers: W_k. For k = 0 that is W_0 itself, as for pre-trained weights. When the loop's body ends, the search
    audits and detaches the level's guard and prunes `fraction` of the remaining weights (or units, by `granularity`).
    Then it opens the next level: W_k under the next mask, written into the same model; a fresh optimizer from
    `optimizer_fn(model)`, one or a list; and a guard. `levels=20` means 21 trainings, level 0 to 20. After the last,
    the model stays as trained. If k > 0, level 0 keeps its optimizer at step k, so it is the only level with momentum
    there (Frankle et al. 2020, arXiv 1912.05671). Other levels have `level.start == k`, where a schedule may continue.
    Buffers outside the `state_dict` (persistent=False) are not rewound.

    - `rewind`: "500it", or "2ep" with `epoch`, the steps of one epoch. The optimizer's steps are counted; see `Level`.
    - `optimizer_fn` may return (optimizer, scheduler) instead, each one or a list: the loop steps `level.scheduler`.
      `optimizer_fn=None`: optimizers are made later and given to `level.attach`.
    - `start`: the mask at the start, for a network that is already sparse: a mask, "zeros" for the weights that are not
      exactly zero now, or a ticket, whose weights are written into the model at once. Level 1 is then the network as it
      starts, and `levels` more follow; level 0, the dense network, is not trained.
    - `criterion`, `scope`, `granularity`, `allow_empty`: as PruningSpec's; `criterion` may be a function from an
      `Evidence` to scores. `evidence`: from the model to the losses of some batches, for criteria that need gradients
      or activations, such as `lambda model: (loss(model(x), y) for x, y in batches)`.
    - `compact`: below level 0 train a smaller network instead of the model, as `Compacted` does and to its rounding:
      the loop calls `level.network`; the model and checkpoints of model and optimizer stay as they are. `example` is
      then a whole batch, one tensor.
    - `prunable`: name patterns as ModelSpec's, for frozen weights too. `seed`: of random criteria. `rule`: the guard's.
    - The output layers stay dense. They are found from the loop's first forward passes, or at once from one on
      `example` (a tensor, a tuple of arguments, or a mapping of keyword arguments). If neither shows them, the first
      level warns that the last registered layer was taken. It also warns of weights that no gradient reached, such as
      those of an output in another mode. `head` names them: one layer, several layers for several outputs, or the
      tensors of one; "" is none.

    Names are the model's without wrappers around the whole of it, such as DDP's `module.`; inner wrappers keep theirs.
    `dense` gives the reason why a parameter is not pruned. Modes, devices and requires_grad stay the loop's. On `break`
    or an exception the open level is released and its training stays in the model; iterating again restarts that level
    from its first weights. The same happens if a level is refused at its end: GuardError if the mask was not held or
    nothing was attached, TrainingError if level 0 ended before step k, PruneError if weights are NaN.

    Raises SpecError for a setting, ModelError for names and models that do not fit, PruneError for weights that cannot
    be kept or are sharded; and when a level opens GuardError for a model that is already searched or guarded, and for
    optimizers that `level.attach` refuses. With `compact`, the first level refuses wrappers, hooks and optimizers that
    `Compacted` does not support. While a level is open, a step of its weights by another optimizer raises GuardError,
    and any use of an earlier level's optimizer, also by its scheduler, TrainingError.

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> search = Search(model, lambda model: torch.optim.SGD(model.parameters(), lr=0.1), levels=2, rewind="1it")
    >>> for level in search:
    ...     for _ in range(3 - level.start):
    ...         level.optimizer.zero_grad()
    ...         level.model(torch.ones(3, 4)).square().sum().backward()
    ...         level.optimizer.step()
    >>> search.book.densities, search.dense["2.weight"]
    ((1.0, 0.8125, 0.65625), 'the output layer')
    >>> [record["steps"] for record in search.records], search.mask.remaining
    ([3, 2, 2], 21)
    >>> print(search.weight_counts)
    density 0.6562 of 32 prunable weights, 0.8103 of all 58
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer_fn: Callable[[nn.Module], Optimizers | tuple[Optimizers, Schedulers]] | None = None,
        *,
        levels: int,
        fraction: float = 0.2,
        rewind: str = "0it",
        epoch: int | None = None,
        criterion: str | Criterion = "magnitude",
        scope: str = "global",
        granularity: str = "weight",
        allow_empty: bool = True,
        prunable: Sequence[str] = (),
        head: str | Sequence[str] | None = None,
        example: object = None,
        seed: int = 0,
        rule: str = "gate+project",
        start: Start = None,
        evidence: Losses | None = None,
        compact: bool = False,
    ) -> None:
        check(optimizer_fn, levels=levels, seed=seed, rule=rule)
        self._example = batch(example) if compact else None
        self._criterion, self._evidence = None if isinstance(criterion, str) else criterion, evidence
        self._pruning = PruningSpec(
            criterion=named(criterion), fraction=fraction, scope=scope, granularity=granularity, allow_empty=allow_empty
        )
        point, step = when(rewind, epoch)
        inner, patterns = unwrapped(model), names("prunable", prunable)
        live(inner)  # refuses meta tensors before anything is asked of them
        warn(inner)
        self._division = division = Division.of(inner, patterns, head=head, example=example, start=start)
        prunable_names = division.prunable_names
        mask = start_mask(start, inner, prunable_names, division.dense)
        self._asked = {
            **{name: value for name, value in self._pruning.identity().items() if name != "shots"},
            "rewind": str(point),
            "step": step,
            "prunable": patterns,
            "head": plain(division.heads),
            "seed": seed,
            "rule": rule,
            "start": None if mask is None else mask.digest,
        }
        self.model, self._inner, self._optimizer_fn = model, inner, optimizer_fn
        self._first = 0 if mask is None else 1
        self.levels = levels + self._first
        self._step, self._streams = step, Streams(root=seed, replicate=0)
        self._units = find(self._pruning, inner, prunable_names)
        if isinstance(start, Ticket):
            start.apply(inner, head="sparse" if set(start.mask) & set(start.contract.head_names) else "keep")
        self._at = begun(kept(inner, prunable_names), prunable_names, mask)
        if not division.guessed:
            self._division = division.tell_unreached(stacklevel=2)
            self._tell_dense()
        # Only the ticket says where the outputs are, and old ones may be wrong.
        self._doubts = isinstance(start, Ticket) and not division.guessed and head is None and example is None
        self._watch: Watch | None = None
        self._level: Level | None = None
        self._retired = Retired()
        self._resumes = False

    def __iter__(self) -> Iterator[Level]:
        while self._at.level <= self.levels:
            if self._inner in _OPEN:
                raise GuardError("a search has a level open on this model; end that loop first")
            _OPEN.add(self._inner)
            try:
                level = self._begin()
                yield level
                self._end(level)
            finally:
                self._close()

    _repr_html_ = card_by("lottery.cards:of_search")

    def __repr__(self) -> str:
        count = self.levels - self._first + 1
        return f"Search({self._at.level - self._first} of {count} levels done, {self.weight_counts})"

    @property
    def mask(self) -> Mask:
        """The mask of the level that is trained now, or next; after the last level, that level's."""
        return mask_at(self._at.pruned_at, min(self._at.level, self.levels))

    @property
    def records(self) -> tuple[Mapping[str, Any], ...]:
        """The records of the finished levels: level, density, steps, and what `level.record` was given."""
        return self._at.records[self._first :]

    @property
    def weight_counts(self) -> Density:
        """How many weights remain in `mask`, may be pruned, and are in the whole model."""
        return Density(remaining=self.mask.remaining, total=self.mask.total, whole=model_weights(self._inner))

    @property
    def book(self) -> Book:
        """The finished levels as a book; PruneError before there is one."""
        deepest = self._at.level - 1
        if deepest < self._first:
            raise WrongPruneError(
                "search.book: no level is finished; a level is finished when the body of the loop has ended"
            )
        said = {name: self._asked[name] for name in ("rewind", "prunable", "seed", "rule")}
        return Book(
            weights=self._at.kept[self._step],
            pruned_at={name: torch.where(at > deepest, 0, at) for name, at in self._at.pruned_at.items()},
            levels=deepest,
            contract=self._division.contract(self._asked["rewind"], self._step, self._at.kept[0]),
            lineage={"search": {"pruning": self._pruning.identity(), **said}},
            records=self._at.records,
        )

    @property
    def dense(self) -> dict[str, str]:
        """Which parameters stay dense, and why; output layers are a guess until a forward pass shows them."""
        return self._division.dense

    def state_dict(self) -> dict[str, Any]:
        """The state of the search, at any time: `{"tensors": name -> tensor, "facts": JSON}`.

        It holds no training: save the model and the optimizer of an open level yourself.

        >>> sorted(Search(nn.Linear(2, 2), levels=1, head="").state_dict())
        ['facts', 'tensors']
        """
        level = self._level
        at = self._at
        if level is not None:
            level.restore()
            weights = digest_of(self._inner, at.pruned_at) if level.steps else ""
            at = replace(at, steps=level.steps, scores=level.scores, weights=weights)
        return at.plain(self._asked)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue a search with the same settings over the same network; the number of levels may differ.

        A level with steps continues with the weights that the model has when it is yielded, and with the optimizer's
        state if the loop loads it: restore both. Other weights than the state was saved with are a GuardError at the
        first step. A level without steps begins again. Raises SpecError, also while a level is open, and PruneError for
        broken tensors; then nothing is changed.

        >>> def sgd(model):
        ...     return torch.optim.SGD(model.parameters(), lr=0.1)
        >>> first, second = (Search(nn.Linear(2, 2), sgd, levels=1, fraction=0.5, head="") for _ in range(2))
        >>> for level in first:
        ...     level.model(torch.ones(1, 2)).sum().backward()
        ...     level.optimizer.step()
        >>> second.load_state_dict(first.state_dict())
        >>> second
        Search(2 of 2 levels done, density 0.5 of 4 prunable weights, 0.6667 of all 6)
        """
        if self._level is not None:
            raise SpecError(f"search state: level {self._level.number} is open; load the state before the loop")
        division = self._division.said(state, first=self._first)
        asked, like = (
            {**self._asked, "head": plain(division.heads)},
            self._at.over(self._inner, division.prunable_names),
        )
        at = read(state, asked=asked, levels=self.levels, like=like)
        self._divide(division)
        self._at = at
        self._resumes = self._at.steps > 0

    def _begin(self) -> Level:
        """Open the level: its weights, unless it continues with the model's; an optimizer and a guard."""
        at, resumes, self._resumes = self._at, self._resumes, False
        mask = level_mask(self._pruning, at.pruned_at, at.level, first=self._first)
        start = self._step if at.level > self._first else 0
        if not resumes:
            self._at = at = at.anew()
            if at.level == 0:
                tell_zeros(at.kept[0], at.pruned_at)
            # Another's guard on the model is to refuse this while nothing is written.
            attach(self.model, torch.optim.SGD(self._inner.parameters()), mask, rule=self._asked["rule"]).detach()
            open_level(self._inner, mask, at.kept[start], self._division.contract(f"{start}it", start, at.kept[0]))
        level = Level(
            number=at.level,
            mask=mask,
            start=start,
            search=self,
            rule=self._asked["rule"],
            on_step=self._stepped,
            steps=at.steps,
            scores=at.scores,
            weights=at.weights,
            example=self._example,
        )
        self._retired.close(at.level)
        self._level = level  # from here on there is something to close
        if (division := self._division).guessed:
            self._watch = Watch(self.model, self._inner, lambda it: self._divide(division.found(it)), thorough=True)
        elif self._doubts and at.level == self._first:
            self._watch = Watch(self.model, self._inner, division.doubt)
        if self._optimizer_fn is not None:
            level.attach(*split(self._optimizer_fn(self.model)))
        return level

    def _divide(self, division: Division) -> None:
        """Go by these heads from now on, while nothing is pruned: the first forward pass shows them, or a state."""
        if division.heads != self._division.heads:
            division.check_in_time(self._division.heads, sparse=self._first > 0)
            self._units = find(self._pruning, self._inner, division.prunable_names)
            self._at = self._at.over(self._inner, division.prunable_names)
            self._asked = {**self._asked, "head": plain(division.heads)}
            if self._level is not None:
                self._level.fill(self._at.mask)
        known, self._division = self._division.guessed and not division.guessed, division
        if known:
            self._tell_dense()

    def _tell_dense(self) -> None:
        at = self._at
        tell_dense(self._inner, self.dense, at.mask.density * (1 - self._pruning.fraction) ** (self.levels - at.level))

    def _stepped(self, level: Level, steps: int) -> None:
        """Store W_k when it is reached, and not before: a loop may only later choose how its steps are counted."""
        if level.number == self._first and steps <= self._step:
            level.restore()
            reached = {self._step: kept(self._inner, self._at.pruned_at)} if steps == self._step else {}
            self._at = replace(self._at, kept={0: self._at.kept[0], **reached})

    def _end(self, level: Level) -> None:
        """Check the trained level, prune for the next and write its record."""
        level.finish()
        if self._watch is not None:
            self._watch.settle()
        self._division = self._division.settled(tell=level.steps > 0).tell_unreached(stacklevel=3)
        at, number = self._at, level.number
        if self._step not in at.kept:
            raise TrainingError(
                f"rewind {self._asked['rewind']} is step {self._step}, but level {number} ended after {level.steps} "
                "steps of its optimizer; train longer, or rewind earlier"
            )
        after = close_level(
            self._pruning,
            self._inner,
            level.mask,
            at.pruned_at,
            number,
            initial=lambda: {name: at.kept[0][name] for name in at.pruned_at},
            streams=self._streams,
            losses=self._evidence,
            units=self._units,
            criterion=self._criterion,
        )
        records = (*at.records, {**level.facts(), **level.scores})
        self._at = replace(at, level=number + 1, pruned_at=after, records=records)

    def _close(self) -> None:
        """Release the model. An unfinished level will begin again."""
        _OPEN.discard(self._inner)
        if self._watch is not None:
            self._watch.remove()
        if self._level is not None:
            self._level.close()
            self._retired.add(self._level.attached)
        self._retired.open()
        self._level, self._at = None, self._at.anew()


_OPEN: weakref.WeakSet[nn.Module] = weakref.WeakSet()
"""Models of which a level is open."""
