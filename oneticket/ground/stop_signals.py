"""The signals that ask a run to stop, which it answers with a checkpoint."""

from __future__ import annotations

import signal

HANGUP = getattr(signal, "SIGHUP", None)
"""What the processes of a terminal get when it closes; None on Windows."""

STOPS = tuple(number for number in (signal.SIGINT, signal.SIGTERM, HANGUP) if number is not None)


def heard() -> tuple[signal.Signals, ...]:
    """Those that this process answers: all, but SIGHUP where it is ignored, as under nohup, which lets a run go on."""
    return tuple(number for number in STOPS if number != HANGUP or signal.getsignal(number) != signal.SIG_IGN)
