"""Where stores of tests lie: folders, memory, a filesystem without atomic puts, and a real S3 server process."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

LACKING = [package for package in ("moto", "s3fs", "flask") if importlib.util.find_spec(package) is None]
ACCOUNT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
COUNT = itertools.count()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The endpoint of an S3 server in a process of its own."""
    if LACKING:
        pytest.skip(f"needs {', '.join(LACKING)}")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            while server.poll() is None:
                with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/"):
                    break
            assert server.poll() is None, "the server did not start"
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty place in a bucket, with the environment that says where it is and who asks."""
    import s3fs

    for name, value in {**ACCOUNT, "AWS_ENDPOINT_URL": s3_server}.items():
        monkeypatch.setenv(name, value)
    system = s3fs.S3FileSystem()
    if not system.exists("bucket"):
        system.mkdir("bucket")
    return f"s3://bucket/{next(COUNT)}"


@pytest.fixture(params=["folder", "memory", "beside", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of each sort; `beside` has no atomic put."""
    if request.param == "s3":
        return str(request.getfixturevalue("s3"))
    places = {
        "folder": str(tmp_path / "store"),
        "memory": f"memory://{next(COUNT)}",
        "beside": f"dir::file://{tmp_path}/d",
    }
    return places[request.param]
