"""The report's folder: what lies in it, that every text is escaped, and that equal findings leave equal bytes."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas
import pytest
from made_report import EVIL, PROTOCOL, reported

from oneticket.charts.figures import FIGURES, HERO
from oneticket.engine.inline import run
from oneticket.ground.errors import StoreError
from oneticket.lottery.run_context import RunContext
from oneticket.report.contents import contents
from oneticket.report.methods import methods
from oneticket.report.page import write_report
from oneticket.store.store import Store
from oneticket.study.findings import Findings, findings
from oneticket.study.grid import Plan, plan
from oneticket.study.spec import StudySpec

SMALL: dict[str, Any] = {"sources": ("cifar10", "svhn"), "targets": ("cifar10", "svhn"), "levels": (11, 20)}


class _Page(HTMLParser):
    """What a browser would find: elements with their attributes, the texts of scripts, and all other text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.words, self.inside = "", ""
        self.feed(path.read_text("utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "script":
            self.scripts.append((self.elements[-1][1], data))
        elif self.inside != "style":
            self.words += data.replace("\N{NO-BREAK SPACE}", " ")

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report whose every word from a user is an attack."""
    folder = tmp_path_factory.mktemp("evil")
    found = reported(title=EVIL, note=EVIL, **{**SMALL, "sources": (EVIL, "svhn"), "targets": (EVIL, "svhn")})
    write_report(replace(found, plan=replace(found.plan, claims=())), folder)
    return folder


def test_everything_that_is_promised_lies_in_the_folder(tmp_path: Path) -> None:
    files = write_report(reported(**SMALL), tmp_path)
    drawn = {file.stem for file in files if file.parent.name == "figures"}
    assert drawn <= {HERO.name, *FIGURES} and {"hero", "scores"} <= drawn
    expected = {"report.html", "report.md", "rows.csv", "rows.parquet", "missing.csv", "claims.csv"}
    expected |= {"mask-or-weights.csv"}
    expected |= {f"figures/{name}.{ending}" for name in drawn for ending in ("svg", "png", "pdf")}
    assert {file.relative_to(tmp_path).as_posix() for file in files} == expected
    assert {file for file in tmp_path.rglob("*") if file.is_file()} == set(files)
    assert files[0].name == "report.html"
    rows = reported(**SMALL).rows
    assert (
        len(pandas.read_csv(tmp_path / "rows.csv")) == len(pandas.read_parquet(tmp_path / "rows.parquet")) == len(rows)
    )


def test_equal_findings_leave_equal_bytes(tmp_path: Path) -> None:
    first, second = (write_report(reported(**SMALL), tmp_path / name) for name in ("one", "two"))
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_no_word_of_a_user_becomes_markup(evil: Path) -> None:
    page = _Page(evil / "report.html")
    charts = [text for attributes, text in page.scripts if attributes.get("type") == "application/json"]
    panels = [1 for attributes in page.all("div") if attributes.get("class") == "chart"]
    assert sum(len(json.loads(text)) for text in charts) == len(panels) > len(charts) > 0
    assert any(EVIL in json.dumps(json.loads(text), ensure_ascii=False).replace('\\"', '"') for text in charts)
    assert len(page.scripts) == len(charts) + 2  # the charts' library and the page's own script, nothing else
    assert all(not (attributes.get("src") or "").startswith("x") for attributes in page.all("img"))
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert page.words.count(EVIL) >= 4  # title, heading, note, tables
    shown = (evil / "report.md").read_text("utf-8")
    assert not re.search(r"(?<!\\)<", shown)


def test_the_page_asks_for_nothing_outside_itself(evil: Path) -> None:
    page = _Page(evil / "report.html")
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy and policy.startswith("default-src 'none'") and "unsafe-eval" not in policy
    assert "script-src 'sha256-" in policy and "connect-src" not in policy
    for _, attributes in page.elements:
        for name in ("src", "href"):
            value = attributes.get(name) or ""
            assert not re.match(r"(?!data:)(\w+:|//)", value), value


def test_every_link_leads_somewhere(tmp_path: Path) -> None:
    write_report(reported(**SMALL), tmp_path)
    page = _Page(tmp_path / "report.html")
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"] or "" for attributes in page.all("a")]
    assert len(links) > 10
    for link in links:
        assert link[1:] in ids if link.startswith("#") else (tmp_path / link).is_file(), link


def test_the_answer_comes_first_with_its_word_effect_and_n(tmp_path: Path) -> None:
    found = reported(**SMALL)
    write_report(found, tmp_path)
    page, markdown = _Page(tmp_path / "report.html"), (tmp_path / "report.md").read_text("utf-8")
    verdicts = contents(found).verdicts
    assert [verdict.claim for verdict in verdicts] == ["C1", "C3", "C4"]
    assert verdicts[0].outcome == "holds" and verdicts[2].outcome == "not tested"
    assert page.words.index("The answer") < page.words.index(verdicts[0].statement) < page.words.index("Rule.")
    assert "(95 % CI " in page.words and ", n = 3)" in page.words
    for verdict in verdicts:
        assert verdict.rule in page.words and verdict.statement in markdown
    table = pandas.read_csv(tmp_path / "claims.csv")
    assert list(table["outcome"]) == [verdict.outcome for verdict in verdicts]
    assert table["n"][0] == 3 and pandas.isna(table["effect"][2])


def test_tables_have_headers_that_name_their_rows_and_columns(tmp_path: Path) -> None:
    write_report(reported(**SMALL), tmp_path)
    page = _Page(tmp_path / "report.html")
    scopes = [attributes.get("scope") for attributes in page.all("th")]
    assert set(scopes) == {"col", "row"}
    assert len(page.all("caption")) == len(page.all("table")) > 3
    assert len(page.all("main")) == len(page.all("nav")) == len(page.all("h1")) == 1
    named = [attributes for attributes in page.all("div") if attributes.get("role") == "region"]
    assert named and all(attributes.get("aria-label") for attributes in named)


def test_what_is_missing_is_counted_and_listed(tmp_path: Path) -> None:
    found = reported(lost=[("reinit", 20, 1), ("reinit", 20, 2)], **SMALL)
    write_report(found, tmp_path)
    page = _Page(tmp_path / "report.html")
    assert f"{len(found.rows)} of {len(found.rows) + 8} cells of the study are trained" in page.words
    assert len(pandas.read_csv(tmp_path / "missing.csv")) == len(found.missing) == 8
    table = contents(found).missing
    assert table is not None and len(table.rows) == 4
    assert "levels 20; replicates 1, 2; cells 2." in table.caption


def test_a_study_with_nothing_trained_says_so(tmp_path: Path) -> None:
    found = reported(replicates=1, **SMALL)
    empty = replace(found, rows=(), layers=(), overlaps=(), curves=(), ledger=(), missing=found.rows)
    files = write_report(empty, tmp_path)
    page = _Page(tmp_path / "report.html")
    assert f"Nothing is trained yet: all {len(found.rows)} cells of the study are missing." in page.words
    assert not [file for file in files if file.parent.name == "figures"]
    assert {verdict.outcome for verdict in contents(empty).verdicts} == {"not tested"}
    assert list(pandas.read_csv(tmp_path / "rows.csv").columns)


def test_one_replicate_has_no_intervals_and_says_so(tmp_path: Path) -> None:
    write_report(reported(replicates=1, **SMALL), tmp_path)
    page = _Page(tmp_path / "report.html")
    assert "n = 1 replicate, so that no interval can be given and no claim is made" in page.words
    assert "±" not in page.words.partition("Methods")[0].replace("±2.0", "").replace("± half", "")
    assert "holds" not in {verdict.outcome for verdict in contents(reported(replicates=1, **SMALL)).verdicts}


def test_parts_that_trained_one_setting_differently_stand_apart(tmp_path: Path) -> None:
    one, other = (reported(part=name, **SMALL) for name in ("long", "short"))
    rows = [*one.rows, *({**row, "accuracy": row["accuracy"] / 2} for row in other.rows)]
    shown = contents(replace(one, rows=rows, plan=replace(one.plan, claims=())))
    assert [table.title.partition(":")[0] for table in shown.tables] == ["long", "long", "short", "short"]


class _Never(tuple[Any, ...]):
    """What figures alone look at, and what must not be looked at."""

    def __iter__(self) -> Any:
        raise AssertionError("a figure was drawn")


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    found = replace(reported(**SMALL), curves=_Never([{}]), layers=_Never([{}]))
    with pytest.raises(AssertionError, match="a figure was drawn"):
        write_report(found, tmp_path / "free")
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StoreError, match="cannot write"):
        write_report(found, tmp_path / "taken" / "report")


def test_a_real_study_is_reported_from_its_store(tmp_path: Path) -> None:
    context, store = RunContext(), Store(str(tmp_path / "store"))
    asked = plan(StudySpec.read(TINY), context)
    # Not all of it is trained.
    run([cell.step for cell in asked.cells[:-2]], store=store, context=context)
    found = findings(asked, store)
    write_report(found, tmp_path / "report")
    page = _Page(tmp_path / "report" / "report.html")
    assert f"{len(asked.cells) - 2} of {len(asked.cells)} cells of the study are trained" in page.words
    assert "small (mlp(widths=12))" in page.words and "6 steps for each training, batches of 32" in page.words
    keys = set(pandas.read_csv(tmp_path / "report" / "rows.csv")["key"])
    assert keys == {cell.step.key for cell in asked.cells[:-2]}
    assert list(pandas.read_csv(tmp_path / "report" / "missing.csv")["arm"]) == [c.arm for c in asked.cells[-2:]]
    assert [verdict.claim for verdict in contents(found).verdicts] == ["C2"]


def test_methods_tell_the_protocol_as_run() -> None:
    shown = " ".join(methods(reported(**SMALL)))
    for fact in (
        "vgg-11, for images of 3 × 32 × 32",
        "cifar10 (10 classes, 5,000 training examples; mirrored at random; shifted at random by up to 4 pixels)",
        "20 % of the remaining weights",
        "by one threshold over all layers",
        "after 100 steps of training",
        "learning rate 0.03, momentum 0.9, weight decay 0.0001, cosine schedule, after 50 steps of warm-up",
        "500 steps for each training, batches of 50",
        "new in every network",
        "n = 3 replicates",
        "root seed 0",
        "trained on cpu",
        "Morcos et al., 2019",
    ):
        assert fact in shown, fact


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        ("source.pruning", {"scope": ["layerwise"]}, "as many in every layer"),
        ("source.pruning", {"shots": ["one-shot"]}, "all masks were taken from the dense network"),
        ("target", {"head": ["keep"]}, "the ticket's own"),
        ("study", {"replicate": [0]}, "no claim is made"),
        ("target.training", {"budget": ["2ep"]}, "Sources: 500 steps for each training, batches of 50"),
        ("source", {"rewind": ["1ep", "3ep"]}, "after 1 epoch and 3 epochs of training"),
    ],
)
def test_methods_follow_every_setting(kind: str, settings: dict[str, list[Any]], said: str) -> None:
    protocol = {**PROTOCOL, kind: {**PROTOCOL[kind], **settings}}
    assert said in " ".join(methods(replace(reported(**SMALL), protocol=protocol)))
    assert said not in " ".join(methods(reported(**SMALL)))


TINY: dict[str, Any] = {
    "name": "tiny",
    "levels": [2],
    "arms": ["dense", "ticket", "global-random"],
    "replicates": 2,
    "training": {"budget": "6it", "batch": 32},
    "rewind": "2it",
    "claims": ["C2"],
    "models": {"small": {"name": "mlp", "widths": [12]}},
    "sets": {name: {"data": {"name": f"digits:{name}", "per_class": 10}} for name in "ab"},
    "parts": {"halves": {"sources": ["a"], "targets": ["b"], "optimizers": ["sgd"]}},
}


def _empty(protocol: Any) -> Findings:
    nothing: dict[str, Any] = dict.fromkeys(("rows", "missing", "layers", "overlaps", "curves", "ledger"), ())
    return Findings(plan=Plan(name="mine", cells=()), protocol=protocol, **nothing)


def test_methods_do_not_tell_what_was_not_planned() -> None:
    assert methods(_empty({})) == ()
    assert [shown.partition(":")[0] for shown in methods(_empty({"target": {"head": ["fresh"]}}))] == ["Transfer"]
