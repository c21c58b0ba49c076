"""The naming scheme: every name that is not given by a file is made here, and taken apart here. All numbers count from 0.

=====================  ========================================================================================================
rack                   ``r00012``: the number of the rack
host                   ``r00012-h03``: its place in the rack
domain                 ``r00012-d00``: a scale-up domain of several hosts, by its place in the rack
pod                    ``p000``: in a dragonfly a group
switch, bank           ``leaf-00003``: the tier and the number in it; a bank of equal switches is named as one
switch of a bank       ``spine-00001/2``
trunk                  ``leaf-00003/spine-00001``: what its two ends are called, the lower one first; ``r00012-h03:4/leaf-00004`` on rail 4
cable                  ``leaf-00003/spine-00001#2``: a trunk and the number of the cable in it
NIC                    ``r00012-h03:4``: a host and a rail
=====================  ========================================================================================================

Numbers have leading zeros to the width shown, and more digits where they need them. `topology.describe` names the parts of a cluster,
`topology.lookup` finds them by name; where an imported graph names hosts and switches, these names stand in place of the scheme's.
"""

import re
from collections.abc import Iterator

#: What a switch is called, by ``Links.node_tier``.
SWITCHES = ("", "leaf", "spine", "core", "inter-building", "gateway")

_RACK = re.compile(r"r(?P<rack>[0-9]{5,9})")
_PLACE = re.compile(r"r(?P<rack>[0-9]{5,9})-(?P<kind>[hd])(?P<place>[0-9]{2,9})")
_SWITCH = re.compile(rf"(?P<tier>{'|'.join(SWITCHES[1:])})-(?P<number>[0-9]{{5,9}})")


def rack(number: int) -> str:
    """``r00012``, by its number in the cluster."""
    return f"r{number:05d}"


def host(rack_number: int, place: int) -> str:
    """``r00012-h03``, by the number of its rack and its place in it."""
    return f"{rack(rack_number)}-h{place:02d}"


def domain(rack_number: int, place: int) -> str:
    """``r00012-d00``, by the number of its rack and its place in it."""
    return f"{rack(rack_number)}-d{place:02d}"


def pod(number: int) -> str:
    """``p000``, by its number in the cluster."""
    return f"p{number:03d}"


def switch(tier: int, number: int) -> str:
    """A switch, or a bank of equal ones, of a tier of ``Links.node_tier``."""
    return f"{SWITCHES[tier]}-{number:05d}"


def switch_of_bank(bank: str, number: int) -> str:
    """``spine-00001/2``, by the name of its bank and its place in it."""
    return f"{bank}/{number}"


def trunk(lower: str, upper: str, rail: int = -1) -> str:
    """A trunk by what its ends are called; ``rail`` is that of a link of a host that carries one rail only, else -1."""
    return f"{lower}:{rail}/{upper}" if rail >= 0 else f"{lower}/{upper}"


def cable(trunk_name: str, number: int) -> str:
    """``leaf-00003/spine-00001#2``, by the name of its trunk and its place in it."""
    return f"{trunk_name}#{number}"


def nic(host_name: str, rail: int) -> str:
    """``r00012-h03:4``, by the name of its host and the rail."""
    return f"{host_name}:{rail}"


def whole_number(text: str) -> int:
    """A number as people write it; -1 where it is none, or one that counts nothing (more than 18 digits)."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else -1


def parse_rack(text: str) -> int:
    """The number in a rack's name; -1 where it is none."""
    found = _RACK.fullmatch(text)
    return int(found["rack"]) if found and rack(int(found["rack"])) == text else -1


def parse_place(text: str) -> tuple[str, int, int] | None:
    """``h`` (a host) or ``d`` (a domain), its rack and its place there; None where it is no such name."""
    found = _PLACE.fullmatch(text)
    if not found:
        return None
    kind, numbers = found["kind"], (int(found["rack"]), int(found["place"]))
    return (kind, *numbers) if (host if kind == "h" else domain)(*numbers) == text else None


def parse_switch(text: str) -> tuple[int, int] | None:
    """The tier (of ``Links.node_tier``) and the number of a switch or bank; None where it is no such name."""
    found = _SWITCH.fullmatch(text)
    if not found:
        return None
    tier, number = SWITCHES.index(found["tier"]), int(found["number"])
    return (tier, number) if switch(tier, number) == text else None


def parse_numbered(text: str, mark: str) -> tuple[str, int] | None:
    """What stands before the last ``mark`` and the number behind it, as in a cable's name; None where there is no number."""
    before, found, number = text.rpartition(mark)
    return (before, whole_number(number)) if found and before and whole_number(number) >= 0 else None


def parse_trunk(text: str) -> Iterator[tuple[str, int, str]]:
    """(lower, rail, upper) for every way to read a trunk's name: names that files give may have ``/`` and ``:`` in them."""
    place = text.find("/")
    while place >= 0:
        lower, upper = text[:place], text[place + 1 :]
        if lower and upper:
            yield lower, -1, upper
            if railed := parse_numbered(lower, ":"):
                yield *railed, upper
        place = text.find("/", place + 1)
