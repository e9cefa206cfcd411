"""The design of a study in a report: its statements, its digest, and whether it was stored before the first row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oneticket.claims.complexity import words
from oneticket.ground.metric import METRICS, Metric
from oneticket.stats.report_table import ReportTable
from oneticket.stats.words import MISSING, listed, margin_words
from oneticket.study.design import design, design_doubts, digest_of
from oneticket.study.findings import Findings


def stated(findings: Findings) -> ReportTable | None:
    """The design as a table; the title says whether it was stored before the first run. None without claims."""
    plan, made = findings.plan, design(findings.plan)
    if not plan.claims:
        return None
    metrics = list(dict.fromkeys(Metric.of(row) for row in findings.rows)) or [METRICS["accuracy"]]
    late = _late(findings)
    first = digest_of(findings.designs[0].design) if late and findings.designs else digest_of(made)
    densities = [f"{density:g} (level {level})" for density, level in plan.densities.items()]
    rows = [
        ("claims", ", ".join(plan.claims)),
        ("densities", ", ".join(densities) or "none stated: the sparsest level that all cells have"),
        ("margin", _margin(plan.margin, metrics)),
        *((name, each) for name, each in _parts(made["parts"])),
        *([("simple and complex", words(plan.complexity, metrics[0]))] if "C5" in plan.claims else []),
        *((f"stated of {name}", _known(known)) for name, known in made["complexity"]["sets"].items()),
        ("digest", digest_of(made)),
        *([("digest of what was stated first", first)] if first != digest_of(made) else []),
    ]
    return ReportTable(
        title="What the study states now" if late else "What was stated before the first run",
        header=("field", "stated"),
        rows=tuple(rows),
        caption="The digest is SHA-256 over the canonical JSON of the design: these fields, all settings of each "
        "part's sets, models and optimizers, and each claim's sentence or the digest of its code. A run writes it into "
        "the store before its first training.",
    )


def doubts(findings: Findings) -> tuple[str, ...]:
    """Warnings for a reader of the verdicts: about the data, and about a design that was stored after the first row."""
    return (*findings.plan.doubts, *_late(findings))


def _late(findings: Findings) -> tuple[str, ...]:
    """What changed in the design after the first row; empty if nothing did, or without claims."""
    plan = findings.plan
    return tuple(design_doubts(plan, findings.designs, trained=findings.trained)) if plan.claims else ()


def _margin(given: float | None, metrics: list[Metric]) -> str:
    limits = [(metric, metric.margin if given is None else given) for metric in metrics]
    return listed([margin_words(limit, metric) for metric, limit in limits if limit is not None]) or MISSING


def _parts(parts: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """A row for each part; parts with equal statements share a row."""
    groups: dict[str, list[str]] = {}
    for name, part in parts.items():
        said = "; ".join(
            f"{field.replace('_', ' ')} {_word(value)}"
            for field, value in part.items()
            if value is not None and not isinstance(value, Mapping)
        )
        groups.setdefault(said, []).append(name or "all")
    return [(listed(names), said) for said, names in groups.items()]


def _known(properties: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in properties.items() if value is not None)


def _word(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
