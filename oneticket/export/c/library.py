"""Libraries: a C program compiled by any available compiler, and called from Python."""

from __future__ import annotations

import _ctypes
import ctypes
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import threading
import weakref
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from oneticket.export.c.writer import Program
from oneticket.ground import disk
from oneticket.ground.brief import line
from oneticket.ground.errors import FileError, ModelError, SpecError, WrongModelError

COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-std=c99", "-O3", "-ffp-contract=fast", "-shared", "-fPIC")
OTHER = "set CC to another C compiler, or to CC=none to write the program unchecked; nothing was written"
FLOAT = torch.float32
HERE = "-march=native"
"""The processor's own instructions, if the compiler knows it."""

REASONS = {
    1: "its values were not loaded",
    2: "cannot be opened",
    3: "holds no values, or those of another network; export the network again",
    4: "is too short, too long or damaged; export the network again",
    5: "found no memory",
    6: "was written for machines that put a number's low byte first",
}
"""Return values of a program's functions, in words."""


def compiler() -> list[str]:
    """The command of the C compiler: the environment's CC, else the first of COMPILERS; empty if there is none.

    Raises SpecError for a CC that is not a command.
    """
    try:
        asked = shlex.split(os.environ.get("CC", ""))
    except ValueError as error:
        raise SpecError(f"CC: expected the command of a C compiler, got {os.environ['CC']!r}: {error}") from None
    return next(
        (
            [found, *one[1:]]
            for one in ([asked] if asked else [[name] for name in COMPILERS])
            if (found := shutil.which(one[0]))
        ),
        [],
    )


def compiled(program: Program, *flags: str) -> bytes:
    """A shared library of a program, for this machine; raises ModelError if the compiler fails."""
    command = compiler()
    if not command:
        raise ModelError(f"c: no C compiler was found: CC is not set, and none of {', '.join(COMPILERS)} is there")
    with tempfile.TemporaryDirectory(prefix="oneticket-c-") as folder:
        _put(program, Path(folder))
        for here in ([HERE], []):
            asked = [*command, *FLAGS, *here, *flags, f"{program.stem}.c", "-o", "library", "-lm"]
            done = subprocess.run(asked, cwd=folder, capture_output=True, text=True, check=False)
            if not done.returncode and (Path(folder) / "library").is_file():
                return bytes(disk.read(Path(folder) / "library"))
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    said = next((line for line in lines if "error" in line), lines[-1] if lines else f"exit status {done.returncode}")
    raise ModelError(f"c: {shlex.join(command)} does not compile the program: {said}; {OTHER}")


def code_bytes(program: Program) -> int | None:
    """Bytes of the program's instructions, compiled for size; None without a compiler and the tool `size`."""
    command, tool = compiler(), shutil.which("size")
    if not command or not tool:
        return None
    with tempfile.TemporaryDirectory(prefix="oneticket-c-") as folder:
        _put(program, Path(folder))
        asked = [*command, "-std=c99", "-Os", "-c", f"{program.stem}.c", "-o", "object"]
        if subprocess.run(asked, cwd=folder, capture_output=True, check=False).returncode:
            return None
        done = subprocess.run([tool, "-A", "object"], cwd=folder, capture_output=True, text=True, check=False)
    return sum(int(size) for size in re.findall(r"^\.text\S*\s+(\d+)", done.stdout, re.M)) or None


def texts(program: Program) -> dict[str, bytes]:
    """The program's files: ending -> content."""
    files = {".c": program.source.encode(), ".h": program.header.encode(), ".bin": program.values}
    return {ending: data for ending, data in files.items() if data}


def _put(program: Program, folder: Path) -> None:
    disk.replace_all({folder / f"{program.stem}{ending}": data for ending, data in texts(program).items()})


@final
class CLibrary:
    """A compiled network as a function of a batch; several threads may call it at once.

    `path`: the shared library, which is copied, so that later changes of the file do not matter. `values`: the file of
    its values, by default next to it. `name`: its name at export, by default the file's. `shape`: of an output, by
    default flat. Raises FileError for a file that is no such library, and for damaged values or values of another
    network.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        values: str | os.PathLike[str] | None = None,
        *,
        name: str = "",
        shape: tuple[int, ...] | None = None,
    ) -> None:
        path = Path(path)
        stem = name or c_name(path.stem)
        try:
            library = _copy(path)
            weakref.finalize(self, _ctypes.dlclose, library._handle).atexit = False
            sizes = (ctypes.c_ulong * 4).in_dll(library, f"{stem}_sizes")
            run = getattr(library, f"{stem}_run")
        except (OSError, ValueError, AttributeError) as error:
            raise FileError(
                f"{path}: expected a library made by `oneticket export --build`, of the name {stem}: {error}"
            ) from error
        self.name = stem
        self.inputs, self.outputs, self.scratch, held = (int(one) for one in sizes)
        self.shape = (self.outputs,) if shape is None else shape
        self._run: Any = run
        self._run.argtypes = [ctypes.c_void_p] * 3
        self._memory = torch.empty(held, dtype=torch.uint8, device="cpu")
        self._kind = torch.empty(0, dtype=torch.float32, device="cpu")  # makes others of its kind, sooner than by words
        self._own = threading.local()
        if held:
            file = Path(values) if values is not None else path.with_name(f"{stem}.bin")
            load = getattr(library, f"{stem}_load")
            load.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
            if found := load(os.fsencode(file), self._memory.data_ptr()):
                raise FileError(f"{file}: {REASONS[found]}")

    def __call__(self, x: Tensor) -> Tensor:
        """(N, ...) float32 on the CPU to (N, *shape), one input after the other; raises ModelError for other inputs."""
        if not isinstance(x, Tensor):
            raise WrongModelError(f"c: expected a tensor, got {type(x).__name__}")
        shape = x.shape
        rows = shape[0] if shape else 0
        if x.dtype is not FLOAT or not x.is_cpu or x.numel() != rows * self.inputs:
            got = f"{x.dtype} {tuple(shape)} on {x.device}"
            raise WrongModelError(f"c: expected float32 inputs of {self.inputs} numbers each on the CPU, got {got}")
        x = x if x.is_contiguous() else x.contiguous()
        found = self._kind.new_empty(rows, *self.shape)
        scratch = self._own.__dict__.get("address") or self._scratch()
        at, to, run = x.data_ptr(), found.data_ptr(), self._run
        while rows:
            if code := run(at, to, scratch):
                raise ModelError(f"c: {REASONS[code]}")
            if rows := rows - 1:
                at, to = at + 4 * self.inputs, to + 4 * self.outputs
        return found

    def __repr__(self) -> str:
        return line("CLibrary", [("name", self.name), ("inputs", self.inputs), ("shape", self.shape)])

    def _scratch(self) -> int:
        """The address of scratch memory for this thread, made now."""
        memory = torch.empty(max(1, self.scratch), dtype=torch.float32, device="cpu")
        self._own.memory, self._own.address = memory, memory.data_ptr()
        return memory.data_ptr()


def _copy(path: Path) -> ctypes.CDLL:
    """A library that nobody else has: of one path or file the loader would give the same one again.

    Then two networks would share the memory of their values, and one exported anew would still be the old one.
    """
    with tempfile.TemporaryDirectory(prefix="oneticket-c-", ignore_cleanup_errors=True) as folder:
        copy = str(shutil.copyfile(path, Path(folder, "library")))
        try:
            return ctypes.CDLL(copy)
        except OSError as error:
            if "failed to map segment" not in str(error):  # what glibc says of a folder that is mounted noexec
                raise
            raise OSError(f"{error}; no program may run from there: set TMPDIR to a folder where one may") from error


def c_name(name: str) -> str:
    """A valid C name, made from another name.

    >>> c_name("lenet-300"), c_name("2nd")
    ('lenet_300', 'net_2nd')
    """
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    return plain if re.match(r"[A-Za-z]", plain) else f"net_{plain.lstrip('_')}"
