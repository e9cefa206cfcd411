"""The site: it builds, its code runs page by page, and the file format's page holds the bytes that are written."""

from __future__ import annotations

import doctest
import importlib.util
import inspect
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from types import ModuleType
from unittest import mock
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

import oneticket
from oneticket.cli.app import main
from oneticket.cli.dispatch import app
from oneticket.cli.flags import collect, from_file, read
from oneticket.ground.errors import FileError
from oneticket.study.file import read_study
from oneticket.study.spec import FindSpec
from oneticket.ticket import file
from oneticket.ticket.ticket import Ticket

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# What a page's blocks need beyond the package itself.
NEEDS = {
    "index.md": (),
    "tour.md": (),
    "data.md": (),
    "settings.md": (),
    "researcher.md": (),
    "several.md": (),
    "practitioner.md": ("lightning",),
    "deployer.md": ("onnx", "onnxruntime"),
    "why.md": (),
    "file-format.md": (),
}
# The attacks on layout, digest and id, which the page's own reader must refuse too.
LAYOUT = (
    "header-",
    "metadata-",
    "offsets-",
    "shape-",
    "digest-",
    "id-",
    "format-",
    "entry-",
    "dtype-",
    "kind-",
    "field-",
)
LAYOUT += ("truncated", "overlong", "padding", "bit-flipped", "weight-changed", "group-unknown", "living-miscounted")


def blocks(page: str) -> Iterator[tuple[str, str]]:
    """Kind and text of a page's code, in order; of `{code-block}`s with a class, the class is the kind."""
    for word, attributes, text in re.findall(r"^```(\S+)(.*?)\n(.*?)^```$", (DOCS / page).read_text(), re.M | re.S):
        kind = re.match(r":class: (\S+)\n\n", text) if word == "{code-block}" else None
        yield (kind[1], text[kind.end() :]) if kind else (f"{word}{attributes}", text)


def commands(text: str) -> Iterator[list[str]]:
    for line in text.replace("\\\n", " ").splitlines():
        words = line.split("#")[0].split()
        if words:
            assert words[0] == "oneticket", line
            yield words[1:]


def test_commands_fit_the_width_of_a_page() -> None:
    shell = [text for page in DOCS.glob("*.md") for kind, text in blocks(page.name) if kind in ("sh", "console")]
    assert len(shell) > 10 and [line for text in shell for line in text.splitlines() if len(line) > 80] == []


@pytest.mark.slow
@pytest.mark.parametrize("page", NEEDS)
@pytest.mark.filterwarnings(
    "ignore:.*LeafSpec:FutureWarning", "ignore:The 'train_dataloader' does not have many workers"
)
def test_every_block_runs(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with mock.patch.dict(os.environ):  # into which Lightning writes when it is imported
        for package in NEEDS[page]:
            pytest.importorskip(package, reason=f"{page} shows {package}")
    monkeypatch.chdir(tmp_path)
    known: dict[str, object] = {"__name__": page}
    ran = dict.fromkeys(("python", "sh", "toml", "spec", "variant", "long"), 0)
    with torch.random.fork_rng(devices=[]), mock.patch.dict(os.environ):
        for kind, text in blocks(page):
            if kind in ran:
                ran[kind] += 1
            if kind == "python":
                exec(compile(text, page, "exec"), known)
            elif kind == "sh":
                for words in commands(text):
                    with pytest.raises(SystemExit) as left:
                        main(words)
                    assert left.value.code == 0, (words, capsys.readouterr().err)
            elif kind == "long":
                for words in commands(text):
                    app.parse_args(words, exit_on_error=False, print_error=False)
            elif kind == "toml":
                tomllib.loads(text)
                (tmp_path / "halves.toml").write_text(text)
                read_study(tmp_path / "halves.toml")
            elif kind == "spec":
                settings_file(tmp_path / "find.toml", text)
            elif kind == "variant":
                (tmp_path / "variant.toml").write_text(text)
                read_study(tmp_path / "variant.toml")
    assert ran["python"] >= 1
    said = capsys.readouterr().out
    for shown in PRINTED.get(page, ()):
        assert shown in said, shown
    assert all((tmp_path / made).exists() for made in LEFT.get(page, ())), list(tmp_path.iterdir())


def settings_file(file: Path, text: str) -> None:
    """It is read as `--spec` reads it, under a flag."""
    file.write_text(text)
    given = {"search__optimizer__lr": "0.2"}
    asked = read(FindSpec, collect(FindSpec, given, from_file(file)), flagged=given, file=file)
    assert (asked.replicates, asked.search.model.name, asked.search.optimizer.lr) == (3, "vgg-19", 0.2)


PRINTED = {
    "index.md": ("ticket 0.", "reinit 0."),
    "data.md": ("digits: 10 classes.", "people.csv"),
    "tour.md": ("are exactly zero", "transferred 4 tensors", "(1.0, 0.8"),
    "researcher.md": ("Interval(mean=",),
    "several.md": ("accuracy on digits:b", "all keep"),
    "practitioner.md": (
        "pruned weights that are not zero",
        "names by a map",
        "are exactly zero",
        "'inferred': True",
        "lenet-300-100",
    ),
    "deployer.md": ("{'0': 224}", "units"),
    "why.md": ("3277 of 3277 pruned weights moved",),
}
LEFT = {
    "tour.md": ("half-a/book-0.safetensors", "rows.csv", "mine.safetensors", "own.safetensors"),
    "researcher.md": ("report/report.html", "report/claims.csv"),
    "data.md": ("people/book-0.safetensors", "book/book-0.safetensors"),
    "several.md": ("both/book-0.safetensors",),
    "practitioner.md": ("mine.safetensors", "found.safetensors", "shared/mine/README.md"),
    "deployer.md": ("small.safetensors", "zeros.safetensors", "model.safetensors"),
}


def test_numbers_on_speed_are_quoted_as_they_were_measured() -> None:
    measured = (ROOT / "results" / "speed.md").read_text().splitlines()
    quoted = [line for line in (DOCS / "deployer.md").read_text().splitlines() if re.search(r"\| \d\.\d+ x \|", line)]
    assert len(quoted) == 4
    assert set(quoted) <= set(measured)


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_without_the_network(tmp_path: Path) -> None:
    for package in ("sphinx", "furo", "myst_nb", "lightning", "transformers", "accelerate"):
        pytest.importorskip(package, reason=f"the site is built with {package}")
    words = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", DOCS, tmp_path / "site"]
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}  # two threads of a notebook wait for each other where others compute
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, env=alone)
    assert done.returncode == 0, done.stderr
    site = tmp_path / "site"
    pages = {path.relative_to(site).as_posix(): path.read_text() for path in site.rglob("*.html")}
    for name in (
        "index",
        "install",
        "tour",
        "glossary",
        "data",
        "settings",
        "promises",
        "about",
        "researcher",
        "practitioner",
        "deployer",
        "why",
        "file-format",
        "api/index",
        "cli",
        "floorplan",
    ):
        assert f"{name}.html" in pages
    tickets = pages["api/tickets.html"]
    assert 'id="oneticket.Ticket.apply"' in tickets
    assert 'href="../_modules/oneticket/ticket/ticket.html#Ticket.apply"' in tickets, "a link to the source"
    assert "floorplan" not in re.findall(r'<div class="sidebar-tree">.*?</div>', pages["index.html"], re.S)[0]
    assert "--granularity" in pages["cli.html"]
    # Not viewcode's pages of source, which link to entries by names of its own.
    assert not [link for link in dead(site) if not link.startswith("_modules/")]
    for name in ("researcher", "practitioner", "deployer"):  # they were run, and are seen
        page = pages[f"notebooks/{name}.html"]
        assert "oneticket-card" in page and "Traceback" not in page
        assert f'href="../{name}.html"' in page and f'href="notebooks/{name}.html"' in pages[f"{name}.html"]
    assert pages["notebooks/researcher.html"].count("steps done in") == 2, "progress ends in a line"
    assert "0 steps done in" in pages["notebooks/researcher.html"]
    assert "oneticket-chart" in pages["notebooks/researcher.html"] + pages["notebooks/practitioner.html"]
    for name, text in pages.items():
        fetched = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="(?:https?:)?//[^"]*"', text)
        assert not fetched, (name, fetched)
    if shutil.which("chromium"):
        assert 'class="context"' in searched(site, "consensus"), "results have excerpts, from a disk too"


def dead(site: Path) -> Iterator[str]:
    """The links that lead nowhere: to a page or a place that the site does not have, or into a reader's own files."""
    pages = {path: path.read_text() for path in site.rglob("*.html")}
    places = {path: {unescape(name) for name in re.findall(r'\bid="([^"]+)"', text)} for path, text in pages.items()}
    for path, text in pages.items():
        for link in map(unescape, re.findall(r'<a\b[^>]*?\bhref="([^"]*)"', text)):
            there = urlsplit(link)
            target = (path.parent / unquote(there.path)).resolve() if there.path else path
            known = target.exists() and (not there.fragment or unquote(there.fragment) in places.get(target, ()))
            if there.scheme not in ("http", "https") and (there.scheme or not known) and link != "#":
                yield f"{path.relative_to(site)}: {link}"


def test_the_page_of_commands_is_as_the_program_says_and_has_no_dead_links(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="the site is built with sphinx")
    tools = f"import sys\nsys.path.insert(0, {str(DOCS)!r})\nextensions = ['tools.commands']\n"
    (tmp_path / "conf.py").write_text(tools)
    (tmp_path / "index.rst").write_text((DOCS / "cli.rst").read_text().replace(":doc:`the specs <api/specs>`", ""))
    words = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", str(tmp_path), str(tmp_path / "site")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [link for link in dead(tmp_path / "site") if link.startswith("index.html")] == []
    page = unescape(re.sub(r"<[^>]+>", "", (tmp_path / "site" / "index.html").read_text()))
    for usage in (
        "oneticket find --out PATH --data DATA --model MODEL [OPTIONS]",
        "oneticket transfer --data DATA [OPTIONS] SOURCE",
        "oneticket store ls [OPTIONS]",
    ):
        assert f"{usage}\n" in page
    assert "-m sphinx" not in page and "file:///name" in page and "[Default: False]" not in page


def searched(site: Path, words: str) -> str:
    """The search page's HTML as a browser leaves it, opened from the disk."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=60000", "--dump-dom"]
    page = f"file://{site}/search.html?q={words}"
    return subprocess.run(["chromium", *flags, page], capture_output=True, text=True, check=True).stdout


def test_every_public_name_has_an_example_of_its_own_or_in_its_class() -> None:
    lacking = []
    for name in oneticket.__all__:
        thing = getattr(oneticket, name)
        if not inspect.isclass(thing):
            lacking += [name] if callable(thing) and not examples(thing) else []
            continue
        shown = " ".join(example.source for example in examples(thing))
        for member, value in vars(thing).items():
            bare = getattr(value, "__func__", value)  # of a class method
            if not member.startswith("_") and (callable(bare) or isinstance(bare, property)):
                shows = examples(bare) or re.search(rf"\.{member}\b", shown)
                lacking += [] if shows else [f"{name}.{member}"]
    assert lacking == []


def examples(thing: object) -> list[doctest.Example]:
    return doctest.DocTestParser().get_examples(inspect.getdoc(thing) or "")


@pytest.mark.slow
def test_a_public_name_without_an_entry_fails_the_build(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="the site is built with sphinx")
    shutil.copytree(DOCS, tmp_path / "docs", ignore=shutil.ignore_patterns("_build"))
    page = tmp_path / "docs" / "api" / "tickets.md"
    page.write_text(
        page.read_text().replace(".. autoclass:: oneticket.Mask\n   :members:\n   :exclude-members: unpack\n", "")
    )
    words = [sys.executable, "-m", "sphinx", "-q", "-D", "nb_execution_mode=off", "-b", "html"]
    words += [tmp_path / "docs", tmp_path / "site"]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "no entry on the site for: oneticket.Mask;" in done.stderr
    assert not (tmp_path / "site" / "api" / "tickets.html").exists()


def imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_docstrings_mean_the_same_on_the_site() -> None:
    pytest.importorskip("sphinx", reason="the site is built with sphinx")
    tools = imported(DOCS / "tools" / "docstrings.py")
    assert doctest.testmod(tools) == (0, 2)
    listed = [
        "Does it.",
        "",
        "- `a`: |x| * y,",
        "  more",
        "",
        ">>> f(2 ** 3)",
        "'a*b'",
        "",
        "| a | b |",
        "|---|---|",
        "",
        "End.",
    ]
    assert tools.marked(listed)[2:4] == ["- ``a``: \\|x\\| \\* y,", "  more"]
    assert tools.marked(listed)[5:7] == [">>> f(2 ** 3)", "'a*b'"]
    assert tools.marked(listed)[8:] == ["::", "", "    | a | b |", "    |---|---|", "", "End."]


@pytest.fixture(scope="module")
def reader() -> ModuleType:
    """The page's own reader, which knows nothing of the package."""
    path = DOCS / "reader.py"
    assert "oneticket" not in re.findall(r"^(?:from|import) (\w+)", path.read_text(), re.M)
    return imported(path)


GOLDEN = {"ticket": "ticket", "book": "book", "heads": "ticket"}
"""Name -> kind; `heads` is a ticket of two outputs, format 2."""


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the page's code writes today."""
    folder = tmp_path_factory.mktemp("golden")
    (code,) = [text for kind, text in blocks("file-format.md") if kind == "python"]
    for name in GOLDEN:
        code = code.replace(f'"{name}.safetensors"', repr(str(folder / f"{name}.safetensors")))
    exec(compile(code, "file-format.md", "exec"), {})
    return folder


@pytest.mark.parametrize("kind", GOLDEN)
def test_the_bytes_on_the_page_are_those_that_are_written(kind: str, golden: Path, tmp_path: Path) -> None:
    written = (golden / f"{kind}.safetensors").read_bytes()
    shown = b""
    for block, text in blocks("file-format.md"):
        for line in text.splitlines() if block == kind else ():
            at, rest = line[:4], line[6:53]
            assert int(at, 16) == len(shown), line
            row = bytes.fromhex(rest)
            assert line[55:] == "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row), line
            shown += row
    assert shown == written
    (tmp_path / "typed.safetensors").write_bytes(shown)
    assert file.verify(tmp_path / "typed.safetensors").kind == GOLDEN[kind]


@pytest.mark.parametrize("kind", GOLDEN)
def test_the_second_reader_finds_what_the_first_finds(kind: str, golden: Path, reader: ModuleType) -> None:
    for path in (golden / f"{kind}.safetensors", ROOT / "tests" / "ticket" / "golden" / f"{kind}.safetensors"):
        meta, groups = reader.read(path)
        thing = file.load(path)
        assert (meta["id"], meta["kind"]) == (thing.id, GOLDEN[kind])
        found = reader.weights(meta, groups)
        assert found.keys() == thing.weights.keys()
        for name, tensor in thing.weights.items():
            same = tensor.view(torch.int16).numpy().view("<u2") if tensor.dtype == torch.bfloat16 else tensor.numpy()
            assert np.array_equal(found[name], same), name
        if isinstance(thing, Ticket):
            bits = {name: np.packbits(remaining.numpy(), bitorder="little") for name, remaining in thing.mask.items()}
            assert all(np.array_equal(groups["mask"][name], packed) for name, packed in bits.items())
        else:
            assert all(np.array_equal(groups["pruned"][name], at.numpy()) for name, at in thing.pruned_at.items())


def test_the_library_of_safetensors_finds_the_same(golden: Path, reader: ModuleType) -> None:
    found = load_file(golden / "ticket.safetensors")
    _, groups = reader.read(golden / "ticket.safetensors")
    assert found.keys() == {f"{group}/{name}" for group, inner in groups.items() for name in inner}
    assert all(
        np.array_equal(found[f"{group}/{name}"], a) for group, inner in groups.items() for name, a in inner.items()
    )


@pytest.mark.parametrize(
    "path",
    [path for path in sorted((ROOT / "attacks").glob("*.safetensors")) if path.stem.startswith(LAYOUT)],
    ids=lambda path: path.stem,
)
def test_the_second_reader_refuses_attacks_on_the_layout(path: Path, reader: ModuleType) -> None:
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError, RecursionError, UnicodeDecodeError)):
        reader.read(path)
    with pytest.raises(FileError):
        file.load(path)


def test_every_field_group_and_dtype_is_on_the_page() -> None:
    page = (DOCS / "file-format.md").read_text()
    from oneticket.ticket.contract import HONOURED
    from oneticket.ticket.file import _KINDS
    from oneticket.ticket.values import DTYPES

    for kind in _KINDS.values():
        assert all(f"| `{field}` |" in page for field in kind.fields)
        assert all(f"| `{group}/` |" in page for group in kind.groups)
    assert all(f"`{code}`" in page for code in DTYPES)
    assert all(f'`"{value}"`' in page for values in HONOURED.values() for value in values)
