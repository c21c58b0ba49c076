"""A policy as a program of its own, which decides what starts, and where, GPU by GPU.

    python examples/policy_server.py 50051 &
    gigawatt run eagle --until 6h --policy grpc://localhost:50051

It keeps a copy of the run's scheduler by what it is told, and lets a policy of the shelf plan on the copy: ``easy``, or what
``--policy-option policy=`` names. Every run has a copy of its own.
"""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace as Record
from typing import Any

import grpc
import numpy as np

from emulator.scenario.policies import find
from emulator.scheduler.ledger import Withheld
from emulator.scheduler.ranges import ranges_of
from emulator.scheduler.scheduler import Scheduler, SchedulerSettings
from emulator.scheduler.table import NEVER, Paces, State
from emulator.v1 import policy_service_pb2 as messages
from emulator.v1 import policy_service_pb2_grpc
from emulator.v1.job_pb2 import JOB_STATE_PENDING
from emulator.workload.jobs import ANY_TYPE, job_columns
from topology.cluster import Cluster, Level


def cluster_of(opening: messages.Opening) -> Cluster:
    """The run's cluster, as far as it concerns a scheduler: its hosts and levels, and no links."""
    none: Any = None
    levels = {one.name: one.first_host for one in opening.levels} | {"block": opening.block_first_host}
    made = [Level(name, np.array(first_host, np.int32), none, none) for name, first_host in levels.items()]
    same = ("name", "gpus", "domain_hosts", "idle_watts", "peak_watts")
    host_types = [{name: getattr(one, name) for name in same} | {"gpu": Record(name=one.gpu_model)} for one in opening.host_types]
    types: Any = tuple(Record(**one, domain_gpus=one["gpus"] * one["domain_hosts"]) for one in host_types)
    block_type = np.array(opening.block_host_type, np.int8)
    return Cluster("copy", types, block_type, opening.hosts, tuple(made[:-1]), made[-1], links=none, counts=none, rails=0, site_names=())


#: Columns of waiting jobs that the table of jobs has under the same names, and those that it has under others.
SAME = (
    "job_id", "gpus", "milli_gpus", "priority", "queue", "tenant", "preemptible", "require_level", "prefer_level",
    "slice_gpus", "slice_level",
)  # fmt: skip
OTHERS = {"submit_nanoseconds": "submit_ns", "estimate_nanoseconds": "estimate_ns"}


class Copy:
    """Of the scheduler of one run."""

    def __init__(self, opening: messages.Opening) -> None:
        settings = SchedulerSettings(
            policy=find(opening.options.get("policy", "easy"), {}, opening.seed),
            preemption=opening.preemption,
            preempt_after_ns=opening.preempt_after_nanoseconds,
            preempt_interval_ns=opening.preempt_interval_nanoseconds,
        )
        self.scheduler = Scheduler(cluster_of(opening), settings, opening.cycle_nanoseconds)
        self.table = self.scheduler.table
        self.columns = [(name, getattr(self.table, OTHERS.get(name, name))) for name in (*SAME, *OTHERS)]
        self.places: list[int] = []  # in the table, that no job has
        self.choices: list[dict[int, float]] = []  # host type -> pace

    def follow(self, cycle: messages.Cycle) -> None:
        """Do what happened in the run since the last cycle."""
        if cycle.refused:
            raise RuntimeError(f"the copy is not like the run: {cycle.refused[0].text}")
        left = cycle.left
        for job_id, at_ns, state in zip(left.job_id, left.at_nanoseconds, left.state, strict=True):
            slot = self.table.slot_of[job_id]
            if self.table.state[slot] == State.RUNNING:
                self.scheduler.release(slot, at_ns=at_ns)
            else:
                self.scheduler.cancel_pending(slot)
            if state != JOB_STATE_PENDING:  # else it waits again, and keeps its place
                del self.table.slot_of[job_id]
                self.table.paces.pop(slot, None)
                self.table.sizes.pop(slot, None)
                self.places.append(slot)
        ledger = self.scheduler.ledger
        for ranges, change in ((cycle.withdrawn, ledger.withhold), (cycle.offered, ledger.release)):
            for first, count in zip(ranges.first_host, ranges.host_count, strict=True):
                for host in range(first, first + count):
                    change(host, Withheld.DOWN)
        for name in cycle.queues:
            self.scheduler.add_queue(name)
        for name in cycle.tenants:
            self.table.tenant_of[name] = len(self.table.tenants)
            self.table.tenants.append(name)
        self.choices += [dict(zip(one.host_type, one.pace, strict=True)) for one in cycle.choices]
        if cycle.HasField("waiting"):
            self.wait(cycle.waiting)

    def wait(self, jobs: messages.WaitingJobs) -> None:
        """Jobs begin to wait, or wait again."""
        count = len(jobs.job_id)
        if count > len(self.places):  # some at a time, under ids that no job has
            ids = -1 - len(self.table) - np.arange(count + 1000)
            names = {"queues": tuple(self.table.queues[:1]), "tenants": tuple(self.table.tenants[:1])}
            self.places += self.scheduler.add(job_columns(len(ids), job_id=ids, gpus=1, submit_ns=0, duration_ns=0, **names))
        slots = [self.table.slot_of.get(job_id, -1) for job_id in jobs.job_id]
        slots = [slot if slot >= 0 else self.places.pop() for slot in slots]
        for name, column in self.columns:
            for slot, value in zip(slots, getattr(jobs, name), strict=True):
                column[slot] = value
        for slot, choice, min_gpus in zip(slots, jobs.choice, jobs.min_gpus, strict=True):
            self.table.expected_ns[slot] = self.table.estimate_ns[slot]
            if self.table.job_id[slot] not in self.table.slot_of:
                self.table.slot_of[self.table.job_id[slot]] = slot
                paces, estimate_ns = self.choices[choice], self.table.estimate_ns[slot]
                self.table.types[slot] = types = tuple(paces)
                self.table.host_type[slot] = types[0] if len(types) == 1 else ANY_TYPE
                if any(pace != 1.0 for pace in paces.values()):
                    self.table.paces[slot] = Paces(paces, 0, estimate_ns)
            self.table.note_asks(slot, min_gpus)
            self.scheduler.arrive(slot, accepted=True)

    def plan(self, cycle: messages.Cycle) -> messages.Decisions:
        """What the policy does with the copy, as actions."""
        draft, table = self.scheduler.plan(cycle.now_nanoseconds), self.table
        answer = messages.Decisions(sequence=cycle.sequence)
        for slot in draft.preempted:
            stop = answer.actions.add().preempt
            stop.job_id, stop.suspend = table.job_id[slot], slot in draft.suspended
        for slot, rows in draft.starts:
            start = answer.actions.add().start
            start.job_id = table.job_id[slot]
            to = start.placement
            to.first_host[:], to.host_count[:], to.gpu_mask[:] = zip(*ranges_of(self.scheduler.ledger.first_host, rows), strict=True)
        if draft.reconsider_at_ns != NEVER:
            answer.reconsider_at_nanoseconds = draft.reconsider_at_ns
        return answer


class Servicer(policy_service_pb2_grpc.PolicyServiceServicer):
    """One copy a stream, which is one run."""

    def Plan(self, requests: Iterator[messages.PlanRequest], context: grpc.ServicerContext) -> Iterator[messages.PlanResponse]:
        copy = Copy(next(requests).opening)
        yield messages.PlanResponse(opened=messages.Opened(protocol_version=1))
        for request in requests:
            copy.follow(request.cycle)
            if not request.cycle.more:
                yield messages.PlanResponse(decisions=copy.plan(request.cycle))


def serve(port: int) -> tuple[grpc.Server, int]:
    """A server that has started, and its port; 0: any free one."""
    server = grpc.server(ThreadPoolExecutor(8))
    policy_service_pb2_grpc.add_PolicyServiceServicer_to_server(Servicer(), server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    return server, port


if __name__ == "__main__":
    server, port = serve(int(sys.argv[1]) if len(sys.argv) > 1 else 50051)
    print(f"listening on {port}", flush=True)
    server.wait_for_termination()
