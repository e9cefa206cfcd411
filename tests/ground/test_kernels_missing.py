"""Without numba, and where it refuses its surroundings with whatever error, all works as torch alone does it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = """
import sys
import importlib.abc

class Broken(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("numba", "llvmlite"):
            raise {error}

if {error} is not None:
    sys.meta_path.insert(0, Broken())
else:
    import numba

import torch
from torch import nn
from oneticket.compact.choose import forms
from oneticket.guard import zero
from oneticket.guard.guard import attach

zero.LOADING = 0
layer = nn.Linear(300, 300)
optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
mask = torch.arange(300 * 300).view(300, 300) % 10 == 0
with attach(layer, optimizer, {{"weight": mask}}) as guard:
    for _ in range(70):
        optimizer.zero_grad()
        layer(torch.ones(4, 300)).sum().backward()
        optimizer.step()
    guard.audit()
zero.load()
print(zero.kernels(), forms({{"layer": layer}}, {{"layer": mask}}, {{"layer": (32, 300)}}))
"""
REFUSALS = {
    "missing": ("ImportError()", {}),
    "of another ABI": ("SystemError('initialization of _internal failed')", {}),
    "told not to compile": ("None", {"NUMBA_DISABLE_JIT": "1"}),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_where_numba_refuses_all_works_without_it(name: str) -> None:
    """In a process of its own, which imports it or does not."""
    error, more = REFUSALS[name]
    if error == "None":
        pytest.importorskip("numba")
    code, env = CODE.format(error=error), {**os.environ, **more}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("None {'layer': 'masked'}\n", 0), done.stderr
