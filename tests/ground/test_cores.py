"""Cores: those of the process, and of its container."""

from __future__ import annotations

from pathlib import Path

import pytest

from oneticket.ground import threads


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("200000 100000\n", 2), ("250000 100000\n", 2), ("50000 100000\n", 1), ("max 100000\n", 8), ("", 8), ("1 0", 8)],
)
def test_a_container_may_have_fewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, expected: int) -> None:
    (tmp_path / "cpu.max").write_text(limit)
    monkeypatch.setattr(threads, "_LIMIT", tmp_path / "cpu.max")
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert threads.cores() == expected
    (tmp_path / "cpu.max").unlink()
    assert threads.cores() == 8
