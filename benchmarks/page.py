"""The page `results/speed.md`: targets, charts, every row. No number but those of `tried.md` is typed in by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.drawn import CHARTS
from benchmarks.row import Row, bound, value, verdict
from oneticket.charts.chart import write

ROOT = Path(__file__).parents[1]
RESULTS, KEPT = ROOT / "results" / "speed.md", ROOT / "results" / "speed"
TRIED = Path(__file__).parent / "tried.md"

Part = dict[str, Any]
"""What is kept of a part: its name, `date`, `machine`, and `rows`."""


def kept(parts: Iterable[str]) -> dict[str, Part]:
    """The parts that were measured, in the order asked for."""
    files = {part: KEPT / f"{part}.json" for part in parts}
    return {part: json.loads(file.read_text()) for part, file in files.items() if file.is_file()}


def number(found: float | None, digits: int = 3) -> str:
    """So many digits that count; nothing for nothing."""
    return "" if found is None else f"{found:,.0f}" if abs(found) >= 1000 else f"{found:.{digits}g}"


def cells(found: Row) -> tuple[str, ...]:
    """A row of the table: what, measured, low to high, n, target, met or missed, note."""
    measured, unit = value(found), found.get("unit", "")
    asked, digits = bound(found), 3
    while asked and measured and digits < 6 and measured != asked[1] and float(f"{measured:.{digits}g}") == asked[1]:
        digits += 1  # on which side of the target it is must be seen
    spread = f"{number(found['low'])} to {number(found['high'])}" if found.get("n", 0) > 1 else ""
    return (
        found["what"],
        "not measured" if measured is None else f"{number(measured, digits)} {unit}",
        spread,
        str(found.get("n") or ""),
        f"{'≤' if asked[0] == '<=' else '≥'} {number(asked[1])} {unit}" if asked else "",
        verdict(found),
        str(found.get("note", "")),
    )


HEADER = ("what", "measured", "spread", "n", "target", "", "note")


def table(rows: Iterable[Sequence[str]], header: Sequence[str] = HEADER) -> list[str]:
    """Rows as Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def shares(points: Sequence[Row]) -> list[str]:
    """The table beside the chart of where a step's time goes."""
    parts = list(dict.fromkeys(point["part"] for point in points))
    cases: dict[str, list[str]] = {}
    for point in points:
        cases.setdefault(point["case"], []).append(f"{100 * point['share']:.0f} %")
    return table([[case, *found] for case, found in cases.items()], ["a step of", *parts])


def page(parts: dict[str, Part], abouts: dict[str, str]) -> None:
    """Write the page and its charts; `abouts`: part -> what it measures, in a line."""
    every = [found for part in parts.values() for found in part["rows"]]
    aims = [found for found in every if found.get("target")]
    met = sum(verdict(found) == "met" for found in aims)
    without = sum(value(found) is None for found in aims)
    machines = list(dict.fromkeys(part["machine"] for part in parts.values()))
    lines = ["# Speed", ""]
    lines += [
        f"Written by `make bench`. Targets: {len(aims)}; met: {met}; missed: {len(aims) - met - without}; not "
        f"measured: {without}. Values are medians; beside them the lowest and the highest, or quartiles where the "
        "note says so. The sides of a ratio are measured in turn, in one run; absolute times vary between machines.",
        "",
        "The floor is a bare PyTorch loop over images in memory with a fused optimizer, without masks or logging. The "
        "usual stack reads each image by a dataset, transforms it by torchvision, batches it by a data loader, and "
        "multiplies weights by their masks before every forward pass.",
        "",
        "Measured on",
        "",
        *(f"{number}. {machine}" for number, machine in enumerate(machines, start=1)),
        "",
    ]
    if lacking := [name for name in abouts if name not in parts]:
        lines += [f"Not measured at all yet, targets included: {', '.join(lacking)}.", ""]
    lines += ["## Targets", "", *table(map(cells, aims)), ""]
    for name, draw in CHARTS.items():
        points = [point for found in parts.get(name, {"rows": []})["rows"] for point in found.get("points", [])]
        if points:
            svg, _, pdf = write(draw(points), KEPT, name)
            pdf.unlink()
            lines += [f"## {abouts[name].rstrip('.')}", "", f"![{abouts[name]}](speed/{svg.name})", ""]
            lines += [*shares(points), ""] if name == "where" else []
    lines += ["## Everything measured", ""]
    lines += [f"**{name}**: {about} Not measured yet.\n" for name, about in abouts.items() if name not in parts]
    for name, part in parts.items():
        where = machines.index(part["machine"]) + 1
        lines += [f"**{name}** ({part['date']}, machine {where}): {abouts[name]}", ""]
        lines += [*table(map(cells, part["rows"])), ""]
    if TRIED.is_file():
        lines += ["## What was tried without success", "", TRIED.read_text().strip(), ""]
    RESULTS.write_text("\n".join(lines).rstrip() + "\n")
