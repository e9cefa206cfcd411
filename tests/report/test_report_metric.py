"""A metric of which less is better: everything that compares must say the mirror image of one of which more is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from made import findings
from test_report_claims import ABOUT, beside, sized

from oneticket.charts.figures import FIGURES
from oneticket.claims.claims import verdicts
from oneticket.cli.show import show
from oneticket.data.spec import DataSpec
from oneticket.engine.inline import run
from oneticket.ground.errors import SpecError
from oneticket.ground.metric import METRICS, Metric
from oneticket.lottery.run_context import RunContext
from oneticket.publish.card import card
from oneticket.publish.score_tables import score_tables
from oneticket.publish.standing import standings
from oneticket.report.contents import contents
from oneticket.report.judged import comparisons
from oneticket.report.methods import methods
from oneticket.report.verdict import sentence
from oneticket.stats.scores import scores
from oneticket.stats.summary import over, summary
from oneticket.stats.table import tables, text
from oneticket.store.store import Store
from oneticket.study.findings import Findings
from oneticket.study.findings import findings as findings_of
from oneticket.study.grid import plan
from oneticket.study.spec import ComplexitySpec, StudySpec
from oneticket.ticket import describe
from oneticket.ticket.book import Book
from oneticket.ticket.contract import Contract
from oneticket.ticket.mask import Mask
from oneticket.ticket.ticket import Ticket

Rows = list[dict[str, Any]]
TOP = 100.0
CLAIMS = ("C1", "C2", "C3", "C5", "C6")


def more(rows: Iterable[dict[str, Any]]) -> Rows:
    """The rows by a metric of which more is better."""
    return [_measured(row, row["accuracy"], "skill", "higher") for row in rows]


def less(rows: Iterable[dict[str, Any]]) -> Rows:
    """The same networks, measured by how much they lack: less is better."""
    return [_measured(row, TOP - row["accuracy"], "error", "lower") for row in rows]


def _measured(row: dict[str, Any], score: float, metric: str, better: str) -> dict[str, Any]:
    kept = {name: value for name, value in row.items() if name != "accuracy"}
    return {**kept, "metric": metric, "unit": "", "better": better, "score": score}


def close(one: Any, other: Any) -> bool:
    return one == other or one == pytest.approx(other, abs=1e-9)


@pytest.mark.parametrize("gap", [0.05, 0.004, -0.05])
@pytest.mark.parametrize("claim", ABOUT)
def test_every_verdict_is_the_same_whichever_way_the_metric_counts(claim: str, gap: float) -> None:
    rows = beside(gap, **ABOUT[claim])
    (up,), (down,) = (
        verdicts(each, [claim], margin=0.02, complexity=ComplexitySpec(score=least))
        for each, least in ((more(rows), 0.85), (less(rows), TOP - 0.85))
    )
    assert up.outcome == down.outcome != "not tested"
    assert close(down.effect.mean, up.effect.mean) and close(down.effect.low, up.effect.low)
    assert (down.effect.mean > 0) == (gap > 0)
    assert [one.outcome for one in down.comparisons] == [one.outcome for one in up.comparisons]
    assert up.test is not None and down.test is not None and close(up.test.p, down.test.p)
    assert (up.unit, down.unit) == ("skill", "lower error")
    scored = ("Simple", "More complex")  # told with their dense scores
    assert [note.replace("skill", "error") for note in up.notes if not note.startswith(scored)] == [
        note for note in down.notes if not note.startswith(scored)
    ]


def test_growth_is_what_a_doubling_gains() -> None:
    rows = sized(0.02, 0.01)
    (up,), (down,) = (verdicts(each, ["C4"]) for each in (more(rows), less(rows)))
    assert up.outcome == down.outcome and close(up.effect.mean, down.effect.mean) and up.effect.mean > 0
    assert (up.unit, down.unit) == ("skill per doubling", "lower error per doubling")
    other = [{**row, "target_data": f"{row['target_data']}-other"} for row in less(rows)]
    (mixed,) = verdicts([*more(rows), *other], ["C4"])
    assert mixed.outcome == "not tested" and "which cannot be averaged" in mixed.notes[0]


def test_a_margin_is_the_metrics_own_or_named_or_nothing_is_decided() -> None:
    rows = beside(0.05, **ABOUT["C3"])
    (accuracy,) = verdicts(rows, ["C3"])
    assert (accuracy.margin, accuracy.outcome) == (0.02, "holds")
    (unnamed,) = verdicts(less(rows), ["C3"])
    assert unnamed.outcome == "undecided" and unnamed.margin is None
    assert "names no margin: the difference in error" in unnamed.notes[0]
    (named,) = verdicts(less(rows), ["C3"], margin=0.02)
    assert named.outcome == "holds"


def test_metrics_are_not_averaged_with_each_other() -> None:
    here, there = beside(0.05, **ABOUT["C1"]), beside(0.05, source="svhn", target="svhn")
    (verdict,) = verdicts([*more(here), *less(there)], ["C1"], margin=0.02)
    assert verdict.outcome == "not tested" and "which cannot be averaged" in verdict.notes[0]
    assert {one.setting.metric.name for one in summary([*more(here), *less(there)])} == {"skill", "error"}


def test_sentences_and_tables_say_which_way_is_better(study: Callable[..., Rows]) -> None:
    rows = study(optimizers=("sgd",), levels=[0, 20])
    up, down = sentence(more(rows)), sentence(less(rows))
    numbers = re.compile(r"0\.\d{3} (?:skill|error) (above|below|better than|worse than)")
    said = {"above": "better than", "below": "worse than"}
    assert [said[way] for way in numbers.findall(up)] == numbers.findall(down) != []
    assert "error, where lower is better" in down
    shown = [text(table) for table in tables(less(rows), show="over-dense")]
    assert "below the dense network's, so that more is better" in shown[0]
    for one, other in zip(summary(more(rows)), summary(less(rows)), strict=True):
        if one.over_dense is not None and other.over_dense is not None:
            assert close(one.over_dense.difference.mean, other.over_dense.difference.mean)
            assert one.over_dense.sign == other.over_dense.sign


@pytest.mark.parametrize("name", ["sources-and-targets", "controls", "scores", "mask-or-weights"])
def test_charts_show_gains(name: str) -> None:
    arms = ("dense", "ticket", "own", "mask-only", "weights-only", "reinit", "layerwise-random", "global-random")
    made = findings(sources=("cifar10", "svhn"), targets=("cifar10", "svhn"), layers=1, arms=arms)
    drawn = {}
    for way, turned in (("more", more(made.rows)), ("less", less(made.rows))):
        chart = FIGURES[name].draw(replace(made, rows=turned)).to_dict()
        drawn[way] = [record for values in chart["datasets"].values() for record in values], str(chart)
    (up, _), (down, words) = drawn["more"], drawn["less"]
    assert len(up) == len(down) > 0
    for one, other in zip(up, down, strict=True):
        assert one.get("seen") == other.get("seen")
        if name == "scores":
            assert close(other["mean"], TOP - one["mean"]) and other["over"] == one["over"]
        else:
            field = "mean" if name in ("controls", "mask-or-weights") else "value"
            assert close(one[field], other[field])
    assert "accuracy" not in words
    assert name != "scores" or "lower is better" in words


@pytest.fixture(scope="module")
def diabetes(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """A small study by RMSE, really trained: halves and optimizers, with all that a report is made of."""
    given = {"sources": ["diabetes:a", "diabetes:b"], "models": ["mlp"], "optimizers": ["sgd", "adam"]}
    study = StudySpec(
        name="diabetes",
        task="regression",
        levels=[2, 6],
        replicates=3,
        training={"budget": "6ep", "batch": 32},
        models={"mlp": {"name": "mlp", "widths": [20, 20]}},
        pruning={"fraction": 0.4},
        arms=["dense", "ticket", "own", "mask-only", "weights-only", "reinit", "global-random"],
        claims=["C1", "C2"],
        margin=2.0,
        parts={"halves": given},
    )
    context, store = RunContext(threads=1), Store(tmp_path_factory.mktemp("store"))
    planned = plan(study, context)
    assert not run([cell.step for cell in planned.cells], store=store, context=context, together=6).failed
    found = findings_of(planned, store)
    assert not found.missing and {row["metric"] for row in found.rows} == {"rmse"}
    return found


def mirrored(found: Findings) -> Findings:
    """The same networks by a metric of which more is better: gains are what they were."""
    rows = [
        {**row, "metric": "fit", "better": "higher", "score": TALL - row["score"], "rmse": None} for row in found.rows
    ]
    return replace(found, rows=rows)


TALL = 500.0


def test_real_rows_gain_where_their_error_is_lower(diabetes: Findings) -> None:
    every = summary(diabetes.rows)
    seen = [(one, other, over(one, other)) for one in every for other in every if one.setting == other.setting]
    compared = [(one, other, found) for one, other, found in seen if found is not None and one is not other]
    assert len(compared) > 100
    for one, other, found in compared:
        assert close(found.difference.mean, other.score.mean - one.score.mean)
    assert 40 < min(one.score.mean for one in every) < max(one.score.mean for one in every) < 120, "in its own unit"


@pytest.mark.parametrize("name", [name for name in FIGURES if name != "crossing"])  # its targets are of one size
def test_every_figure_of_real_rows_says_what_its_mirror_image_says(name: str, diabetes: Findings) -> None:
    down, up = (_drawn(FIGURES[name].draw(each)) for each in (diabetes, mirrored(diabetes)))
    assert len(down) == len(up) > 0
    for one, other in zip(down, up, strict=True):
        assert one.keys() == other.keys()
        for field, value in one.items():
            if name == "scores" and field in ("mean", "low", "high"):
                turned = {"low": "high", "high": "low"}.get(field, field)
                assert value is None or close(TALL - value, other[turned]), field
            elif field not in SCORED[name in ("sources-and-targets", "optimizers") and one.get("value") is None]:
                assert close(value, other[field]), field


# Words for scores, which are no gains; of a tile without a difference all its lines are.
SCORED = (("score", "ticket", "rival"), ("score", "ticket", "rival", "first", "second", "third"))


def _drawn(chart: Any) -> Rows:
    assert chart is not None
    return [record for values in chart.to_dict()["datasets"].values() for record in values]


def test_every_verdict_sentence_and_table_of_real_rows_is_the_mirror_image(diabetes: Findings) -> None:
    turned = mirrored(diabetes)
    for one, other in zip(*(verdicts(each.rows, CLAIMS, margin=2.0) for each in (diabetes, turned)), strict=True):
        assert one.outcome == other.outcome
        assert [each.outcome for each in one.comparisons] == [each.outcome for each in other.comparisons]
        if one.effect is not None and other.effect is not None:
            assert close(one.effect.mean, other.effect.mean) and (one.unit, other.unit) == ("lower rmse", "fit")
        assert one.advice.replace("rmse", "fit") == other.advice and len(one.notes) == len(other.notes)
    down, up = contents(diabetes), contents(turned)
    assert [table.rows for table in down.differences] == [table.rows for table in up.differences] != []
    assert all("lower is better" in table.caption for table in down.tables)
    words = str((down, [methods(each) for each in (diabetes,)]))
    assert "ccuracy" not in words and "image" not in words.replace("images of one training", "")
    assert (
        "vectors of 10 (numbers) and 1 output" in words and "rmse over the target's test set, of which lower" in words
    )
    said, mirror = sentence(diabetes.rows), sentence(turned.rows)
    ways = {"above": "better than", "below": "worse than"}
    found = [re.findall(r"\d (?:rmse|fit) (above|below|better than|worse than) ", text) for text in (said, mirror)]
    assert found[0] == [ways[way] for way in found[1]] != []


def test_cards_and_lists_of_real_rows_choose_the_same_best_target(diabetes: Findings) -> None:
    known = {
        "mask": Mask({"fc.weight": torch.tensor([[True, False]])}),
        "weights": {"fc.weight": torch.ones(1, 2)},
        "contract": Contract(rewind="0it", step=0),
    }
    bare, said = Ticket(**known), []
    for found in (diabetes, mirrored(diabetes)):
        rows = [row for row in found.rows if (row["source_data"], row["source_optimizer"]) in OF_ONE]
        rows = [{**row, "source_id": bare.id} for row in rows if row["level"] in (0, 6)]
        scored = scores(bare, rows)
        ticket = Ticket(**known, evidence={"scores": scored})
        gains = [one["difference"] and one["difference"]["mean"] for one in scored]
        cells = [row[2] for table in score_tables(list(describe.scores(ticket))) for row in table.rows]
        standing = standings(describe.scores(ticket))
        controls = next(one for one in standing if one.rival == "controls")
        lines = re.sub(r" (rmse|fit)", "", str([one.lines for one in standing]))
        said.append((gains, cells, lines))
        strongest = {
            (one["data"], one["optimizer"]): min(
                each["difference"]["mean"]
                for each in scored
                if (each["data"], each["optimizer"]) == (one["data"], one["optimizer"])
                and each["arm"] in ("reinit", "global-random")
            )
            for one in scored
        }
        assert METRICS["rmse"].written(max(strongest.values()), signed=True) in controls.lines[-1]
        assert ("Lower rmse is better." in card(ticket, name="user/name")) == (found is diabetes)
    (one, *shown), (other, *mirror) = said
    assert close_all(one, other) and shown == mirror


OF_ONE = (("diabetes:a", "sgd"), (None, None))


def close_all(one: Iterable[float | None], other: Iterable[float | None]) -> bool:
    return all(a is b is None or close(a, b) for a, b in zip(one, other, strict=True))


def test_several_metrics_of_one_ticket_are_not_set_beside_each_other() -> None:
    mask, contract = Mask({"w": torch.tensor([True, False])}), Contract(rewind="0it", step=0)
    base = {"optimizer": "sgd", "mean": 0.5, "low": None, "high": None, "n": 1}
    gain = {"low": None, "high": None, "n": 1}
    found = [
        {**base, "data": "here", "arm": "reinit", "difference": {**gain, "mean": 0.1}},
        {**base, "data": "there", "arm": "reinit", "difference": {**gain, "mean": 0.2}},
        {
            **base,
            "data": "else",
            "arm": "reinit",
            "metric": "rmse",
            "better": "lower",
            "unit": "",
            "difference": {**gain, "mean": 9.0},
        },
    ]
    ticket = Ticket(mask=mask, weights={"w": torch.ones(2)}, contract=contract, evidence={"scores": found})
    (found,) = standings(describe.scores(ticket))
    assert found.lines[-1].startswith("best: +20.0 points") and found.lines[-1].endswith("on there")
    assert [gain.data for gain in found.gains] == ["here", "there"]


def test_a_report_says_what_was_measured_and_which_way_is_better() -> None:
    made = findings(sources=("cifar10",), targets=("cifar10", "svhn"), layers=1)
    protocol = {"called": {"data": [("svhn", DataSpec(name="svhn").plain())]}}
    describe = " ".join(methods(replace(made, rows=less(made.rows), protocol=protocol)))
    assert "error over the target's test set, of which lower is better" in describe and "ccuracy" not in describe
    (verdict,) = verdicts(less(beside(0.05, **ABOUT["C3"])), ["C3"], margin=0.02)
    (compared,) = comparisons(verdict)
    assert "above 0 where the first is better" in compared.caption
    assert {row[-1] for row in compared.rows} == {"holds"} or "says holds" in compared.caption


def test_scores_and_cards_keep_metric_and_direction(study: Callable[..., Rows]) -> None:
    mask = Mask({"fc.weight": torch.tensor([[True, False]])})
    ticket = Ticket(mask=mask, weights={"fc.weight": torch.ones(1, 2)}, contract=Contract(rewind="0it", step=0))
    rows = [{**row, "source_id": ticket.id} for row in study(optimizers=("sgd",), levels=[20])]
    found = scores(ticket, less(rows))
    assert all((one["metric"], one["better"]) == ("error", "lower") for one in found)
    anew = next(one for one in found if one["arm"] == "reinit")
    assert anew["difference"]["mean"] > 0, "the ticket is better than new weights: its error is lower"
    lineage = {"search": {"task": {"name": "mine.py:task"}}}
    known = {"mask": mask, "weights": ticket.weights, "contract": ticket.contract, "evidence": {"scores": found}}
    scored = Ticket(**known, lineage=lineage)
    said = card(scored, name="user/name")
    assert "mine.py:task" in said and "task" not in card(Ticket(**known), name="user/name")
    assert "Lower error is better." in said and "beside its strongest control" in said
    by_accuracy = [one for one in scores(ticket, rows) if one["arm"] == "reinit"]
    assert "metric" not in by_accuracy[0] and close(by_accuracy[0]["difference"]["mean"], anew["difference"]["mean"])


@pytest.mark.parametrize("said", [{"better": "up"}, {"metric": "mae"}, {"better": {}, "metric": ["rmse"]}])
def test_a_file_that_says_nothing_sound_of_its_metric_is_shown_all_the_same(
    said: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask, contract = Mask({"w": torch.tensor([True, False])}), Contract(rewind="0it", step=0)
    ticket = Ticket(mask=mask, weights={"w": torch.ones(2)}, contract=contract, evidence={"score": 0.5, **said})
    assert "came with this file." in card(ticket, name="user/name") and "One training" not in card(ticket, name="a/b")
    pruned_at = {"w": torch.tensor([0, 1], dtype=torch.uint8)}
    records = [{"score": 0.5, **said}] * 2
    book = Book(weights=ticket.weights, pruned_at=pruned_at, levels=1, contract=contract, records=records)
    book.save(tmp_path / "book.safetensors")
    assert show(tmp_path / "book.safetensors", level=None, json=False) == 0
    assert re.search(r"weights\s+score\s*\n", capsys.readouterr().out)


def test_a_score_outside_its_metric_and_a_strange_direction_are_refused(study: Callable[..., Rows]) -> None:
    rows = study(optimizers=("sgd",), levels=[0], replicates=[0])
    for score in (-1.0, float("nan"), None):
        bad = [{**row, "metric": "rmse", "score": score, "accuracy": None} for row in rows]
        with pytest.raises(SpecError, match="rmse of dense, level 0, replicate 0: expected 0 or more, got"):
            summary(bad)
    with pytest.raises(SpecError, match="better: expected higher or lower for the metric mine, got 'up'"):
        Metric.of({"metric": "mine", "better": "up"})
    with pytest.raises(SpecError, match="for the metric mae, got ''"):
        Metric.of({"metric": "mae", "score": 1.0})
    assert Metric.of({"metric": "rmse", "unit": "mmol"}) != METRICS["rmse"]


def test_a_claim_without_cells_speaks_of_the_study_s_metric() -> None:
    row = {"model": "byte-gpt", "target_data": "moby", "target_optimizer": "adamw", "level": 0, "density": 1.0}
    score = {"arm": "dense", "metric": "bits_per_byte", "score": 2.9, "unit": "bits per byte", "better": "lower"}
    blank = dict.fromkeys(("source_data", "source_name", "source_classes", "source_images", "target_classes"))
    row |= {**blank, "target_name": "moby", "target_images": 9}
    for verdict in verdicts([{**row, **score, "replicate": n} for n in range(3)], ["C1", "C3"]):
        assert verdict.outcome == "not tested" and "accuracy" not in verdict.rule and "bits per byte of" in verdict.rule
