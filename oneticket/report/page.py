"""The report: a folder with an HTML page, the same text in Markdown, the figures as files, and the rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from oneticket.charts.method import Theme, method_picture
from oneticket.charts.picture import hero, pictures
from oneticket.claims.claim import Verdict
from oneticket.ground import disk
from oneticket.ground.errors import StoreError
from oneticket.report.contents import contents
from oneticket.report.decomposition import COLUMNS as TAKEN_APART
from oneticket.report.export import write_rows
from oneticket.report.html import html
from oneticket.report.markdown import markdown
from oneticket.stats.stats import Interval
from oneticket.stats.summary import Row
from oneticket.study.findings import Findings

CLAIMS = (
    *("claim", "density", "level", "equal", "statement", "outcome", "unit", "effect", "low", "high", "n", "margin"),
    *("p", "test", "adjusted", "family", "survives"),
    *("own_over_dense", "own_low", "own_high", "own_n", "own_outcome", "rule", "advice", "notes"),
)
MISSING = (
    *("part", "model", "source_data", "source_optimizer", "target_data", "target_optimizer"),
    *("arm", "level", "replicate", "equal"),
)


def write_report(findings: Findings, folder: Path, *, method: Sequence[Row] = ()) -> list[Path]:
    """Write the report of the findings into the folder and return its files, the page first.

    `method`: rows of one target, from which a picture of the method is drawn above the answer; none without them.

    `report.html` needs no other file. The folder also gets `report.md`, every figure in `figures/` as SVG, PNG and
    PDF, `rows.csv`, `rows.parquet`, `missing.csv`, `claims.csv` and `mask-or-weights.csv`. Each file is complete or
    not there, and equal findings give equal bytes. Raises StoreError, before anything is drawn, if the folder cannot
    be written to, and SpecError for rows and claims that do not fit together.

    >>> import tempfile
    >>> from oneticket.study.grid import Plan
    >>> nothing = dict.fromkeys(("rows", "missing", "layers", "overlaps", "curves", "ledger"), ())
    >>> findings = Findings(plan=Plan(name="mine", cells=()), protocol={}, **nothing)
    >>> write_report(findings, Path(tempfile.mkdtemp()))[0].name
    'report.html'
    """
    content = contents(findings)
    names = ("rows.csv", "rows.parquet", "missing.csv", "claims.csv", "mask-or-weights.csv")
    files = [folder / name for name in names]
    for file in files[:2]:
        write_rows(findings.rows, file)
    write_rows(findings.missing, files[2], MISSING)
    write_rows([verdict_row(verdict) for verdict in content.verdicts], files[3], CLAIMS)
    write_rows(content.taken_apart.rows, files[4], TAKEN_APART)
    drawn = pictures(findings, folder / "figures")
    first = hero(findings, folder / "figures")
    files += [folder / "figures" / name for picture in filter(None, [first, *drawn]) for name in picture.files]
    explained = _method(method)
    texts = {
        folder / "report.html": html(content, drawn, first, explained),
        folder / "report.md": markdown(content, drawn, first, explained),
        **{folder / "figures" / name: picture for name, picture in explained.items()},
    }
    for file, text in texts.items():
        try:
            disk.replace(file, text.encode("utf-8"))
        except OSError as error:
            raise StoreError(f"cannot write the report to {folder}: {error.strerror}") from error
    return [*texts, *files]


def _method(rows: Sequence[Row]) -> dict[str, str]:
    """The pictures of the method by the names of their files, for light and for dark pages; none without rows."""
    levels = max((row["level"] for row in rows), default=0)
    themes: tuple[Theme, ...] = ("light", "dark")
    return {f"method-{one}.svg": method_picture(rows, levels=levels, theme=one) for one in themes if rows}


def verdict_row(verdict: Verdict) -> dict[str, object]:
    """A verdict as one row of `claims.csv`, with the columns `CLAIMS`."""
    test, still = verdict.test, verdict.still
    made: dict[str, object] = {
        **_bounds(verdict.effect, "effect", ""),
        **_bounds(still.effect if still else None, "own_over_dense", "own_"),
        "own_outcome": still and still.outcome,
        "p": test and test.p,
        "test": test and test.words,
        "notes": " ".join(verdict.notes),
    }
    return {name: made[name] if name in made else getattr(verdict, name) for name in CLAIMS}


def _bounds(interval: Interval | None, name: str, before: str) -> dict[str, object]:
    bounds = {f"{before}{end}": interval and getattr(interval, end) for end in ("low", "high", "n")}
    return {name: interval and interval.mean, **bounds}
