"""A board that looks at its store anew for every page."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from boards import serving

from oneticket.board import view


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """`serving`, where every look at the store is a new one."""
    monkeypatch.setattr(view, "SOON", 0.0)
    monkeypatch.setattr(view, "SHARE", 1e9)
    return serving
