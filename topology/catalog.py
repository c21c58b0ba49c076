"""The hardware: one frozen record each, every number with its source.

Peaks are dense (half of the "with sparsity" figures). Source keys: TRT (TensorRT-LLM performance overview), MLM (arXiv 2104.04473), MAMF
(maximum achievable matmul FLOPS tables), PWR (IEEE Access 2025, arXiv 2412.08602), RAPS (ExaDigiT/RAPS configurations), SP (DGX SuperPOD
reference architectures), LL3 (Llama 3, arXiv 2407.21783), HPN (Qian et al., SIGCOMM'24), DS (vendor datasheet), NVL (published NVL72 rack
figures), GL (glennklockwood.com/garden), ALCF (Aurora: arXiv 2512.04291). ``assumed`` marks a planning value for which no source has been
read; where it names a source as well (``DS``, ``GL``), the value is thought to be in there and was not checked against it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from math import ceil
from typing import TypeVar

GBIT = 1e9 / 8  # bytes per second
_Record = TypeVar("_Record")


class UnknownHardware(LookupError, ValueError):
    """No record of that name; the message lists those there are."""


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
    fp4_flops: float | None = None


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

    @property
    def lane_bytes_per_second(self) -> float:
        """The line rate at which one GPU can leave its host: that of its NIC, or its part of a NIC that GPUs share."""
        return self.nic_bytes_per_second * min(1.0, self.nics / self.gpus)


@dataclass(frozen=True)
class SwitchType:
    """One switch at the speed of the fabric's ports."""

    name: str
    radix: int
    port_bytes_per_second: float
    latency_seconds: float
    watts: float  # typical

    def ports_at(self, bytes_per_second: float) -> int:
        """Ports at a cable's speed: faster ports break out, slower ones are bundled."""
        ratio = self.port_bytes_per_second / bytes_per_second
        return self.radix * int(ratio) if ratio >= 1 else self.radix // ceil(1 / ratio)


A100 = GpuType(
    name="A100-SXM-80GB",
    bf16_flops=312e12,  # MLM
    fp8_flops=None,  # Ampere has none
    achievable_flops=271.2e12,  # MAMF, 86.9 %
    memory_bytes=80e9,  # DS
    memory_bytes_per_second=2.04e12,  # assumed, DS
    scale_up_bytes_per_second=300e9,  # DS: NVLink3, 600 GB/s both directions
    tdp_watts=400.0,  # DS
)
H100 = GpuType(
    name="H100-SXM5-80GB",
    bf16_flops=989e12,  # DS
    fp8_flops=1979e12,  # DS
    achievable_flops=794.5e12,  # MAMF, 80.3 %
    memory_bytes=80e9,  # TRT
    memory_bytes_per_second=3.35e12,  # TRT
    scale_up_bytes_per_second=450e9,  # DS: NVLink4, 900 GB/s both directions
    tdp_watts=700.0,  # TRT
)
H800 = GpuType(
    name="H800-SXM5-80GB",
    bf16_flops=989e12,  # DS
    fp8_flops=1979e12,  # DS
    achievable_flops=794.5e12,  # assumed: the H100's, same die
    memory_bytes=80e9,  # DS
    memory_bytes_per_second=3.35e12,  # DS
    scale_up_bytes_per_second=200e9,  # DeepSeek-V3 report: NVLink 400 GB/s both directions, 160 GB/s effective
    tdp_watts=700.0,  # DS
)
H200 = GpuType(
    name="H200-SXM-141GB",
    bf16_flops=989e12,  # DS
    fp8_flops=1979e12,  # DS
    achievable_flops=794.5e12,  # assumed: the H100's, same die
    memory_bytes=141e9,  # TRT
    memory_bytes_per_second=4.8e12,  # TRT
    scale_up_bytes_per_second=450e9,  # DS
    tdp_watts=700.0,  # TRT
)
B200 = GpuType(
    name="B200-SXM-180GB",
    bf16_flops=2250e12,  # DS
    fp8_flops=4500e12,  # DS
    achievable_flops=1745e12,  # MAMF, 77.6 %
    memory_bytes=180e9,  # DS
    memory_bytes_per_second=7.7e12,  # DS
    scale_up_bytes_per_second=900e9,  # DS: NVLink5, 1.8 TB/s both directions
    tdp_watts=1000.0,  # DS
    fp4_flops=9000e12,  # DS: nvfp4
)
B300 = GpuType(
    name="B300-SXM-288GB",
    bf16_flops=2250e12,  # assumed: as B200
    fp8_flops=4500e12,  # assumed: as B200
    achievable_flops=1769e12,  # MAMF
    memory_bytes=288e9,  # DS
    memory_bytes_per_second=8.0e12,  # DS
    scale_up_bytes_per_second=900e9,  # DS: NVLink5
    tdp_watts=1100.0,  # assumed, DS
    fp4_flops=13500e12,  # assumed: 1.5 times the B200's, as GB300 to GB200
)
GB200 = GpuType(
    name="GB200-186GB",
    bf16_flops=2500e12,  # DS
    fp8_flops=5000e12,  # DS
    achievable_flops=1822e12,  # MAMF, 72.9 %
    memory_bytes=186e9,  # DS
    memory_bytes_per_second=8.0e12,  # DS (7.35 TB/s measured)
    scale_up_bytes_per_second=900e9,  # DS: 1.8 TB/s both directions
    tdp_watts=1200.0,  # DS
    fp4_flops=10000e12,  # DS: nvfp4
)
GB300 = GpuType(
    name="GB300-288GB",
    bf16_flops=2500e12,  # DS
    fp8_flops=5000e12,  # DS
    achievable_flops=1769e12,  # MAMF, measured on a B300
    memory_bytes=288e9,  # DS (279 GB usable)
    memory_bytes_per_second=8.0e12,  # DS
    scale_up_bytes_per_second=900e9,  # DS
    tdp_watts=1400.0,  # DS
    fp4_flops=15000e12,  # DS: nvfp4
)
MI250X = GpuType(
    name="MI250X-128GB",  # one package, two dies
    bf16_flops=383e12,  # DS
    fp8_flops=None,  # CDNA2 has none
    achievable_flops=306e12,  # assumed: 80 % of peak
    memory_bytes=128e9,  # DS
    memory_bytes_per_second=3.2e12,  # DS
    scale_up_bytes_per_second=200e9,  # assumed: Infinity Fabric links to the three neighbours, one direction
    tdp_watts=560.0,  # DS: peak; 500 W typical
)
MAX1550 = GpuType(
    name="MAX1550-128GB",  # Intel Data Center GPU Max 1550, "Ponte Vecchio"
    bf16_flops=839e12,  # assumed, DS
    fp8_flops=None,  # no FP8 units
    achievable_flops=671e12,  # assumed: 80 % of peak
    memory_bytes=128e9,  # ALCF: 8.16 PB over 63,744
    memory_bytes_per_second=3.28e12,  # assumed, DS
    scale_up_bytes_per_second=225e9,  # assumed: Xe-Link to the five neighbours, one direction
    tdp_watts=600.0,  # RAPS
)

#: Measured maximum over rating of an 8 x H100 server (PWR: 8.4 of 10.2 kW); where no measurement exists, ratings are scaled by it.
MEASURED_OVER_RATED = 8.4 / 10.2
#: Idle over rating of the same server (1.9 of 10.2 kW, assumed), used in the same way.
IDLE_OVER_RATED = 1.9 / 10.2

HGX_A100 = HostType(
    name="hgx-a100",
    gpu=A100,
    gpus=8,
    domain_hosts=1,
    nics=8,
    nic_bytes_per_second=200 * GBIT,  # MLM: 8 x HDR200
    idle_watts=6500.0 * IDLE_OVER_RATED,  # assumed
    peak_watts=6500.0 * MEASURED_OVER_RATED,  # assumed
    rated_watts=6500.0,  # assumed, DS (DGX A100)
)
HGX_H100 = HostType(
    name="hgx-h100",
    gpu=H100,
    gpus=8,
    domain_hosts=1,
    nics=8,
    nic_bytes_per_second=400 * GBIT,  # GL: 8 x 400G (Azure ND H100 v5); Colossus the same
    idle_watts=1900.0,  # assumed: 1.8 to 2.0 kW
    peak_watts=8400.0,  # PWR: measured maximum in training
    rated_watts=10200.0,  # PWR
)
HGX_H800 = HostType(
    name="hgx-h800",
    gpu=H800,
    gpus=8,
    domain_hosts=1,
    nics=8,  # HPN: eight for the GPUs; the ninth serves storage
    nic_bytes_per_second=400 * GBIT,  # HPN: 2 ports x 200G
    idle_watts=1900.0,  # assumed: as hgx-h100
    peak_watts=8400.0,  # assumed: as hgx-h100
    rated_watts=10200.0,  # assumed: as hgx-h100
)
HGX_H200 = HostType(
    name="hgx-h200",
    gpu=H200,
    gpus=8,
    domain_hosts=1,
    nics=8,
    nic_bytes_per_second=400 * GBIT,  # assumed: as hgx-h100
    idle_watts=1900.0,  # assumed: as hgx-h100
    peak_watts=8400.0,  # assumed: as hgx-h100
    rated_watts=10200.0,  # DS
)
DGX_B200 = HostType(
    name="dgx-b200",
    gpu=B200,
    gpus=8,
    domain_hosts=1,
    nics=8,
    nic_bytes_per_second=400 * GBIT,  # SP
    idle_watts=14300.0 * IDLE_OVER_RATED,  # assumed
    peak_watts=14300.0 * MEASURED_OVER_RATED,  # assumed
    rated_watts=14300.0,  # SP
)
DGX_B300 = HostType(
    name="dgx-b300",
    gpu=B300,
    gpus=8,
    domain_hosts=1,
    nics=8,
    nic_bytes_per_second=800 * GBIT,  # assumed, DS: 8 x CX-8
    idle_watts=14500.0 * IDLE_OVER_RATED,  # assumed
    peak_watts=14500.0 * MEASURED_OVER_RATED,  # assumed
    rated_watts=14500.0,  # SP: 14.5 kW
)
#: One of 18 compute trays; the rack's nine NVLink switch trays and power shelves are spread over the trays' watts.
GB200_NVL72 = HostType(
    name="gb200-nvl72",
    gpu=GB200,
    gpus=4,
    domain_hosts=18,  # NVL: 18 trays x 4 GPUs = 72 in one domain
    nics=4,  # NVL: one per GPU
    nic_bytes_per_second=400 * GBIT,  # NVL: CX-7, 28.8 Tb/s a rack
    idle_watts=132e3 / 18 * IDLE_OVER_RATED,  # assumed
    peak_watts=120e3 / 18,  # NVL: 120 kW a rack, typical heavy load
    rated_watts=132e3 / 18,  # NVL: 132 kW a rack
)
GB300_NVL72 = HostType(
    name="gb300-nvl72",
    gpu=GB300,
    gpus=4,
    domain_hosts=18,  # NVL
    nics=4,  # NVL
    nic_bytes_per_second=800 * GBIT,  # NVL: CX-8
    idle_watts=142e3 / 18 * IDLE_OVER_RATED,  # assumed
    peak_watts=136e3 / 18,  # NVL: 136 kW a rack (Azure)
    rated_watts=142e3 / 18,  # NVL
)


def _with_conversion(watts: float) -> float:
    """What a node whose parts draw ``watts`` takes from its cabinet (RAPS): P becomes (P + 13 W) / 0.98 in the node's regulator and
    (P + 17 W) / 0.96 in the rectifier that four nodes share."""
    return (4 * (watts + 13) / 0.98 + 17) / 0.96 / 4


#: RAPS component model: 4 GPUs 88/560 W, CPU 90/280, memory 74.26, 4 NICs at 20, NVMe 30.
FRONTIER_NODE = HostType(
    name="frontier-node",
    gpu=MI250X,
    gpus=4,  # GL
    domain_hosts=1,
    nics=4,  # GL: 4 x Slingshot-11
    nic_bytes_per_second=200 * GBIT,  # GL
    idle_watts=_with_conversion(4 * 88 + 90 + 74.26 + 4 * 20 + 30),  # RAPS
    peak_watts=_with_conversion(4 * 560 + 280 + 74.26 + 4 * 20 + 30),  # RAPS
    rated_watts=_with_conversion(4 * 560 + 280 + 74.26 + 4 * 20 + 30),  # RAPS: the component maximum
)
#: The same model with 6 GPUs 88/600 W and two CPUs.
AURORA_NODE = HostType(
    name="aurora-node",
    gpu=MAX1550,
    gpus=6,  # ALCF
    domain_hosts=1,
    nics=8,  # ALCF: 8 fabric endpoints a node
    nic_bytes_per_second=200 * GBIT,  # ALCF: Slingshot-11
    idle_watts=_with_conversion(6 * 88 + 2 * 90 + 74.26 + 8 * 20 + 30),  # RAPS; the CPU figures assumed Frontier's
    peak_watts=_with_conversion(6 * 600 + 2 * 280 + 74.26 + 8 * 20 + 30),  # as above
    rated_watts=_with_conversion(6 * 600 + 2 * 280 + 74.26 + 8 * 20 + 30),  # as above
)

QM9700 = SwitchType(
    name="qm9700",
    radix=64,  # DS: Quantum-2 NDR, 64 x 400G
    port_bytes_per_second=400 * GBIT,  # DS
    latency_seconds=150e-9,  # DS: below 150 ns
    watts=747.0,  # assumed, DS: typical with passive cables
)
SN5600 = SwitchType(
    name="sn5600",
    radix=128,  # DS: Spectrum-4, 51.2 Tb/s: 64 x 800GbE, or 128 x 400GbE by breakout
    port_bytes_per_second=400 * GBIT,  # DS
    latency_seconds=700e-9,  # assumed: 600 to 800 ns
    watts=940.0,  # assumed, DS: typical
)
SN5400 = SwitchType(
    name="sn5400",
    radix=64,  # DS: Spectrum-4, 25.6 Tb/s as 64 x 400GbE
    port_bytes_per_second=400 * GBIT,  # DS
    latency_seconds=700e-9,  # assumed: as sn5600
    watts=670.0,  # assumed
)
TOMAHAWK5 = SwitchType(
    name="tomahawk5",
    radix=128,  # HPN: one 51.2 Tb/s chip, 128 x 400G or 256 x 200G
    port_bytes_per_second=400 * GBIT,  # HPN
    latency_seconds=700e-9,  # assumed: as sn5600
    watts=940.0,  # assumed: as sn5600
)
MINIPACK2 = SwitchType(
    name="minipack2",
    radix=64,  # LL3: rack switch of Meta's 24k clusters; 25.6 Tb/s as 128 x 200G or 64 x 400G (assumed)
    port_bytes_per_second=400 * GBIT,
    latency_seconds=800e-9,  # assumed
    watts=1000.0,  # assumed
)
ARISTA_7808 = SwitchType(
    name="arista-7808",
    radix=288,  # assumed, DS: 7800R3, 8 line cards of 36 x 400G; LL3 names the series
    port_bytes_per_second=400 * GBIT,  # DS
    latency_seconds=3.5e-6,  # assumed: deep buffers, virtual output queues
    watts=10e3,  # assumed
)
QM8790 = SwitchType(
    name="qm8790",
    radix=40,  # DS: Quantum HDR, 40 x 200G
    port_bytes_per_second=200 * GBIT,  # DS
    latency_seconds=130e-9,  # assumed, DS
    watts=404.0,  # assumed, DS
)
QUANTUM_X800 = SwitchType(
    name="quantum-x800",
    radix=144,  # DS: 144 x 800G
    port_bytes_per_second=800 * GBIT,  # DS
    latency_seconds=150e-9,  # assumed: as Quantum-2
    watts=1850.0,  # assumed
)
ROSETTA = SwitchType(
    name="rosetta",
    radix=64,  # GL: Slingshot, 64 x 200G
    port_bytes_per_second=200 * GBIT,  # GL
    latency_seconds=350e-9,  # assumed
    watts=250.0,  # RAPS
)

GPUS: Mapping[str, GpuType] = {gpu.name: gpu for gpu in (A100, H100, H800, H200, B200, B300, GB200, GB300, MI250X, MAX1550)}
HOSTS: Mapping[str, HostType] = {
    host.name: host
    for host in (HGX_A100, HGX_H100, HGX_H800, HGX_H200, DGX_B200, DGX_B300, GB200_NVL72, GB300_NVL72, FRONTIER_NODE, AURORA_NODE)
}
SWITCHES: Mapping[str, SwitchType] = {
    switch.name: switch for switch in (QM9700, SN5600, SN5400, TOMAHAWK5, MINIPACK2, ARISTA_7808, QM8790, QUANTUM_X800, ROSETTA)
}


def gpu(name: str) -> GpuType:
    """The GPU of that name, as in ``GPUS``. Raises UnknownHardware."""
    return _find("GPU", GPUS, name)


def host(name: str) -> HostType:
    """The host of that name, as in ``HOSTS``. Raises UnknownHardware."""
    return _find("host", HOSTS, name)


def switch(name: str) -> SwitchType:
    """The switch of that name, as in ``SWITCHES``. Raises UnknownHardware."""
    return _find("switch", SWITCHES, name)


def _find(what: str, records: Mapping[str, _Record], name: str) -> _Record:
    if isinstance(name, str) and name in records:
        return records[name]
    close = get_close_matches(str(name).lower(), [known.lower() for known in records], n=1)
    hint = next((f", did you mean {known}?" for known in records if close and known.lower() == close[0]), "")
    raise UnknownHardware(f"no {what} called {name!r}{hint}; known: {', '.join(records)}")
