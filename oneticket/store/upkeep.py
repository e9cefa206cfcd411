"""Upkeep of a store: what in it is debris, and whether what it holds is true."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from oneticket.ground import note
from oneticket.ground.errors import StoreError
from oneticket.ground.note import FORMAT
from oneticket.store import definition, designs, entry, names, plans
from oneticket.store.names import Name
from oneticket.store.store import NOTE, Store
from oneticket.ticket import sealed


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
    of other names are left alone, and what an earlier version wrote goes unless one seems to be at work.
    """
    active = store.claims.active()  # may watch for a while: what is there is listed after
    listed = store.files.sizes()
    ours = {name: of for name in listed if (of := names.split(name))}
    found = _Found(store, ours.values(), active, keep)
    why = {name: why for name, of in ours.items() if (why := found.why(of))} | _earlier(listed)
    debris = [Debris(name=name, why=why[name], size=listed[name]) for name in listed if name in why]
    if not dry_run:
        store.files.remove(each.name for each in debris)
    return debris


def verify(store: Store) -> Iterator[tuple[str, str | None]]:
    """Read every file; yields an entry's address and None, or an address and what is wrong there. That is set aside.

    A file must be what its digest says, and of the step whose address it bears. It is renamed, so that the next run
    makes just that anew: an entry, its definition, a checkpoint; what else lies beside an outcome is lost. What studies
    stated and planned is checked likewise.
    """
    listed = store.listed()
    for what in CHECKED:
        for name, key in sorted(names.holding(what, listed).items()):
            data = store.files.read([name]).get(name)
            try:
                if data is not None:
                    _check(what, data, key, name)
            except (StoreError, ValueError) as error:
                store.files.move(name, f"{name}.{names.DAMAGED}")
                yield key, f"{store.url}/{name}: {error}"
            else:
                if what == names.OUTCOME and data is not None:
                    yield key, None
    stated = {name: designs.check for name in listed if name.startswith(designs.FOLDER) and name.endswith(".json")}
    planned = {name: plans.check for name in listed if plans.holds(name)}
    for name, check in sorted((stated | planned).items()):
        try:
            check(name, store.files.read([name])[name])
        except StoreError as error:
            store.files.move(name, f"{name}.{names.DAMAGED}")
            yield name, f"{store.url}/{name}: {error}"


class _Found:
    """What is there, by address, and what of it is needed."""

    def __init__(self, store: Store, ours: Collection[Name], active: set[str], keep: Collection[str] | None) -> None:
        def of(*whats: str) -> set[str]:
            return {each.key for each in ours if each.what in whats and not each.cut}

        self.active, self.quiet = active, not active
        self.done = of(names.OUTCOME)
        asked = self.done | of(names.DEFINITION) if keep is None else set(keep)
        self.kept = self.done & (asked | _needed(store, active))
        self.waiting = (of(names.CHECKPOINT, names.FAILURE) & of(names.DEFINITION) & asked) - self.done
        self.needed = _needed(store, self.kept | self.waiting | active)

    def why(self, of: Name) -> str | None:
        """Why that file is debris; None if it is not."""
        if of.cut:
            return "left by a write that was cut short" if self.quiet else None
        if names.DAMAGED in of.what:
            return "damaged, and set aside"
        if of.key in self.active:
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


def _earlier(listed: Collection[str]) -> dict[str, str]:
    """The files of earlier formats, unless there is a claim among them."""
    found = {name: version for name, version in names.others(listed).items() if version < FORMAT}
    at_work = any(name.endswith((".claim", ".heir")) for name in found)
    return (
        {} if at_work else {name: f"of format {version}, which nothing here reads" for name, version in found.items()}
    )


def _needed(store: Store, keys: set[str]) -> set[str]:
    """These steps and all that they need, as far as they are defined."""
    found, look = set[str](), keys
    while look:
        found |= look
        look = {need for plain in store.definitions(look).values() for need in plain.get("needs", ())} - found
    return found


def _check(what: str, data: bytes, key: str, name: str) -> None:
    """Raise StoreError or ValueError if a file is damaged, or not of the step that its name says."""
    if what == names.DEFINITION:
        definition.parse(data, key)
    elif what == names.OUTCOME:
        entry.check(key, data)
    elif what == names.CHECKPOINT:
        sealed.check(data, sealed.CHECKPOINT, key)
    else:
        note.read(data, NOTE, name)


CHECKED = (names.DEFINITION, names.OUTCOME, names.PROVENANCE, names.DRIFT, names.FAILURE, names.CHECKPOINT)
"""What there is of a step that can be checked. A claim cannot: a wrong one costs time alone."""
