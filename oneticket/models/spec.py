"""Which model: a name from the table, one of timm or Transformers, or your own by import path."""

from __future__ import annotations

import hashlib
from importlib import metadata
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, JsonValue, ValidationInfo, field_validator

from oneticket.ground import canon
from oneticket.ground.extras import MissingExtra
from oneticket.ground.own_source import source_digest
from oneticket.ground.spec import Spec
from oneticket.ground.table import Table
from oneticket.task.spec import Kind

LIBRARIES = ("timm", "transformers")
"""The libraries whose networks are known as `library:name`."""


def library_of(name: str) -> str:
    """The library that a model's name begins with; empty where it names none.

    >>> library_of("timm:resnet18"), library_of("mine.py:model")
    ('timm', '')
    """
    library = name.partition(":")[0]
    return library if library in LIBRARIES else ""


def _code(path: str, kind: str, anew: bool) -> str:
    """A model's code in an address: the digest of its text or, for a library, of its name and version."""
    library = library_of(path)
    if not library:
        return source_digest(path, kind, anew)
    try:
        version = metadata.version(library)
    except metadata.PackageNotFoundError as error:
        raise MissingExtra(f"model {path!r} needs {library}: pip install {library} ({error})", name=library) from error
    return hashlib.sha256(f"{library} {version}".encode()).hexdigest()


MODELS = Table(
    kind="model",
    rows={
        "lenet-300-100": "fully connected, 300 and 100 hidden units; the classic for MNIST",
        "mlp": "fully connected, hidden layers as given by widths",
        "conv-2": "2 convolutions and 3 linear layers; the lottery ticket paper's smallest for CIFAR-10",
        "conv-4": "4 convolutions and 3 linear layers",
        "conv-6": "6 convolutions and 3 linear layers",
        "resnet-20": "residual, 20 layers, 0.27 M parameters; made for CIFAR-10",
        "resnet-32": "residual, 32 layers, 0.47 M parameters; made for CIFAR-10",
        "resnet-56": "residual, 56 layers, 0.86 M parameters; made for CIFAR-10",
        "resnet-18": "residual, 18 layers, 11 M parameters; made for ImageNet",
        "resnet-50": "residual, 50 layers, 24 M parameters; made for ImageNet",
        "vgg-11": "11 layers with BatchNorm, 9 M parameters, any image size",
        "vgg-13": "13 layers with BatchNorm, 9 M parameters, any image size",
        "vgg-16": "16 layers with BatchNorm, 15 M parameters, any image size",
        "vgg-19": "19 layers with BatchNorm, 20 M parameters, any image size",
        "series-cnn": "3 convolutions over time and a linear layer; made for MNIST-1D",
        "text-cnn": "convolutions over 2 to 5 tokens side by side, each summed up by its largest value",
        "byte-gpt": "a transformer of 2 layers that says which token comes next",
    },
    digests=_code,
)
"""The models known by name, each in one line."""


class ModelSpec(Spec):
    """A network, up to its inputs, number of outputs and seed, which come from the data and the replicate.

    A field that does not apply to the named model is refused, so that no setting is silently without effect.

    >>> ModelSpec(name="mlp").widths
    (100, 100)
    >>> ModelSpec(name="vgg19")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    oneticket.ground.errors.SpecError: model.name: unknown model 'vgg19'; did you mean 'vgg-19'? Known: byte-gpt, ...
    """

    kind: ClassVar[str] = "model"
    name: Annotated[str, MODELS] = Field(
        description="A known model, such as resnet-20, one of a library, such as timm:resnet18 or"
        " transformers:ViTForImageClassification, or your own as 'file.py:function'."
    )
    width: float = Field(
        default=1.0, gt=0, le=1000, description="Factor on the number of channels or units of every layer."
    )
    widths: tuple[Annotated[int, Field(gt=0, le=2**20)], ...] = Field(
        default=(),
        max_length=100,
        validate_default=True,
        description="mlp only: units of each hidden layer, input side first. Default: 100,100.",
    )
    stem: Literal["auto", "small", "imagenet"] = Field(
        default="auto",
        description="resnet-18 and resnet-50 only: the first layers. 'imagenet' is a 7x7 convolution of stride 2 and a"
        " pooling, 'small' a 3x3 convolution; 'auto' takes 'imagenet' for images of 64 pixels or more in height and"
        " width. Set it if a ticket is to be transferred between small and large images.",
    )
    prunable: tuple[str, ...] = Field(
        default=(),
        description="Name patterns of the weights that may be pruned, such as 'layer1.*'; '!pattern' excludes some."
        " Empty: all weights of linear, convolution, attention and recurrent layers except the output layer.",
    )
    head: str = Field(
        default="",
        description="Your own models and those of libraries: the dotted name of the output layer, if it is not the"
        " last linear or convolution layer with as many outputs as the data needs.",
    )
    args: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Your own models and those of libraries: keyword arguments for the factory, or fields of the"
        " configuration.",
    )

    @field_validator("width", "widths", "stem", "head", "args")
    @classmethod
    def _applies(cls, value: Any, info: ValidationInfo) -> Any:
        name, field = info.data.get("name"), info.field_name
        if name is None or field is None:
            return value
        fields = _fields(name)
        if field not in fields and value != cls.model_fields[field].get_default(call_default_factory=True):
            raise ValueError(f"does not apply to {name}; what does apply: {', '.join(fields)}")
        return (100, 100) if name == "mlp" and field == "widths" and not value else value

    @field_validator("args")
    @classmethod
    def _free(cls, args: dict[str, JsonValue]) -> dict[str, JsonValue]:
        taken = sorted({"classes", "num_classes", "shape"} & set(args))
        if taken:
            raise ValueError(f"{', '.join(taken)} cannot be given, since the data decides it; leave it out")
        canon.dumps(args)  # refuses NaN and infinity, which have no JSON form
        return args


def _fields(name: str) -> tuple[str, ...]:
    return ("head", "args", "prunable") if MODELS.is_own(name) else (*_EXTRA.get(name, ()), "width", "prunable")


KINDS: Table[tuple[Kind, ...]] = MODELS.filled(
    {
        "lenet-300-100": ("images", "vectors", "series"),
        "mlp": ("images", "vectors", "series"),
        "conv-2": ("images",),
        "conv-4": ("images",),
        "conv-6": ("images",),
        "resnet-20": ("images",),
        "resnet-32": ("images",),
        "resnet-56": ("images",),
        "resnet-18": ("images",),
        "resnet-50": ("images",),
        "vgg-11": ("images",),
        "vgg-13": ("images",),
        "vgg-16": ("images",),
        "vgg-19": ("images",),
        "series-cnn": ("series",),
        "text-cnn": ("tokens",),
        "byte-gpt": ("tokens",),
    }
)
"""The kinds of inputs that each of them takes."""

EACH_TOKEN = frozenset({"byte-gpt"})
"""Models that answer at each token; all others answer once an input."""

_EXTRA: dict[str, tuple[str, ...]] = {"mlp": ("widths",), "resnet-18": ("stem",), "resnet-50": ("stem",)}
