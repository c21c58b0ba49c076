"""``scheduler.policy: grpc://HOST:PORT``: a policy that is a program of its own, and the options that are the run's rather than its own."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from emulator.scenario.units import parse_duration
from emulator.scheduler.policies import POLICIES
from emulator.scheduler.policy import Policy

SCHEME = "grpc://"
#: A name, an IPv4 address or an IPv6 address in brackets, and a port.
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.%]+\]|[\w.-]+):(\d{1,5})")
_DEADLINE, _FALLBACK = "30s", "easy"


@dataclass(frozen=True)
class OutsideSettings:
    """Where it is, how long each answer may take in wall time, who decides when it is gone, and what it is given."""

    address: str
    deadline_ns: int
    fallback: Policy
    options: Mapping[str, str]


def outside_address(name: str) -> str | None:
    """HOST:PORT of ``grpc://HOST:PORT``; None for another policy. Raises ValueError where that is no address."""
    if not name.startswith(SCHEME):
        return None
    found = _ADDRESS.fullmatch(name.removeprefix(SCHEME))
    if found is None or not 0 < int(found[2]) < 65_536:
        raise ValueError(f"{name!r:.80} is no address of a policy; allowed: {SCHEME}HOST:PORT, e.g. {SCHEME}localhost:50051")
    return found[0]


def outside_settings(name: str, options: Mapping[str, str]) -> OutsideSettings | None:
    """None where the policy is not outside. Raises ValueError for values that are not allowed."""
    address = outside_address(name)
    if address is None:
        return None
    given = {key: str(value) for key, value in options.items()}
    deadline, fallback = given.pop("deadline", _DEADLINE), given.pop("fallback", _FALLBACK)
    try:
        deadline_ns = parse_duration(deadline)
    except ValueError as error:
        raise ValueError(f"policy {name}: option deadline: {error}") from error
    if not 0 < deadline_ns <= parse_duration("24h"):
        raise ValueError(f"policy {name}: option deadline: {deadline} is not allowed; allowed: more than 0, up to 24h")
    if fallback not in POLICIES:
        raise ValueError(f"policy {name}: option fallback: there is no policy {fallback!r:.80}; allowed: {', '.join(POLICIES)}")
    return OutsideSettings(address, deadline_ns, POLICIES[fallback], given)
