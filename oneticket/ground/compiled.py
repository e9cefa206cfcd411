"""Kernels that numba compiles once and keeps on disk, dated by the content of all files that they are made of."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache

SUMS = {"contract", "reassoc", "nsz"}
"""For `fastmath`: sums may be reordered, as in any matrix product, but NaN and infinity keep their meaning."""


class _Kept(FunctionCache):
    """Numba's cache knows the one file of a kernel, and lets a full disk break off the work that needed the kernel."""

    def __init__(self, kernel: Callable[..., Any], made_of: tuple[str, ...]) -> None:
        super().__init__(kernel)  # type: ignore[no-untyped-call]
        file = self._cache_file
        file._source_stamp = (file._source_stamp, *map(_digest, made_of))

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        with contextlib.suppress(OSError):
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with contextlib.suppress(OSError):
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]


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
