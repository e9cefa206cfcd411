"""Kernels that numba compiles once and keeps on disk, dated by the content of all files that they are made of."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import inspect
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from numba import config, njit
from numba.core.caching import FunctionCache, IndexDataCacheFile

if config.DISABLE_JIT:  # type: ignore[attr-defined]  # what runs as Python has no intrinsics: as if numba were missing
    raise ImportError("NUMBA_DISABLE_JIT is set, so no kernel can be compiled")

SUMS = {"contract", "reassoc", "nsz"}
"""For `fastmath`: sums may be reordered, as in any matrix product, but NaN and infinity keep their meaning."""


class _Files(IndexDataCacheFile):
    """An index and its data files, each of which says what it is of.

    Numba's do not: where two processes save at once, one's index may name the other's data, of other types or sources.
    """

    def save(self, key: Any, data: Any) -> None:
        super().save(key, (self._source_stamp, key, data))  # type: ignore[no-untyped-call]

    def load(self, key: Any) -> Any:
        found = super().load(key)  # type: ignore[no-untyped-call]
        if found is None or found[:2] != (self._source_stamp, key):
            return None
        return found[2]

    def forget(self) -> None:
        """Remove what is damaged; which file it is, its index may no longer say."""
        folder, base = Path(self._cache_path), self._index_name.removesuffix(".nbi")
        with contextlib.suppress(OSError):
            for path in [folder / self._index_name, *folder.glob(f"{glob.escape(base)}.*.nbc")]:
                path.unlink(missing_ok=True)


class _Kept(FunctionCache):
    """Numba's cache knows the one file of a kernel, and lets full disks and damaged files break off who needs it."""

    _cache_file: _Files

    def __init__(self, kernel: Callable[..., Any], made_of: tuple[str, ...]) -> None:
        super().__init__(kernel)  # type: ignore[no-untyped-call]
        stamp = (self._impl.locator.get_source_stamp(), *map(_digest, made_of))
        self._cache_file = _Files(self._cache_path, self._impl.filename_base, stamp)  # type: ignore[no-untyped-call]

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        with self._healing():
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with self._healing():
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]

    @contextlib.contextmanager
    def _healing(self) -> Iterator[None]:
        """A file that cannot be read or written stays as it is; one that says nothing sensible is removed."""
        try:
            yield
        except OSError:
            pass
        except Exception:  # whatever pickle and LLVM make of a file that was cut off
            self._cache_file.forget()


def compiled(*made_of: ModuleType, **how: Any) -> Callable[[Callable[..., Any]], Any]:
    """A decorator: compile at the first call, or load what was compiled before from the same sources.

    `made_of`: other modules whose code becomes part of the kernel. `how`: see `numba.njit`; kernels release the GIL and
    check no bounds. Where nothing can be kept on disk, every process compiles for itself.
    """
    files = tuple(inspect.getfile(each) for each in made_of)

    def make(kernel: Callable[..., Any]) -> Any:
        made = njit(nogil=True, boundscheck=False, error_model="numpy", **how)(kernel)
        with contextlib.suppress(RuntimeError):  # no folder to keep it in
            made._cache = _Kept(kernel, (inspect.getfile(kernel), *files))
        return made

    return make


@cache
def _digest(file: str) -> str:
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except OSError:  # within an archive, whose date numba knows
        return ""
