"""Labels: what models, datasets and optimizers are called in tables and reports. They are no part of any address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oneticket.data.spec import DataSpec
from oneticket.ground.spec import Spec
from oneticket.models.spec import ModelSpec
from oneticket.optim.spec import OptimizerSpec
from oneticket.study.spec import SetSpec, StudySpec
from oneticket.ticket.names import quoted


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What a network is called, and the data and the optimizer that it is found or trained with; None if not known."""

    model: str
    data: str | None = None
    optimizer: str | None = None


def usual_labels(model: ModelSpec, data: DataSpec, optimizer: OptimizerSpec) -> Labels:
    """Their default names."""
    return Labels(model=model_label(model), data=data_label(data), optimizer=optimizer.name)


def called_in(study: StudySpec, model: ModelSpec, used: SetSpec, optimizer: OptimizerSpec) -> Labels:
    """A study's names for them, or what they are called everywhere."""
    return Labels(
        model=_name(model, study.models) or model_label(model),
        data=_name(used, study.sets) or _joined(study, used),
        optimizer=_name(optimizer, study.optimizers) or optimizer.name,
    )


def _joined(study: StudySpec, used: SetSpec) -> str:
    """What the study has no name for: of several sets, the names that each has in it, trained alike if it can be."""
    data = used.data
    if not data.beside or data.temperature != 1:
        return data_label(data)
    same = {each.data: name for name, each in reversed(study.sets.items())}
    known = ((_name(used.but(data=each), study.sets) or same.get(each), each) for each in data.members)
    return "+".join(quoted(name) if name else data_label(each) for name, each in known)


def _name(spec: Spec, known: Mapping[str, Spec]) -> str | None:
    """The first name that the study has for it, so that one thing has one name."""
    return next((name for name, each in known.items() if each == spec), None)


def data_label(data: DataSpec) -> str:
    """A dataset's name and what was chosen other than usual: `cifar100(classes=10)`.

    >>> data_label(DataSpec(name="digits:a", per_class=5))
    'digits:a(per_class=5)'
    >>> data_label(DataSpec(name=["cifar10", "svhn"], temperature=2))
    'cifar10+svhn(temperature=2)'
    """
    names = [_label(each.plain(), DataSpec.read(each.name).plain(), quoted(each.name)) for each in data.members]
    return "+".join(names) + (f"(temperature={data.temperature:g})" if data.temperature != 1 else "")


def model_label(model: ModelSpec) -> str:
    """A model's name and what was chosen other than usual: `vgg-11(width=0.125)`.

    >>> model_label(ModelSpec(name="vgg-11", width=0.125))
    'vgg-11(width=0.125)'
    """
    return _label(model.plain(), ModelSpec.read(model.name).plain(), model.name)


def _label(chosen: Mapping[str, Any], usual: Mapping[str, Any], called: str) -> str:
    unusual = [f"{name}={_word(value)}" for name, value in chosen.items() if value != usual[name]]
    return called + (f"({', '.join(unusual)})" if unusual else "")


def _word(value: object) -> str:
    return quoted("-".join(map(str, value)) if isinstance(value, list) else str(value))
