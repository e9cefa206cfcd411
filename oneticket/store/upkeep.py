"""Upkeep of a store: what in it is debris, and whether what it holds is true."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from oneticket.ground.errors import StoreError
from oneticket.store import definition, entry, names
from oneticket.store.names import Name
from oneticket.store.store import Store


@dataclass(frozen=True, kw_only=True)
class Debris:
    """A file that no one needs, and why."""

    name: str
    why: str
    size: int


def gc(store: Store, *, keep: Collection[str] | None = None, dry_run: bool = False) -> list[Debris]:
    """Remove, or only list, what no outcome and nobody at work needs; with `keep`, also all but these addresses.

    An interrupted step keeps its checkpoint, and a failed one its reason, as long as its definition lies beside. While
    anybody is at work, what they need stays, and so do definitions without outcome and files half-written: they may be
    about to be needed. Claims of other machines are watched first, until they beat or for the claims' patience. Files
    of other names are left alone.
    """
    living = store.claims.living()  # may watch for a while: what is there is listed after
    listed = store.files.sizes()
    ours = {name: of for name in listed if (of := names.split(name))}
    found = _Found(store, ours.values(), living, keep)
    debris = [Debris(name=name, why=why, size=listed[name]) for name, of in ours.items() if (why := found.why(of))]
    if not dry_run:
        store.files.remove(each.name for each in debris)
    return debris


def verify(store: Store) -> Iterator[tuple[str, str | None]]:
    """Read every entry; yields its address and what is wrong with it, or None. What is damaged is set aside.

    An entry must be what its digest says, a definition that of the step whose address it bears. A damaged entry is
    renamed, so that the next run makes just that one anew; a damaged definition, too, is written anew by the next run.
    """
    listed = store.files.sizes()
    for name, key in sorted(names.holding(names.DEFINITION, listed).items()):
        try:
            definition.decode(store.files.read([name]).get(name, b""), key, store.step)
        except ValueError as error:
            store.files.move(name, names.name(key, f"{names.DEFINITION}.{names.DAMAGED}"))
            yield key, f"its definition is damaged: {error}"
        except StoreError:
            pass  # of another version, or it needs one that is damaged: in itself it is good
    for name, key in sorted(names.holding(names.OUTCOME, listed).items()):
        try:
            entry.decode(store.files.read([name]).get(name, b""))
        except ValueError as error:
            store.files.move(name, names.name(key, names.DAMAGED))
            yield key, str(error)
        else:
            yield key, None


class _Found:
    """What is there, by address, and what of it is needed."""

    def __init__(self, store: Store, ours: Collection[Name], living: set[str], keep: Collection[str] | None) -> None:
        def of(*whats: str) -> set[str]:
            return {each.key for each in ours if each.what in whats and not each.cut}

        self.living, self.quiet = living, not living
        self.done = of(names.OUTCOME)
        asked = self.done | of(names.DEFINITION) if keep is None else set(keep)
        self.kept = self.done & (asked | _needed(store, living))
        self.waiting = (of(names.CHECKPOINT, names.FAILURE) & of(names.DEFINITION) & asked) - self.done
        self.needed = _needed(store, self.kept | self.waiting | living)

    def why(self, of: Name) -> str | None:
        """Why that file is debris; None if it is not."""
        if of.cut:
            return "left by a write that was cut short" if self.quiet else None
        if names.DAMAGED in of.what:
            return "damaged, and set aside"
        if of.key in self.living:
            return None
        if of.what in (names.CLAIM, names.HEIR):
            return "the claim of a process that is gone"
        if of.what in (names.CHECKPOINT, names.FAILURE):
            if of.key in self.done:
                return "of a step that is done by now"
            return None if of.key in self.waiting else "of a step that nobody knows"
        if of.key in self.done:
            return None if of.key in self.kept or self._defines(of) else "not to be kept"
        return "of an outcome that is not there" if self.quiet and not self._defines(of) else None

    def _defines(self, of: Name) -> bool:
        return of.what == names.DEFINITION and of.key in self.needed


def _needed(store: Store, keys: set[str]) -> set[str]:
    """These steps and all that they need, as far as they are defined."""
    found, look = set[str](), keys
    while look:
        found |= look
        look = {need for plain in store.definitions(look).values() for need in plain.get("needs", ())} - found
    return found
