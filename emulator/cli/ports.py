"""Where ``gigawatt up`` listens, and where the other commands look for it."""

import os
import re
import socket

from emulator.cli.errors import CommandError, wrong

#: Registered to nobody that runs beside an emulator; high enough for any user.
API_PORT = 7070
#: The head's /metrics and /sd: what deploy/prometheus/prometheus.yml asks.
METRICS_PORT = 9464
LOOPBACK = "127.0.0.1"
ENVIRONMENT = "GIGAWATT_API"


def api_address(given: str | None) -> str:
    """``--api``, or GIGAWATT_API, or the default; checked to be host:port."""
    place = "--api" if given else ENVIRONMENT
    address = given or os.environ.get(ENVIRONMENT) or f"{LOOPBACK}:{API_PORT}"
    match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^\s:/]+)(?::(\d{1,5}))?", address)
    if not match or int(match[2] or 0) > 65_535:
        raise wrong(place, address, "is not an address", "host:port, for example 127.0.0.1:7070")
    return address if match[2] else f"{address}:{API_PORT}"


def check_free(place: str, host: str, port: int) -> None:
    """Raises CommandError where ``host:port`` cannot be listened on, before anything costly is started. Port 0 takes a free one."""
    if not 0 <= port <= 65_535:
        raise wrong(place, port, "is not a port", "0 (any free one) to 65535")
    try:
        family, _, _, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(target)
            listener.listen(1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise CommandError(f"{place}: cannot listen on {host}:{port}: {reason}; allowed: another port, or 0 for any free one") from error
