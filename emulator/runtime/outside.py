"""A run's policy where that is a program of its own: connects to it, and gives the policy to run with."""

import logging

from emulator.scenario import Scenario
from emulator.scenario.outside import OutsideSettings
from emulator.scheduler.outside import Outside
from emulator.scheduler.policy import OutsideAccount, Policy
from emulator.scheduler.settings import SchedulerSettings
from emulator.service import policy_messages
from emulator.service.policy_client import PolicyClient
from emulator.workload.jobs import SECOND
from topology.cluster import Cluster

log = logging.getLogger(__name__)


def connect(settings: OutsideSettings, scenario: Scenario, cluster: Cluster, scheduler: SchedulerSettings) -> tuple[Policy, PolicyClient]:
    """The policy, and its connection, to be closed at the end. Raises PolicyUnreachable.

    What it refuses to do, and that it is gone, is logged as a warning.
    """
    opening = policy_messages.opening(
        cluster, scheduler, scenario=scenario.name, seed=scenario.seed, cycle_ns=scenario.clock.cycle, options=settings.options
    )
    client = PolicyClient(settings.address, opening, cluster.block.first_host.tolist(), settings.deadline_ns / SECOND)
    name = scenario.scheduler.policy
    return Outside(client.ask, settings.fallback, OutsideAccount(name), _notice).policy(name), client


def _notice(text: str) -> None:
    log.warning("%s", text)
