"""Runs the script of windows on a cluster that loses or gets nodes; run by test_given_cluster as a program: Ray is joined once in each.

``losing_nodes.py CASE`` prints one word: ``same`` when the answers equal the in-process ones, or why the emulation ended.
"""

import contextlib
import os
import sys
import threading

from emulator.engine.shards import ShardsLost
from emulator.fabric.settings import FabricSettings
from emulator.racks.faults import FaultSettings
from emulator.racks.shard import RackSettings
from emulator.runtime.inline import InlineShards
from emulator.runtime.ray_shards import RayShards
from tests.prometheus import wait_until
from tests.runtime.conftest import Script, make_cluster
from tests.runtime.ray_nodes import Nodes, ray_nodes

SETTINGS = RackSettings(faults=FaultSettings(host_rate_per_1000_node_days=2e5)), FabricSettings(), 5
#: CPUs of the nodes, the head first, and the number of actors.
CASES = {"exact_fit": ((1, 1, 1), 3), "replaced": ((0, 1), 1), "none_left": ((0, 1), 1), "joined": ((3,), 3)}


def main(case: str) -> None:
    cluster = make_cluster()
    script = Script(cluster)
    expected = script.run(cluster, InlineShards(cluster, *SETTINGS))
    cpus, actors = CASES[case]
    with ray_nodes() as nodes:
        nodes.add_all(*cpus)
        os.environ.update(nodes.environment)
        shards = RayShards(cluster, *SETTINGS, actors=actors, address=nodes.address, node_seconds=3.0 if case == "none_left" else 60.0)
        loser = Loser(nodes, shards, script, case)
        try:
            same = script.run(cluster, shards, loser.between) == expected
            cpu_seconds, memory_bytes = shards.remote_usage()
            assert cpu_seconds > loser.cpu_seconds > 0, "what lost actors have cost stays counted"
            assert memory_bytes > actors * 10e6
            assert (shards.moves, shards.rebuilds > 0) == ((1, False) if case == "joined" else (0, True))
            print("same" if same else "different")
        except ShardsLost as error:
            print(error)
        finally:
            shards.close()
            loser.finish()


class Loser:
    """Loses node 1 after window 11, and in ``exact_fit`` node 2 after window 23; ``replaced`` starts another while the head waits.

    In ``joined`` nothing is lost: another node starts after window 11.
    """

    def __init__(self, nodes: Nodes, shards: RayShards, script: Script, case: str) -> None:
        self._nodes, self._shards, self._script, self._case = nodes, shards, script, case
        self._joining: threading.Thread | None = None
        #: Of the actors, before the first is lost.
        self.cpu_seconds = 0.0

    def between(self, window: int) -> None:
        if self._case == "joined":
            if window == 11:
                self.cpu_seconds, _ = self._shards.remote_usage()
                self._nodes.add(1)
                wait_until(lambda: self._shards.read(self._script.untils[window]) and self._shards.to_move, 60, "an actor that is to move")
            return
        if window == 11:
            self._lose(1, window)
        if window == 23 and self._case == "exact_fit":
            self._lose(2, window)

    def _lose(self, node: int, window: int) -> None:
        """The actors of a killed raylet go on answering until Ray has noticed; reading until then changes nothing."""
        before = self._shards.rebuilds
        self.cpu_seconds, _ = self._shards.remote_usage()
        self._nodes.nodes[node].kill()
        if self._case == "replaced":
            self._joining = threading.Thread(target=self._nodes.add, args=(1,))
            self._joining.start()
        wait_until(lambda: self._shards.read(self._script.untils[window]) and self._shards.rebuilds > before, 90, "an actor made anew")

    def finish(self) -> None:
        if self._joining is not None:
            with contextlib.suppress(AssertionError):
                self._joining.join()


main(sys.argv[1])
