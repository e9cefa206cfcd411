"""How a folder of images is laid out: which folders in it are splits, which are classes.

Splits hold class folders (`Train/cat/`), or classes hold split folders (`cat/train/`), or there are classes alone.
What has two readings is refused with both.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from oneticket.data.images.scan import ScannedFolder
from oneticket.data.roles import Role, role, unclear_sibling
from oneticket.ground.errors import DataError

Files = tuple[tuple[str, str], ...]  # (class, path), sorted by class, then by path


@dataclass(frozen=True, kw_only=True)
class FolderLayout:
    """Splits with the files of their classes, the classes that training has, and what is left out (reason, path).

    `origins`: what each split is called, as `Train/`. `bare`: folders named as splits that hold no images.
    """

    splits: dict[str, Files]
    origins: dict[str, str]
    classes: tuple[str, ...]
    others: tuple[tuple[str, str], ...]
    bare: tuple[str, ...] = ()


def layout(root: ScannedFolder) -> FolderLayout:
    """The layout of a folder that holds images; raises DataError, naming both readings, where there are two."""
    inner = set_folder(root)
    splits = [folder for folder in inner.filled if role(folder.name) and folder.filled]
    if splits:
        found = _by_split(root, inner, splits)
    else:
        _refuse_parts_without_classes(inner)
        found = _nested(inner) or _classes_alone(root, inner)
    used = {path for files in found.splits.values() for _, path in files} | {path for _, path in found.others}
    lost = tuple(("in no class folder", path) for path in root.every_image() if path not in used)
    bare = [folder.name for folder in inner.folders if role(folder.name) and folder not in inner.filled]
    return replace(found, others=(*lost, *found.others, *root.every_other()), bare=tuple(bare))


def set_folder(root: ScannedFolder) -> ScannedFolder:
    """The folder that holds the set, where it lies alone in folders around it."""
    while not root.images and len(root.filled) == 1 and not role(root.filled[0].name) and _wraps(root.filled[0]):
        root = root.filled[0]
    return root


def split_folders(root: ScannedFolder) -> tuple[ScannedFolder, ...]:
    """The folders with names of splits, the training one first, then test, then validation."""
    named = [folder for folder in root.filled if role(folder.name)]
    return tuple(sorted(named, key=lambda folder: ORDER.index(role(folder.name))))


def _by_split(root: ScannedFolder, inner: ScannedFolder, splits: Sequence[ScannedFolder]) -> FolderLayout:
    where = str(inner.path)
    kinds = {role(folder.name) for folder in splits}
    strangers = [folder for folder in inner.filled if not role(folder.name)]
    train = next((folder for folder in splits if role(folder.name) == "train"), None)
    if train is None and (strangers or any(role(folder.name) == "train" for folder in inner.filled)):
        flat = next((folder for folder in inner.filled if role(folder.name) == "train"), None)
        if flat:
            raise DataError(
                f"{where}: {flat.name}/ holds images in no class folder; expected {flat.name}/<class>/*.png"
            )
        raise DataError(_split_or_class(where, splits[0], strangers[0]))
    if train is not None and strangers and kinds == {"train"}:
        same = {folder.name for folder in strangers[0].filled} & {folder.name for folder in train.filled}
        words = unclear_sibling(where, f"{train.name}/", f"{strangers[0].name}/")
        raise DataError(words if same else _split_or_class(where, train, strangers[0]))
    ordered = [folder for folder in split_folders(inner) if folder in splits]
    inside = {folder.name: _split_root(folder) for folder in ordered}
    first = inside[(train or ordered[0]).name]
    classes = tuple(folder.name for folder in first.folders)
    for name, folder in inside.items():
        if strange := [each.name for each in folder.filled if each.name not in classes]:
            raise DataError(_strange(where, name, strange, classes))
    return FolderLayout(
        splits={name: _files(folder.filled, where) for name, folder in inside.items()},
        origins={name: f"{_under(root, folder)}/" for name, folder in inside.items()},
        classes=classes,
        others=tuple((f"in {each.name}/, which is no part", path) for each in strangers for path in each.every_image()),
    )


def _nested(inner: ScannedFolder) -> FolderLayout | None:
    """Classes that hold split folders; None where no class does."""
    holders = [each for each in inner.filled if any(role(folder.name) for folder in each.filled)]
    if not holders:
        return None
    for each in inner.filled:
        odd = next((folder for folder in each.filled if not role(folder.name)), None)
        if each.images or odd or each not in holders:
            split = next(folder for folder in holders[0].filled if role(folder.name))
            raise DataError(
                f"{inner.path}: {holders[0].name}/{split.name}/ is either the {role(split.name)} part of class "
                f"{holders[0].name}, but then {_under(inner, odd or each)}/ has to be split likewise, or it is part of "
                f"the class and of no split (rename it)"
            )
    splits: dict[str, list[tuple[str, str]]] = {}
    for each in holders:
        for folder in split_folders(each):
            found = splits.setdefault(str(role(folder.name)), [])
            if several := _folders_of_images(folder):
                raise DataError(
                    f"{inner.path}: {each.name}/{folder.name}/ holds {' and '.join(several[:2])}; {each.name} is "
                    f"either a set, of which those are classes (then name it: {each.path}), or a class (then put their "
                    f"images directly into {each.name}/{folder.name}/)"
                )
            if any(name == each.name for name, _ in found):
                raise DataError(f"{each.path}: two folders could each be the {role(folder.name)} part; rename one")
            found += [(each.name, path) for path in sorted(folder.every_image())]
    return FolderLayout(
        splits={kind: tuple(splits[kind]) for kind in ORDER if kind in splits},
        origins={kind: f"<class>/{kind}/" for kind in splits},
        classes=tuple(folder.name for folder in inner.folders),
        others=(),
    )


def _classes_alone(root: ScannedFolder, inner: ScannedFolder) -> FolderLayout:
    under = _under(root, inner)
    return FolderLayout(
        splits={"all": _files(inner.filled, str(inner.path))},
        origins={"all": "its images" if inner is root else f"{under}/"},
        classes=tuple(folder.name for folder in inner.folders),
        others=(),
    )


def _refuse_parts_without_classes(inner: ScannedFolder) -> None:
    named = [f"{folder.name}/" for folder in inner.filled if role(folder.name)]
    count, where = sum(1 for _ in inner.every_image()), inner.path
    if not inner.filled:
        raise DataError(
            f"{where}: holds {count} images in no class folder, so they are of one class; expected <class>/*.png or "
            "train/<class>/*.png, or metadata.csv with the columns file_name and label"
        )
    if len(named) > 1 or len(inner.filled) == len(named):
        raise DataError(
            f"{where}: {' and '.join(named)} hold images in no class folder; if they are parts of the set, put the "
            f"images of each class into a folder of its own ({named[0]}<class>/*.png); if they are classes, rename them"
        )


def _files(classes: Sequence[ScannedFolder], where: str) -> Files:
    """The images of class folders, at any depth."""
    for each in classes:
        _refuse_two_levels(each, where)
    return tuple((each.name, path) for each in classes for path in sorted(each.every_image()))


def _refuse_two_levels(each: ScannedFolder, where: str) -> None:
    """A folder that holds folders of images alone may be a class, or stand for several; a split in it is neither."""
    if split := next(filter(None, map(_split_in, each.filled)), None):
        raise DataError(
            f"{where}: {each.name}/{_under(each, split)}/ lies in class {each.name}, and is either a part of the set "
            f"(then move it out, as {split.name}/{each.name}/) or of the class (then rename it)"
        )
    if several := _folders_of_images(each):
        first, second = several[:2]
        raise DataError(
            f"{where}: {each.name}/ is either one class (then put the images of {first}/ and {second}/ directly into "
            f"it), or {first} and {second} are classes (then move them up to where {each.name}/ is)"
        )


def _folders_of_images(folder: ScannedFolder) -> list[str]:
    """The folders, of which there are several, that hold all images of this one; none where it has images itself."""
    while not folder.images and len(folder.filled) == 1:
        folder = folder.filled[0]
    return [] if folder.images else [each.name for each in folder.filled]


def _split_in(folder: ScannedFolder) -> ScannedFolder | None:
    """The first folder that is named as a split, this one or one in it."""
    return folder if role(folder.name) else next(filter(None, map(_split_in, folder.filled)), None)


def _split_root(folder: ScannedFolder) -> ScannedFolder:
    """The folder that holds the classes of a split: `train/`, or `train/train/`."""
    while not folder.images and len(folder.folders) == 1 and _wraps(folder.folders[0]):
        folder = folder.folders[0]
    return folder


def _wraps(folder: ScannedFolder) -> bool:
    return bool(folder.filled) and not folder.images


def _split_or_class(where: str, split: ScannedFolder, other: ScannedFolder) -> str:
    inside = ", ".join(folder.name for folder in split.filled[:3])
    return (
        f"{where}: {split.name}/ is either the {role(split.name)} part, of the classes {inside} (then move "
        f"{other.name}/ elsewhere), or a class beside {other.name} (then put its images directly into it, or rename it)"
    )


def _strange(where: str, split: str, strange: Sequence[str], classes: Sequence[str]) -> str:
    alike = {name.casefold(): name for name in classes}
    near = alike.get(strange[0].casefold())
    hint = f"; it has {near}, which differs in case: rename one" if near else "; add some, or move it elsewhere"
    return f"{where}: {split}/ has class {', '.join(strange[:5])}, which has no training images{hint}"


def _under(root: ScannedFolder, folder: ScannedFolder) -> str:
    return os.path.relpath(folder.path, root.path).replace(os.sep, "/")


ORDER: tuple[Role | None, ...] = ("train", "test", "validation")
