"""The rewind contract: what a ticket means by "rewind", written down, because every tool means something else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from oneticket.ground.brief import brief
from oneticket.ground.errors import FileError, SpecError, unknown
from oneticket.ground.when import When
from oneticket.ticket import heads
from oneticket.ticket.heads import Head, Heads


@dataclass(frozen=True, kw_only=True, slots=True)
class Contract:
    """How training starts from a ticket. A loader honours every field or refuses; no field is implied.

    - `rewind`, `step`: the rewind point, in words (`1ep`, `500it`) and as the absolute optimizer step.
    - `weights`, `buffers`: parameters and BatchNorm statistics both come from that step ("rewound").
    - `optimizer`: its state starts empty ("fresh").
    - `schedule`: training continues at `step` of the learning-rate schedule ("continued"), or the ticket was found in
      a loop of the caller's, and this file does not know ("caller").
    - `order`: data order is a function of the replicate and the absolute step ("paired"), or not known ("caller").
    - `dead`: pruned weights are zero and are held at zero ("zero-held"), and units that no remaining weight feeds may
      have been constants ("zero-held+folded").
    - `head`: names of the output layer's tensors, which a transfer may replace. Of several outputs there is one tuple
      of names for each, `()` for an output that comes from tensors with another role, such as a tied embedding.

    Raises SpecError for a value that this version cannot honour. From Frankle et al. 2020, arXiv 1912.05671.

    >>> Contract(rewind="500it", step=500, head=("fc.weight", "fc.bias")).schedule
    'continued'
    >>> two = Contract(rewind="0it", step=0, head=(("classifier.weight",), ("aux.weight", "aux.bias")))
    >>> two.heads == two.head, two.head_names
    (True, ('classifier.weight', 'aux.weight', 'aux.bias'))
    """

    rewind: str
    step: int
    weights: str = "rewound"
    buffers: str = "rewound"
    optimizer: str = "fresh"
    schedule: str = "continued"
    order: str = "paired"
    dead: str = "zero-held"
    head: Head = ()

    def __post_init__(self) -> None:
        when = When.parse(self.rewind)
        if str(when) != self.rewind:
            raise SpecError(f"contract.rewind: expected {str(when)!r}, the plain form, got {self.rewind!r}")
        if type(self.step) is not int or not 0 <= self.step < 2**53:
            raise SpecError(f"contract.step: expected a whole number of optimizer steps, got {self.step!r}")
        if (when.unit == "it" or when.count == 0) and self.step != when.count:
            raise SpecError(f"contract.step: {self.rewind!r} is step {when.count}, got {self.step}")
        for field, honoured in HONOURED.items():
            if getattr(self, field) not in honoured:
                can = ", ".join(map(repr, honoured))
                raise SpecError(
                    f"contract.{field}: this version can honour {can}, got {getattr(self, field)!r}; "
                    "rewind by hand or use the tool that wrote it"
                )
        object.__setattr__(self, "head", heads.check(self.head))

    @property
    def heads(self) -> Heads:
        """One tuple of names for each output; none where the head is not known or there is none."""
        return heads.grouped(self.head)

    @property
    def head_names(self) -> tuple[str, ...]:
        """The names of all output layers' tensors."""
        return heads.flat(self.heads)

    @property
    def format(self) -> int:
        """The lowest number of the file format that can say it: 2 for several outputs or one without own tensors.

        >>> [Contract(rewind="0it", step=0, head=head).format for head in (("fc.weight",), (("a",), ("b",)), ((),))]
        [1, 2, 2]
        """
        return 1 if not self.head or isinstance(self.head[0], str) else 2

    def plain(self) -> dict[str, Any]:
        """The complete JSON form: `Contract.read(contract.plain()) == contract`.

        >>> contract = Contract(rewind="2ep", step=782)
        >>> contract.plain()["rewind"], Contract.read(contract.plain()) == contract
        ('2ep', True)
        """
        return {**asdict(self), "head": heads.plain(self.heads)}

    __repr__ = brief

    @classmethod
    def read(cls, plain: object) -> Contract:
        """Build from the JSON form; raises FileError for a field that is missing or unknown or cannot be honoured.

        >>> Contract.read({"rewind": "2ep"})
        Traceback (most recent call last):
            ...
        oneticket.ground.errors.FileError: contract.step: missing; every field must be written down
        """
        if not isinstance(plain, Mapping):
            raise FileError(f"contract: expected a mapping, got {type(plain).__name__}")
        known = [field.name for field in fields(cls)]
        for name in plain:
            if name not in known:
                raise FileError(f"contract: {unknown('field', name, known)}; a newer version may honour it")
        for name in known:
            if name not in plain:
                raise FileError(f"contract.{name}: missing; every field must be written down")
        try:
            return cls(**{**plain, "head": heads.read(plain["head"])})
        except SpecError as error:
            raise FileError(str(error)) from None


HONOURED: dict[str, tuple[str, ...]] = {
    "weights": ("rewound",),
    "buffers": ("rewound",),
    "optimizer": ("fresh",),
    "schedule": ("continued", "caller"),
    "order": ("paired", "caller"),
    "dead": ("zero-held", "zero-held+folded"),
}
