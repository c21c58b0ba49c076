"""The energy of a job, what its GPUs drew above idle while it held them and their part of their hosts' idle draw; and what was done for it.

PUE is not in it, and neither are switches, nor GPUs that nobody held: the energy of all jobs is less than that of the machine.
"""

from emulator.engine.engine import Engine
from emulator.racks.power import idle_milliwatts
from emulator.scheduler.table import State
from emulator.workload.jobs import SECOND
from emulator.workload.training import step_seconds


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


def job_done(engine: Engine, slot: int, work_ns: int, each: float) -> float:
    """Of a training job that has done so much work, at full speed, what its steps did that do ``each`` with all the GPUs that it asks for;
    in proportion where it ran with a part of them.
    """
    table, full = engine.table, engine.network.full_bytes_per_second
    if not (work_ns and each):
        return 0.0
    seconds = step_seconds(table.shapes[table.shape[slot]], full[table.host_type[slot]])
    return work_ns / SECOND * (each / seconds) * (table.size_gpus[slot] / table.gpus[slot])


def job_tokens(engine: Engine, slot: int, work_ns: int) -> float:
    """That a job has trained on, with so much work that lasted; 0 where the tokens of its steps are not known."""
    table = engine.table
    return job_done(engine, slot, work_ns, table.shapes[table.shape[slot]].step_tokens) if table.shape[slot] >= 0 else 0.0
