"""Gigawatt's emulator: workloads, hardware, fabric, scheduler and engine as a pure core in thin shells (docs/architecture.md)."""

from emulator import compiled as compiled  # before all others: it says whether they come as sources or compiled
