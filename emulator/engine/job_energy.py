"""The energy of a job: what its GPUs drew above idle while it held them, and their part of their hosts' idle draw.

PUE is not in it, and neither are switches, nor GPUs that nobody held: the energy of all jobs is less than that of the machine.
"""

from emulator.engine.engine import Engine
from emulator.racks.power import idle_milliwatts
from emulator.scheduler.table import State


def job_joules(engine: Engine, slot: int, held_ns: int, at_ns: int) -> float:
    """Up to ``at_ns``, of a job that has held its GPUs for ``held_ns`` by then."""
    table = engine.table
    if not held_ns:
        return 0.0
    energy, size = table.lives.dynamic_energy[slot], table.size_gpus[slot]
    if table.state[slot] == State.RUNNING:
        energy += engine.runs.draw[slot] * size * (at_ns - table.lives.since_ns[slot])
    kind = engine.cluster.host_types[table.host_type[slot]]
    idle = idle_milliwatts(kind) * held_ns * size * table.milli_gpus[slot] // (1000 * kind.gpus)
    return (energy + idle) / 1e12
