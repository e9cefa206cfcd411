"""`oneticket store`: what is kept, in a list or one by one; clearing up, and proving that it is whole."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.filesize import decimal

from oneticket.cli.tables import print_facts, print_table
from oneticket.ground import clock
from oneticket.ground.canon import dumps
from oneticket.ground.errors import SpecError, StoreError, unknown
from oneticket.session.terminal import say, say_json
from oneticket.stats.report_table import ReportTable
from oneticket.stats.words import MISSING
from oneticket.store import names, upkeep
from oneticket.store.entry import Head
from oneticket.store.step import VERSIONS
from oneticket.store.store import Store
from oneticket.study.described import described

SHORT = 12  # digits of an address, enough to be unique
DAY = 10  # signs of a date, without the time of day
NEAR = 6  # addresses to suggest


def ls(*, store: str, kind: str | None = None, json: bool = False) -> int:
    """Print a line per entry, those of one kind if asked, by kind and date, and what all of them come to."""
    if kind is not None and kind not in VERSIONS:
        raise SpecError(f"--kind: {unknown('kind', kind, VERSIONS)}")
    kept = _kept(store)
    with kept.indexed() as sizes:
        entries = {key: sizes[name] for name, key in names.holding(names.OUTCOME, sizes).items()}
        definitions, provenances = kept.definitions(entries), kept.provenances(entries)
    shown = [key for key in entries if kind in (None, definitions.get(key, {}).get("kind"))]
    shown.sort(key=lambda key: (_kind(definitions.get(key)), provenances.get(key, {}).get("date", ""), key))
    seconds = {key: float(provenances.get(key, {}).get("seconds", 0)) for key in shown}
    if json:
        say_json(
            [
                {
                    "key": key,
                    "kind": _kind(definitions.get(key)),
                    "what": described(definitions.get(key)),
                    "bytes": entries[key],
                    **{name: provenances.get(key, {}).get(name) for name in ("seconds", "date")},
                }
                for key in shown
            ]
        )
        return 0
    rows = tuple(
        (
            key[:SHORT],
            described(definitions.get(key)),
            clock.spoken(seconds[key]) if key in provenances else MISSING,
            decimal(entries[key]),
            str(provenances.get(key, {}).get("date", MISSING))[:DAY],
        )
        for key in shown
    )
    size, time = decimal(sum(entries[key] for key in shown)), clock.spoken(sum(seconds.values()))
    drifted = len(names.holding(names.DRIFT, sizes))
    ending = f"; {drifted} came out differently a second time" if drifted else ""
    caption, header = (
        f"{len(shown)} entries, {size}, {time} of work{ending}.",
        ("entry", "what", "time", "size", "date"),
    )
    print_table(ReportTable(title=f"Store {kept.url}", header=header, rows=rows, caption=caption))
    return 0


def show(key: str, *, store: str) -> int:
    """Print all that is known of the entry whose address begins so: definition, record, provenance, needs, tensors."""
    kept = _kept(store)
    key = _whole(key, kept)
    head = kept.heads([key]).get(key)
    if head is None:
        raise StoreError(f"{key} cannot be read; run again what made it")
    print_facts((name, _text(value)) for name, value in _facts(key, kept, head))
    tensors = head.tensors.items()
    rows = tuple((name, dtype, "×".join(map(str, shape)) or "one value") for name, (dtype, shape) in tensors)
    caption = f"{len(rows)} tensors, {decimal(head.size)} in all; digest {head.digest}."
    print_table(ReportTable(title="Tensors", header=("name", "type", "shape"), rows=rows, caption=caption))
    return 0


def gc(*, store: str, keep: Collection[str] | None = None, dry_run: bool = False) -> int:
    """Remove what nobody needs, and with `keep` all but those addresses; or only say what would be removed."""
    kept = _kept(store)
    debris = upkeep.gc(kept, keep=keep, dry_run=dry_run)
    if debris:
        rows = tuple((each.name, each.why, decimal(each.size)) for each in sorted(debris, key=lambda each: each.name))
        done = "would be removed" if dry_run else "removed"
        caption = f"{len(debris)} files, {decimal(sum(each.size for each in debris))}, {done}."
        print_table(ReportTable(title=f"Store {kept.url}", header=("file", "why", "size"), rows=rows, caption=caption))
    else:
        say(f"{kept.url}: nothing to remove")
    return 0


def verify(*, store: str, json: bool = False) -> int:
    """Prove that every entry is what it says, and set aside those that are not; 1 if there were any."""
    kept = _kept(store)
    good = bad = 0
    if json:
        found = dict(upkeep.verify(kept))
        damaged = {key: str(trouble) for key, trouble in found.items() if trouble is not None}
        say_json({"store": kept.url, "good": len(found) - len(damaged), "damaged": damaged})
        return 1 if damaged else 0
    for key, trouble in upkeep.verify(kept):
        if trouble is None:
            good += 1
            continue
        bad += 1
        what = described(kept.definitions([key]).get(key))
        say(f"{key[:SHORT]} ({what}): {trouble}; set aside")
    ending = f", {bad} damaged and set aside: the next run makes them anew" if bad else ""
    say(f"{kept.url}: {good} entries are good{ending}" if good or bad else f"{kept.url}: no entries, nothing to verify")
    return 1 if bad else 0


def _kept(store: str) -> Store:
    """The store there; SpecError if there is none, which a slip in its name would otherwise make an empty one."""
    if "://" not in store and not Path(store).exists():
        raise SpecError(f"--store {store}: there is no such folder")
    return Store(store)


def _facts(key: str, kept: Store, head: Head) -> Iterator[tuple[str, object]]:
    """Names and values, in the order shown."""
    defined = kept.definitions([key]).get(key, {})
    yield "key", key
    yield "what", described(defined)
    yield "kind", f"{_kind(defined)}, version {defined.get('version', MISSING)}"
    yield from ((f"  {name}", value) for name, value in defined.get("args", {}).items())
    needs = kept.definitions(defined.get("needs", ()))
    yield from (("needs", f"{need[:SHORT]} {described(needs.get(need))}") for need in defined.get("needs", ()))
    yield "record", ""
    yield from ((f"  {name}", value) for name, value in head.record.items())
    provenance = kept.provenances([key]).get(key, {})
    yield "provenance", "" if provenance else MISSING
    yield from ((f"  {name}", value) for name, value in provenance.items())
    for other in kept.drifts().get(key, ()):
        yield "drifted", other.get("digest", MISSING)
        yield from ((f"  {name}", other[name]) for name in ("record", "provenance") if name in other)


def _whole(start: str, kept: Store) -> str:
    """The one address that begins so; SpecError, with those that come nearest, if there is none or more than one."""
    keys = sorted(kept.keys())
    fit = [key for key in keys if key.startswith(start)]
    if len(fit) == 1:
        return fit[0]
    at = bisect(keys, start)
    near = (fit or keys[max(at - NEAR // 2, 0) :])[:NEAR]
    definitions = kept.definitions(near)
    lines = [f"  {key[:SHORT]}  {described(definitions.get(key))}" for key in near]
    count = f"{len(fit)} entries" if fit else f"none of the {len(keys)} entries"
    raise SpecError("\n".join([f"{start!r} begins the address of {count} in {kept.url}", *lines]))


def _kind(defined: Mapping[str, Any] | None) -> str:
    return str((defined or {}).get("kind", MISSING))


def _text(value: object) -> str:
    return value if isinstance(value, str) else f"{value:.6g}" if isinstance(value, float) else dumps(value)
