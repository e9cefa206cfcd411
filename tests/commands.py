"""Running a command of the command line inside a test."""

from __future__ import annotations

import pytest

from oneticket.cli.app import main


def oneticket_cli(words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Run a command in this process: exit code, standard output, standard error."""
    with pytest.raises(SystemExit) as left:
        main(words.split())
    printed = capsys.readouterr()
    return int(left.value.code or 0), printed.out, printed.err
