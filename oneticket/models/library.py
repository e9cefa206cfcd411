"""Networks of other libraries by name, untrained: `timm:resnet18`, `transformers:ViTForImageClassification`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from oneticket.ground.errors import ModelError, WrongModelError, unknown
from oneticket.ground.extras import MissingExtra
from oneticket.models.spec import LIBRARIES, ModelSpec
from oneticket.task.inputs import Inputs


def make(spec: ModelSpec, inputs: Inputs, outputs: int) -> nn.Module:
    """The network that `library:name` names, made from its settings alone; weights are never fetched.

    Of timm, `spec.args` are arguments of `timm.create_model`; of Transformers, fields of the class's configuration,
    where image size, channels and outputs come from the data. Raises ModelError if the data are no images, or the
    library has no such network for images or refuses the arguments; MissingExtra if it is not installed.
    """
    if inputs.kind != "images":
        raise WrongModelError(
            f"model {spec.name!r} is built for images; the data holds {inputs}; take a model of your own"
        )
    library, _, name = spec.name.partition(":")
    if taken := sorted(FETCHING & set(spec.args)):
        raise WrongModelError(
            f"model {spec.name!r}: {', '.join(taken)} would load weights; models are built untrained here"
        )
    try:
        return _MAKERS[library](_imported(library, spec.name), name, spec.args, inputs.shape, outputs)
    except (ModelError, MissingExtra):
        raise
    except Exception as error:
        # By these two Python and the libraries refuse arguments, or of them make an error; any other is a failure.
        refused = any(isinstance(one, TypeError | ValueError) for one in (error, error.__cause__))
        sort = WrongModelError if refused else ModelError
        raise sort(f"model {spec.name!r} failed while it was made: {type(error).__name__}: {error}") from error


def _imported(library: str, path: str) -> ModuleType:
    try:
        return import_module(library)
    except ImportError as error:
        raise MissingExtra(f"model {path!r} needs {library}: pip install {library} ({error})", name=library) from error


def _timm(timm: Any, name: str, args: dict[str, Any], shape: tuple[int, ...], outputs: int) -> nn.Module:
    if not timm.is_model(name):
        raise WrongModelError(unknown("timm model", name, timm.list_models()))
    model = timm.create_model(name, pretrained=False, in_chans=shape[0], num_classes=outputs, **args)
    assert isinstance(model, nn.Module)
    return model


def _transformers(
    transformers: Any, name: str, args: dict[str, Any], shape: tuple[int, ...], outputs: int
) -> nn.Module:
    found: Any = getattr(transformers, name, None)
    if not getattr(found, "config_class", None) or not hasattr(found, "forward"):
        known = [each for each in dir(transformers) if each.endswith("ForImageClassification")]
        raise WrongModelError(unknown("Transformers model", name, known))
    blank = found.config_class()
    if wrong := [field for field in args if not hasattr(blank, field)]:
        raise WrongModelError(unknown(f"field of {type(blank).__name__}", wrong[0], blank.to_dict()))
    channels, *size = shape
    data: dict[str, Any] = {"num_channels": channels, "num_labels": outputs}
    if hasattr(blank, "image_size"):
        data["image_size"] = size if size[0] != size[1] else size[0]
    if taken := sorted(set(data) & set(args)):
        raise WrongModelError(f"{', '.join(taken)} cannot be given, since the data decides it; leave it out")

    def forward(self: Any, images: Tensor) -> Tensor:
        logits: Tensor = found.forward(self, pixel_values=images).logits
        return logits

    # A subclass, not a wrapper: parameters go by the names that they have in Transformers.
    plain: type[nn.Module] = type(name, (found,), {"forward": forward, "__module__": found.__module__})
    return plain(found.config_class(**{**args, **data}))


_MAKERS: dict[str, Callable[[Any, str, dict[str, Any], tuple[int, ...], int], nn.Module]] = {
    "timm": _timm,
    "transformers": _transformers,
}
assert _MAKERS.keys() == {*LIBRARIES}

FETCHING = {"pretrained", "checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "use_pretrained_backbone"}
"""Arguments of theirs that would fetch or read weights."""
