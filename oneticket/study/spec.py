"""What is asked for, as specs: a whole `find`, a whole `transfer`, a whole study."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, ValidationInfo, field_validator

from oneticket.data.spec import DataSpec
from oneticket.ground.spec import Spec, Time
from oneticket.ground.table import Table
from oneticket.lottery.arms import ARMS, CONTROLS
from oneticket.lottery.spec import MOST_LEVELS, HeadStart, SearchSpec, TransferSpec
from oneticket.models.spec import ModelSpec
from oneticket.optim.spec import OptimizerSpec
from oneticket.study.sources import SUBSETS, Sets, Sources, Subsets, some
from oneticket.task.spec import TaskSpec

Settings = dict[str, JsonValue]
"""Some fields of a spec, laid over those of the study."""

CLAIMS = Table(
    kind="claim",
    rows={
        "C1": "Tickets beat random tickets on their own data.",
        "C2": "Tickets from one half of a dataset beat random tickets on the other half.",
        "C3": "Tickets from other datasets are close to the target's own ticket.",
        "C4": "Tickets from larger sources, of more examples and of more classes, do better elsewhere.",
        "C5": "On simple targets, tickets from more complex datasets beat the target's own ticket.",
        "C6": "Tickets that one optimizer found beat random tickets under another.",
    },
)
"""The claims that a report can judge, in a sentence each; `claims/claims` has their rules."""

FIGURES = Table(
    kind="figure",
    rows={
        "scores": "Scores over density",
        "sources-and-targets": "Sources and targets",
        "optimizers": "Optimizers",
        "controls": "Gains over the controls",
        "mask-or-weights": "Mask or weights?",
        "crossing": "From which size on a target's own ticket is better",
        "layers": "Where the weights remain",
        "overlap": "Do searches find the same weights?",
        "curves": "Training curves",
        "ledger": "Cost",
    },
)
"""The figures of a report by their titles, in the order of its page; `charts/figures` draws them."""


def _sorted(levels: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(set(levels)))


def _numbers(given: Any) -> Any:
    for each in given if isinstance(given, list | tuple) else ():
        if not isinstance(each, int | float) or isinstance(each, bool):
            raise ValueError(f"expected numbers, such as 0.17 and 0.035, got {each!r}")
    return given


def _falling(densities: tuple[float, ...]) -> tuple[float, ...]:
    if not densities:
        raise ValueError("expected at least one density, got none; leave it out to judge the sparsest level alone")
    if twice := [each for each in densities if densities.count(each) > 1]:
        raise ValueError(f"expected densities that differ, got {twice[0]:g} twice")
    return tuple(sorted(densities, reverse=True))


def _as_list(given: Any) -> Any:
    return (given,) if isinstance(given, str) else given


def _once(given: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(given))


Level = Annotated[int, Field(ge=0, le=MOST_LEVELS)]
Levels = Annotated[tuple[Level, ...], AfterValidator(some), AfterValidator(_sorted)]
Arms = Annotated[tuple[Annotated[str, ARMS], ...], AfterValidator(some)]
Densities = Annotated[
    tuple[Annotated[float, Field(gt=0, lt=1)], ...], BeforeValidator(_numbers), AfterValidator(_falling)
]
Head = Literal["fresh", "keep", "sparse"]
Names = Annotated[tuple[str, ...], AfterValidator(some)]
Equal = Literal["epochs", "steps"]
Equals = Annotated[tuple[Equal, ...], BeforeValidator(_as_list), AfterValidator(some), AfterValidator(_once)]
Replicates = Annotated[int, Field(ge=1, le=10_000)]
FROM_SOURCE = ("task", "optimizer", "training", "seed")  # a transfer's defaults come from its source


COUNTED = (
    "Where training on the target begins. equal: at step k of the schedule for weights that were already trained for k "
    "steps on the target's own data, and at step 0 for all others, so that all see equally many steps of the target. "
    "paper: always at step 0."
)


class FindSpec(Spec):
    """A search, how deep, and how often.

    >>> FindSpec(search={"data": "digits:a", "model": "lenet-300-100"}).levels
    20
    """

    kind: ClassVar[str] = "find"

    search: SearchSpec
    levels: int = Field(
        20, ge=0, le=MOST_LEVELS, description="How many times to prune: level n keeps (1 - fraction)^n of the weights."
    )
    replicates: int = Field(
        1, ge=1, le=10_000, description="How many times to search, each with random streams of its own."
    )
    subsets: Subsets = Field("fixed", description=SUBSETS)


class ComparisonSpec(Spec):
    """A transfer, its controls, and the levels to transfer.

    >>> ComparisonSpec(transfer={"data": "digits:b"}, controls=("reinit",)).levels
    ()
    """

    kind: ClassVar[str] = "comparison"

    transfer: TransferSpec
    controls: tuple[Annotated[str, CONTROLS], ...] = Field(
        ("reinit", "global-random"),
        description="Controls to train beside the dense network and the ticket, separated by commas; your own as"
        " 'file.py:function'. none: no controls.",
    )
    levels: tuple[int, ...] = Field((), description="Source levels to transfer, such as 5,10. Default: all but 0.")
    head_start: HeadStart = Field("equal", description=COUNTED)
    replicates: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="How often to train one ticket or book on the target, each time with another output layer, data"
        " order and controls. In a folder, each book is one replicate.",
    )
    subsets: Subsets = Field("fixed", description=SUBSETS)


class TrainedSpec(Spec):
    """How networks are trained, as a study, a part of it and a set say it; `study/merge` lays one over the other.

    >>> TrainedSpec(training={"batch": 50}, source_training={"budget": "8ep"}, source_rewind="1ep").rewind is None
    True
    """

    training: Settings = Field(default_factory=dict, description="Fields of TrainingSpec.")
    source_training: Settings = Field(default_factory=dict, description="The same for searches of sources alone.")
    target_training: Settings = Field(
        default_factory=dict, description="The same for trainings on targets and for the targets' own searches."
    )
    rewind: Time | None = Field(
        None, description="The rewind point of searches. Default: what is usual for the task, such as one epoch."
    )
    source_rewind: Time | None = Field(None, description="The rewind point of searches of sources. Default: rewind.")


class SetSpec(TrainedSpec):
    """A dataset of a study, with what it needs to be trained on.

    >>> SetSpec(data="imagenet", training={"batch": 1536}, rewind="3ep").data.name
    'imagenet'
    """

    kind: ClassVar[str] = "set"

    data: DataSpec


class PropertiesSpec(Spec):
    """What a study states about a whole dataset, since a small part of it does not show how simple the dataset is."""

    kind: ClassVar[str] = "properties"

    score: float | None = Field(None, description="The score that a dense network reaches on all of the set.")
    classes: int | None = Field(None, ge=1, description="Its classes.")
    examples: int | None = Field(None, ge=1, description="Its training examples.")


class ComplexitySpec(Spec):
    """Which targets claim C5 counts as simple, and which sources as more complex.

    A target is simple if its dense network reaches `score` and it has at most `classes` classes. A source is more
    complex than a target if it has at least as many classes and examples, more of one of them, and no higher a dense
    score where both are known. Scores are those of the study's own dense networks unless `sets` states others.

    >>> ComplexitySpec(sets={"fashion_mnist": {"score": 0.93}}).sets["fashion_mnist"].classes is None
    True
    """

    kind: ClassVar[str] = "complexity"

    score: float | None = Field(
        None, description="A target is simple if its dense network reaches this score. Default: an accuracy of 0.85."
    )
    classes: int = Field(10, ge=1, description="The most classes of a simple target.")
    sets: dict[str, PropertiesSpec] = Field(
        default_factory=dict,
        description="Known facts about whole datasets, by their names in the study or everywhere: score, classes, "
        "examples. Without them, a target with few examples is judged by the study's own dense networks.",
    )


class PartSpec(TrainedSpec):
    """A grid: every source is transferred to every target. Fields that are not given are the study's.

    >>> PartSpec(sources=["digits:a"], targets=["digits:b"], levels=[20, 5]).levels
    (5, 20)
    """

    kind: ClassVar[str] = "part"

    sources: Sources = Field(
        description="Where tickets are found: sets of the study, or datasets. A list within the list is one ticket for "
        "several datasets; a table with `consensus` is what several searches agree on."
    )
    targets: Sets | None = Field(None, description="Where they are transferred. Default: the sources.")
    models: Names | None = Field(None, description="Models of the study, or known ones. Default: the study's only one.")
    optimizers: Names | None = Field(None, description="Optimizers for sources and for targets, in all pairs.")
    source_optimizers: Names | None = Field(None, description="Optimizers that tickets are found with.")
    target_optimizers: Names | None = Field(None, description="Optimizers that train tickets on the targets.")
    arms: Arms | None = Field(None, description="What is trained on the targets.")
    levels: Levels | None = Field(None, description="Which levels of the sources are transferred.")
    replicates: Replicates | None = Field(None, description="How often all of it is done.")
    task: TaskSpec | None = Field(None, description="What its networks are trained for. Default: the study's task.")
    pruning: Settings = Field(default_factory=dict, description="Fields of PruningSpec.")
    equal: Equals | None = Field(None, description="Compare its sources at equal epochs, steps, or both.")
    head: Head | None = Field(None, description="The output layer on the targets.")
    head_start: HeadStart | None = Field(None, description="Whether target steps inside rewound weights count.")

    @field_validator("target_optimizers")
    @classmethod
    def _both(cls, value: Any, info: ValidationInfo) -> Any:
        both, source = (info.data.get(name) for name in ("optimizers", "source_optimizers"))
        if both is not None and (source is not None or value is not None):
            raise ValueError("give either optimizers, for sources and targets alike, or source_ and target_optimizers")
        return value


class StudySpec(TrainedSpec):
    """A study: named sets, models and optimizers, and the grids that are made of them.

    >>> study = StudySpec(name="mine", levels=[5], parts={"halves": {"sources": ["digits:a"], "targets": ["digits:b"]}})
    >>> study.arms
    ('dense', 'ticket', 'reinit', 'global-random')
    """

    kind: ClassVar[str] = "study"

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="Default: the file's name.")
    title: str = Field("", description="The report's title.")
    note: str = Field("", description="What a reader of the report must know.")
    levels: Levels = Field(
        description="Which levels of the sources are transferred; each search goes as deep as they need."
    )
    arms: Arms = Field(("dense", "ticket", "reinit", "global-random"), description="What is trained on the targets.")
    replicates: Replicates = Field(3, description="How often all of it is done, with random streams of its own.")
    seed: int = Field(0, ge=0, lt=2**63, description="Root of all random streams.")
    threads: int = Field(1, ge=1, le=1024, description="CPU threads of one training, by every engine.")
    subsets: Subsets = Field("replicate", description=SUBSETS)
    head: Head = Field("fresh", description="The output layer on the targets.")
    head_start: HeadStart = Field("equal", description=COUNTED)
    task: TaskSpec = Field(TaskSpec(), description="What all networks are trained for.")
    equal: Equals | None = Field(
        None,
        description="How sources are compared. epochs: each trains for the same number of its own epochs. steps: each "
        "trains for as many steps as the first source of its part (times in steps must agree). Both: everything is "
        "trained twice. Default: as written.",
    )
    pruning: Settings = Field(default_factory=dict, description="Fields of PruningSpec for all searches.")
    claims: tuple[Annotated[str, CLAIMS], ...] = Field(
        (), description="What the report judges: C1 to C6, or your own as 'file.py:function'."
    )
    figures: tuple[Annotated[str, FIGURES], ...] = Field(
        tuple(FIGURES), description="What the report draws, in this order; your own as 'file.py:function'."
    )
    margin: float | None = Field(
        None, gt=0, description="The largest difference in the metric that counts as none. Default: 0.02 of accuracy."
    )
    densities: Densities | None = Field(
        None,
        description="The densities at which claims are judged, such as 0.17 and 0.035. Each means the nearest level, "
        "at most a tenth away. Default: the sparsest level.",
    )
    complexity: ComplexitySpec = Field(
        ComplexitySpec(), description="Which targets are simple and which sources more complex, for claim C5."
    )
    sets: dict[str, SetSpec] = Field(default_factory=dict, description="Datasets by the names they go by here.")
    models: dict[str, ModelSpec] = Field(default_factory=dict, description="Models by the names they go by here.")
    optimizers: dict[str, OptimizerSpec] = Field(default_factory=dict, description="Optimizers by their names here.")
    parts: dict[str, PartSpec] = Field(min_length=1, description="The grids.")
    take: tuple[str, ...] = Field((), description="Which parts to run. Default: all.")
