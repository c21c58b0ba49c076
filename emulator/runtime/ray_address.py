"""Which Ray cluster ``--address`` or RAY_ADDRESS names, as host:port of its head, and errors for what is no such address.

An ``--address`` that cannot be used is an error. RAY_ADDRESS may have been left in the environment by another program: if nothing answers
there, or if it is the address of another server of Ray (its client, its job API), it is ignored with a note. Nothing here imports Ray,
because Ray reads its environment at the first import, and a caller that starts a new Ray has to set the environment before.
"""

import logging
import os
import re
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

#: Start a new Ray, also if RAY_ADDRESS is set.
LOCAL = "local"
#: The name of the cluster that this machine is a node of.
AUTO = "auto"
#: Ray's default port.
HEAD_PORT = 6379
#: Beginning of the directory of a Ray that we start, so that other programs do not find it.
TEMP_PREFIX = "gigawatt-"

#: Wall seconds to connect.
CONNECT_SECONDS = 3.0

logger = logging.getLogger(__name__)

_ADDRESS = re.compile(r"(?P<host>\[[0-9a-fA-F:.%]+\]|[^\s:/\[\]]+):(?P<port>\d{1,5})")
RUN_THERE = "run gigawatt on a node of the cluster, for instance by: ray job submit --address http://HEAD:8265 -- gigawatt run ..."


class RayStartError(RuntimeError):
    """Ray cannot be started or reached. The message says what to do."""


class UnusableRay(RayStartError):
    """The Ray that was asked for cannot be used: its address is wrong, something else answers there, or it lacks resources."""


@dataclass(frozen=True)
class Given:
    """The Ray cluster to join: host:port of its head, and whether RAY_ADDRESS named it."""

    address: str
    by_environment: bool = False


def given_cluster(asked: str | None) -> Given | None:
    """The cluster that ``asked`` (``--address``; None: not given) or RAY_ADDRESS means; None for a Ray of our own.

    Raises UnusableRay where ``asked`` is no address, and RayStartError where nothing answers at it.
    """
    environment = os.environ.get("RAY_ADDRESS", "")
    if asked == LOCAL or (asked is None and environment in ("", LOCAL)):
        return None
    if asked is None:
        try:
            return Given(_reached(environment), by_environment=True)
        except RayStartError as error:
            logger.warning("RAY_ADDRESS is ignored and a new Ray is started: %s", error)
            return None
    if asked == AUTO and _ADDRESS.fullmatch(environment):
        return Given(_reached(environment), by_environment=True)
    return Given(_reached(asked))


def _reached(address: str) -> str:
    """``address`` as host:port, where something listens."""
    if address == AUTO:
        address = cluster_of_this_machine()
        # As Ray does for a cluster that it finds by itself: a token that this user has is used.
        if "RAY_AUTH_MODE" not in os.environ and Path("~/.ray/auth_token").expanduser().is_file():
            os.environ["RAY_AUTH_MODE"] = "token"
    host, port = split_address(address)
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RayStartError(f"no Ray cluster answers at {address} ({reason}); is it running, and is this its head?") from error
    return address


def split_address(address: str) -> tuple[str, int]:
    """Host and port of ``host:port``. Raises UnusableRay with what is allowed."""
    if address.startswith("ray://"):
        raise UnusableRay(f"{address} is the address of a Ray Client server, which cannot drive an emulation; {RUN_THERE}")
    if address.startswith(("http://", "https://")):
        raise UnusableRay(
            f"{address} is the address of a Ray cluster's dashboard and job API, which an emulation cannot join; "
            f"use: ray job submit --address {address} -- gigawatt run ..."
        )
    match = _ADDRESS.fullmatch(address)
    if match is None or not 0 < int(match["port"]) < 65_536:
        raise UnusableRay(
            f"{address!r} is not the address of a Ray cluster; allowed: host:port of its head, for example 10.0.0.5:{HEAD_PORT}, "
            f"or auto (the cluster of this machine), or {LOCAL} (a new Ray)"
        )
    return match["host"].strip("[]"), int(match["port"])


def cluster_of_this_machine() -> str:
    """host:port of the Ray cluster that this machine is a node of. Raises UnusableRay where there is none, or more than one."""
    found = sorted(set(_raylets()))
    if len(found) > 1:
        note = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir(), "ray", "ray_current_cluster")  # by the last ``ray start``
        last_started = note.read_text().strip() if note.is_file() else ""
        found = [last_started] if last_started in found else found
    if not found:
        raise UnusableRay(f"auto: no Ray cluster runs on this machine; start one (ray start --head), or {RUN_THERE}")
    if len(found) > 1:
        raise UnusableRay(f"auto: nodes of {len(found)} Ray clusters run on this machine; use --address with one of {', '.join(found)}")
    return found[0]


def _raylets() -> Iterator[str]:
    """The heads of the clusters whose raylets run here, from the raylets' command lines; without those of other emulations."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or [""]
        if not words[0].endswith("raylet"):
            continue
        options = dict(word.removeprefix("--").split("=", 1) for word in words if word.startswith("--") and "=" in word)
        head = re.search(r"--gcs-address=(\S+)", " ".join(words))
        if head and f"/{TEMP_PREFIX}" not in options.get("raylet_socket_name", ""):
            yield head[1]
