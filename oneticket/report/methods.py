"""The methods paragraphs: the protocol of a study in prose, with the papers that it follows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any

from oneticket.data.spec import DataSpec, joint_name
from oneticket.ground.metric import METRICS, Metric
from oneticket.lottery.arms import CROSSED, OF_TARGET, WHOLE, words_of
from oneticket.models.spec import ModelSpec
from oneticket.pruning.spec import CRITERIA, SCOPES
from oneticket.report.settings import COMPARED, DRAWN, HEADS, PRUNED, SHOTS, STARTS, length, optimizer, span
from oneticket.stats.stats import CONFIDENCE
from oneticket.stats.words import arm_place, counts, listed, margin_words, percent
from oneticket.study.findings import Findings
from oneticket.study.labels import model_label
from oneticket.study.rows import COMPACT
from oneticket.task.inputs import AXES


def methods(findings: Findings) -> tuple[str, ...]:
    """One paragraph each on networks, data, search, training, transfer, arms, statistics and hardware.

    Settings with several values in one study are listed; a paragraph is left out if the study plans nothing of it.

    >>> from oneticket.study.grid import Plan
    >>> nothing = dict.fromkeys(("rows", "missing", "layers", "overlaps", "curves", "ledger"), ())
    >>> protocol = {"source": {"rewind": ["1ep"]}, "source.pruning": {"fraction": [0.2], "criterion": ["magnitude"]}}
    >>> paragraphs = methods(Findings(plan=Plan(name="mine", cells=()), protocol=protocol, **nothing))
    >>> paragraphs[0].partition(":")[0]
    'Search'
    """
    return tuple(paragraph for write in PARAGRAPHS if (paragraph := write(findings)))


def _networks(findings: Findings) -> str:
    known = findings.protocol.get("network", {}).get("model", [])
    if not known:
        return ""
    names = _each(_model(label, spec) for label, spec in _called(findings, "model"))
    kinds = dict.fromkeys(model.get("kind", "images") for model in known)
    taken = []
    for kind in kinds:
        shapes = _each(" × ".join(map(str, m["shape"])) for m in known if m.get("kind", "images") == kind)
        taken.append(f"{kind} of {listed(shapes)} ({' × '.join(AXES[kind])})")
    outputs = _each(str(model["classes"]) for model in known)
    patterns = _each(pattern for model in known for pattern in model["spec"].get("prunable", ()))
    usual = "all weights of convolution, linear, attention and recurrent layers"
    may = f"the weights named {listed(patterns)}" if patterns else usual
    return (
        f"Networks: {listed(names)}, for {listed(taken)} and {listed(outputs)} {_outputs(findings, *outputs)}. "
        f"Pruned were {may}, never the output layer, biases, embeddings or normalisation parameters."
    )


def _outputs(findings: Findings, *counts: str) -> str:
    """The outputs of a network in words: their number, and what they stand for."""
    classes = all(metric == METRICS["accuracy"] for metric in _metrics(findings))
    one, more = ("class", "classes") if classes else ("output", "outputs")
    return one if counts == ("1",) else more


def _called(findings: Findings, kind: str) -> list[tuple[str, Mapping[str, Any]]]:
    """The study's names of its models, datasets or optimizers, each with its settings."""
    return findings.protocol.get("called", {}).get(kind, [])


def _model(label: str, spec: Mapping[str, Any]) -> str:
    """The study's name of a model, and a description of it."""
    plain = model_label(ModelSpec.recall(spec))
    return label if label == plain else f"{label} ({plain})"


def _data(findings: Findings) -> str:
    used = _called(findings, "data")
    if not used:
        return ""
    counted = {
        row[f"{end}_data"]: (row[f"{end}_classes"], row[f"{end}_images"])
        for row in findings.rows
        for end in ENDS
        if row.get(f"{end}_data") and row.get(f"{end}_images")
    }
    named = []
    for label, data in used:
        facts = [joint_name(data)] if label != joint_name(data) else []
        if label in counted:
            outputs, examples = counted[label]
            facts += [f"{outputs:,} {_outputs(findings, str(outputs))}, {examples:,} training examples"]
        facts += ["mirrored at random"] if data.get("flip") else []
        facts += [f"shifted at random by up to {data['crop']} pixels"] if data.get("crop") else []
        named.append(label + (f" ({'; '.join(facts)})" if facts else ""))
    halves = any(each.half for _, data in used for each in DataSpec.recall(data).members)
    rest = " :a and :b are two fixed halves of one training set with no example in common." if halves else ""
    draws = findings.protocol.get("study", {}).get("draw", [])
    rest += f" {DRAWN[any(draw is not None for draw in draws)]}" if draws else ""
    readings = findings.plan.readings
    read = "".join(f" {each}" for each in ("As they were read:", *readings)) if readings else ""
    return f"Data: {'; '.join(named)}.{rest}{read} {_measured(findings)}"


def _measured(findings: Findings) -> str:
    """The metrics of the scores, and the time of their measurement."""
    said = [
        "Accuracy is the share of the target's test examples that are classified right, measured once, after "
        "training. It is given in percent, differences of it in points (hundredths)."
        if metric == METRICS["accuracy"]
        else f"The score is the {metric.label} over the target's test set, of which {metric.better} is better, "
        "measured once, after training."
        for metric in _metrics(findings)
    ]
    return " ".join(said)


def _metrics(findings: Findings) -> list[Metric]:
    """The metrics of the rows; accuracy if there are no rows yet."""
    return list(dict.fromkeys(Metric.of(row) for row in findings.rows)) or [METRICS["accuracy"]]


def _search(findings: Findings) -> str:
    found, rule = findings.protocol.get("source", {}), findings.protocol.get("source.pruning", {})
    if not rule:
        return ""
    fractions = listed([percent(fraction) for fraction in rule.get("fraction", [])])
    which = listed(
        [CRITERIA.get(name, f"the smallest by {name}") for name in rule.get("criterion", ["magnitude"])], "or"
    )
    scope = listed([SCOPES.get(name, f"in the groups of {name}") for name in rule.get("scope", ["global"])], "or")
    shots = listed([SHOTS[name] for name in rule.get("shots", ["iterative"])], "or")
    units = listed([_units(name) for name in rule.get("granularity", ["weight"])], "or")
    rewind = listed([span(when) for when in found.get("rewind", [])])
    levels = findings.protocol.get("study", {}).get("level", [])
    kept = sorted({(row["level"], percent(row["density"])) for row in findings.rows if row["arm"] not in WHOLE})
    densities = f" ({', '.join(dict.fromkeys(said for _, said in kept))} of the prunable weights)" if kept else ""
    pruned = [str(level) for level in sorted(levels) if level]
    return (
        f"Search: {shots}; from one level to the next {fractions} of the remaining {units} were pruned, {which}, "
        f"{scope} (Han et al., 2015; Frankle and Carbin, 2019). Pruned weights were held at exactly zero. Every level "
        f"began from the same weights, those of the dense network after {rewind} of training (rewinding; Frankle et "
        "al., 2020; Morcos et al., 2019), with a fresh optimizer."
        + (f" Compared were level{'s' if len(pruned) > 1 else ''} {listed(pruned)}{densities}." if pruned else "")
    )


def _units(granularity: str) -> str:
    """The units that a granularity prunes, in the plural."""
    kind, _, sizes = granularity.partition(":")
    if kind.isdigit():
        return f"weights, as long as {kind} of every {sizes} along the inputs live,"
    return f"blocks of {sizes.replace('x', ' x ')} weights" if sizes else PRUNED[kind]


def _training(findings: Findings) -> str:
    protocol = findings.protocol
    optimizers = [f"{label} ({optimizer(one)})" for label, one in _called(findings, "optimizer")]
    ends = {end: length(protocol.get(f"{end}.training", {})) for end in ENDS}
    if len(set(ends.values())) == 1 or not all(ends.values()):
        lengths = next(filter(None, ends.values()), "")
    else:
        owns = {*protocol.get("study", {}).get("arm", [])} & {*OF_TARGET, *CROSSED}
        called = {**{end: f"{end}s" for end in ENDS}, **({"target": "targets and their own searches"} if owns else {})}
        lengths = "; ".join(f"{called[end]}: {said}" for end, said in ends.items())
    named = f"Training: {'; '.join(optimizers)}." if optimizers else ""
    said = [named, f"{lengths[0].upper()}{lengths[1:]}." if lengths else ""]
    alike = "All networks of a comparison were trained with the same settings, and none was chosen by its score."
    return " ".join(filter(None, [*said, alike, *_footing(findings)])) if optimizers else ""


def _footing(findings: Findings) -> Iterator[str]:
    """Whether the sources of each part were compared at equal steps or epochs, by the lengths of their searches."""
    parts = findings.protocol.get("searched", {})
    found: dict[str, list[str]] = {}
    for part, sources in parts.items():
        for equal in dict.fromkeys(one["equal"] for one in sources):
            here = [one for one in sources if one["equal"] == equal]
            if len({one["data"] for one in here}) > 1:
                found.setdefault(_compared(here), []).append(part)
    for said, where in found.items():
        named = f"Sources of {listed([*dict.fromkeys(where)])}" if len(parts) > 1 else "Sources"
        yield f"{named} were compared {said}."


def _compared(sources: Iterable[Mapping[str, Any]]) -> str:
    """Equal steps, equal epochs, both or neither, with the numbers."""
    sources = list(sources)
    steps, epochs = {one["steps"] for one in sources}, {Fraction(one["steps"], one["epoch"]) for one in sources}
    each = _each(f"{one['data']} {one['steps']:,} steps ({one['steps'] / one['epoch']:.3g} epochs)" for one in sources)
    return f"{COMPARED[len(steps) == 1, len(epochs) == 1]}: {listed(each)}"


def _transfer(findings: Findings) -> str:
    heads = findings.protocol.get("target", {}).get("head", [])
    if not heads:
        return ""
    return (
        "Transfer: mask and rewound weights came from the source, and were trained on the target; nothing was pruned "
        f"there. The output layer was {listed([HEADS[head] for head in heads], 'or')} (Morcos et al., 2019). "
        + _accounting(findings)
    )


def _accounting(findings: Findings) -> str:
    """How steps of the target inside rewound weights count; see `lottery/accounting`."""
    study = findings.protocol.get("study", {})
    later = [f"{start:,}" for start in sorted(study.get("start", [])) if start]
    starts = {**STARTS, "equal": STARTS["equal"].format(listed(later, "or")) if later else STARTS["none"]}
    return " ".join(starts[name] for name in study.get("head_start", []))


def _arms(findings: Findings) -> str:
    arms = findings.protocol.get("study", {}).get("arm", [])
    kinds = [f"{words_of(arm).label}: {words_of(arm).keeps}" for arm in sorted(arms, key=arm_place)]
    return f"Networks compared: {'; '.join(kinds)}." if kinds else ""


def _statistics(findings: Findings) -> str:
    replicates = findings.protocol.get("study", {}).get("replicate", [])
    if not replicates:
        return ""
    seeds = {seed for end in ENDS for seed in findings.protocol.get(end, {}).get("seed", [])}
    roots = f"the root seed{'s' if len(seeds) > 1 else ''} {listed([str(seed) for seed in sorted(seeds)])}"
    alone = " With one replicate there are no intervals, and no claim is made." if len(replicates) == 1 else ""
    return (
        f"Statistics: {counts([len(replicates)])}. The random streams of a replicate (initialisation, data order, "
        f"augmentation, new output layer, shuffled masks) derive from {roots} and its number; all networks of a "
        "replicate share its initialisation and data order, so that differences are paired. Means come with "
        f"{percent(CONFIDENCE)} Student t intervals over replicates; the comparisons "
        "of a verdict have intervals that hold together (Bonferroni), the verdicts p values of t-tests, adjusted "
        f"over all verdicts of the study (Holm, 1979), and {_margin(findings)} "
        f"(Schuirmann, 1987; Lakens, 2017).{alone}"
    )


def _margin(findings: Findings) -> str:
    """The margin in the metric's own unit: the largest difference that does not matter."""
    given = findings.plan.margin
    limits = [(metric, metric.margin if given is None else given) for metric in _metrics(findings)]
    said = [f"under {margin_words(limit, metric)}" for metric, limit in limits if limit is not None]
    return f"a difference {listed(said, 'or')} counts as none that matters" if said else "no margin is named"


def _hardware(findings: Findings) -> str:
    devices = _each(str(row["device"]) for row in sorted(findings.rows, key=_device) if row.get("device"))
    compact = sum(any(said.search(str(row.get("how"))) for said in COMPACT.values()) for row in findings.rows)
    how = (
        f" {compact} of {len(findings.rows)} were trained without dead units, or with their remaining weights "
        "alone; both give the weights of masked training up to rounding."
    )
    counts = sorted({int(row["threads"]) for row in findings.rows if row.get("threads")})
    each = f", with {listed([str(count) for count in counts])} CPU thread{'s' * (counts != [1])} each" if counts else ""
    return f"Hardware: the networks were trained on {listed(devices)}{each}.{how if compact else ''}" if devices else ""


def _device(row: Mapping[str, Any]) -> str:
    return str(row.get("device") or "")


def _each(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


ENDS = ("source", "target")
PARAGRAPHS = (_networks, _data, _search, _training, _transfer, _arms, _statistics, _hardware)
