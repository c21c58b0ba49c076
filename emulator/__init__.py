"""Gigawatt's emulator: workloads, hardware, fabric, scheduler and engine as a pure core in thin shells (docs/architecture.md)."""
