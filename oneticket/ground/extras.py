"""Optional packages: an error for a missing one names the line that installs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from oneticket.ground.errors import OneticketError

EXTRAS: dict[str, tuple[str, ...]] = {
    "lab": (
        *("PIL:pillow", "altair", "datasets", "fsspec", "huggingface_hub", "mnist1d", "numba", "pandas", "pyarrow"),
        *("scipy", "sklearn:scikit-learn", "uvicorn", "vl_convert:vl-convert-python"),
    ),
    "ray": ("ray",),
    "s3": ("s3fs",),
    "tensorboard": ("tensorboard",),
    "mlflow": ("mlflow:mlflow-skinny",),
    "wandb": ("wandb",),
    "lightning": ("lightning",),
    "transformers": ("transformers",),
    "accelerate": ("accelerate",),
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
}
"""Extra -> what it brings, as `module` or, where their names differ, `module:package`."""


@cache
def numba_works() -> bool:
    """Whether kernels can be compiled here: numba may be missing, or refuse its surroundings with any error."""
    try:
        from oneticket.ground import compiled  # noqa: F401
    except Exception:  # of numpy, whose other version raises SystemError, too
        return False
    return True


class MissingExtra(OneticketError, ImportError):
    """A package that an extra brings is not installed."""


@contextmanager
def naming_extras() -> Iterator[None]:
    """If a block, or a decorated function, lacks a package of an extra, name the line that installs it.

    Raises MissingExtra; a module that no extra brings stays a ModuleNotFoundError.

    >>> with naming_extras():
    ...     raise ModuleNotFoundError(name="sklearn.datasets")
    Traceback (most recent call last):
    oneticket.ground.extras.MissingExtra: scikit-learn is not installed, and this needs it: pip install 'oneticket[lab]'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        lacking = (error.name or "").partition(".")[0]
        for extra, brought in EXTRAS.items():
            for module, _, package in (each.partition(":") for each in brought):
                if lacking in (module, package):
                    said = f"{package or module} is not installed, and this needs it: pip install 'oneticket[{extra}]'"
                    raise MissingExtra(said, name=module) from None
        raise
