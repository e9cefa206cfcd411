"""The signals that ask a run to stop, which it answers with a checkpoint."""

from __future__ import annotations

import signal

HANGUP = getattr(signal, "SIGHUP", None)
"""What the processes of a terminal get when it closes; None on Windows."""

STOPS = tuple(number for number in (signal.SIGINT, signal.SIGTERM, HANGUP) if number is not None)


def to_answer() -> tuple[signal.Signals, ...]:
    """Those that a run answers in this process.

    SIGHUP only where it would end the process: under nohup it is ignored, and a program may use it for itself.
    """
    return tuple(number for number in STOPS if number != HANGUP or signal.getsignal(number) == signal.SIG_DFL)
