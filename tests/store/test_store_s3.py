"""The store on S3, against a server process: shared by processes, and in words when it refuses."""

from __future__ import annotations

import contextlib
import os
import urllib.request
from collections.abc import Iterator

import fsspec
import pytest
from faulty_s3 import SPOILS, Proxy, proxied
from stores import LEVEL, OTHER, STEP, content, put
from test_claim import kill_while_writing, killed_holder, two_processes_share

from oneticket.ground.errors import StoreError
from oneticket.store import claim, names
from oneticket.store.store import Store
from oneticket.store.upkeep import verify


@pytest.fixture
def anew(s3: str) -> Iterator[None]:
    """Connections of this test alone, for it to change what they are made of."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    yield
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.slow
def test_two_processes_do_each_step_once(s3: str) -> None:
    two_processes_share(s3)


@pytest.mark.slow
def test_what_a_killed_process_held_is_taken_over(s3: str) -> None:
    store = Store(s3)
    killed_holder(s3)
    with store.claim(STEP) as claim:
        assert claim is not None
    assert store.files.sizes() == {}


@pytest.mark.slow
def test_a_torn_write_is_never_seen(s3: str) -> None:
    kill_while_writing(s3)
    assert list(Store(s3).files.sizes()) == [names.name(STEP.key, names.CHECKPOINT)]


def test_creation_is_exclusive(s3: str) -> None:
    one, other = Store(s3).files, Store(s3).files
    assert [one.create("under-way/x", b"one"), other.create("under-way/x", b"other")] == [True, False]
    assert one.read(["under-way/x"]) == {"under-way/x": b"one"}
    assert one.create("under-way/x", b"one"), "an answer that was lost does not make a loser of the winner"


def test_stores_in_one_bucket_do_not_mix(s3: str) -> None:
    put(Store(s3))
    put(Store(f"{s3}0"), LEVEL)
    assert (Store(s3).keys(), Store(f"{s3}0/").keys()) == ({STEP.key}, {LEVEL.key})
    assert len(content(Store(s3))) == 1


def test_opening_asks_nothing_of_the_other_side(s3: str, anew: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    store = Store(s3)
    assert store.url == s3
    with pytest.raises(StoreError, match=f"cannot list the store {s3}: Could not connect to the endpoint"):
        store.keys()


def test_options_may_come_from_the_configuration(s3: str, anew: None, monkeypatch: pytest.MonkeyPatch) -> None:
    put(Store(s3))
    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": os.environ["AWS_ENDPOINT_URL"]})
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert Store(s3).has(STEP)


def test_a_bucket_that_is_not_there_is_told(s3: str) -> None:
    store = Store("s3://nowhere/prefix")
    with pytest.raises(StoreError, match="cannot list the store s3://nowhere/prefix: The specified bucket"):
        store.keys()
    with pytest.raises(StoreError, match="cannot write to the store s3://nowhere/prefix: The specified bucket"):
        put(store)
    with pytest.raises(StoreError, match="cannot write to the store"), store.claim(STEP):
        pass


def test_wrong_credentials_are_told(s3: str, s3_server: str) -> None:
    def check_after(requests: str) -> None:
        url, how = f"{s3_server}/moto-api/reset-auth", {"Content-Type": "text/plain"}
        urllib.request.urlopen(urllib.request.Request(url, requests.encode(), how, method="POST")).close()

    check_after("0")
    try:
        with pytest.raises(StoreError, match="cannot list the store .*: The AWS Access Key Id you provided does not"):
            Store(s3).keys()
        with pytest.raises(StoreError, match="cannot read the store "):
            put(Store(s3))
        with pytest.raises(StoreError, match="cannot write to the store .*: The AWS Access Key Id"):
            Store(s3).slot(STEP).write(b"x")
    finally:
        check_after("inf")
    assert Store(s3).files.sizes() == {}


def test_no_credentials_are_told(s3: str, anew: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(StoreError, match="cannot list the store .*: Unable to locate credentials"):
        Store(s3).keys()


def test_drift_is_noticed_across_openings(s3: str) -> None:
    put(Store(s3))
    assert put(Store(s3), STEP, OTHER) == "drifted"
    assert Store(s3).drifts().keys() == {STEP.key}


# --- a server that fails


@pytest.fixture
def proxy(s3_server: str, s3: str, anew: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy that this test's connections go through, which give up soon."""
    import s3fs

    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 2)
    monkeypatch.setattr(claim, "PATIENCE", 0.2)
    with proxied(s3_server) as one:
        monkeypatch.setenv("AWS_ENDPOINT_URL", one.url)
        yield one


def use(url: str) -> dict[str, object]:
    """All that a step does with a store; what is there in the end."""
    store = Store(url)
    store.define(LEVEL)
    while not store.has(LEVEL):
        with store.claim(LEVEL) as mine:
            if mine is not None:
                slot = store.slot(LEVEL)
                slot.write(b"half-way")
                assert slot.read() == b"half-way"
                put(store, LEVEL)
    assert Store(url).step(LEVEL.key) == LEVEL
    return {name.removeprefix(url): data for name, data in content(store).items()} | dict(store.records([LEVEL]))


@pytest.mark.slow
def test_any_answer_may_be_spoiled_and_nothing_is_lost(s3: str, proxy: Proxy) -> None:
    expected = use(f"{s3}/straight")
    proxy.set("", 0)
    use(f"{s3}/counted")
    asked = list(proxy.seen)
    assert 15 < len(asked) < 60
    for at in range(1, len(asked) + 1):  # every way of spoiling comes to every kind of request
        url = f"{s3}/{at}"
        proxy.set(SPOILS[at % len(SPOILS)], at)
        with contextlib.suppress(StoreError):  # in words, or mended by asking again
            assert use(url) == expected
        proxy.set("", 0)
        assert use(url) == expected, (SPOILS[at % len(SPOILS)], asked[at - 1])
        assert not [trouble for _, trouble in verify(Store(url)) if trouble]


@pytest.mark.slow
@pytest.mark.parametrize("spoil", SPOILS)
def test_a_server_that_fails_for_good_is_told_in_words(spoil: str, s3: str, proxy: Proxy) -> None:
    put(Store(s3))
    before = content(Store(s3))
    proxy.set(spoil, 1, lasting=True)
    with pytest.raises(StoreError, match=f"cannot (read|list|write to) the store {s3}: ."):
        put(Store(s3), STEP, OTHER)
    proxy.set("", 0)
    assert content(Store(s3)) == before
