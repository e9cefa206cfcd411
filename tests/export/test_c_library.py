"""Compiled C programs: which compiler makes them, what Python loads, and two of them in one program."""

from __future__ import annotations

import gc
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from test_c import STRICT, close, needs_compiler, pruned, tiny
from torch import Tensor, nn

from oneticket.cli.export import c_facts
from oneticket.export import CLibrary, export
from oneticket.export.c import c_form
from oneticket.export.c.library import compiler
from oneticket.export.example import outputs
from oneticket.ground.errors import FileError, ModelError, SpecError
from oneticket.ticket.mask import Mask


def test_without_a_compiler_the_text_is_written_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CC", "no-such-compiler")
    made = export(tiny(), Mask({}), to="c", out=tmp_path / "tiny.c", example=torch.ones(2, 3))
    assert made.c is not None and made.c.library is None and made.c.code is None
    assert sorted(one.name for one in tmp_path.iterdir()) == ["tiny.c", "tiny.h"]
    with pytest.raises(ModelError, match="build: no C compiler was found"):
        export(tiny(), Mask({}), to="c", out=tmp_path / "more.c", example=torch.ones(2, 3), build=True)
    assert not list(tmp_path.glob("more*"))


@needs_compiler
def test_a_compiler_that_fails_is_quoted_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", f"{shutil.which(compiler()[0])} --no-such-flag")
    with pytest.raises(ModelError, match="does not compile the program: .*no-such-flag"):
        export(tiny(), Mask({}), to="c", out=tmp_path / "tiny.c", example=torch.ones(2, 3))
    assert not list(tmp_path.iterdir())


@needs_compiler
@pytest.mark.parametrize(
    ("does", "why"),
    [
        ("exit 1", "does not compile the program: exit status 1; set CC to another C compiler, or to CC=none"),
        ("exit 0", "does not compile the program: exit status 0"),
        ('while [ "$1" != -o ]; do shift; done; echo other > "$2"', "cannot be loaded here: .*; set CC to another"),
    ],
    ids=["fails", "does nothing", "is another machine's"],
)
def test_a_compiler_that_is_none_is_told_with_the_remedy(
    does: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, folder = tmp_path / "compiler", tmp_path / "out"
    made.write_text(f"#!/bin/sh\n{does}\n")
    made.chmod(0o755)
    monkeypatch.setenv("CC", str(made))
    with pytest.raises(ModelError, match=why):
        export(tiny(), Mask({}), to="c", out=folder / "tiny.c", example=torch.ones(2, 3))
    assert not folder.exists()
    monkeypatch.setenv("CC", 'cc "')
    with pytest.raises(SpecError, match="CC: expected the command of a C compiler, got 'cc \"'"):
        compiler()


@needs_compiler
def test_values_beside_the_source_are_checked_when_they_are_loaded(tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        one, other = (nn.Sequential(nn.Linear(600, 600), nn.ReLU(), nn.Linear(600, 5)).eval() for _ in range(2))
    x = torch.arange(1200).reshape(2, 600).cos()
    for name, net in (("net", one), ("other", other)):
        export(net, Mask({}), to="c", out=tmp_path / f"{name}.c", example=x, build=True)
    values = tmp_path / "net.bin"
    whole = values.read_bytes()
    close(CLibrary(tmp_path / "net.so")(x), outputs(one, x)[0])
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for damaged, why in (
        (whole[:-1], "too short, too long or damaged"),
        (whole + b"\0", "too short, too long or damaged"),
        (bytes(flipped), "too short, too long or damaged"),
        (whole[:20], "or those of another network"),
        (b"", "or those of another network"),
        ((tmp_path / "other.bin").read_bytes(), "or those of another network"),
    ):
        values.write_bytes(damaged)
        with pytest.raises(FileError, match=why):
            CLibrary(tmp_path / "net.so")
    values.unlink()
    with pytest.raises(FileError, match=r"net.bin: cannot be opened"):
        CLibrary(tmp_path / "net.so")
    close(CLibrary(tmp_path / "other.so")(x), outputs(other, x)[0])
    with pytest.raises(FileError, match="expected a library made by"):
        CLibrary(tmp_path / "net.c")
    with pytest.raises(ModelError, match="expected float32 inputs of 600 numbers"):
        CLibrary(tmp_path / "other.so")(x[:, :599])


def wide(seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(600, 600), nn.ReLU(), nn.Linear(600, 5)).eval()


@needs_compiler
def test_every_library_has_values_of_its_own(tmp_path: Path) -> None:
    """One that goes, or that finds its file damaged, takes nothing from another of the same file."""
    net, x = wide(0), torch.arange(1200).reshape(2, 600).cos()
    export(net, Mask({}), to="c", out=tmp_path / "net.c", example=x, build=True)
    first, second = CLibrary(tmp_path / "net.so"), CLibrary(tmp_path / "net.so")
    want = first(x)
    second._memory.fill_(0)
    assert torch.equal(first(x), want) and not torch.equal(second(x), want)
    del second
    gc.collect()
    (tmp_path / "net.bin").write_bytes((tmp_path / "net.bin").read_bytes()[:-1])
    with pytest.raises(FileError, match="too short, too long or damaged"):
        CLibrary(tmp_path / "net.so")
    for file in tmp_path.iterdir():
        file.write_bytes(b"")  # in its place, as `cp` does
        file.unlink()
    assert torch.equal(first(x), want)
    close(want, outputs(net, x)[0])


@needs_compiler
def test_a_library_exported_anew_is_the_new_one(tmp_path: Path) -> None:
    x, out = torch.ones(2, 4), tmp_path / "net.c"
    with torch.random.fork_rng(devices=[]):
        nets = [nn.Linear(4, 3).eval() for _ in range(2)]
    for net in nets:
        made = export(net, Mask({}), to="c", out=out, example=x, build=True)
        close(CLibrary(tmp_path / "net.so")(x), outputs(net, x)[0])
        assert not made.note
    assert (
        export(nets[0], Mask({}), to="c", out=out, example=x).note
        == f"{tmp_path}/net.so is of an earlier export: remove it"
    )
    shutil.move(tmp_path / "net.so", tmp_path / "other.so")
    with pytest.raises(FileError, match="of the name other: .*other_sizes"):
        CLibrary(tmp_path / "other.so")
    library = CLibrary(tmp_path / "other.so", name="net", shape=(3, 1))
    assert library(x).shape == (2, 3, 1)
    with pytest.raises(ModelError, match="expected a tensor, got list"):
        library(x.tolist())  # type: ignore[arg-type]


class Deep(nn.Module):
    """A network that changes what only noise shows: of nothing it makes nothing."""

    def forward(self, x: Tensor) -> Tensor:
        y = x * 2
        y.flatten(1).relu_()  # another view of the same memory
        return y


def test_a_blank_example_hides_nothing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the list of layers does not compute what the network does: .* apart"):
        export(Deep(), Mask({}), to="c", out=tmp_path / "net.c", example=torch.zeros(1, 2, 3))
    assert not list(tmp_path.iterdir())


@needs_compiler
def test_values_beside_the_source_count_as_memory_and_not_as_flash() -> None:
    form = c_form(wide(0), torch.ones(1, 600))
    assert form.ram == 4 * (600 + 5 + 600) + form.data and form.data > 4 * 600 * 605
    said = dict(c_facts(form, ""))
    assert (
        said["flash"]
        == f"{form.code:,} bytes: {form.code:,} of instructions, as compiled here for size, without the C library's own"
    )
    assert said["RAM"].startswith(f"{form.ram:,} bytes: ") and f"{form.data:,} of values" in said["RAM"]
    small = c_form(tiny(), torch.ones(1, 3))
    assert small.code and dict(c_facts(small, ""))["flash"].startswith(
        f"{small.data + small.code:,} bytes: {small.data} of"
    )
    assert small.ram == 4 * (3 + 2 + 5)


@needs_compiler
@pytest.mark.skipif(shutil.which("size") is None, reason="the tool size is not installed")
def test_flash_is_what_size_says(tmp_path: Path) -> None:
    model, mask, x = pruned("lenet", 0.1)
    form = export(model, mask, to="c", out=tmp_path / "net.c", example=x, int8=True).c
    assert form is not None and form.code is not None
    subprocess.run([*compiler(), "-std=c99", "-Os", "-c", "net.c"], cwd=tmp_path, check=True)
    said = subprocess.run(["size", "net.o"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    text, data, bss = map(int, said.splitlines()[1].split()[:3])
    assert abs(text - form.data - form.code) < 1000 and data == bss == 0, said


TWO = """
#include <stdio.h>
#include "one.h"
#include "two.h"

int main(void)
{
    static float in[ONE_IN] = {1, 2, 3}, found[ONE_OUT], out[TWO_OUT];
    static float scratch[ONE_SCRATCH], other[TWO_SCRATCH];
    if (one_run(in, found, scratch) != ONE_OK || two_run(found, out, other) != TWO_OK)
        return 1;
    printf("%.9g\\n", (double)out[0]);
    return 0;
}
"""


@needs_compiler
def test_two_networks_stand_in_one_program(tmp_path: Path) -> None:
    """Their names do not meet, their headers are C++ too, and a network that needs no scratch memory has one float."""
    x = torch.tensor([[1.0, 2.0, 3.0]])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        second = nn.Linear(2, 1).eval()
    export(tiny(), Mask({}), to="c", out=tmp_path / "one.c", example=x)
    export(second, Mask({}), to="c", out=tmp_path / "two.c", example=torch.ones(1, 2))
    (tmp_path / "main.c").write_text(TWO)
    command = [*compiler(), *STRICT, "one.c", "two.c", "main.c", "-o", "main", "-lm"]
    subprocess.run(command, cwd=tmp_path, check=True)
    said = subprocess.run(["./main"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    close(torch.tensor([[float(said)]]), second(tiny()(x)).detach())
    if plus := shutil.which("g++") or shutil.which("clang++"):
        (tmp_path / "main.cpp").write_text(TWO)
        flags = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only"]
        subprocess.run([plus, *flags, "main.cpp"], cwd=tmp_path, check=True)


@needs_compiler
def test_a_library_ignores_what_torch_makes_by_default() -> None:
    model, x = tiny(), torch.ones(2, 3)
    want = c_form(model, x).library
    assert want is not None
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            made = c_form(model, x).library
            assert made is not None
            found = [made(x), want(x)]
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(one.dtype is torch.float32 and torch.equal(one, want(x)) for one in found)


@needs_compiler
def test_threads_may_run_at_once() -> None:
    model, _, x = pruned("conv-4", 1.0)
    library = c_form(model, x).library
    assert library is not None
    want = [library(x.roll(place, 0)) for place in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = [*pool.map(lambda place: library(x.roll(place % 4, 0)), range(40))]
    assert all(torch.equal(one, want[place % 4]) for place, one in enumerate(found))
