"""A name that a spec allows is a row of the table that acts on it, and the other way round."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from oneticket.apply.apply import HEADS
from oneticket.guard.guard import RULES
from oneticket.lottery.spec import TransferSpec
from oneticket.training.loop import PRECISION
from oneticket.training.spec import TrainingSpec


def allowed(spec: Any, field: str) -> set[str]:
    return set(get_args(spec.model_fields[field].annotation))


@pytest.mark.parametrize(
    ("named", "table"),
    [
        (allowed(TrainingSpec, "precision"), PRECISION),
        ({rule.removesuffix("+fold") for rule in allowed(TrainingSpec, "guard")}, RULES),
        (allowed(TransferSpec, "head"), HEADS),
    ],
)
def test_specs_and_tables_agree(named: set[str], table: Any) -> None:
    """Of open tables, `Table.filled` sees to it."""
    assert named == set(table)
