"""What hardware there is: one frozen record each, every number with its source.

Peaks are dense (half of the "with sparsity" figures). Source keys: TRT (TensorRT-LLM performance overview), MLM (arXiv 2104.04473),
MAMF (maximum achievable matmul FLOPS tables), PWR (IEEE Access 2025, arXiv 2412.08602), RAPS (ExaDigiT/RAPS configurations), SP
(DGX SuperPOD reference architectures). ``assumed`` marks a planning value without a primary source.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class GpuType:
    """One accelerator. FLOPS are dense peaks; ``achievable_flops`` is the measured bf16 matmul ceiling."""

    name: str
    bf16_flops: float
    fp8_flops: float | None
    achievable_flops: float
    memory_bytes: float
    memory_bytes_per_second: float
    scale_up_bytes_per_second: float  # one direction
    tdp_watts: float


@dataclass(frozen=True)
class HostType:
    """One server or compute tray. ``domain_hosts`` hosts share one scale-up (NVLink) domain."""

    name: str
    gpu: GpuType
    gpus: int
    domain_hosts: int
    nics: int
    nic_bytes_per_second: float
    idle_watts: float
    peak_watts: float  # measured maximum in training
    rated_watts: float

    @property
    def domain_gpus(self) -> int:
        return self.gpus * self.domain_hosts


@dataclass(frozen=True)
class SwitchType:
    """One switch at the speed of the fabric's ports."""

    name: str
    radix: int
    port_bytes_per_second: float
    latency_seconds: float
    watts: float
