"""Reservations as the API shows them, and what may be asked of them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ReservationRequest:
    """Hosts to be reserved: ``hosts`` by name (racks, pods, hostlists), or ``host_count`` of them. Times as of the emulation's start."""

    name: str
    duration_seconds: float
    hosts: tuple[str, ...] = ()
    host_count: int = 0
    gpu_type: str = ""
    start_seconds: float = -1.0  # below 0: from the next cycle on
    every_seconds: float = 0.0  # 0: once
    times: int = 0
    maintenance: bool = False
    queues: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    running: str = "drain"


@dataclass(frozen=True)
class ReservationView:
    """A reservation, with the window that is open, or else the next one."""

    name: str
    hosts: str  # a hostlist
    host_count: int
    maintenance: bool
    is_open: bool
    begin_seconds: float  # -1 where it is over
    end_seconds: float
    windows_left: int
    queues: tuple[str, ...]  # whose jobs may use it; none named: all
    tenants: tuple[str, ...]
    running: str  # what becomes of jobs that run on its hosts when a window begins: drain, requeue or kill
    pending_jobs: int  # that wait for it
