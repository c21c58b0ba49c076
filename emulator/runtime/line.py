"""A connection between the head and one actor, for what they say in every window.

A call of a Ray actor costs each side about a millisecond of CPU, a message on a socket less than a tenth of one. So Ray places, starts
and watches the actors, and windows go over a socket that the actor opens: one of the file system where Ray is ours, else TCP, inside TLS
where Ray uses TLS. Both ends show that they know the session's key, which came to the actor through Ray, before either reads a pickle.
"""

import hmac
import os
import secrets
import socket
import ssl
import struct
from collections.abc import Callable

#: Wall seconds that a stranger can hold up an actor that waits for the head.
HANDSHAKE_SECONDS = 5.0
KEY_BYTES = 32
_SIZE = struct.Struct("!Q")
_CHUNK_BYTES = 2**16


class Line:
    """Messages of bytes over a connected socket.

    Where the socket has a timeout, ``give_up`` is asked each time that it has passed, and ends the wait with TimeoutError. A message that
    was sent or received in part leaves the line unusable: close it.
    """

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    def send(self, message: bytes, give_up: Callable[[], bool] = lambda: False) -> None:
        """Raises OSError where the other side is gone."""
        left = memoryview(_SIZE.pack(len(message)) + message)
        while left:
            try:
                left = left[self._socket.send(left) :]
            except TimeoutError:
                if give_up():
                    raise

    def receive(self, give_up: Callable[[], bool] = lambda: False) -> bytes:
        """The next message. Raises EOFError at the end of the line, OSError where it breaks."""
        (size,) = _SIZE.unpack(self._exactly(_SIZE.size, give_up))
        return self._exactly(size, give_up)

    def _exactly(self, size: int, give_up: Callable[[], bool]) -> bytes:
        parts, missing = [], size
        while missing:
            try:
                part = self._socket.recv(min(missing, _CHUNK_BYTES))
            except TimeoutError:
                if give_up():
                    raise
                continue
            if not part:
                raise EOFError("the other side has closed the connection")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def timeout(self, seconds: float | None) -> None:
        """How long one send or receive waits before ``give_up`` is asked; None: for ever."""
        self._socket.settimeout(seconds)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()


def listen(at: str) -> tuple[socket.socket, str]:
    """A listening socket and its address: ``at`` itself where it is a path, else host ``at`` with a free port."""
    if at.startswith("/"):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(at)
        listener.listen()
        return listener, at
    listener = socket.create_server((at, 0), family=socket.AF_INET6 if ":" in at else socket.AF_INET)
    return listener, f"{at}:{listener.getsockname()[1]}"


def accept(listener: socket.socket, key: bytes) -> Line:
    """The first caller that has the key; others are turned away. Closes the listener."""
    secure = _tls(ssl.Purpose.CLIENT_AUTH) if listener.family != socket.AF_UNIX else None
    with listener:
        while True:
            caller, _ = listener.accept()
            try:
                return _greeted(caller, key, secure, listening=True)
            except (OSError, EOFError):  # a stranger, or one who has gone
                caller.close()


def connect(address: str, key: bytes) -> Line:
    """The line to an actor that listens at ``address``. Raises OSError or EOFError where it does not answer as one."""
    if address.startswith("/"):
        caller, secure = socket.socket(socket.AF_UNIX), None
        caller.settimeout(HANDSHAKE_SECONDS)
    else:
        host, _, port = address.rpartition(":")
        caller, secure = socket.create_connection((host, int(port)), HANDSHAKE_SECONDS), _tls(ssl.Purpose.SERVER_AUTH)
    try:
        if address.startswith("/"):
            caller.connect(address)
        return _greeted(caller, key, secure, listening=False)
    except BaseException:
        caller.close()
        raise


def _greeted(connected: socket.socket, key: bytes, secure: ssl.SSLContext | None, *, listening: bool) -> Line:
    """Each side proves the key with the other's random challenge and its own role, so that an answer cannot be sent back as one's own."""
    connected.settimeout(HANDSHAKE_SECONDS)
    if connected.family != socket.AF_UNIX:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if secure is not None:
        connected = secure.wrap_socket(connected, server_side=listening)
    line = Line(connected)
    mine, theirs = (b"actor", b"head") if listening else (b"head", b"actor")

    def give_up() -> bool:
        return True

    challenge = secrets.token_bytes(KEY_BYTES)
    connected.sendall(challenge)
    asked = line._exactly(KEY_BYTES, give_up)
    connected.sendall(hmac.digest(key, mine + asked, "sha256"))
    if not hmac.compare_digest(line._exactly(KEY_BYTES, give_up), hmac.digest(key, theirs + challenge, "sha256")):
        raise ConnectionRefusedError("the other side does not have the session's key")
    connected.settimeout(None)
    return line


def _tls(purpose: ssl.Purpose) -> ssl.SSLContext | None:
    """With the files that Ray's own TLS has on this node (RAY_USE_TLS); every node shows a certificate of the same authority."""
    if os.environ.get("RAY_USE_TLS", "0").lower() not in ("1", "true"):
        return None
    context = ssl.create_default_context(purpose, cafile=os.environ["RAY_TLS_CA_CERT"])
    context.load_cert_chain(os.environ["RAY_TLS_SERVER_CERT"], os.environ["RAY_TLS_SERVER_KEY"])
    context.check_hostname = False  # who has the session's key is the one that was started there
    context.verify_mode = ssl.CERT_REQUIRED
    return context
