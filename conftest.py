"""What every test leaves as it found it: torch's random state and thread count, and the environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.pop("ONETICKET_DATA", None)  # which sets are there decides what a plan says; tests that need them set it
os.environ.setdefault("ONETICKET_CACHE", str(Path(__file__).parent / ".pytest_cache" / "oneticket-format-2"))
torch.set_num_threads(1)
# The same examples in every run: what passed once passes again. `make fuzz` looks for others.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")

# Set by pytest, by torch when it first makes an optimizer, by scikit-learn and Lightning when first imported.
THEIRS = (
    "PYTEST_CURRENT_TEST",
    "TORCHINDUCTOR_CACHE_DIR",
    "_TORCHINDUCTOR_PYOBJECT_TENSOR_DATA_PTR",
    "KMP_DUPLICATE_LIB_OK",
    "KMP_INIT_AT_FORK",
    "PYTORCH_NVML_BASED_CUDA_CHECK",
)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in THEIRS}


@pytest.fixture(autouse=True)
def _leave_no_trace(request: pytest.FixtureRequest) -> Iterator[None]:
    """A leak into global state is an error of the test that caused it. Doctests may build plain torch layers."""
    if isinstance(request.node, pytest.DoctestItem):
        with torch.random.fork_rng():
            yield
        return
    state, threads, environment = torch.get_rng_state(), torch.get_num_threads(), _environment()
    yield
    assert torch.equal(state, torch.get_rng_state()), "torch's global random state was changed"
    assert torch.get_num_threads() == threads, "the number of threads was changed"
    assert _environment() == environment, "the environment was changed"
