"""How users and traces call the GPUs of a host type."""

from collections.abc import Sequence

from topology.catalog import HostType


def matching(host_types: Sequence[HostType], name: str) -> list[int]:
    """The host types that ``name`` means, in any case: by the host type's own name, by its GPU's model, or by the model up to its first
    dash (H100 for H100-SXM5-80GB). These are tried in this order."""
    spellings = [
        [host_type.name for host_type in host_types],
        [host_type.gpu.name for host_type in host_types],
        [_short(host_type) for host_type in host_types],
    ]
    for spelling in spellings:
        found = [number for number, known in enumerate(spelling) if known.lower() == name.lower()]
        if found:
            return found
    return []


def names(host_types: Sequence[HostType]) -> list[str]:
    """The names to offer: short names of the GPUs, and of the host types."""
    return list(dict.fromkeys([*(_short(one) for one in host_types), *(one.name for one in host_types)]))


def _short(host_type: HostType) -> str:
    return host_type.gpu.name.split("-")[0]
