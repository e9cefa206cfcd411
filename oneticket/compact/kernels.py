"""Products with remaining weights only: numba kernels over images stored plane by plane, the batch innermost.

An activation (N, C, H, W) is stored as (C, H + 2 ph, W + 2 pw, N) with zero borders. A weight that joins input channel
c to output channel o at kernel place (i, j) then adds, for every row of the output, its multiple of one contiguous run
of W x N numbers that begins at (c, h + i, j). So a convolution is a sparse matrix times shifted rows, without
unfolding, and a linear layer is a convolution of 1 x 1 images. Four runs are added at once, since then loads, not
stores, are the limit.

Measured on one core (AMD EPYC with AVX-512, batch 128, 300 x 784): dense forward 0.72 ms; these kernels 0.24 at 20 %
density, 0.06 at 5 %; torch's CSR product 0.44 and 0.12. The weights' gradient: dense 0.63 ms, these 0.22 and 0.05.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numba import njit


def _compiled(kernel: Callable[..., None]) -> Callable[..., None]:
    """Sums may be reordered, as in any matrix product, but NaN and infinity keep their meaning."""
    how: dict[str, Any] = {
        "nogil": True,
        "boundscheck": False,
        "error_model": "numpy",
        "fastmath": {"contract", "reassoc", "nsz"},
    }
    try:
        return cast("Callable[..., None]", njit(cache=True, **how)(kernel))
    except RuntimeError:  # no folder to keep it in
        return cast("Callable[..., None]", njit(**how)(kernel))


Array = np.ndarray[Any, Any]
TILE = 16


@_compiled
def products(
    first: Array,
    row: Array,
    value: Array,
    bias: Array,
    x: Array,
    x_at: Array,
    y: Array,
    y_at: Array,
    plane: int,
    run: int,
    width: int,
) -> None:
    """y[o, p] = bias[o] + sum over k of value[k] x[row[k] + p], for every run p of every output channel o.

    The entries of o are first[o], ..., first[o + 1] - 1. `x`, `y`: flat; `row` counts in units of `width` numbers; run
    p begins at x_at[p] past an entry's row, and at y_at[p] past o's plane; a plane of y has `plane` numbers.
    """
    for p in range(len(x_at)):
        shift = x_at[p]
        for o in range(len(first) - 1):
            at = o * plane + y_at[p]
            out = y[at : at + run]
            constant = bias[o]
            for i in range(run):
                out[i] = constant
            k, end = first[o], first[o + 1]
            while k + 4 <= end:
                a, b, c, d = row[k] * width, row[k + 1] * width, row[k + 2] * width, row[k + 3] * width
                xa, xb = x[a + shift : a + shift + run], x[b + shift : b + shift + run]
                xc, xd = x[c + shift : c + shift + run], x[d + shift : d + shift + run]
                va, vb, vc, vd = value[k], value[k + 1], value[k + 2], value[k + 3]
                for i in range(run):
                    out[i] += va * xa[i] + vb * xb[i] + vc * xc[i] + vd * xd[i]
                k += 4
            while k < end:
                a = row[k] * width
                xa, va = x[a + shift : a + shift + run], value[k]
                for i in range(run):
                    out[i] += va * xa[i]
                k += 1


@_compiled
def dots(
    first: Array, row: Array, x: Array, x_at: Array, y: Array, y_at: Array, plane: int, run: int, width: int, out: Array
) -> None:
    """out[k] += sum over runs p of y[o, p] . x[row[k] + p]: the gradient of every remaining weight. Layout as above."""
    for p in range(len(x_at)):
        shift = x_at[p]
        for o in range(len(first) - 1):
            at = o * plane + y_at[p]
            g = y[at : at + run]
            k, end = first[o], first[o + 1]
            while k + 4 <= end:
                a, b, c, d = row[k] * width, row[k + 1] * width, row[k + 2] * width, row[k + 3] * width
                xa, xb = x[a + shift : a + shift + run], x[b + shift : b + shift + run]
                xc, xd = x[c + shift : c + shift + run], x[d + shift : d + shift + run]
                sa = sb = sc = sd = np.float32(0)
                for i in range(run):
                    v = g[i]
                    sa += v * xa[i]
                    sb += v * xb[i]
                    sc += v * xc[i]
                    sd += v * xd[i]
                out[k] += sa
                out[k + 1] += sb
                out[k + 2] += sc
                out[k + 3] += sd
                k += 4
            while k < end:
                a = row[k] * width
                xa, sa = x[a + shift : a + shift + run], np.float32(0)
                for i in range(run):
                    sa += g[i] * xa[i]
                out[k] += sa
                k += 1


@_compiled
def lay(x: Array, y: Array, ph: int, pw: int) -> None:
    """Images x (N, H, W, C) into the middle of planes y (C, H + 2 ph, W + 2 pw, N), in tiles that stay in cache."""
    count, height, width, channels = x.shape
    for h in range(height):
        for w in range(width):
            for c0 in range(0, channels, TILE):
                for n0 in range(0, count, TILE):
                    for c in range(c0, min(channels, c0 + TILE)):
                        for n in range(n0, min(count, n0 + TILE)):
                            y[c, h + ph, w + pw, n] = x[n, h, w, c]


@_compiled
def lift(y: Array, x: Array) -> None:
    """Planes y (C, H, W, N) back into images x (N, H, W, C)."""
    count, height, width, channels = x.shape
    for h in range(height):
        for w in range(width):
            for n0 in range(0, count, TILE):
                for c0 in range(0, channels, TILE):
                    for n in range(n0, min(count, n0 + TILE)):
                        for c in range(c0, min(channels, c0 + TILE)):
                            x[n, h, w, c] = y[c, h, w, n]
