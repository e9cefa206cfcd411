"""A name that a spec allows is a row of the table that acts on it, and the other way round."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from oneticket.apply.carry import HEADS
from oneticket.guard.guard import RULES
from oneticket.lottery.spec import TransferSpec
from oneticket.models.build import _BUILDERS
from oneticket.models.spec import KNOWN
from oneticket.optim.build import _CLASSES
from oneticket.optim.spec import _OPTIMIZERS, OptimizerSpec
from oneticket.pruning.allocate import SCOPES
from oneticket.pruning.criteria import CRITERIA
from oneticket.pruning.spec import KNOWN as CRITERIA_KNOWN
from oneticket.pruning.spec import PruningSpec
from oneticket.report.settings import CRITERIA as WORDS
from oneticket.training.loop import PRECISION
from oneticket.training.spec import TrainingSpec


def allowed(spec: Any, field: str) -> set[str]:
    return set(get_args(spec.model_fields[field].annotation))


@pytest.mark.parametrize(
    ("named", "table"),
    [
        (set(CRITERIA_KNOWN), CRITERIA),
        (set(CRITERIA_KNOWN), WORDS),
        (allowed(PruningSpec, "scope"), SCOPES),
        (allowed(OptimizerSpec, "name"), _OPTIMIZERS),
        (allowed(OptimizerSpec, "name"), {"muon", *_CLASSES}),
        (allowed(TrainingSpec, "precision"), PRECISION),
        ({rule.removesuffix("+fold") for rule in allowed(TrainingSpec, "guard")}, RULES),
        (allowed(TransferSpec, "head"), HEADS),
        (set(KNOWN), _BUILDERS),
    ],
)
def test_specs_and_tables_agree(named: set[str], table: Any) -> None:
    assert named == set(table)
