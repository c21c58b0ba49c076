"""Joining a Ray cluster that somebody else has started, from one of its nodes."""

import logging

from emulator.runtime.ray_address import LOCAL, Given, RayStartError, UnusableRay
from emulator.runtime.ray_head import RayHead
from emulator.runtime.ray_start import RaySession, quiet


def join_ray(given: Given) -> RaySession:
    """Connect to the cluster. Raises UnusableRay if it is no cluster, or refuses the connection."""
    try:
        return _join(given.address)
    except UnusableRay as error:
        if given.by_environment:
            raise UnusableRay(f"RAY_ADDRESS is set, and {error}; --address {LOCAL} starts a new Ray instead") from error
        raise


def _join(address: str) -> RaySession:
    import ray
    from ray._private import ray_constants

    if ray.is_initialized():
        raise RayStartError("this process is connected to a Ray already: close that first")
    head = RayHead(address)
    try:
        node = head.local_node()
        # Else Ray would take a loopback address for the one by which 8.8.8.8 is reached. The head has said by which it knows this node.
        ray_constants.ENABLE_RAY_CLUSTER = False
        ray.init(
            address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            namespace="gigawatt",
            _node_ip_address=node.address,
        )
    except UnusableRay:
        head.close()
        raise
    except Exception as error:
        head.close()
        raise UnusableRay(f"the Ray cluster at {address} refuses the connection: {error}") from error
    quiet()
    return RaySession(cpus=sum(one.free_cpus for one in head.nodes()), head=head)
