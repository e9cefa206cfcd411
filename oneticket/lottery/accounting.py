"""The head start: the step of the target's schedule at which an arm begins, so that all arms see equally many.

Weights rewound on the target's own data have seen k of its steps before a comparison begins.

| head_start | starts from weights rewound on the target's own data | all others |
|------------|------------------------------------------------------|------------|
| equal      | at step k of the schedule                            | at step 0  |
| paper      | at step 0, so k steps ahead (Morcos et al., 2019)    | at step 0  |

k counts the optimizer steps inside the weights, by any optimizer. Data are the same if the training examples and their
targets are the same at the same size, whatever the test part and the augmentation. Weights rewound on other data that
share examples with the target begin at step 0; a study's plan and report name such sources.
"""

from __future__ import annotations

from dataclasses import dataclass

from oneticket.data.spec import DataSpec
from oneticket.ground.errors import SpecError
from oneticket.lottery.arms import ARMS
from oneticket.lottery.spec import HeadStart


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """The data that rewound weights have seen: so many optimizer `steps` on the data of that `digest`; None if unknown.

    `digest`: of the training examples only. `whole`: for a file, the digest of all of its data, test examples included;
    `data`: their spec in the file.
    """

    steps: int
    digest: str | None
    whole: str | None = None
    data: DataSpec | None = None


def first_step(arm: str, *, source: Seen, own: Seen | None, digest: str, head_start: HeadStart) -> int:
    """The step of the target's schedule at which an arm begins; `digest`: of the target's training examples.

    `own`: of the target's own search; if its data are unknown, its weights count as seen on the target. An arm of the
    user's own begins at step 0. Raises SpecError if the target's own search was on other data.

    >>> same, other = Seen(steps=20, digest="this"), Seen(steps=30, digest="that")
    >>> asked = {"source": other, "own": same, "digest": "this", "head_start": "equal"}
    >>> [first_step(arm, **asked) for arm in ("dense", "ticket", "weights-only", "own", "mask-only", "own-reinit")]
    [0, 0, 0, 20, 20, 0]
    >>> first_step("ticket", **{**asked, "source": same}), first_step("own", **{**asked, "head_start": "paper"})
    (20, 0)
    >>> first_step("own-search", **{**asked, "head_start": "paper"})  # a level of a search, which begins at step k
    20
    """
    weights = None if ARMS.is_own(arm) else ARMS[arm].weights
    if weights is None or (head_start == "paper" and ARMS[arm].head == "asked"):
        return 0
    if weights == "source":
        return source.steps if source.digest == digest else 0
    if own is None:  # the arm itself reports that
        return 0
    if own.digest not in (None, digest):
        raise SpecError(
            f"arm {arm}: the target's own search was on other data (digest {own.digest[:16]}) than the target has "
            f"({digest[:16]}), so its steps are not the target's; give the search on the target, or set head_start to "
            "paper"
        )
    return own.steps


def check_start(arm: str, start: int, total: int) -> int:
    """`start`, unless a schedule of `total` steps has ended by then: SpecError."""
    if start >= total:
        raise SpecError(
            f"arm {arm}: its weights were trained for {start} steps on the target's data, and the target's training "
            f"ends at step {total}; train longer, rewind earlier, or set head_start to paper"
        )
    return start
