"""What `--help` shows: the commands in groups, the common flags of long commands, two examples of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cyclopts import Group

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions

ALL = "--help-all"
EXIT_CODES = "Exit codes: 0 done, 1 something failed, 2 a mistake in the request, 130 interrupted (run again)."


@dataclass(frozen=True, kw_only=True)
class CommandHelp:
    """How a command is shown: its group, its examples, and where it has very many flags, the common ones in order.

    `usage`: the text after its name if arguments are optional; by default made from its signature.
    """

    group: str
    examples: tuple[str, ...]
    common: tuple[str, ...] = ()
    usage: str = ""

    def epilogue(self, name: str, *, short: bool) -> str:
        """What stands below the flags."""
        shown = ["Examples:", *(f"  {example}" for example in self.examples), ""]
        more = [f"These are the common flags; `oneticket {name} {ALL}` shows all of them.", ""] if short else []
        return "\n".join([*shown, *more, EXIT_CODES])


def groups() -> dict[str, Group]:
    """The groups of the overview, in their order."""
    names = dict.fromkeys(each.group for each in HELP.values())
    return {name: Group(name, sort_key=number) for number, name in enumerate(names)}


class CommonFlags:
    """Draws the flags of a command: of a long one the common ones alone, those that are required first."""

    def __init__(self, common: Sequence[str]) -> None:
        from cyclopts.help import DefaultFormatter

        self._common = [f"--{name}" for name in common]
        self._draw: Any = DefaultFormatter()

    def __call__(self, console: Console, options: ConsoleOptions, panel: Any) -> None:
        """Draw a panel of the help page."""
        if panel.format == "parameter":
            shown = [entry for entry in panel.entries if entry.required or self._place(entry) < len(self._common)]
            panel = panel.copy(entries=sorted(shown, key=lambda entry: (not entry.required, self._place(entry))))
        if panel.entries:
            self._draw(console, options, panel)

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:
        """Draw the line of usage."""
        self._draw.render_usage(console, options, usage)

    def render_description(self, console: Console, options: ConsoleOptions, description: Any) -> None:
        """Draw what the command does."""
        self._draw.render_description(console, options, description)

    def _place(self, entry: Any) -> int:
        """Where the entry stands in the list of common flags; behind it, if it is not one of them."""
        if entry.positional_label:
            return -1
        return next((self._common.index(name) for name in entry.names if name in self._common), len(self._common))


HELP: dict[str, CommandHelp] = {
    "demo": CommandHelp(group="Start", examples=("oneticket demo", "oneticket demo --out first-look")),
    "init": CommandHelp(
        group="Start",
        examples=("oneticket init", "oneticket init mine.toml && oneticket study mine.toml"),
        usage="[FILE]",
    ),
    "zoo": CommandHelp(
        group="Start",
        examples=("oneticket zoo", "oneticket zoo digits-a", "oneticket zoo --for mine.py:model"),
        usage="[OPTIONS] [WHERE]",
    ),
    "show": CommandHelp(group="Start", examples=("oneticket show digits-a", "oneticket show half-a --level 7")),
    "find": CommandHelp(
        group="Find and transfer",
        examples=(
            "oneticket find --data digits:a --model lenet-300-100 --out half-a",
            "oneticket find --data cifar10 --model resnet-20 --levels 14 \\\n    --optimizer adam --out tickets",
        ),
        common=(
            *("data", "model", "out", "optimizer", "lr", "budget", "batch", "rewind", "levels", "fraction"),
            *("replicates", "device", "spec"),
        ),
    ),
    "transfer": CommandHelp(
        group="Find and transfer",
        examples=(
            "oneticket transfer half-a --data digits:b --optimizer adam",
            "oneticket transfer half-a --data digits:b --levels 5,11 \\\n    --controls reinit,own --rows rows.csv",
        ),
        common=(
            *("data", "optimizer", "lr", "budget", "batch", "levels", "controls", "replicates", "head"),
            *("rows", "device", "spec"),
        ),
    ),
    "consensus": CommandHelp(
        group="Find and transfer",
        examples=("oneticket consensus letter penbased --out both", "oneticket consensus a b --out ab --weights mean"),
    ),
    "study": CommandHelp(
        group="Studies", examples=("oneticket study demo --dry-run", "oneticket study mine.toml --engine ray")
    ),
    "status": CommandHelp(group="Studies", examples=("oneticket status mine.toml",)),
    "report": CommandHelp(group="Studies", examples=("oneticket report mine.toml --out report --open",)),
    "board": CommandHelp(
        group="Studies",
        examples=("oneticket board", "oneticket board mine.toml --port 9000 --no-open"),
        usage="[OPTIONS] [STUDIES...]",
    ),
    "score": CommandHelp(group="Share", examples=("oneticket score demo/ticket.safetensors demo/rows.csv",)),
    "push": CommandHelp(group="Share", examples=("oneticket push mine.safetensors user/name --license mit",)),
    "pull": CommandHelp(group="Share", examples=("oneticket pull user/name --out mine.safetensors",)),
    "import": CommandHelp(
        group="Share",
        examples=(
            "oneticket import mask.pth --weights model_ep0_it0.pth \\\n"
            "    --out mine.safetensors --head fc.weight --head fc.bias",
        ),
    ),
    "verify": CommandHelp(group="Share", examples=("oneticket verify mine.safetensors",)),
    "export": CommandHelp(
        group="Deploy",
        examples=(
            "oneticket export half-a --level 7",
            "oneticket export mine.safetensors --weights trained.safetensors \\\n    --to onnx --out mine.onnx",
            "oneticket export mine.safetensors --weights trained.safetensors \\\n    --to c --int8 --out mine.c",
        ),
    ),
    "store": CommandHelp(
        group="Store", examples=("oneticket store ls", "oneticket store gc --dry-run", "oneticket store verify")
    ),
    "completion": CommandHelp(group="Shell", examples=('eval "$(oneticket completion bash)"',), usage="[SHELL]"),
}
"""The commands in the order of the overview."""
