"""The `datasets` library: sets fetched from the Hub, and local sets that need its loaders."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from oneticket.data.cache import writable
from oneticket.ground import disk, note
from oneticket.ground.errors import DataError, StoreError, WrongDataError, tell
from oneticket.ground.logs import silenced

KIND = "files of a set from the Hub"
PATIENCE = 10.0
"""Seconds to wait for the Hub's first answer."""


def fetched(repo: str, config: str | None, *, fetch: bool = True) -> Mapping[str, Any]:
    """The splits of a Hub dataset, from an earlier fetch if there was one; DataError with the reason if there are none.

    `fetch`: whether to ask the Hub if there was no earlier fetch. A note in the cache says where the first fetch left
    its files, so that nothing asks the network twice.
    """
    of = f"{repo}/{config or 'default'}"
    path = disk.cache_folder() / "hub" / f"{of}.json".replace("/", "--")
    if found := _kept(path, of):
        return found
    if not fetch:
        raise DataError("the Hub was not asked, since nothing is read now")
    return _fetch(repo, config, path, of)


def kept_in(parts: Mapping[str, Any]) -> list[Path]:
    """The Arrow files that splits are mapped from."""
    return [Path(file["filename"]) for _, part in sorted(parts.items()) for file in part.cache_files]


def arrow(files: Mapping[str, list[Path]]) -> Mapping[str, Any]:
    """Large Parquet files as memory-mapped Arrow tables; raises DataError if they cannot be read."""
    try:
        return _load("parquet", data_files={split: [str(path) for path in found] for split, found in files.items()})
    except Exception as error:
        place = next(iter(files.values()))[0].parent
        raise DataError(f"{place}: cannot read these Parquet files: {_first(error)}; fetch them again") from None


def local(root: Path) -> Mapping[str, Any]:
    """What `datasets.load_dataset` makes of any other folder, for example one with a metadata.csv.

    Raises WrongDataError if it holds no files of data, and DataError if they cannot be read.
    """
    from datasets.exceptions import DataFilesNotFoundError, DatasetNotFoundError

    try:
        return _load(str(root))
    except (DataFilesNotFoundError, DatasetNotFoundError) as error:
        raise WrongDataError(
            f"{root}: neither an image folder (train/<class>/*.png), nor <split>-*.parquet, nor anything that the "
            f"datasets library can load: {_first(error)}"
        ) from None
    except Exception as error:  # damaged files, no right to read, no memory: that library has many classes of errors
        cause = f"; {_first(error.__cause__)}" if error.__cause__ else ""
        raise DataError(f"{root}: the datasets library cannot load its files: {_first(error)}{cause}") from None


def _fetch(repo: str, config: str | None, path: Path, of: str) -> Mapping[str, Any]:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import OfflineModeIsEnabled

    try:
        HfApi().dataset_info(repo, timeout=PATIENCE)  # fails at once where load_dataset would retry for half a minute
        parts = _load(repo, name=config)
    except OfflineModeIsEnabled:
        raise DataError("the Hub was not asked, because HF_HUB_OFFLINE is set") from None
    except Exception as error:
        raise DataError(f"the Hub did not provide {repo}: {_first(error)}") from None
    files = {split: [str(path) for path in kept_in({split: part})] for split, part in parts.items()}
    with contextlib.suppress(OSError):
        disk.replace(path, note.write(KIND, of, files).encode())
    return parts


def _kept(path: Path, of: str) -> Mapping[str, Any] | None:
    try:
        files = note.read(path.read_bytes(), KIND, of)
        from datasets import Dataset, concatenate_datasets

        return {
            split: concatenate_datasets([Dataset.from_file(file) for file in found]) for split, found in files.items()
        }
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, StoreError, ValueError) as error:
        tell(path, error, "the Hub is asked again")
        return None


def _load(path: str, name: str | None = None, data_files: Mapping[str, list[str]] | None = None) -> Mapping[str, Any]:
    from datasets import load_dataset

    cache = disk.cache_folder() / "datasets"
    with _quiet():
        parts = load_dataset(path, name, data_files=data_files, cache_dir=str(cache) if writable(cache) else None)
    return dict(parts)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress bars and the logs of either library."""
    import datasets.utils.logging as theirs
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    bars, downloads = theirs.is_progress_bar_enabled(), not are_progress_bars_disabled()
    theirs.disable_progress_bar()
    disable_progress_bars()
    try:
        with silenced("datasets", "huggingface_hub"):
            yield
    finally:
        if bars:
            theirs.enable_progress_bar()
        if downloads:
            enable_progress_bars()


def _first(error: BaseException) -> str:
    """An error in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
