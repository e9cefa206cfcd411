"""The user's own models, made by a function found by its import path."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from oneticket.ground.errors import ModelError, SpecError, WrongModelError
from oneticket.models.spec import MODELS, ModelSpec
from oneticket.task.inputs import Inputs

Factory = Callable[..., Any]


def find(path: str) -> Factory:
    """The callable at `package.module:factory`. Importing runs the module's code: only name modules you trust.

    >>> find("torch.nn:Linear").__name__
    'Linear'
    """
    try:
        return MODELS.own(path)
    except SpecError as error:
        raise WrongModelError(str(error)) from error


def call(factory: Factory, spec: ModelSpec, inputs: Inputs, outputs: int) -> nn.Module:
    """Make the model with keyword arguments only: those of `spec.args` and, as the signature allows, the data's.

    The number of outputs is passed as `classes` if the signature names it, else as `num_classes` if it names that, or
    as `outputs` if it names that, or as `num_classes` if it takes `**kwargs`. `shape` is passed if the signature names
    it: (channels, height, width) of images, (numbers,) of vectors, (channels, steps) of series, (tokens,); so are
    `inputs`, the same as an `Inputs`, and `vocabulary`, None without tokens. Values of `outputs`, `inputs` and
    `vocabulary` in `spec.args` take precedence. Raises ModelError if the factory takes no number of outputs, does not
    take the arguments, fails, or returns anything but a module.
    """
    try:
        signature = inspect.signature(factory)
    except ValueError as error:
        raise WrongModelError(
            f"model {spec.name!r}: its signature cannot be read ({error}); wrap it in a function"
        ) from None
    slots = signature.parameters.values()
    taken = {slot.name for slot in slots if slot.kind in (slot.KEYWORD_ONLY, slot.POSITIONAL_OR_KEYWORD)}
    greedy = any(slot.kind is slot.VAR_KEYWORD for slot in slots)
    given: dict[str, Any] = dict(spec.args)
    if "classes" in taken:
        given["classes"] = outputs
    elif "num_classes" in taken or (greedy and ("outputs" not in taken or "outputs" in given)):
        given["num_classes"] = outputs
    elif "outputs" not in taken or "outputs" in given:
        raise WrongModelError(
            f"model {spec.name!r}: {signature} takes none of `classes`, `num_classes`, `outputs`; add one"
        )
    if "shape" in taken:
        given["shape"] = inputs.shape
    also = {"outputs": outputs, "inputs": inputs, "vocabulary": inputs.vocabulary}
    given = {name: value for name, value in also.items() if name in taken} | given
    try:
        signature.bind(**given)
    except TypeError as error:
        raise WrongModelError(
            f"model {spec.name!r}: {error}; it takes {signature}, given were {', '.join(given)}"
        ) from None
    with MODELS.blamed(spec.name, ModelError):
        model = factory(**given)
    if not isinstance(model, nn.Module):
        raise WrongModelError(f"model {spec.name!r}: expected a torch.nn.Module, got {type(model).__name__}")
    return model
