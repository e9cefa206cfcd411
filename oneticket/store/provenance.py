"""Provenance: when, where, how long and with what a step was done. It is stored with an outcome and never hashed."""

from __future__ import annotations

import functools
import platform
import subprocess
from pathlib import Path
from typing import Any

import oneticket
from oneticket.ground import clock


def provenance(*, seconds: float, device: str, how: str = "") -> dict[str, Any]:
    """The facts of work that ends now; with the commit of oneticket's own source, where that lies in a repository.

    >>> provenance(seconds=1.5, device="cpu")["versions"]["oneticket"] == oneticket.__version__
    True
    """
    import torch

    versions = {"torch": torch.__version__, "python": platform.python_version(), "oneticket": oneticket.__version__}
    about = {
        "seconds": seconds,
        "device": device,
        "threads": torch.get_num_threads(),
        "date": clock.date(),
        "host": host(),
        "versions": versions,
    }
    return {**about, **{name: text for name, text in (("how", how), ("commit", _commit())) if text}}


def host() -> str:
    """The name of this machine."""
    return platform.node() or "an unnamed machine"


@functools.cache
def _commit() -> str:
    """The last commit that touched the source, `+` if it was edited since; empty where git knows nothing of it."""
    here = Path(oneticket.__file__).parent
    last, edited = (_git(here, *asked) for asked in (("log", "-1", "--format=%H"), ("status", "--porcelain")))
    return f"{last}+" if last and edited else last


def _git(here: Path, *asked: str) -> str:
    try:
        done = subprocess.run(
            ["git", *asked, "--", "."], cwd=here, capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
