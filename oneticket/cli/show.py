"""`oneticket show` and `oneticket verify`: what a file holds, and whether it is intact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from math import prod
from pathlib import Path

from oneticket.cli.tables import print_facts, print_scores, print_table
from oneticket.ground.errors import SpecError
from oneticket.ground.metric import Metric, score_of
from oneticket.publish.preview import Preview, preview
from oneticket.publish.shipped import located
from oneticket.session.terminal import say, say_json
from oneticket.stats.report_table import ReportTable
from oneticket.stats.stats import mean_interval
from oneticket.stats.words import percent, plus_minus
from oneticket.ticket import describe
from oneticket.ticket.describe import replicate_of
from oneticket.ticket.names import books_in


def show(path: Path, *, level: int | None, json: bool) -> int:
    """Print the card of a ticket, a book, or a folder of books; or everything, as JSON."""
    found = [(file, preview(file)) for file in files_at(path)]
    if json:
        say_json([_plain(file, thing) for file, thing in found])
        return 0
    for _, thing in found:
        if thing.kind == "ticket":
            if level is not None:
                raise SpecError(f"--level: {path} is a single ticket, not a book")
            print_facts([("ticket", path), *_common(thing), ("density", density(thing)), *_evidence(thing)])
            print_table(layers(thing))
            print_scores(thing)
            return 0
    books = {replicate_of(thing): thing for _, thing in found}
    first = next(iter(books.values()))
    deepest = min(book.levels for book in books.values())
    level = deepest if level is None else level
    if not 0 <= level <= deepest:
        raise SpecError(f"--level: expected 0 to {deepest}, got {level}")
    replicates = f"{len(books)} ({', '.join(map(str, books))})"
    print_facts(
        [("book", path), ("replicates", replicates), *_common(first), ("levels", f"0 to {deepest}"), *_cost(books)]
    )
    if any(score_of(record) is not None for book in books.values() for record in book.records):
        print_table(_levels(books, deepest))
    print_table(layers(first, level))
    return 0


def _plain(file: Path, thing: Preview) -> dict[str, object]:
    """The content of a file for other programs: counts of weights by level and layer, and its metadata."""
    layers = {
        name: {"shape": [*layer.shape], "remaining": layer.remaining[-1], "weights": prod(layer.shape)}
        for name, layer in thing.layers.items()
    }
    levels = [
        {"remaining": one.remaining, "prunable": one.total, "weights": one.whole, "density": one.prunable}
        for one in thing.weight_counts
    ]
    book = {"records": [dict(one) for one in thing.records]}
    return {
        "file": str(file),
        "kind": thing.kind,
        "id": thing.id,
        "model": thing.model,
        "contract": thing.contract.plain(),
        "lineage": thing.lineage,
        "levels": levels,
        "layers": layers,
        **(book if thing.kind == "book" else dict(thing.evidence)),
    }


def verify(path: Path, *, json: bool) -> int:
    """Check a file, or every book of a folder, to the last bit; FileError at the first untruth."""
    from oneticket.ticket import file as ticket_file

    if json:
        say_json([asdict(ticket_file.verify(file)) for file in files_at(path)])
        return 0
    for one in files_at(path):
        facts = ticket_file.verify(one)
        levels = f", levels 0 to {facts.levels}" if facts.kind == "book" else ""
        remain = f"{facts.remaining:,} of {facts.total:,} prunable weights remain at the sparsest"
        said = f"{one}: good. {facts.kind} {facts.id[:16]}, {remain}"
        say(f"{said}{levels}, {facts.size:,} bytes, format {facts.format}")
    return 0


def files_at(path: Path) -> list[Path]:
    """The file of that path or shipped name, or a folder's books in the order of their replicates."""
    found = located(path)
    return [*books_in(found).values()] if found.is_dir() else [found]


def _common(thing: Preview) -> Iterator[tuple[str, object]]:
    yield "id", f"{thing.id[:SHORT]} (--json has all of it)"
    if thing.model:
        shape, classes = (describe.word(thing.model.get(name)) or "?" for name in ("shape", "classes"))
        kind = describe.word(thing.model.get("kind", "images"))
        said = "outputs" if describe.at(thing.lineage, "search", "task") else "classes"
        yield "network", f"{describe.network(thing) or '?'}, {kind} {shape}, {classes} {said}"
    search = thing.lineage.get("search")
    for name in ("data", "task", "optimizer", "training", "pruning"):
        each = describe.data_settings(thing) if name == "data" else [describe.at(search, name)]
        if known := "; ".join(filter(None, map(_settings, each))):
            yield name, known
        if name == "data" and (found := describe.columns(thing)):
            yield "columns", found
    if agreed := describe.agreement(thing):
        yield "consensus", agreed
    if search:
        yield "seed", describe.word(describe.at(search, "seed")) or "not known"
    yield "rewind", f"{thing.contract.rewind} (step {thing.contract.step})"
    for name, value in thing.contract.plain().items():
        if name not in ("rewind", "step", "head"):
            yield f"  {name}", value
    heads = (", ".join(names) or describe.TIED for names in thing.contract.heads)
    yield "  head", "; ".join(heads) or "not named"
    if found := describe.several_heads(thing):
        yield "outputs", found
    if imported := thing.lineage.get("imported"):
        yield "imported", _settings(imported)
    if "data_digest" in thing.lineage:
        yield "data digest", describe.word(str(thing.lineage["data_digest"])[:SHORT])
    if thing.kind == "ticket" and "level" in thing.lineage:
        yield "level", describe.word(thing.lineage["level"])


def _evidence(ticket: Preview) -> Iterator[tuple[str, object]]:
    """The scores and the cost that came along, of one network: evidence, not identity."""
    if "replicate" in ticket.lineage:
        yield "replicate", describe.word(ticket.lineage["replicate"])
    metric, said = describe.sound_metric(ticket.evidence), describe.score(ticket.evidence)
    if metric is not None and said:
        yield metric.words, said
    shown_already = {"score", "metric", "unit", "better", metric.name} if metric is not None and said else set[str]()
    for name, value in ticket.evidence.items():
        if name not in {"level", "density", "living", "data_digest", "scores", *shown_already}:
            share = name in ("commonest", "natural_zeros") and describe.number(value)
            shown = describe.percent(value) if share else f"{value:.4g}" if isinstance(value, float) else _word(value)
            yield {"commonest": "commonest class"}.get(name, name.replace("_", " ")), shown


def _cost(books: Mapping[int, Preview]) -> Iterator[tuple[str, object]]:
    """What finding took, in deterministic units; levels that were not recorded count as none."""
    if any(describe.agreement(book) for book in books.values()):
        return  # the books of its searches hold the costs
    records = [record for book in books.values() for record in book.records]
    counts = {name: [record.get(name) for record in records] for name in ("steps", "examples")}
    steps, examples = (sum(count for count in found if type(count) is int) for found in counts.values())
    trainings = sum(book.levels + 1 for book in books.values())
    seen = f", {examples:,} examples processed" if examples else ""  # unknown for a search in the user's own loop
    yield "cost", f"{trainings} trainings, {steps:,} steps{seen}"


def _levels(books: Mapping[int, Preview], deepest: int) -> ReportTable:
    rows, metric = [], _metric(books)
    for level in range(deepest + 1):
        scores = [score_of(book.records[level]) for book in books.values() if level < len(book.records)]
        known = [float(value) for value in scores if describe.number(value)]
        shown = plus_minus(mean_interval(known), metric) if known else "—"
        densities = {percent(book.weight_counts[level].prunable) for book in books.values()}
        counts = next(iter(books.values())).weight_counts[level]
        rows.append((str(level), " / ".join(sorted(densities)), percent(counts.model), f"{counts.remaining:,}", shown))
    return ReportTable(
        title="Scores of the search, each level trained from the rewind point",
        header=("level", "density", "of all", "weights", metric.heading),
        rows=tuple(rows),
        caption="Density: of the prunable weights, and of all weights of the model. Scores on the test set"
        f"{'' if metric.larger else ', lower is better'}: mean ± half the 95 % t interval; "
        f"n = {len(books)}; — not recorded.",
    )


def _metric(books: Mapping[int, Preview]) -> Metric:
    """The metric of the searches, from their records; a score without a name where the records are unclear."""
    records = [record for book in books.values() for record in book.records]
    return describe.sound_metric(records[0] if records else {}) or Metric(name="score")


def layers(ticket: Preview, level: int = 0) -> ReportTable:
    """Per layer: shape, remaining weights, density at a level; and what is dense."""
    rows = [
        (name, "×".join(map(str, layer.shape)), f"{left:,}", percent(left / prod(layer.shape)))
        for name, layer in ticket.layers.items()
        for left in (layer.remaining[level],)
    ]
    dense, more = ", ".join(ticket.dense[:6]), len(ticket.dense) - 6
    return ReportTable(
        title=f"Layers at {density(ticket, level)}",
        header=("layer", "shape", "remaining", "density"),
        rows=tuple(rows),
        caption=f"Dense by policy: {dense}{f' and {more} more' if more > 0 else ''}.",
    )


def density(ticket: Preview, level: int = 0) -> str:
    """Of the prunable weights, and of the whole model."""
    counts = ticket.weight_counts[level]
    prunable = f"{percent(counts.prunable)} of the prunable weights ({counts.remaining:,} of {counts.total:,})"
    return f"{prunable}, {percent(counts.model)} of all {counts.whole:,}"


def _settings(value: object) -> str:
    """A mapping of settings in a line, what is not set left out; anything else as the word that it is."""
    if not isinstance(value, Mapping):
        return describe.word(value)
    entries = sorted(value.items(), key=lambda item: item[0] != "name")  # the name leads
    said = [f"{describe.word(k)} {_word(v)}".removeprefix("name ") for k, v in entries if v not in (None, [], {})]
    return ", ".join(said)


def _word(value: object) -> str:
    if type(value) is int:
        return describe.word(f"{value:,}")
    if isinstance(value, bool):
        return str(value)
    return describe.word(",".join(map(describe.word, value)) if isinstance(value, list) else value)


SHORT = 16  # digits of an id, enough to be unique
