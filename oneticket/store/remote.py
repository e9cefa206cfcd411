"""Files of a store on an object store or any other filesystem that fsspec knows: S3, Google, Azure, SFTP, memory."""

from __future__ import annotations

import contextlib
import errno
import posixpath
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import fsspec  # type: ignore[import-untyped]

from oneticket.ground.errors import StoreError, WrongStoreError
from oneticket.ground.url import without_password
from oneticket.store.mark import Mark

OBJECTS = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory"}
"""Where a put is atomic by itself; elsewhere a temporary file is moved in place."""

TAGS = ("ETag", "etag", "md5Hash", "content_md5")
"""Object stores' names for the tag that identifies an object's content."""


class Remote:
    """Files under a URL; options and credentials come from the environment and fsspec's own configuration.

    Raises WrongStoreError for what is no URL of a store, and StoreError for a kind of URL that no installed package can
    open. It makes no connection yet.
    """

    def __init__(self, url: str) -> None:
        self.location = url if url.endswith("://") else url.rstrip("/")
        self.url = without_password(self.location)
        try:
            self.fs, root = fsspec.core.url_to_fs(self.location)
        except ImportError as error:
            raise StoreError(f"the store {self.url} needs a package that is not installed: {error}") from error
        except ValueError as error:  # so fsspec refuses what is no URL that it knows
            raise WrongStoreError(f"the store {self.url} cannot be opened: {self._words(error)}") from error
        except Exception as error:
            raise StoreError(f"the store {self.url} cannot be opened: {self._words(error)}") from error
        self.root = root.rstrip("/")
        known = {self.fs.protocol} if isinstance(self.fs.protocol, str) else set(self.fs.protocol)
        self.atomic = bool(known & OBJECTS)
        bucket = self.root.partition("/")[0]
        if known & OBJECTS - {"memory"} and (not bucket or re.search(r"\s", bucket)):
            got = f"{bucket!r}, which none can be called" if bucket else "none"
            raise WrongStoreError(f"the store {self.url}: expected a bucket, as s3://bucket/prefix has, got {got}")

    def read(self, names: Iterable[str], *, end: int | None = None) -> dict[str, bytes]:
        """See `Files`; many at once."""
        names = list(names)
        starts = [None if end is None else 0] * len(names)
        found = {}
        with self._errors_in_words("read"):
            read = self.fs.cat_ranges(self._paths(names), starts, [end] * len(names)) if names else []
            for name, content in zip(names, read, strict=True):
                if isinstance(content, OSError) and content.errno == errno.EINVAL:
                    content = b""  # S3 knows no first bytes of an empty file
                if isinstance(content, Exception) and not isinstance(content, FileNotFoundError):
                    raise content
                if isinstance(content, bytes):
                    found[name] = content
        return found

    def size(self, name: str) -> int | None:
        """See `Files`."""
        with self._errors_in_words("read"), contextlib.suppress(FileNotFoundError):
            self.fs.invalidate_cache()
            return int(self.fs.info(*self._paths([name]))["size"])
        return None

    def write(self, contents: Mapping[str, bytes]) -> None:
        """See `Files`."""
        with self._errors_in_words("write to"):
            paths = dict(zip(self._paths(contents), contents.values(), strict=True))
            if self.atomic:
                self.fs.pipe(paths)
                return
            for path, data in paths.items():
                folder, name = posixpath.split(path)
                beside = f"{folder}/.{name}.{secrets.token_hex(4)}"
                self.fs.makedirs(folder, exist_ok=True)
                try:
                    self.fs.pipe_file(beside, data)
                    self.fs.mv(beside, path)
                except BaseException:
                    with contextlib.suppress(Exception):
                        self.fs.rm_file(beside)
                    raise

    def create(self, name: str, data: bytes) -> bool:
        """See `Files`; `data` must be unique to this process, since the content that is there in the end decides."""
        with self._errors_in_words("write to"):
            (path,) = self._paths([name])
            if not self.atomic:
                self.fs.makedirs(posixpath.dirname(path), exist_ok=True)
            try:
                self.fs.pipe_file(path, data, mode="create")
            except FileExistsError:
                pass  # perhaps by a first attempt of our own, whose answer was lost
            except OSError as error:
                if "conditional request" not in str(error):  # S3's words when two such puts cross
                    raise
        return self.read([name]).get(name) == data

    def move(self, name: str, to: str) -> None:
        """See `Files`; on an object store a copy, then a removal."""
        with self._errors_in_words("write to"):
            old, new = self._paths([name, to])
            if self.atomic:
                self.fs.cp_file(old, new)
                self.fs.rm_file(old)
            else:
                self.fs.mv(old, new)

    def remove(self, names: Iterable[str]) -> None:
        """See `Files`."""
        with self._errors_in_words("write to"):
            for path in self._paths(names):
                with contextlib.suppress(FileNotFoundError):
                    self.fs.rm_file(path)

    def sizes(self, under: str = "") -> dict[str, int]:
        """See `Files`."""
        return {name: mark.size for name, mark in self.marks(under).items()}

    def marks(self, under: str = "") -> dict[str, Mark]:
        """See `Files`; proofs are the object store's own tags of content, and where it gives none there are none."""
        with self._errors_in_words("list"):
            self.fs.invalidate_cache()
            found: dict[str, Any] = self.fs.find(f"{self.root}/{under}".rstrip("/"), detail=True)
        start = f"{self.root}/"
        listed = {path.removeprefix(start): of for path, of in found.items() if path.startswith(start)}
        tags = {name: next((str(of[tag]) for tag in TAGS if of.get(tag)), "") for name, of in listed.items()}
        return {name: Mark(int(of["size"]), tags[name]) for name, of in listed.items()}

    def stamps(self) -> dict[str, int] | None:
        """See `Files`; object stores have no folders."""
        return None

    def _paths(self, names: Iterable[str]) -> list[str]:
        return [f"{self.root}/{name}" for name in names]

    @contextlib.contextmanager
    def _errors_in_words(self, doing: str) -> Iterator[None]:
        """Turn any error of a foreign filesystem, of which there is no list, into StoreError with its own words."""
        try:
            yield
        except Exception as error:
            raise StoreError(f"cannot {doing} the store {self.url}: {self._words(error)}") from error

    def _words(self, error: Exception) -> str:
        """The error's own words, which may name the URL, or a path that begins with it."""
        return without_password(str(error)) or type(error).__name__
