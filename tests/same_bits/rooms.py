"""The rooms whose code decides results: what they use must have the same bits everywhere."""

PURE_CORE = (
    "topology",
    *(f"emulator/{room}" for room in ("draws", "power", "scenario", "workload", "racks", "fabric", "jobs", "scheduler", "engine")),
)
