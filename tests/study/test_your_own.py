"""One of everything from a user's file: a study is run and reported with all of it, and each is really used."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest
import torch
from commands import oneticket_cli
from sklearn.datasets import load_digits
from torch.nn import functional as F

from oneticket.charts.figures import figure_named
from oneticket.data.batches import batches
from oneticket.data.spec import DataSpec
from oneticket.engine.execute import alone
from oneticket.engine.handlers import work
from oneticket.ground.errors import SpecError
from oneticket.ground.streams import Streams
from oneticket.lottery.run_context import RunContext
from oneticket.lottery.spec import SearchSpec
from oneticket.models.build import build
from oneticket.optim.build import build as build_optimizers
from oneticket.optim.schedule import lr_factor
from oneticket.optim.spec import OptimizerSpec
from oneticket.pruning.allocate import allocate
from oneticket.store.step import Step
from oneticket.study.file import read_study
from oneticket.study.grid import plan
from oneticket.study.origins import search_origin
from oneticket.study.track import tracker
from oneticket.ticket.book import Book

HEAD = "from __future__ import annotations\n"
PARTS = {
    "data": """
from sklearn.datasets import load_digits

def data():
    inputs, targets = load_digits(return_X_y=True)
    images = (inputs * 15).astype("uint8").reshape(-1, 8, 8)
    return images[:160], targets[:160], images[160:250], targets[160:250]
""",
    "model": """
from torch import nn

def model(classes, shape):
    channels, height, width = shape
    sizes = [channels * height * width, 12, 10, 8]
    layers = [layer for a, b in zip(sizes, sizes[1:]) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(8, classes))
""",
    "task": """
from oneticket.ground.metric import Metric
from oneticket.task.task import CLASSIFICATION, Measure, Task

def task():
    top = Measure(metric=Metric(name="top-2", low=0, high=1), total=lambda output, target: (
        output.topk(2).indices == target[:, None]).any(1).sum())
    return Task(name="mine", loss=CLASSIFICATION.loss, measures={"top-2": top}, counts="top-2")
""",
    "optimizer": """
import torch

class Signs(torch.optim.Optimizer):
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for weight in group["params"]:
                weight.sub_(group["lr"] * weight.grad.sign())

def optimizer(parameters, lr):
    return Signs(parameters, {"lr": lr})
""",
    "schedule": """
def schedule(step, per_epoch, total):
    return 1 / (1 + step) if step < 2 else 0.0  # after two steps nothing moves
""",
    "criterion": """
def criterion(evidence):
    return {name: -weight.abs() for name, weight in evidence.trained.items()}  # the largest go first
""",
    "scope": """
def scope(names):
    return [names[:2], names[2:]]
""",
    "control": """
import torch
from oneticket import Ticket

def control(source, new, generator):
    assert source.rewind is not None and source.zeros is not None and generator.device.type == "cpu"
    nothing = {name: torch.zeros_like(weight) for name, weight in new.items()}
    given = source.ticket
    return Ticket(mask=given.mask, weights=nothing, contract=given.contract, model=given.model)
""",
    "figure": '''
import altair

def figure(findings):
    """Scores, one by one.

    Each is a point.
    """
    return altair.Chart(altair.Data(values=[{"score": row["score"]} for row in findings.rows])).mark_point().encode(
        x=altair.X("score:Q", title="my score"))
''',
    "claim": """
from oneticket.claims.claim import Verdict
from oneticket.ground.metric import Metric

def claim(rows):
    return Verdict(claim="mine", statement="Rows are there.", outcome="holds" if len(rows) == 8 else "fails",
        effect=None, metric=Metric(name="rows"), margin=None, rule="by counting", comparisons=(), advice="", notes=())
""",
    "tracker": """
import json
from pathlib import Path

class Lines:
    def __init__(self, file):
        self.file = Path(file)

    def has(self, run):
        return self.file.exists() and run.key in self.file.read_text()

    def write(self, run):
        with self.file.open("a") as file:
            file.write(json.dumps({"key": run.key, **run.results}) + "\\n")

    def close(self):
        with self.file.open("a") as file:
            file.write("{}\\n")

def tracker(where):
    return Lines(where)
""",
}
STUDY = """
levels = [1]
arms = ["dense", "ticket", "global-random", "{control}"]
replicates = 2
rewind = "3it"
task = "{task}"
claims = ["{claim}"]
figures = ["scores", "{figure}"]
training = {{budget = "4it", batch = 20}}
pruning = {{criterion = "{criterion}", scope = "{scope}", fraction = 0.25}}
optimizers.mine = {{name = "{optimizer}", lr = 0.04, schedule = "{schedule}"}}
models.mine = "{model}"
sets.a.data = "{data}:a"
sets.b.data = "{data}:b"
parts.halves = {{sources = ["a"], targets = ["b"]}}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_study_runs_and_is_reported_with_one_of_everything(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").write_text(HEAD + "".join(PARTS.values()))
    Path("mine.toml").write_text(STUDY.format(**{name: f"mine.py:{name}" for name in PARTS}))
    run = "study mine.toml --track mine.py:tracker:log.jsonl --engine inline --threads 1"
    code, _, err = oneticket_cli(run, capsys)
    assert code == 0, err
    code, out, err = oneticket_cli("report mine.toml --out report", capsys)
    assert code == 0 and "mine: holds. Rows are there." in out + err, out + err

    rows = list(csv.DictReader(Path("report/rows.csv").read_text().splitlines()))
    assert {row["arm"] for row in rows} == {"dense", "ticket", "global-random", "mine.py:control"} and len(rows) == 8
    assert {row["metric"] for row in rows} == {"top-2"} and {row["model"] for row in rows} == {"mine"}
    assert {row["target_images"] for row in rows} == {"80"}
    assert {row["how"] for row in rows} == {""}, "what is not known to work entry by entry is trained as it stands"
    # Of three layers, the scope's two groups lose a quarter each.
    sizes = {"1.weight": 64 * 12, "3.weight": 12 * 10, "5.weight": 10 * 8}
    gone = (sizes["1.weight"] + sizes["3.weight"]) // 4 + sizes["5.weight"] // 4
    assert {int(row["living"]) for row in rows if row["arm"] == "mine.py:control"} == {sum(sizes.values()) - gone}
    _check_control([row for row in rows if row["arm"] == "mine.py:control"])

    lines = [line for line in map(json.loads, Path("log.jsonl").read_text().splitlines()) if line]
    assert {row["key"] for row in rows} <= {line["key"] for line in lines}
    scores = {line["key"]: line["top-2"] for line in lines}
    assert all(float(row["score"]) == scores[row["key"]] for row in rows)
    assert {file.name for file in Path("report/figures").iterdir()} >= {"scores.svg", "figure.svg", "figure.pdf"}
    assert not Path("report/figures/layers.svg").exists(), "figures that were not asked for"
    assert "my score" in Path("report/figures/figure.svg").read_text()
    assert "### Scores, one by one\n" in Path("report/report.md").read_text()
    assert "Each is a point." in Path("report/report.md").read_text()

    code, _, err = oneticket_cli(run, capsys)
    assert code == 0 and len([*filter(None, map(json.loads, Path("log.jsonl").read_text().splitlines()))]) == len(lines)


def _check_control(rows: list[dict[str, str]]) -> None:
    """Of weights that are all zero, only the output layer's bias learns: one answer for every image."""
    labels = RunContext().data(DataSpec(name="mine.py:data:b")).test.targets
    assert labels.tolist() == load_digits(return_X_y=True)[1][160:250].tolist()
    counts = torch.bincount(labels, minlength=10)
    possible = {int(counts[a] + counts[b]) for a, b in combinations(range(10), 2)}
    assert rows and all(round(float(row["score"]) * len(labels)) in possible for row in rows)


def test_a_book_is_what_its_parts_make_by_hand(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").write_text(HEAD + "".join(PARTS.values()))
    parts = " ".join(f"--{name} mine.py:{name}" for name in ("model", "task", "optimizer", "schedule"))
    pruning = "--criterion mine.py:criterion --scope mine.py:scope --fraction 0.25 --levels 1"
    training = "--budget 4it --batch 20 --rewind 3it --lr 0.04 --threads 1"
    code, _, err = oneticket_cli(f"find --data mine.py:data:a {parts} {pruning} {training} --out books", capsys)
    assert code == 0, err
    book, context = Book.load(Path("books/book-0.safetensors")), RunContext()
    spec, streams = SearchSpec.recall(book.lineage["search"]), Streams(root=0, replicate=0)
    data = context.data(spec.data, spec.task)
    net = build(spec.model, inputs=data.inputs, outputs=10, seed=streams.seed("init"))
    for step, (images, labels) in enumerate(batches(data, batch=20, streams=streams, start=0, stop=2)):
        net.zero_grad()
        F.cross_entropy(net(images), labels).backward()
        with torch.no_grad():
            for weight in net.parameters():
                weight -= 0.04 / (1 + step) * weight.grad.sign()
    for name, weight in net.named_parameters():
        torch.testing.assert_close(book.weights[name], weight.detach())
    groups, mask = (("1.weight", "3.weight"), ("5.weight",)), book.mask(1)
    for group in groups:
        values = torch.cat([book.weights[name].abs().flatten() for name in group])
        stays = torch.cat([mask[name].flatten() for name in group])
        assert int((~stays).sum()) == len(values) // 4
        assert values[~stays].min() >= values[stays].max(), "the largest are gone"


# What a change of each text makes other work, by kind of step and arm; all else stays.
EVERYTHING = {"rewind", "level", "dense", "ticket", "global-random", "control"}
CHANGES = {
    **dict.fromkeys(("data", "model", "task", "optimizer", "schedule"), EVERYTHING),
    **{name: {"level", "ticket", "control"} for name in ("criterion", "scope")},
    "control": {"control"},
    **{name: set[str]() for name in ("figure", "claim", "tracker")},
}


def test_another_text_is_other_work_where_it_must_be(here: Path) -> None:
    for name, text in PARTS.items():
        Path(f"{name}.py").write_text(HEAD + text)
    Path("mine.toml").write_text(STUDY.format(**{name: f"{name}.py:{name}" for name in PARTS}))

    def keys() -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for cell in plan(read_study(Path("mine.toml")), RunContext()).cells:
            found.setdefault(cell.arm.rpartition(":")[2], set()).add(cell.step.key)
            if cell.origin:
                found.setdefault("rewind", set()).add(cell.origin.rewind.key)
                found.setdefault("level", set()).update(step.key for step in cell.origin.levels)
        return found

    before = keys()
    assert before.keys() == EVERYTHING
    for name, changed in CHANGES.items():
        Path(f"{name}.py").write_text(HEAD + PARTS[name] + "# another text\n")
        now = keys()
        assert {kind for kind in before if before[kind] != now[kind]} == changed, name
        before = now


def test_steps_that_were_planned_refuse_code_that_was_edited_since(here: Path) -> None:
    for name, text in PARTS.items():
        Path(f"{name}.py").write_text(HEAD + text)
    Path("mine.toml").write_text(STUDY.format(**{name: f"{name}.py:{name}" for name in PARTS}))

    def steps() -> dict[str, Step]:
        cells = plan(read_study(Path("mine.toml")), RunContext()).cells
        (origin, *_) = (cell.origin for cell in cells if cell.origin)
        own = {cell.arm.rpartition(":")[2]: cell.step for cell in cells}
        return {**own, "rewind": origin.rewind, "level": origin.levels[-1]}

    planned = steps()
    assert planned.keys() == EVERYTHING
    for name, changed in CHANGES.items():
        kind = {"data": "dataset", "control": "arm"}.get(name, name)
        Path(f"{name}.py").write_text(HEAD + PARTS[name] + "# another text\n")
        steps()
        for each in changed:
            if f"{'dataset' if name == 'data' else name}_digest" not in planned[each].args:
                continue  # a step that it needs runs it
            with pytest.raises(SpecError, match=f"^{kind} '{name}.py:{name}': its code changed since the study was"):
                alone(work(planned[each], [], RunContext()))
        Path(f"{name}.py").write_text(HEAD + PARTS[name])
        assert {each: step.key for each, step in steps().items()} == {each: s.key for each, s in planned.items()}


def test_what_is_known_of_a_network_and_of_data_is_of_the_code_that_runs_now(here: Path) -> None:
    """In one process, and with one context."""
    for name in ("data", "model"):
        Path(f"{name}.py").write_text(HEAD + PARTS[name])
    spec, context = SearchSpec(data="data.py:data", model="model.py:model"), RunContext()
    before = search_origin(spec, levels=1, replicate=0, context=context)
    Path("data.py").write_text(HEAD + PARTS["data"].replace("[:160]", "[:150]"))
    Path("model.py").write_text(HEAD + PARTS["model"].replace("12", "24"))
    after = search_origin(spec, levels=1, replicate=0, context=context)
    assert after.remaining[0] - before.remaining[0] == 12 * (64 + 10)
    assert context.facts(spec.data).examples == 150 == len(context.data(spec.data).train.inputs)


def test_an_edited_figure_is_drawn_as_it_is_now(here: Path) -> None:
    for title in ("One", "Two"):
        Path("mine.py").write_text(f'def figure(findings):\n    """{title}."""\n')
        assert figure_named("mine.py:figure").title == title


def test_what_a_books_file_names_is_run_only_if_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").write_text(HEAD + "".join(PARTS.values()))
    parts = " ".join(f"--{name} mine.py:{name}" for name in ("optimizer", "schedule", "criterion", "scope"))
    quick = "--budget 4it --batch 20 --lr 0.01 --quiet"
    found = f"find --data digits:a --per-class 8 --model mlp {parts} {quick} --rewind 1it --levels 1 --out books"
    assert oneticket_cli(found, capsys)[0] == 0
    moved = "transfer books --data digits:b --per-class 8 --quiet"
    code, _, err = oneticket_cli(moved, capsys)
    code_named = "names code: optimizer mine.py:optimizer, schedule mine.py:schedule; if you trust the source"
    assert code == 2 and code_named in err
    assert oneticket_cli(f"{moved} --run-code", capsys)[0] == 0
    assert oneticket_cli(f"{moved} --optimizer mine.py:optimizer --schedule mine.py:schedule --lr 0.01", capsys)[0] == 0
    other = f"{moved} --optimizer sgd --schedule constant"
    assert oneticket_cli(other, capsys)[0] == 0
    code, _, err = oneticket_cli(f"{other} --controls own", capsys)
    assert code == 2 and "criterion mine.py:criterion, scope mine.py:scope; if you trust the source" in err


BROKEN = """
import torch

def fails(*given, **named):
    raise KeyError("mine")

def number(*given, **named):
    return 7

def half(parameters, **settings):
    return torch.optim.SGD(parameters[:1], lr=0.1)

def twice(parameters, **settings):
    return [torch.optim.SGD(parameters, lr=0.1), torch.optim.SGD(parameters, lr=0.1)]

def foreign(parameters, **settings):
    return torch.optim.SGD([*parameters, ("mine", torch.nn.Parameter(torch.zeros(1)))], lr=0.1)

def endless(**at):
    return float("inf")

def some(names):
    return [names[:1], names[:2]]
"""


def _optimizer(name: str) -> object:
    net = torch.nn.utils.skip_init(torch.nn.Linear, 2, 3)
    return build_optimizers(OptimizerSpec(name=f"broken.py:{name}", betas=(0.9, 0.9)), net, head=())


def _factor(name: str) -> object:
    return lr_factor(OptimizerSpec(name="sgd", schedule=f"broken.py:{name}"), 3, per_epoch=1, total=9)


def _shares(name: str) -> object:
    return allocate(f"broken.py:{name}", counts={"a": 4, "b": 4}, fraction=0.5)


@pytest.mark.parametrize(
    ("use", "name", "said"),
    [
        (_optimizer, "fails", "optimizer 'broken.py:fails' failed: KeyError: 'mine'"),
        (_optimizer, "number", "expected torch optimizers, got int"),
        (_optimizer, "half", "expected it to hold every parameter once, got bias 0 times"),
        (_optimizer, "twice", "got weight 2 times, bias 2 times"),
        (_optimizer, "foreign", "got 1 tensors that are no parameters"),
        (_optimizer, "some", "optimizer 'broken.py:some' failed: TypeError: .*unexpected keyword argument 'betas'"),
        (_optimizer, "soem", "has no 'soem'; did you mean some"),
        (_factor, "fails", "schedule 'broken.py:fails' failed: KeyError: 'mine'"),
        (_factor, "endless", "schedule 'broken.py:endless': expected a finite factor of 0 or more at step 3, got inf"),
        (_shares, "fails", "scope 'broken.py:fails' failed: KeyError: 'mine'"),
        (_shares, "some", "scope 'broken.py:some': expected each name in one group, once; got it wrong for a"),
        (lambda name: tracker(f"broken.py:{name}:log"), "number", "expected methods has, write and close"),
        (lambda name: tracker(f"broken.py:{name}:log"), "fails", "tracker 'broken.py:fails' failed: KeyError"),
        (
            lambda name: tracker(f"broken.py:{name}"),
            "number",
            "expected file.py:function:WHERE",
        ),
    ],
)
def test_each_mistake_in_a_users_file_is_told(here: Path, use: Callable[[str], object], name: str, said: str) -> None:
    Path("broken.py").write_text(BROKEN)
    with pytest.raises(SpecError, match=said):
        use(name)


def test_settings_that_do_not_apply_to_an_own_schedule_are_refused() -> None:
    with pytest.raises(SpecError, match=r"optimizer\.gamma: does not apply to mine\.py:schedule"):
        OptimizerSpec(name="sgd", schedule="mine.py:schedule", gamma=0.5)
    with pytest.raises(SpecError, match=r"milestones: does not apply to a mine\.py:schedule schedule"):
        OptimizerSpec(name="sgd", schedule="mine.py:schedule", milestones=("2ep",))
    own = OptimizerSpec(name="mine.py:optimizer", momentum=0.5)
    assert (own.lr, own.momentum, own.elementwise) == (None, 0.5, False)


def test_a_search_with_a_users_optimizer_has_its_digest(here: Path) -> None:
    Path("mine.py").write_text(HEAD + PARTS["optimizer"])
    spec = SearchSpec(data="digits:a", model="mlp", optimizer={"name": "mine.py:optimizer", "lr": 0.1})
    args = search_origin(spec, levels=0, replicate=0, context=RunContext()).levels[0].args
    assert len(args["optimizer_digest"]) == 64 and math.isclose(args["optimizer"]["lr"], 0.1)
