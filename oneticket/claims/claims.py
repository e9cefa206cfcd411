"""The paper's claims, each a function from rows to a verdict; users write their own in the same way.

Morcos, Yu, Paganini and Tian: One ticket to win them all (NeurIPS 2019, arXiv 1906.02773). C4 is in `larger`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, get_args

from oneticket.claims.cells import ClaimCell, ClaimData, Grid, grid
from oneticket.claims.claim import NON_INFERIOR, Claim, Outcome, Verdict
from oneticket.claims.complexity import Complexity, words
from oneticket.claims.judge import Question, judge
from oneticket.claims.larger import larger_sources
from oneticket.claims.notes import other_settings
from oneticket.claims.pairs import Pair, some
from oneticket.ground.errors import SpecError, unknown
from oneticket.ground.metric import Metric
from oneticket.ground.table import Table
from oneticket.stats.settings import TRAINING, renamed
from oneticket.stats.summary import Row
from oneticket.study.settings import SETTINGS, UPDATE
from oneticket.study.spec import CLAIMS as NAMES
from oneticket.study.spec import ComplexitySpec

STRICTER = ("reinit", "layerwise-random", "corrected-random")
HOME = ("own", "own-search")


def own_data(rows: Sequence[Row], *, margin: float | None = None, level: int | None = None) -> Verdict:
    """C1: with the data and the optimizer that found it, a ticket beats a random one.

    The effect is own - global random, pooled as in `judge`. Morcos et al., 2019.

    >>> own_data([]).notes
    ('Missing: tickets on the data and under the optimizer that found them.',)
    """
    question = Question(
        name="C1",
        statement=NAMES["C1"],
        rows="tickets on the data and under the optimizer that found them",
        against="global-random",
    )
    study = grid(rows)
    cells = [cell for cell in study.own_tickets if cell.same_training]
    left = other_settings(study.same_data, SETTINGS)
    return _judged(question, study, cells, STRICTER, margin=margin, level=level, more=left)


def same_distribution(rows: Sequence[Row], *, margin: float | None = None, level: int | None = None) -> Verdict:
    """C2: a ticket from one half of a dataset beats a random one on the other half.

    The effect is ticket - global random, pooled as in `judge`. Both halves have the same classes, and numbers of
    examples that differ by at most a tenth. Morcos et al., 2019.

    >>> same_distribution([]).notes
    ('Missing: tickets from one half of a dataset on the other half, under one optimizer.',)
    """
    question = Question(
        name="C2",
        statement=NAMES["C2"],
        rows="tickets from one half of a dataset on the other half, under one optimizer",
        against="global-random",
    )
    study = grid(rows)
    halves = [(cell, source) for cell, source in study.tickets if _other_half(source, cell.target)]
    alike = [cell for cell, source in halves if _alike(source, cell.target)]
    unlike = [f"{_sized(source)} and {_sized(cell.target)}" for cell, source in halves if cell not in alike]
    left = [f"Left out, since the halves are not cut alike: {some(unlike)}."] if unlike else []
    left += other_settings(alike, TRAINING)
    cells = [cell for cell in alike if cell.same_training]
    return _judged(question, study, cells, (*HOME, *STRICTER), margin=margin, level=level, more=left)


def across_datasets(rows: Sequence[Row], *, margin: float | None = None, level: int | None = None) -> Verdict:
    """C3: a ticket from another dataset is close to the target's own.

    The effect is ticket - own, pooled as in `judge`; the claim holds if a loss of `margin` or more is ruled out. Of the
    sources cut from one set only the largest counts: the others are for C4. Morcos et al., 2019.

    >>> across_datasets([]).notes
    ('Missing: tickets from other datasets (of each the largest source), under one optimizer.',)
    """
    question = Question(
        name="C3",
        statement=NAMES["C3"],
        rows="tickets from other datasets (of each the largest source), under one optimizer",
        against="own",
        rule=NON_INFERIOR,
    )
    study = grid(rows)
    found = [(cell, source) for cell, source in study.tickets if source.apart(cell.target)]
    cells = _largest((cell, source) for cell, source in found if cell.same_update)
    left = other_settings([cell for cell, _ in found], UPDATE)
    return _judged(
        question, study, cells, ("own-search", "global-random", *STRICTER), margin=margin, level=level, more=left
    )


def simple_targets(
    rows: Sequence[Row],
    *,
    margin: float | None = None,
    level: int | None = None,
    complexity: ComplexitySpec | None = None,
) -> Verdict:
    """C5: on a simple target, a ticket from a more complex dataset beats the target's own.

    The effect is ticket - own, pooled as in `judge`, over simple targets and more complex sources (`ComplexitySpec`).
    Of the sources cut from one set only the largest counts. Morcos et al., 2019.

    >>> simple_targets([]).notes
    ('Missing: tickets from more complex datasets (of each the largest source) on simple ones, under one optimizer.',)
    """
    question = Question(
        name="C5",
        statement=NAMES["C5"],
        rows="tickets from more complex datasets (of each the largest source) on simple ones, under one optimizer",
        against="own",
    )
    study = grid(rows)
    complexity = complexity or ComplexitySpec()
    rule = Complexity(rule=complexity, study=study)
    found = [(cell, source) for cell, source in study.tickets if source.apart(cell.target)]
    taken = [(cell, source) for cell, source in found if rule.simple(cell) and rule.more_complex(cell)]
    cells = _largest((cell, source) for cell, source in taken if cell.same_update)
    left = [*rule.basis(cell for cell, _ in found), *other_settings([cell for cell, _ in taken], UPDATE)]
    verdict = _judged(
        question, study, cells, ("own-search", "global-random", *STRICTER), margin=margin, level=level, more=left
    )
    return replace(verdict, rule=f"{verdict.rule} {words(complexity, study.metric)}")


def other_optimizer(rows: Sequence[Row], *, margin: float | None = None, level: int | None = None) -> Verdict:
    """C6: a ticket that one optimizer found beats a random one under another optimizer, on the same data.

    Optimizers differ if their names do. The effect is ticket - global random under the target's optimizer, pooled as in
    `judge` over all directions that were run; each direction is one comparison. Morcos et al., 2019.

    >>> other_optimizer([]).notes
    ('Missing: tickets under another optimizer than the one that found them, on the same data.',)
    """
    question = Question(
        name="C6",
        statement=NAMES["C6"],
        rows="tickets under another optimizer than the one that found them, on the same data",
        against="global-random",
    )
    study = grid(rows)
    cells = [cell for cell, source in study.tickets if renamed(cell.row) and source == cell.target]
    left = other_settings(study.same_data, TRAINING)
    verdict = _judged(question, study, cells, (*HOME, *STRICTER), margin=margin, level=level, more=left)
    ways = {(str(cell.line.optimizer), cell.setting.optimizer) for cell in cells}
    alone = [f"Only one way was run: from {a} to {b}." for a, b in sorted(ways) if (b, a) not in ways]
    return replace(verdict, notes=(*verdict.notes, *alone))


def verdicts(
    rows: Sequence[Row],
    claims: Iterable[str | Claim],
    *,
    margin: float | None = None,
    level: int | None = None,
    complexity: ComplexitySpec | None = None,
) -> list[Verdict]:
    """The verdicts of the claims, given by name or as functions, in that order.

    A claim receives the margin, the level and the complexity rule if it has arguments of these names; the margin is the
    metric's own unless given. Raises SpecError for an unknown claim, and for a claim of your own that cannot be found,
    fails, or returns anything but a Verdict.

    >>> [verdict.outcome for verdict in verdicts([], ["C1", larger_sources])]
    ['not tested', 'not tested']
    """
    metrics = {Metric.of(row) for row in rows}
    usual = next(iter(metrics)).margin if len(metrics) == 1 else None
    settings = {"margin": usual if margin is None else margin, "level": level, "complexity": complexity}
    return [_verdict(claim, rows, settings) for claim in claims]


def takes_level(given: str | Claim) -> bool:
    """Whether a claim can be judged at one level."""
    return "level" in inspect.signature(_function(given)).parameters


def _function(given: str | Claim) -> Callable[..., Any]:
    if not isinstance(given, str):
        return given
    CLAIMS.renew(given)
    return CLAIMS.resolve(given)


def _verdict(given: str | Claim, rows: Sequence[Row], settings: dict[str, Any]) -> Verdict:
    claim = _function(given)
    name = next((name for name, known in CLAIMS.items() if known is claim), str(given))
    with CLAIMS.blamed(name):
        taken = inspect.signature(claim).parameters
        made = claim(rows, **{name: value for name, value in settings.items() if name in taken})
    if not isinstance(made, Verdict):
        raise SpecError(f"claim {given!r}: expected a Verdict, got {type(made).__name__}; see oneticket.claims.judge")
    if made.outcome not in get_args(Outcome):
        raise SpecError(f"claim {given!r}: {unknown('outcome', made.outcome, get_args(Outcome))}")
    return made


def _judged(
    question: Question,
    study: Grid,
    cells: Sequence[ClaimCell],
    beside: Iterable[str],
    *,
    margin: float | None,
    level: int | None,
    more: Iterable[str] = (),
) -> Verdict:
    pairs = [Pair(ticket=cell, rival=study.control(cell, question.against)) for cell in cells]
    others = [Pair(ticket=cell, rival=study.control(cell, arm)) for arm in beside for cell in cells]
    return judge(question, pairs, margin=margin, level=level, beside=others, metric=study.metric, more=more)


def _other_half(source: ClaimData, target: ClaimData) -> bool:
    return source.set == target.set and {source.half, target.half} == {"a", "b"}


def _alike(source: ClaimData, target: ClaimData) -> bool:
    # Halves of sets with an odd number of examples in a class differ by a few.
    near = math.isclose(source.examples or 0, target.examples or 0, rel_tol=0.1)
    return source.classes == target.classes and (source.examples == target.examples or near)


def _sized(data: ClaimData) -> str:
    """A set with its size, such as `digits:a (10 classes, 720 examples)`."""
    sizes = ((data.classes, "classes"), (data.examples, "examples"))
    known = [f"{count:,.0f} {what}" for count, what in sizes if count]
    return f"{data.name} ({', '.join(known) or 'size unknown'})"


def _largest(tickets: Iterable[tuple[ClaimCell, ClaimData]]) -> list[ClaimCell]:
    """Of the tickets of one set in one setting, those from the most examples, then the most classes."""
    tickets = list(tickets)
    most: dict[object, tuple[int, int]] = {}
    for cell, source in tickets:
        place = cell.setting, source.set
        most[place] = max(most.get(place, (0, 0)), _size(source))
    return [cell for cell, source in tickets if most[cell.setting, source.set] == _size(source)]


def _size(data: ClaimData) -> tuple[int, int]:
    return data.examples or 0, data.classes or 0


CLAIMS: Table[Claim] = NAMES.filled(
    {
        "C1": own_data,
        "C2": same_distribution,
        "C3": across_datasets,
        "C4": larger_sources,
        "C5": simple_targets,
        "C6": other_optimizer,
    }
)
