"""Where a step under way keeps its checkpoint: one file of a store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from oneticket.store import names

if TYPE_CHECKING:
    from oneticket.store.store import Store


@dataclass(frozen=True, kw_only=True)
class StoreSlot:
    """The place of one step's checkpoint; `key` is what it is bound to."""

    store: Store
    key: str

    @property
    def of(self) -> str:
        """The address of the step."""
        return self.key

    @property
    def name(self) -> str:
        """The name of the file."""
        return names.name(self.key, names.CHECKPOINT)

    def read(self) -> bytes | None:
        """The checkpoint, if there is one."""
        return self.store.files.read([self.name]).get(self.name)

    def write(self, data: bytes) -> None:
        """Replace it, whole or not at all."""
        self.store.files.write({self.name: data})

    def set_aside(self, why: object) -> None:
        """Rename it, so that it is not read again, and report it."""
        self.store.set_aside(self.name, why)
