"""The source that a name means: generated sets, then the data home, then local paths, then the Hub."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from oneticket.data import arrays, hub
from oneticket.data.images.folder import folder
from oneticket.data.images.scan import METADATA, scan
from oneticket.data.own import own
from oneticket.data.roles import role, split_of
from oneticket.data.sources import DataRequest, DataSource
from oneticket.data.spec import FILES, own_path
from oneticket.data.texts.plain import plain_text
from oneticket.ground.errors import DataError, WrongDataError


def home() -> Path | None:
    """The data home: the folder ONETICKET_DATA with local copies, in the Hub's layout; None if not set."""
    text = os.environ.get("ONETICKET_DATA")
    return Path(os.path.expanduser(text)) if text else None


def find(request: DataRequest, *, fetch: bool = True) -> DataSource:
    """The source of a set (without its half); raises DataError saying where it looked and what to do.

    `fetch`: whether the Hub is asked for what is neither here nor was fetched before.

    >>> from oneticket.data.spec import DataSpec
    >>> find(DataRequest(spec=DataSpec(name="digits:a"))).where
    'digits'
    """
    name = request.spec.set
    if own_path(request.spec.name):
        return own(request)
    if name in GENERATED:
        return GENERATED[name]()
    from oneticket.data.table import loaded

    places, streams = _places(name), name in STREAMED
    for place in places:
        source = _local(place, request, streams=streams)
        if source is not None:
            return source
    looked = ", ".join(map(str, places)) or "no local folder (ONETICKET_DATA is not set)"
    repo, config = HUB.get(name) or _repo(name)
    if not repo:
        advice = ARCHIVES.get(name, "check the path")
        raise WrongDataError(f"dataset {name!r} not found; looked in {looked}; {advice}")
    try:
        parts = hub.fetched(repo, config, fetch=fetch)
    except DataError as error:
        raise DataError(
            f"dataset {name!r} not found; looked in {looked}; then {error}. Set ONETICKET_DATA to a folder that holds "
            f"{'/'.join(filter(None, (repo, config)))}/<split>-*.parquet, or try again with network access"
        ) from None
    return loaded(parts, hub.kept_in(parts), name, request, streams=streams)


def _places(name: str) -> list[Path]:
    """The local paths that a name may stand for."""
    root = home()
    if name in HUB or name in ARCHIVES:
        repo, config = HUB.get(name, (None, None))
        inside = [f"{repo}/{config}", f"{repo}/data", repo] if repo else []
        return [root / place for place in (*inside, name, f"{name}_standard")] if root else []
    in_root = [root / name] if root and not name.startswith((".", "~", "/")) else []
    return [*in_root, Path(os.path.expanduser(name))]


def _local(place: Path, request: DataRequest, *, streams: bool) -> DataSource | None:
    if place.is_file() and place.suffix == ".npz":
        return arrays.npz(place, request.targets)
    if place.is_file():
        return _file(place, request)
    if not place.is_dir():
        return None
    from oneticket.data.images.metadata import by_metadata
    from oneticket.data.table import files_of, folder_of_tables, loaded

    if any(path.name not in METADATA for path in place.glob("*.parquet")):
        return folder_of_tables(place, files_of(place), request, streams=streams)
    found = scan(place)
    if found.filled or found.images:
        return by_metadata(found, streams=streams) or folder(found, streams=streams)
    if files := files_of(place):
        return folder_of_tables(place, files, request, streams=streams)
    if files := files_of(place, ".csv"):
        return folder_of_tables(place, files, request)
    if books := _books(place):
        raise WrongDataError(f"{place}: holds plain texts; name one: {', '.join(books[:5])}")
    configs = sorted(child for child in place.iterdir() if child.is_dir() and files_of(child))
    if len(configs) > 1:
        raise WrongDataError(
            f"{place}: holds several sets; name one: {', '.join(f'{place}/{child.name}' for child in configs)}"
        )
    if configs:
        return folder_of_tables(configs[0], files_of(configs[0]), request, streams=streams)
    if any(role(child.name) == "train" for child in found.folders):
        raise DataError(f"{place}: split 'train' is empty; expected at least one image of each class")
    if not any(place.iterdir()):
        raise WrongDataError(
            f"{place}: the folder is empty; expected train/<class>/*.png, <split>-*.parquet or <split>.csv"
        )
    kept = sorted(path for path in place.rglob("*") if path.is_file())
    return loaded(hub.local(place), kept, str(place), request, streams=streams)


def _file(place: Path, request: DataRequest) -> DataSource:
    """A file that is a set by itself."""
    from oneticket.data.table import READERS, single

    if place.suffix == ".txt":
        return plain_text(place, request)
    if place.suffix in READERS and role(split_of(place.stem)) is None:
        return single(place, request)
    raise WrongDataError(
        f"{place}: is a file; expected a folder of images, Parquet or CSV files, or a file that is a whole set: .npz, "
        ".parquet, .csv or .txt"
    )


def _books(place: Path) -> list[str]:
    """The plain texts in a folder that holds nothing else."""
    found = sorted(path for path in place.iterdir() if not path.name.startswith("."))
    return [str(path) for path in found] if all(path.suffix == ".txt" for path in found) else []


def _repo(name: str) -> tuple[str | None, str | None]:
    match = re.fullmatch(r"(\w[\w.-]*/[\w.-]+?)(?:/([\w.-]+))?", name)
    return (match[1], match[2]) if match and not name.endswith(FILES) else (None, None)


GENERATED: dict[str, Callable[[], DataSource]] = {
    "diabetes": arrays.diabetes,
    "digits": arrays.digits,
    "mnist1d": arrays.mnist1d,
}

HUB: dict[str, tuple[str, str]] = {
    "mnist": ("ylecun/mnist", "mnist"),
    "fashion_mnist": ("zalando-datasets/fashion_mnist", "fashion_mnist"),
    "svhn": ("ufldl-stanford/svhn", "cropped_digits"),
    "cifar10": ("uoft-cs/cifar10", "plain_text"),
    "cifar100": ("uoft-cs/cifar100", "cifar100"),
    "imagenet": ("ILSVRC/imagenet-1k", "default"),
}

ARCHIVES: dict[str, str] = {
    "places365": "set ONETICKET_DATA and unpack the official archive there, to places365_standard/train and /val",
}

STREAMED = frozenset(("imagenet", "places365"))
