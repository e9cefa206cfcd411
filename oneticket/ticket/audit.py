"""Audits: what a guard proves of what it holds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """What an audit found in order: the parameters that are held, their weights, and the moments beside them.

    If `sharded`, weights are counted that lie on this rank.
    """

    parameters: int
    living: int
    total: int
    moments: int
    sharded: bool = False

    def __str__(self) -> str:
        dead, where = self.total - self.living, " on this rank" if self.sharded else ""
        among = f"{self.parameters} parameters and {self.moments} moments"
        return f"{dead:,} pruned weights{where} in {among} are exactly zero"
