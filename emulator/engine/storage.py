"""The storage of the sites, as far as checkpoints use it: who writes how much in the mean, and so how fast another can write.

Writers meet in the mean: what a run gets is fixed when it starts, from what the others at its site write in the mean by then. To follow
every write would be an event for each checkpoint of each job, and would change what a run costs by little: writes take seconds of minutes.
"""

from collections.abc import Sequence

from emulator.jobs.costs import CheckpointCosts
from emulator.jobs.ettr import mttf
from emulator.jobs.saving import Saving
from emulator.racks.faults import FaultSettings
from emulator.scheduler.free import Row
from emulator.workload.jobs import SECOND
from topology.cluster import Cluster


class Storage:
    """Of every site; a job that spans sites writes at that of its first host."""

    def __init__(self, cluster: Cluster, costs: CheckpointCosts, faults: FaultSettings) -> None:
        self._costs = costs
        self._faults_per_host_second = faults.host_rate_per_1000_node_days / 86_400_000 if faults.enabled else 0.0
        self._site_of_block: list[int] = cluster.level("site").host_unit[cluster.block.first_host[:-1]].tolist()
        #: Bytes a second in the mean, by site; whole, so that what is added can be taken away again.
        self._written = [0] * (max(self._site_of_block) + 1)
        self._of_run: dict[int, tuple[int, int]] = {}  # slot -> its site, and what it writes in the mean

    def open(self, slot: int, rows: Sequence[Row], rule: int, state_bytes: float, gpus: int) -> Saving:
        """A run begins that writes checkpoints; ``rule`` is how often, as ``JobColumns.checkpoint_ns`` has it."""
        site = self._site_of_block[rows[0][0]]
        size = state_bytes or self._costs.state_bytes_per_gpu * gpus
        others = float(self._written[site])
        hosts: int = sum([row[1].bit_count() for row in rows])
        every_ns = self._costs.every_ns(rule, size, gpus, others, mttf(hosts, self._faults_per_host_second))
        saving = self._costs.saving(every_ns, size, gpus, others)
        mean = round(size * SECOND / (every_ns + saving.write_ns))
        self._written[site] += mean
        self._of_run[slot] = site, mean
        return saving

    def read_ns(self, rows: Sequence[Row], size: float, gpus: int) -> int:
        """How long so many GPUs take to read ``size`` bytes, while checkpoints are written as they are in the mean."""
        others = float(self._written[self._site_of_block[rows[0][0]]])
        return round(size / self._costs.burst(gpus, others) * SECOND)

    def close(self, slot: int) -> None:
        """The run has ended."""
        if (found := self._of_run.pop(slot, None)) is not None:
            self._written[found[0]] -= found[1]
