"""The Hugging Face Hub: fetches files, never larger than announced, and commits them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from oneticket.ground.errors import FileError, WrongFileError
from oneticket.ground.logs import silenced

if TYPE_CHECKING:
    from huggingface_hub import HfApi

PATIENCE = 10.0
"""Seconds to wait for the Hub's first answer."""
MOST = 200
"""The most repositories of a user or collection that are listed."""


@contextmanager
def _silent() -> Iterator[None]:
    """Without the log of the Hub's library: it asks again where the Hub is busy, and we say what came of it."""
    import huggingface_hub.utils.logging  # noqa: F401  # sets the level of its log when it is first imported

    with silenced("huggingface_hub"):
        yield


@_silent()
def repositories(where: str) -> list[str]:
    """The ids of a Hub user's tickets, or of a collection's models, or the one repository; raises FileError."""
    from huggingface_hub.errors import RepositoryNotFoundError

    api = _api()
    try:
        if "/" not in where:
            return [model.id for model in api.list_models(author=where, filter="oneticket", limit=MOST)]
        if COLLECTION.fullmatch(where):
            found = api.get_collection(where).items
            return [item.item_id for item in found if item.item_type == "model" and REPO.fullmatch(item.item_id)][:MOST]
    except RepositoryNotFoundError:
        raise WrongFileError(f"{where}: the Hub has no such collection") from None
    except Exception as error:
        raise FileError(f"{where}: the Hub did not list its repositories: {_first(error)}") from None
    return [where]


@_silent()
def fetch(repo: str, revision: str | None, names: Sequence[str], largest: int) -> Path:
    """Ask for a file's name, size and version, then fetch it, and no more bytes than announced."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    api, at = _api(), f" at {revision!r}" if revision else ""
    if (revision is not None and not _REVISION.fullmatch(revision)) or ".." in (revision or ""):
        raise WrongFileError(f"{repo}: expected a commit, branch or tag as revision, got {revision!r}")
    for name in names:
        try:
            url = hf_hub_url(repo, name, revision=revision, endpoint=api.endpoint)
            metadata = api.get_hf_file_metadata(url=url, timeout=PATIENCE)
        except EntryNotFoundError:
            continue
        except RevisionNotFoundError:
            raise WrongFileError(f"{repo}: the Hub has this repository, but nothing{at}") from None
        except (HFValidationError, HfHubHTTPError) as error:
            status = error.response.status_code if isinstance(error, HfHubHTTPError) else 404
            if status >= 500:
                return _cached(repo, revision, names, f"the Hub failed: {_first(error)}")
            # The Hub says 401 for a repository that is not there; a gated one is, but not for everybody.
            gone = isinstance(error, RepositoryNotFoundError) and not isinstance(error, GatedRepoError)
            if gone or status == 404:
                raise WrongFileError(
                    f"{repo}: no such file or folder here, and the Hub did not provide one: {_first(error)}"
                ) from None
            raise FileError(f"{repo}: the Hub did not provide it: {_first(error)}") from None
        except Exception as error:  # no network or offline mode: the HTTP library has many classes of errors
            return _cached(repo, revision, names, f"the Hub was not reached: {_first(error)}")
        size, marks = metadata.size, (metadata.etag or "", metadata.commit_hash or "")
        if size is None or not all(_MARK.fullmatch(mark) for mark in marks):
            raise FileError(f"{repo}: {name}: the server does not say its size, version and commit as the Hub does")
        if size > largest:
            raise FileError(f"{repo}: {name} has {size:,} bytes; at most {largest:,} are fetched (`largest`)")
        return _download(api, repo, revision, name, size)
    raise WrongFileError(f"{repo}: the repository on the Hub holds no {' or '.join(names)}{at}")


def _download(api: HfApi, repo: str, revision: str | None, name: str, size: int) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils.tqdm import tqdm

    class Counted(tqdm):
        """The progress bar, which counts every byte: nothing beyond the announced size reaches the disk."""

        seen = 0

        def update(self, n: float | None = 1) -> bool | None:
            self.seen += int(n or 0)
            if self.seen > size:
                raise FileError(f"{repo}: {name} was said to have {size:,} bytes, but more came; nothing was kept")
            done: bool | None = super().update(n)
            return done

    try:
        return Path(hf_hub_download(repo, name, revision=revision, endpoint=api.endpoint, tqdm_class=Counted))
    except FileError:
        raise
    except Exception as error:
        raise FileError(f"{repo}: {name} could not be fetched: {_first(error)}") from None


def _cached(repo: str, revision: str | None, names: Sequence[str], reason: str) -> Path:
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    for name in names:
        try:
            return Path(hf_hub_download(repo, name, revision=revision, local_files_only=True))
        except EntryNotFoundError:
            continue
    at = f" at {revision!r}" if revision else ""
    raise FileError(
        f"{repo}: no file or folder of that name here; {reason}; and its cache {constants.HF_HUB_CACHE} holds no "
        f"{' or '.join(names)} of it{at}: fetch it once with a network"
    )


@_silent()
def commit(repo: str, files: Mapping[str, bytes], *, private: bool | None, revision: str | None, message: str) -> str:
    """One commit with all files, so that the repository gets all of them or none."""
    from huggingface_hub import CommitOperationAdd

    api = _api()
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repo, branch=revision, exist_ok=True)
        add = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=data) for name, data in files.items()]
        return str(api.create_commit(repo, operations=add, commit_message=message, revision=revision).commit_url)
    except Exception as error:
        raise FileError(f"{repo}: could not be pushed to the Hub: {_first(error)}") from None


def _api() -> HfApi:
    """The Hub that HF_ENDPOINT names now, not when its library was first imported."""
    from huggingface_hub import HfApi

    return HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, library_name="oneticket")


def _first(error: BaseException) -> str:
    """An error in one line."""
    words = " ".join("".join(mark if mark.isprintable() else " " for mark in str(error)).split())
    return f"{type(error).__name__}: {words[:300]}" if words else type(error).__name__


WORD = r"[A-Za-z0-9][\w.-]{0,95}"
REPO = re.compile(rf"{WORD}/{WORD}", re.ASCII)
COLLECTION = re.compile(rf"{WORD}/[\w.-]{{1,200}}-[0-9a-f]{{16,24}}", re.ASCII)
_REVISION = re.compile(r"[\w][\w./-]{0,254}", re.ASCII)
_MARK = re.compile(r"[\w-][\w.-]{0,127}", re.ASCII)
