"""A Ray cluster of three nodes on this machine, as somebody else would have started it; run by test_given_cluster as a program.

Prints one word: ``same`` when the answers equal the in-process ones though an actor's node is lost on the way.
"""

import sys

import pytest
from conftest import Script, make_cluster
from ray.cluster_utils import Cluster

from emulator.fabric.settings import FabricSettings
from emulator.racks.faults import FaultSettings
from emulator.racks.shard import RackSettings
from emulator.runtime.inline import InlineShards
from emulator.runtime.ray_address import RayStartError
from emulator.runtime.ray_shards import RayShards
from tests.prometheus import wait_until

QUICK_TO_NOTICE = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 200,
    "health_check_timeout_ms": 400,
    "health_check_failure_threshold": 3,
}


LOOPBACK = {"node_ip_address": "127.0.0.1", "include_dashboard": False}


def main() -> None:
    settings = RackSettings(faults=FaultSettings(host_rate_per_1000_node_days=2e5)), FabricSettings(), 5
    cluster = make_cluster()
    script = Script(cluster)
    expected = script.run(cluster, InlineShards(cluster, *settings))
    ray = Cluster(initialize_head=True, head_node_args=LOOPBACK | {"num_cpus": 1, "_system_config": QUICK_TO_NOTICE})
    others = [ray.add_node(num_cpus=2, **LOOPBACK) for _ in range(2)]
    try:
        with pytest.raises(RayStartError, match="5 free CPUs"):
            RayShards(cluster, *settings, actors=6, address=ray.address)
        shards = RayShards(cluster, *settings, actors=3, address=ray.address)

        def lose_a_node(window: int) -> None:
            """The actors of a killed raylet go on answering until Ray has noticed; reading until then changes nothing."""
            ray.remove_node(others[0], allow_graceful=False)
            wait_until(lambda: shards.read(script.untils[window]) and shards.rebuilds, 90, "an actor to be made anew")

        try:
            same = script.run(cluster, shards, lambda window: lose_a_node(window) if window == 11 else None)
            print("same" if same == expected else "different")
        finally:
            shards.close()
    finally:
        ray.shutdown()


sys.exit(main())
