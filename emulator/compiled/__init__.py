"""The modules in which a run spends its time may be compiled, by mypyc, to an extension of CPython: the same source and the same results.

Where nothing is compiled, as on a machine without a C compiler, the sources run as they are, at about half the speed. What is compiled
counts only as long as the sources are those that it was made of: who edits one of them, or sets GIGAWATT_INTERPRETED=1, runs the sources.
"""

import json
import os
import sys
import sysconfig
from hashlib import blake2b
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from pathlib import Path

#: The folder of the package ``emulator``.
PACKAGE = Path(__file__).resolve().parents[1]
#: What is compiled, as paths in the package. All of it or nothing: compiled modules call each other without looking names up. No policy and
#: no placement is: compiled functions have no docstrings, and theirs are their reference.
MODULES = (
    "engine/broken_hosts.py",
    "engine/chronicle.py",
    "engine/clocked_draws.py",
    "engine/demand_response.py",
    "engine/draining.py",
    "engine/ends.py",
    "engine/engine.py",
    "engine/exchange.py",
    "engine/faults.py",
    "engine/gpu_time.py",
    "engine/host_faults.py",
    "engine/hot_zones.py",
    "engine/intake.py",
    "engine/loop.py",
    "engine/meter.py",
    "engine/orders.py",
    "engine/power_caps.py",
    "engine/restarting.py",
    "engine/runs.py",
    "engine/settlement.py",
    "engine/slow_hosts.py",
    "engine/spread.py",
    "engine/stops.py",
    "engine/storage.py",
    "engine/straggling.py",
    "engine/swings.py",
    "engine/waits.py",
    "jobs/costs.py",
    "jobs/ettr.py",
    "jobs/life.py",
    "jobs/saving.py",
    "power/clocks.py",
    "scheduler/backfilling.py",
    "scheduler/draft.py",
    "scheduler/free.py",
    "scheduler/free_times.py",
    "scheduler/in_turn.py",
    "scheduler/ledger.py",
    "scheduler/levels.py",
    "scheduler/outside.py",
    "scheduler/outside_actions.py",
    "scheduler/packing.py",
    "scheduler/partition.py",
    "scheduler/pending.py",
    "scheduler/placement.py",
    "scheduler/pool.py",
    "scheduler/profile.py",
    "scheduler/queue_counts.py",
    "scheduler/ranges.py",
    "scheduler/scheduler.py",
    "scheduler/shadow.py",
    "scheduler/shares.py",
    "scheduler/sizes.py",
    "scheduler/slices.py",
    "scheduler/sorts.py",
    "scheduler/spares.py",
    "scheduler/table.py",
    "scheduler/time_sharing.py",
    "scheduler/usage.py",
    "scheduler/waiting_room.py",
    "service/policy_copy.py",
    "service/policy_messages.py",
)
#: Beside the extensions for this Python: what they were made of.
RECORD = PACKAGE / f"compiled/{sysconfig.get_config_var('SOABI')}.json"


def fingerprints() -> dict[str, str]:
    """A hash of each source that is compiled."""
    return {module: blake2b((PACKAGE / module).read_bytes(), digest_size=16).hexdigest() for module in MODULES}


def is_current() -> bool:
    """Whether what is compiled for this Python was made of the sources that are here."""
    try:
        return bool(json.loads(RECORD.read_text(encoding="utf-8")) == fingerprints())
    except (OSError, ValueError):
        return False


def _sources_only(folder: str) -> FileFinder:
    """A hook of ``sys.path_hooks`` that sees no extensions in our folders."""
    if not Path(folder).is_relative_to(PACKAGE):
        raise ImportError
    return FileFinder(folder, (SourceFileLoader, SOURCE_SUFFIXES))


#: Whether this process runs what is compiled.
IN_USE = os.environ.get("GIGAWATT_INTERPRETED", "") in {"", "0"} and is_current()
if not IN_USE:
    sys.path_hooks.insert(0, _sources_only)
