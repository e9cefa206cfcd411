"""Study files: the shipped ones plan as counted by hand, variants are short, mistakes are named by their place."""

from __future__ import annotations

import re
import tempfile
import tomllib
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oneticket.ground.errors import SpecError
from oneticket.lottery.run_context import RunContext
from oneticket.study.file import SHIPPED, read_study
from oneticket.study.grid import Plan, plan
from oneticket.study.plan import closure, searches
from oneticket.study.resolve import plan_of
from oneticket.study.spec import StudySpec
from oneticket.study.toml import line_of, toml

BASE = """\
levels = [1, 2]
arms = ["dense", "ticket"]

[models]
mlp = "mlp"

[optimizers]
sgd = "sgd"

[sets]
half-a = {data = {name = "digits:a", per_class = 5}}
half-b = {data = {name = "digits:b", per_class = 5}}

[parts.halves]
sources = ["half-a"]
targets = ["half-b"]
"""
SETS = "cifar10, cifar100, diabetes, digits, fashion_mnist, imagenet, mnist, mnist1d, places365, svhn"
TICKT = (
    "unknown arm 'tickt'; did you mean 'ticket'? Known: corrected-random, dense, dense-rewound, global-random, "
    "layerwise-random, layerwise-random-kept, mask-init, mask-only, own, own-reinit, own-search, permuted-weights, "
    "reinit, signs, ticket, trained-signs, weights-only; "
    "your own: 'file.py:function' or 'package.module:function'"
)
FIELDS = ", ".join(sorted(StudySpec.model_fields))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(**files: str) -> StudySpec:
    """The study `mine` among files that lie here."""
    for name, text in files.items():
        Path(f"{name}.toml").write_text(text)
    return read_study(Path("mine.toml"))


def refusal(**files: str) -> str:
    with pytest.raises(SpecError) as error:
        plan(read(**files), RunContext())
    return str(error.value)


SHIPPED_STUDIES = ("demo", "digits", "minutes", "images", "crossing", "several", "paper-small", "paper")


def parts(made: Plan) -> dict[str, int]:
    return dict(Counter(cell.part for cell in made.cells))


def kinds(made: Plan) -> dict[str, int]:
    return dict(Counter(step.kind for step in closure(cell.step for cell in made.cells)))


def test_the_shipped_ones() -> None:
    assert {file.stem for file in SHIPPED.glob("*.toml")} == set(SHIPPED_STUDIES)
    for file in SHIPPED.glob("*.toml"):
        assert file.read_text().startswith("# "), "the first line says what it is"
        study = read_study(Path(file.stem))
        assert study.name == file.stem and study.title and study.claims
        assert set(study.parts) == set(tomllib.loads(file.read_text())["parts"])


def test_demo_and_digits_as_counted_by_hand() -> None:
    demo = plan(read_study(Path("demo")), RunContext())
    # Per replicate: dense under 2 optimizers; at 4 levels ticket and reinit of 2 sources on 2 targets, and
    # global-random, which both sources share.
    assert parts(demo) == {"halves": 3 * (2 + 4 * (2 * 2 * 2 + 2))}
    assert kinds(demo) == {"rewind": 3 * 2, "level": 3 * 2 * 20, "transfer": 126}

    digits = plan(read_study(Path("digits")), RunContext())
    # Per replicate and level: 3 arms of each source on each target; global-random and own of each target, but for
    # MNIST-1D on itself under SGD, where the ticket is its own.
    assert parts(digits) == {
        "digits": 5 * (4 + 5 * (3 * 2 * 4 + 4 + 4)),
        "mnist1d": 5 * (2 + 5 * (3 * 2 + 2 + 1)),
    }
    # Half a's own tickets of the digits, under both optimizers, are the tickets on their own data.
    assert kinds(digits) == {
        "rewind": 5 * (4 + 2),
        "level": 5 * (4 + 2) * 20,
        "transfer": 820 + 235 - 5 * 5 * 2,
    }


def test_paper_small_as_counted_by_hand() -> None:
    made = plan(read_study(Path("paper-small")), RunContext(pretend=True))
    three = 3 * 3  # levels and replicates
    assert parts(made) == {
        "datasets": 3 * 4 + three * (2 * 16 + 4 + 4),
        "halves": 3 + three * 4,
        "optimizers": 3 * 2 + three * (2 * 4 + 2 + 2),
        "complexity": 3 * 2 + three * (4 * 2 + 2 + 2),
    }


def test_images_and_crossing_as_counted_by_hand() -> None:
    images = plan(read_study(Path("images")), RunContext(pretend=True))
    shared, per_source = 1 + 3 * 4, 1 + 3 * 7  # dense, own, own-search, own-reinit, random; and what a source has alone
    assert parts(images) == {
        "first": 10 * 2 * (shared + per_source),
        "targets": 10 * 6 * (shared + per_source),
        "sources": 10 * 2 * 2 * (shared + 5 * per_source),
    }
    crossing = plan(read_study(Path("crossing")), RunContext(pretend=True))
    # Per replicate and size: dense, rewound dense, and 6 arms at 2 levels.
    assert parts(crossing) == {"mlp": 10 * 6 * (2 + 2 * 6), "resnet-20": 10 * 6 * (2 + 2 * 6)}


def test_several_as_counted_by_hand() -> None:
    several = read_study(Path("several"))
    images = plan(several.model_copy(update={"take": ("images",)}), RunContext(pretend=True))
    # Per replicate and target: dense; at 2 levels own, own-search and a random ticket, and 3 arms of each of 5 sources.
    assert parts(images) == {"images": 6 * 2 * (1 + 2 * (3 + 3 * 5))}


def test_shipped_studies_state_where_claims_are_judged() -> None:
    for name in ("minutes", "images", "crossing", "several", "paper-small"):
        study = read_study(Path(name))
        assert len(study.densities) == 2 and study.margin
        assert study.subsets == "replicate" and study.head_start == "equal"


@pytest.mark.slow
def test_paper_as_counted_by_hand() -> None:
    study = read_study(Path("paper"))
    assert (study.replicates, len(study.levels), max(study.levels)) == (6, 14, 30)
    context = RunContext(pretend=True)
    made = plan(study, context)
    assert "places365" in context.absent
    each = 14 * 6  # levels and replicates
    assert parts(made) == {
        # dense; ticket, reinit and corrected-random of 36 pairs; own and global-random of 6 targets
        "vgg-datasets": 6 * 6 + each * (3 * 36 + 2 * 6),
        "resnet-datasets": 6 * 6 + each * (2 * 36 + 2 * 6),
        "vgg-halves": 6 + each * 6,
        "resnet-halves": 6 + each * 5,
        "optimizers": 6 * 2 + each * (2 * 4 + 2 * 2),
        "vgg-complexity": 6 * 3 + each * (5 * 3 + 2 * 3),
        "resnet-complexity": 6 * 3 + each * (5 * 3 + 2 * 3),
    }
    found = 13 + 12  # VGG-19: 6 sets, 2 halves, 4 cuts, Adam; ResNet-50: the same without Adam
    shared = (
        2 * each * 6  # own tickets of the datasets, which are the tickets on their own data
        + (each * (2 + 3) + 6)  # of the optimizers: both own ones, and what SGD does with its own ticket
        + 2
        * (each * (3 + 2 * 3) + 6 * 3)  # of the complexities: tickets from all of CIFAR-100, own, global-random, dense
    )
    assert kinds(made) == {"rewind": found * 6, "level": found * 6 * 30, "transfer": len(made.cells) - shared}
    assert len(searches(made.cells)) == found * 6
    # Networks that keep nothing of a ticket are shared by sources of any image size.
    dense = [cell for cell in made.cells if cell.arm == "dense" and cell.part == "vgg-datasets"]
    assert sorted({tuple(cell.step.args["network"]["shape"]) for cell in dense}) == [(3, 32, 32), (3, 224, 224)]
    on_imagenet = [cell.step.args["transfer"] for cell in dense if cell.step.args["network"]["classes"] == 1000]
    assert {args["training"]["batch"] for args in on_imagenet} == {1536}


def test_a_variant_is_three_lines(here: Path) -> None:
    mine = read(base=BASE, mine='include = "base.toml"\nreplicates = 2\nmodels.mlp.widths = [20]\n')
    assert (mine.name, mine.replicates, mine.models["mlp"].widths) == ("mine", 2, (20,))
    assert (mine.levels, mine.sets) == ((1, 2), read(mine=BASE).sets)
    assert len(plan(mine, RunContext()).cells) == 2 * (1 + 2)


@pytest.mark.parametrize("name", ["demo", "demo.toml"])
def test_a_shipped_study_is_included_by_its_name_unless_a_file_of_that_name_lies_beside(here: Path, name: str) -> None:
    assert read(mine=f'include = "{name}"\nreplicates = 5').levels == read_study(Path("demo")).levels
    (here / name).write_text(BASE)
    assert read(mine=f'include = "{name}"').levels == (1, 2)


def test_the_last_include_lies_on_top_and_tables_are_merged(here: Path) -> None:
    top = '[optimizers.sgd]\nlr = 0.2\n[parts.halves]\nlevels = [3]\n[sets]\nall = {data = "digits"}\n'
    mine = read(base=BASE, top=top, mine='include = ["base.toml", "top.toml"]\nname = "named"\n')
    assert (mine.name, mine.optimizers["sgd"].lr, mine.parts["halves"].levels) == ("named", 0.2, (3,))
    assert list(mine.sets) == ["half-a", "half-b", "all"]


def test_take_plans_some_parts(here: Path) -> None:
    two = BASE + '\n[parts.home]\nsources = ["half-a"]\nlevels = [1]\n'
    assert parts(plan(read(mine=two), RunContext())) == {"halves": 3 * 3, "home": 3 * 2}
    assert parts(plan(read(mine='take = ["home"]\n' + two), RunContext())) == {"home": 3 * 2}
    assert (
        refusal(mine='take = ["hom"]\n' + two) == "take: unknown part 'hom'; did you mean 'home'? Known: halves, home"
    )


def test_images_of_two_sizes_in_one_part(here: Path) -> None:
    large = BASE.replace('["dense", "ticket"]', '["dense", "ticket", "own", "global-random"]').replace(
        '{name = "digits:a"', '{name = "digits:a", size = 16'
    )
    words = "parts.halves: arm own: images 1 x 16 x 16 and images 1 x 8 x 8; give the sets one size and channels"
    assert refusal(mine=large) == words
    sized = large.replace('{name = "digits:b"', '{name = "digits:b", size = 8')
    assert refusal(mine=sized) == words, "an MLP for larger images has other weights"
    sized = sized.replace('"mlp"', '"vgg-11"')
    both = sized.replace('sources = ["half-a"]', 'sources = ["half-a", "half-b"]')
    made = plan(read(mine="replicates = 1\n" + both), RunContext())
    assert Counter(cell.arm for cell in made.cells) == {"dense": 1, "ticket": 2 * 2, "own": 2, "global-random": 2}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('"ticket"]', '"tickt"]'), f"mine.toml:2: arms.1: {TICKT}"),
        (("[1, 2]", "[1, 101]"), "mine.toml:1: levels.1: input should be less than or equal to 100, got 101"),
        (("[1, 2]", "[]"), "mine.toml:1: levels: expected at least one, got none"),
        (
            ('sources = ["half-a"]', 'sources = [["half-a"]]'),
            "mine.toml:15: parts.halves.sources.0: expected a name, or a list of two or more names for one ticket of "
            "all, got ['half-a']",
        ),
        (("[1, 2]", '"deep"'), "mine.toml:1: levels: input should be a list, got 'deep'"),
        (
            ("levels =", "replicate = 2\nlevels ="),
            f"mine.toml:1: study: unknown field 'replicate'; did you mean 'replicates'? Known: {FIELDS}",
        ),
        (
            ('targets = ["half-b"]', 'targets = ["half-b"]\nreplicates = "many"'),
            "mine.toml:17: parts.halves.replicates: expected a whole number, got 'many'",
        ),
        (
            ('targets = ["half-b"]', 'targets = ["half-c"]'),
            "parts.halves: unknown set 'half-c'; did you mean 'half-b'? Known: half-a, half-b; or unknown dataset "
            f"'half-c'. Known: {SETS}; or org/name on the Hub, ./folder, or a file: .npz, .parquet, .csv, .txt; your "
            "own: 'file.py:function' or 'package.module:function'",
        ),
        (
            ('sgd = "sgd"', 'sgd = "sgd"\nadam = "adam"'),
            "parts.halves.optimizers: several are defined (sgd, adam); name those that this part takes",
        ),
        (
            ('sgd = "sgd"', ""),
            "parts.halves.optimizers: none is defined; name those that this part takes",
        ),
        (
            ('sgd = "sgd"', 'sgd = {name = "sgd", betas = [0.9, 0.99]}'),
            "mine.toml:8: optimizers.sgd.betas: does not apply to sgd; leave it out",
        ),
        (
            ('targets = ["half-b"]', 'optimizers = ["sgd"]\ntarget_optimizers = ["sgd"]'),
            "mine.toml:17: parts.halves.target_optimizers: give either optimizers, for sources and targets alike, or "
            "source_ and target_optimizers",
        ),
        (
            ('targets = ["half-b"]', 'training = {budget = "1 epoch"}'),
            "parts.halves.training.budget: expected a time such as '2ep' (epochs) or '500it' (steps), got '1 epoch'",
        ),
        (
            ('targets = ["half-b"]', 'training = {budgt = "1ep"}'),
            "parts.halves.training: unknown field 'budgt'; did you mean 'budget'? Known: batch, budget, clip, guard, "
            "precision, smoothing",
        ),
        (
            ("per_class = 5}}\n\n", "per_class = 5}, training = {batch = 0}}\n\n"),
            "sets.half-b.training.batch: input should be greater than or equal to 1, got 0",
        ),
        (
            ("levels =", 'rewind = "99ep"\nlevels ='),
            'parts.halves, source digits:a: search.rewind: 99ep is step 99, but `training.budget = "15ep"` ends at '
            "step 15 (1 steps an epoch); rewind earlier or train longer",
        ),
        (
            ("levels =", "complexity.sets.digts = {score = 0.9}\nlevels ="),
            "mine.toml:1: complexity.sets.digts: unknown set 'digts'; did you mean 'digits'? Known: digits, digits:a, "
            "digits:b, half-a, half-b",
        ),
        (
            ("levels =", "complexity.score = 0.9\ncomplexity.sets.digits = {score = 98}\nlevels ="),
            "mine.toml:2: complexity.sets.digits.score: expected accuracy of 0.0 to 1.0, got 98",
        ),
        (
            ("levels =", 'densities = ["0.64"]\nlevels ='),
            "mine.toml:1: densities: expected numbers, such as 0.17 and 0.035, got '0.64'",
        ),
        (
            ("levels =", "densities = [0.64, 0.64]\nlevels ="),
            "mine.toml:1: densities: expected densities that differ, got 0.64 twice",
        ),
        (
            ("levels =", "densities = []\nlevels ="),
            "mine.toml:1: densities: expected at least one density, got none; leave it out to judge the sparsest level "
            "alone",
        ),
        (
            ("per_class = 5", "per_class = 5000"),
            "parts.halves, set half-a: per_class=5000: class 0 has only 71 training examples; ask for fewer",
        ),
        (
            ("per_class = 5", "classes_from = 12"),
            "parts.halves, set half-a: classes_from=12, classes=all: digits has only 10 classes",
        ),
        (("levels = [1, 2]", "levels = [1"), "mine.toml: not a TOML file: Unclosed array (at line 2, column 1)"),
        (
            ("levels =", "include = 3\nlevels ="),
            "mine.toml: include: expected the name of a file, or a list of them, got 3",
        ),
    ],
    ids=lambda value: value[1].strip()[:30] if isinstance(value, tuple) else "",
)
def test_mistakes_are_told_with_their_place(change: tuple[str, str], words: str, here: Path) -> None:
    assert change[0] in BASE
    assert refusal(mine=BASE.replace(*change)) == words


def test_mistakes_in_an_included_file_are_that_files(here: Path) -> None:
    include = 'include = "base.toml"\n'
    assert refusal(base=BASE.replace("[1, 2]", "[-1, 2]"), mine=include) == (
        "base.toml:1: levels.0: input should be greater than or equal to 0, got -1"
    )
    own = include + '[parts.halves]\narms = ["dense", "tickt"]\n'
    assert refusal(base=BASE, mine=own) == f"mine.toml:3: parts.halves.arms.1: {TICKT}"
    assert refusal(base="levels = 1 2", mine=include) == (
        "base.toml: not a TOML file: Expected newline or end of document after a statement (at line 1, column 12)"
    )
    misspelled, over = BASE.replace("sources =", "sorces ="), include + "[parts.halves]\nlevels = [1]\n"
    assert "base.toml:15: parts.halves: unknown field 'sorces'; did you" in refusal(base=misspelled, mine=over)
    both = refusal(base=BASE.replace('"mlp"', '{name = "mlp", width = 0}'), mine=include + "replicates = 0\n")
    assert both.splitlines() == [
        "mine.toml:2: replicates: input should be greater than or equal to 1, got 0",
        "base.toml:5: models.mlp.width: input should be greater than 0, got 0",
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("levels =", 'training.budgt = "1ep"\nlevels ='), "mine.toml:1: training: unknown field 'budgt'; did you"),
        (
            ("\n\n[parts", '\n\n[sets."v1.5"]\ndata = "digits"\ndta = 3\n\n[parts'),
            "mine.toml:16: sets.v1.5: unknown field 'dta'; did",
        ),
        (
            ('targets = ["half-b"]', 'targets = ["half-b"]\n[parts.halves.training]\nbatch = 3\nbudgt = "1ep"'),
            "mine.toml:19: parts.halves.training: unknown field 'budgt'; did you mean 'budget'?",
        ),
        (
            ("levels =", 'rewind = "99ep"\nlevels ='),
            "mine.toml:1: parts.halves, source digits:a: search.rewind: 99ep is step 99",
        ),
        (('"half-b"]', '"half-c"]'), "mine.toml:14: parts.halves: unknown set 'half-c'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_mistakes_that_the_plan_shows_have_the_line_too(change: tuple[str, str], words: str, here: Path) -> None:
    assert change[0] in BASE
    Path("mine.toml").write_text(BASE.replace(*change))
    with pytest.raises(SpecError) as error:
        plan_of("mine.toml", RunContext())
    assert str(error.value).startswith(words)


def test_a_mistake_of_the_plan_is_in_the_file_that_sets_it(here: Path) -> None:
    Path("base.toml").write_text(BASE)
    Path("mine.toml").write_text('include = "base.toml"\nrewind = "99ep"\n')
    for path in ("mine.toml", "./mine.toml", str(here / "mine.toml")):
        with pytest.raises(SpecError) as error:
            plan_of(path, RunContext())
        assert str(error.value).startswith(
            f"{Path(path)}:2: parts.halves, source digits:a: search.rewind: 99ep is step"
        )


LINES = """# a comment with [ and "
title = "one"

[training]  # [
batch = 3
note = '''
levels = [
'''
levels = [
  1,
  "]",
]
[parts."a.b"]
x = {y = 1, z = [2, 3]}
parts.c = 4
"""


@pytest.mark.parametrize(
    ("where", "line"),
    [
        (("title",), 2),
        (("training",), 4),
        (("training", "batch"), 5),
        (("training", "batch", "deeper"), 5),
        (("training", "note"), 6),
        (("training", "levels"), 9),
        (("training", "levels", "1"), 9),
        (("parts", "a.b", "x", "z", "1"), 14),
        (("parts", "a.b", "parts", "c"), 15),
        (("parts", "absent"), 13),
        (("nothing",), None),
    ],
)
def test_a_place_has_a_line(where: tuple[str, ...], line: int | None, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(LINES)
    toml(tmp_path / "mine.toml")
    assert line_of(tmp_path / "mine.toml", where) == line
    assert line_of(tmp_path / "other.toml", where) is None


def test_files_that_are_not_there_or_include_themselves(here: Path) -> None:
    shipped = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.toml")))
    assert refusal(base='include = "mine.toml"', mine='include = "base.toml"') == (
        "mine.toml: includes itself: mine.toml -> base.toml -> mine.toml; take one include out"
    )
    assert refusal(mine='include = "nothing.toml"') == (
        f"nothing.toml: no such file; expected a study file (.toml); or one that is shipped: {shipped}"
    )
    for name, words in (
        (
            "nothing.toml",
            f"nothing.toml: no such file; expected a study file (.toml); or one that is shipped: {shipped}",
        ),
        (
            "demmo",
            f"unknown study 'demmo'; did you mean 'demo'? Known: {shipped}; or give the path of a study file (.toml)",
        ),
    ):
        with pytest.raises(SpecError) as error:
            read_study(Path(name))
        assert str(error.value) == words


TOKENS = ["a", "b", ".", " = ", "1", "-2", "\n", "[", "]", "[[", "{", "}", ", ", "#"]
TOKENS += ["'", '"', "'" * 3, '"' * 3, "\\", '\\"', "é"]


@settings(max_examples=300, derandomize=True, database=None, deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=30))
def test_small_files_are_read_as_the_parser_reads_them(tokens: list[str]) -> None:
    """Thirty signs reach no limit, however texts, comments and brackets are mixed up."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.toml")
        path.write_text("".join(tokens), "utf-8")
        try:
            known: object = tomllib.loads("".join(tokens))
        except tomllib.TOMLDecodeError as error:
            known = f"{path}: not a TOML file: {error}"
        try:
            found: object = toml(path)
        except SpecError as error:
            found = str(error)
    known = re.sub(r"\(at end of document\)", "", known) if isinstance(known, str) else known
    found = (
        re.sub(
            r"that begins at line \d+|\(at the end of what begins at line \d+\)|\(at line \d+, the last one\)",
            "",
            found,
        )
        if isinstance(found, str)
        else found
    )
    assert found == known


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = 1\nb = [1, 2\n\n", "Unclosed array that begins at line 2"),
        ("a = 1\nb = [\n[1],\n[2, # ]\n", "Invalid value (at the end of what begins at line 4)"),
        ("a = [1]\nb = {c = 1, ", "(at the end of what begins at line 2)"),
        ('a = 1\nb = """\nc = [1]\n', "Unterminated string that begins at line 2"),
        ("a = 1\nb\n", "(at line 2, column 2)"),
        ("a = 1\nb", "(at line 2, the last one)"),
        ('a = """\n\n"""\nb = ' + "[" * 33 + "]" * 33, "line 4: more than 32 brackets within each other"),
    ],
)
def test_a_mistake_has_its_line(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(SpecError) as raised:
        toml(path)
    assert words in str(raised.value)
    assert "end of document" not in str(raised.value)


def chain(count: int, each: str) -> dict[str, str]:
    """Files that each include the next one, and the last of them a study."""
    files = {f"n{number}": each.replace("NEXT", f"n{number + 1}.toml") for number in range(count)}
    return {**files, f"n{count}": BASE, "mine": 'include = "n0.toml"'}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = " + "[" * 33 + "]" * 33, "line 1: more than 32 brackets within each other"),
        ("a = " + "{a = " * 5000 + "1" + "}" * 5000, "line 1: more than 32 brackets within each other"),
        ("\n" + ".".join("a" * 33) + " = 1", "line 2: a key of more than 32 parts, which is the most here"),
        (".".join(["'a'"] * 20_000) + " = 1", "line 1: a key of more than 32 parts, which is the most here"),
        ("[" + " . ".join(['"a.b"'] * 20_000) + "]", "line 1: a key of more than 32 parts, which is the most here"),
        (
            "a = " + "{a.a.a.a = " * 9 + "1" + "}" * 9,
            "a.a.a.a.a.a...: more than 32 tables and arrays within each other",
        ),
        ("a = " + "9" * 5000, "line 1: more than 100 digits, which is the most of a number here"),
        ("seed = " + "9" * 99, "seed: a whole number has at most 64 bits, this one 329"),
        ("a = 0x" + "f" * 99, "a: a whole number has at most 64 bits, this one 396"),
        ("a = [1, {b = 1e400}]", "a.1.b: expected a number, got inf"),
        ("#" * 2**18 + "\n", "more than 262,144 bytes, which is the most that a TOML file may have here"),
        (
            'a = "' + '"' * 99_999,
            "not a TOML file: Expected newline or end of document after a statement (at line 1, col",
        ),
        ("x" * 99_999, "not a TOML file: Expected '=' after a key in a key/value pair (at line 1, the last one)"),
    ],
    ids=lambda value: value[:20],
)
def test_limits_are_told_before_anything_is_parsed(text: str, words: str, here: Path) -> None:
    assert refusal(mine=text).startswith(f"mine.toml: {words}")


def test_what_stands_in_texts_and_comments_does_not_count(here: Path) -> None:
    deep, dotted = "[{" * 99, ".".join("a" * 99)
    quoted = f'title = "{deep} \\" {dotted}"\nnote = """\n{deep} \\""" \'{dotted}""""  # {deep} {dotted}\n'
    assert read(mine=quoted + BASE).title == f'{deep} " {dotted}'
    literal = f"title = '{deep} {dotted} \\'\nnote = '''\n{deep}' {dotted}\\'''\n"
    assert read(mine=literal + BASE).note == f"{deep}' {dotted}\\"


def test_files_that_include_too_many(here: Path) -> None:
    limit = "includes may take a study to at most"
    assert refusal(**chain(1200, 'include = "NEXT"')) == (
        f"n19.toml: {limit} 20 files in a row; write some of them into one file"
    )
    twice = refusal(**chain(15, 'include = ["NEXT", "NEXT"]'))
    assert limit + " 100 files in all" in twice
    assert read(**chain(18, 'include = "NEXT"')).levels == (1, 2)


def test_files_that_are_none(here: Path) -> None:
    Path("loop.toml").symlink_to("loop.toml")
    Path("folder.toml").mkdir()
    for name, words in (
        ("loop", "Too many levels of symbolic links"),
        ("folder", "Is a directory"),
    ):
        assert refusal(mine=f'include = "{name}.toml"') == f"{name}.toml: cannot be read: {words}"
    assert "more than 262,144 bytes" in refusal(mine='include = "/dev/zero"')
    nameless = refusal(mine='include = "a\\u0000b"')
    assert nameless.startswith(r"'a\x00b': cannot be the name of a file: ") and "embedded null" in nameless


def test_encodings(here: Path) -> None:
    Path("mine.toml").write_text(BASE, "utf-8-sig")
    assert read_study(Path("mine.toml")).levels == (1, 2), "with a byte order mark, as some editors write it"
    Path("mine.toml").write_text(BASE, "utf-16")
    with pytest.raises(SpecError, match=r"^mine.toml: is UTF-16, and TOML is UTF-8; save it as UTF-8"):
        read_study(Path("mine.toml"))
    Path("mine.toml").write_text("title = 'é'\n", "latin-1")
    with pytest.raises(SpecError, match="mine.toml: not a TOML file: 'utf-8' codec can't decode byte 0xe9"):
        read_study(Path("mine.toml"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('"mlp"', '{name = "mlp", width = 1e308}'), "models.mlp.width: input should be less than or equal to 1000"),
        (('"mlp"', '{name = "mlp", widths = [1048577]}'), "models.mlp.widths.0: input should be less than or equal to"),
        (("levels = [1, 2]", f"levels = {[-1] * 90}"), "mine.toml: study: 70 more mistakes"),
        (
            ("levels = [1, 2]", "replicates = 10000\nlevels = [1, 2, 3]"),
            "parts.halves: 60,000 networks, more than the 50,000",
        ),
        (('"digits:b"', '"./a\\u0000b"'), "sets.half-b.data.name: expected text without a NUL that UTF-8 can write"),
    ],
    ids=lambda value: value[1][:30] if isinstance(value, tuple) else "",
)
def test_settings_have_bounds(change: tuple[str, str], words: str, here: Path) -> None:
    assert change[0] in BASE
    assert words in refusal(mine=BASE.replace(*change))
