"""Which splits of a set are the training part and the test part, by their names."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Literal

from oneticket.ground.errors import DataError

Role = Literal["train", "test", "validation"]

WORDS: dict[str, Role] = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "eval", "evaluation"), "validation"),
}
FILLERS = frozenset(("set", "data", "image", "images", "img", "imgs", "split", "part", "seg"))
"""Words that come with the role: `training_set`, `test-images`, `seg_train`."""


def role(name: str) -> Role | None:
    """What a split of that name is for, without regard to case; None for any other name.

    >>> [role(name) for name in ("Train", "training_set", "VAL", "val2017", "trainer")]
    ['train', 'train', 'validation', 'validation', None]
    """
    words = [word for word in _words(name) if word not in FILLERS]
    return WORDS.get(words[0]) if len(words) == 1 else None


def split_of(stem: str) -> str:
    """The split that a file of several belongs to, by its name without suffix; raises DataError if it names two.

    A role at the beginning counts first, then a role anywhere, then the first word; numbered shards are one split.

    >>> [split_of(stem) for stem in ("train-00000-of-00002", "cifar10-test", "part-0", "0001")]
    ['train', 'test', 'part', 'all']
    """
    front = stem.split("-")[0]
    if role(front):
        return front
    found = [word for word in re.split(r"[^A-Za-z0-9]+", stem) if role(word)]
    if len({role(word) for word in found}) > 1:
        raise DataError(f"the file {stem!r} names several splits ({', '.join(found)}); rename it to one, as train-0")
    return found[0] if found else "all" if front.isdigit() else front


def assign(splits: Collection[str], labelled: Collection[str], where: str) -> tuple[str, str | None]:
    """The training split and the test split (None: there is none, and a part of the training split is to be held out).

    `labelled`: the splits with labels of the training split's classes. The test split is a labelled `test`, or else a
    labelled `validation`. Raises DataError where two splits could be the one, naming both readings.

    >>> assign(["Train", "val", "test"], ["Train", "val", "test"], "pets")
    ('Train', 'test')
    """
    train = _only([name for name in splits if role(name) == "train"], "training", where)
    if train is None and len(splits) == 1:
        return next(iter(splits)), None
    if train is None:
        found = ", ".join(splits) or "none"
        raise DataError(f"{where}: no training split; expected one of {', '.join(_named('train'))}, got {found}")
    for kind in ("test", "validation"):
        test = _only([name for name in splits if role(name) == kind and name in labelled], "test", where)
        if test is not None:
            return train, test
    others = [name for name in splits if role(name) is None and name in labelled]
    if others:
        raise DataError(unclear_sibling(where, train, others[0]))
    return train, None


def unclear_sibling(where: str, train: str, other: str) -> str:
    """The error text for a split next to the training split whose name does not show its role."""
    return (
        f"{where}: {train} is the training part, but {other} beside it has labels too, and is either the test "
        f"part (rename it to test) or not to be read, so that a fifth of {train} is held out (move it elsewhere)"
    )


def _only(names: list[str], part: str, where: str) -> str | None:
    if len(names) > 1:
        both = " and ".join(names[:2])
        raise DataError(
            f"{where}: {both} could each be the {part} part; rename or move elsewhere the one that is not meant"
        )
    return names[0] if names else None


def _named(kind: Role) -> Iterable[str]:
    return (word for word, meant in WORDS.items() if meant == kind)


def _words(name: str) -> list[str]:
    """`Train_Images` as train, images, and `trainset` as train; numbers do not count."""
    return [word.removesuffix("set") or word for word in re.split(r"[^a-z]+", name.casefold()) if word]
