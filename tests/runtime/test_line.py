"""The line between head and actor: who is let in, what passes over it, and how it ends."""

import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from emulator.runtime import line
from emulator.runtime.line import Line, accept, connect, listen

KEY = b"k" * line.KEY_BYTES


@pytest.fixture(params=["path", "127.0.0.1", "::1", "127.0.0.1 in TLS"])
def address_and_actor(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, "Future[Line]"]]:
    """An actor that waits for the head, at a path, on TCP, and where Ray uses TLS."""
    host, _, secure = request.param.partition(" in ")
    if secure:
        certificate, private = make_certificate(tmp_path)
        monkeypatch.setenv("RAY_USE_TLS", "1")
        for name, value in {"CA_CERT": certificate, "SERVER_CERT": certificate, "SERVER_KEY": private}.items():
            monkeypatch.setenv(f"RAY_TLS_{name}", str(value))
    try:
        listener, address = listen(str(tmp_path / "line") if host == "path" else host)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(accept, listener, KEY)
        yield address, accepted
        if not accepted.done():
            connect(address, KEY).close()
        accepted.result().close()


def make_certificate(folder: Path) -> tuple[Path, Path]:
    certificate, private = folder / "certificate.pem", folder / "private.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=node"]
    try:
        subprocess.run([*command, "-keyout", private, "-out", certificate], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("this machine has no openssl")
    return certificate, private


def test_messages_of_any_size_pass_both_ways(address_and_actor: tuple[str, "Future[Line]"]) -> None:
    address, actor = address_and_actor
    head = connect(address, KEY)
    sent = [b"", b"x", bytes(range(256)) * 20_000]  # the last is larger than what a socket holds

    def echo() -> None:
        for _ in sent:
            actor.result().send(actor.result().receive())

    thread = threading.Thread(target=echo)
    thread.start()
    for message in sent:
        head.send(message)
        assert head.receive() == message
    thread.join()
    head.close()
    with pytest.raises(EOFError):
        actor.result().receive()


def test_strangers_are_turned_away_and_the_head_still_comes_in(
    address_and_actor: tuple[str, "Future[Line]"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One without the key, one who sends the actor's own proof back, one who hangs up, and one who says nothing."""
    address, actor = address_and_actor
    with pytest.raises((OSError, EOFError)):
        connect(address, b"another key".ljust(line.KEY_BYTES))
    if "RAY_USE_TLS" in os.environ:
        with caller(address) as stranger, contextlib.suppress(ConnectionResetError):
            stranger.sendall(bytes(1000))
            while stranger.recv(1000):
                pass  # TLS says why it hangs up
        connect(address, KEY).close()
        actor.result(10)
        return
    for say in ("mirror", "hang up", "nothing"):
        monkeypatch.setattr(line, "HANDSHAKE_SECONDS", 0.2)
        stranger = caller(address)
        challenge = stranger.recv(line.KEY_BYTES)
        if say == "mirror":
            stranger.sendall(challenge)
            stranger.sendall(stranger.recv(line.KEY_BYTES))
        if say != "hang up":
            assert stranger.recv(1) == b"", "the actor hangs up"
        stranger.close()
    monkeypatch.undo()
    connect(address, KEY).close()
    actor.result(10)


def caller(address: str) -> socket.socket:
    if address.startswith("/"):
        stranger = socket.socket(socket.AF_UNIX)
        stranger.connect(address)
        return stranger
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)))


def test_who_does_not_read_is_given_up() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        head = Line(ours)
        head.timeout(0.01)
        with pytest.raises(TimeoutError):
            head.send(bytes(10_000_000), lambda: True)
        with pytest.raises(TimeoutError):
            head.receive(lambda: True)
