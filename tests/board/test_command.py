"""`oneticket board` as a process: it ends when it is asked to, gives its port back, and leaves the store alone."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import FOREVER

from oneticket.board.serve import listening


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_board_that_is_asked_to_end_does(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "oneticket", "board", "demo", "--store", "kept", "--port", "0", "--no-open"]
    with subprocess.Popen(command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().split("/")[2].rpartition(":")[2])
        asked = http.client.HTTPConnection("127.0.0.1", port)
        asked.request("GET", "/studies/demo")  # begins a report
        assert asked.getresponse().status == 200  # and the line stays open
        with socket.create_connection(("127.0.0.1", port)) as line:
            line.sendall(b"\x16\x03\x01 no request\r\n\r\n")
            assert line.recv(100).split()[1] == b"400"
        process.send_signal(getattr(signal, name))
        _, err = process.communicate(timeout=FOREVER)
    assert (process.returncode, err.splitlines()[-1]) == (0, "the board has ended")
    assert "Traceback" not in err and "request" not in err  # what others send is not told here
    asked.close()
    for each in listening(port):
        each.close()
    assert list(tmp_path.iterdir()) == []
