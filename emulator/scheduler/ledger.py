"""The ledger: who holds what. Holdings change here and nowhere else.

What would break a rule is refused; ``mark`` and ``undo`` take back what was done since. Hosts that may not be used are kept with their
reasons: a host is offered when there is none. Where hosts are reserved for a time, a job that would still run then does not see them.
"""

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from enum import StrEnum

from emulator.scheduler.accounts import Accounts
from emulator.scheduler.calendar import Calendar
from emulator.scheduler.changes import Changes
from emulator.scheduler.free import ANY_SITE, FreeIndex, Row, mask_bits
from emulator.scheduler.history import Predictions
from emulator.scheduler.partition import Partition
from emulator.scheduler.rules import Refused, Rule
from emulator.scheduler.sizes import gpus_in
from emulator.scheduler.table import NEVER, JobTable, State
from emulator.scheduler.usage import NO_CAP, Books, SitePower
from emulator.workload.jobs import ANY_LEVEL, LEVEL_NAMES
from topology.cluster import Cluster


class Withheld(StrEnum):
    """Why a host is not to be used for jobs."""

    DOWN = "down"
    CORDONED = "cordoned"
    UNREACHABLE = "unreachable"  # one of its rails has no way out
    BURN_IN = "burn-in"  # its rack is new, and tried out
    DRAINED = "drained"  # to be repaired when its jobs are gone
    PLANNED = "planned"  # not in service yet
    MAINTENANCE = "maintenance"  # reserved for nobody
    RESERVED = "reserved"  # reserved for others
    SPARE = "spare"  # kept to stand in for a broken one


#: The reasons of which the calendar says when they begin and end.
WINDOWS = frozenset({Withheld.MAINTENANCE, Withheld.RESERVED})


class Ledger:
    """GPUs held and free, and running jobs.

    Of a job the ledger writes ``expected_ns``, ``state`` (to RUNNING, and back by ``undo``), ``start_ns``, ``rows`` and ``size_gpus``; what
    else becomes of it is others'.
    """

    def __init__(
        self,
        cluster: Cluster,
        table: JobTable,
        partitions: tuple[Partition, ...],
        cycle_ns: int,
        accounts: Accounts | None = None,
        site_power: SitePower = NO_CAP,
    ) -> None:
        first = partitions[0].free
        #: What queues and tenants have used and hold, as far as the policy asks for it.
        self.books = Books(cluster, table, site_power)
        #: Quotas and limits of tenants; None where there are none.
        self.accounts = accounts
        #: What happened, where a policy is told of it.
        self.changes: Changes | None = None
        #: When hosts are reserved; None where none ever is.
        self.calendar: Calendar | None = None
        self.table, self.partitions = table, partitions
        self._predictions: Predictions | None = None
        self.first_host, self.host_block = first.first_host, first.host_block
        #: The host type of every block, and its partition.
        self.block_type: list[int] = cluster.block_type.tolist()
        self.block_partition = _partition_of_blocks(cluster, partitions)
        self.cluster, self._cycle_ns = cluster, cycle_ns
        self._jobs_of_block: list[set[int]] = [set() for _ in self.block_type]
        self._partitions_of: dict[tuple[int, ...], tuple[Partition, ...]] = {}  # by their numbers
        self._withheld: dict[Withheld, set[int]] = {reason: set() for reason in Withheld}
        #: Of what can be undone: 1 for started or -1 for stopped, when, the slot, and its rows, start, host type and size before.
        self._log: list[tuple[int, int, int, list[Row], int, int, int]] = []

    # -- jobs -----------------------------------------------------------------------------------------------------------------------

    def start(self, slot: int, rows: list[Row], at_ns: int) -> None:
        """A job that waits begins to run on ``rows``. Raises Refused, and changes nothing, where that breaks a rule."""
        partition = self._check_start(slot, rows, at_ns)
        table = self.table
        self._log.append((1, at_ns, slot, table.rows[slot], table.start_ns[slot], table.host_type[slot], table.size_gpus[slot]))
        if table.sizes and slot in table.sizes:
            table.size_gpus[slot] = gpus_in(rows)
        self._take_up(partition, slot, rows, at_ns)
        self.books.note(slot, 1, at_ns)
        if self.changes is not None:
            self.changes.started[table.job_id[slot]] = at_ns

    def adopt(self, slot: int, rows: list[Row], at_ns: int) -> None:
        """The job runs on ``rows`` since ``at_ns``, as was decided elsewhere, so of the rules only that no GPU is held twice is looked at.
        Raises Refused, and changes nothing, where one is.
        """
        partition = self.partitions[self.block_partition[rows[0][0]]]
        table, first_host = self.table, self.first_host
        for block, hosts, mask in rows if table.milli_gpus[slot] == 1000 else ():
            for host in [first_host[block] + bit for bit in mask_bits(hosts)]:
                if partition.free.unheld_mask(host) & mask != mask:
                    gpus = ", ".join(map(str, mask_bits(mask)))
                    raise Refused(Rule.FREE, f"of host {self.cluster.host_name(host)} not all of the GPUs {gpus} are free")
        if table.sizes and slot in table.sizes:
            table.size_gpus[slot] = gpus_in(rows)
        self._take_up(partition, slot, rows, at_ns)
        self.books.note(slot, 1, at_ns)
        partition.surprises += 1

    def stop(self, slot: int, at_ns: int) -> None:
        """A running job gives back all that it holds, for whatever reason. Raises Refused where it does not run."""
        table = self.table
        if not table.rows[slot] or slot not in (partition := self.partition_of(slot)).running:
            raise Refused(Rule.RUNNING, f"job {table.job_id[slot]} does not run")
        self._log.append((-1, at_ns, slot, table.rows[slot], table.start_ns[slot], table.host_type[slot], table.size_gpus[slot]))
        self._give_back(partition, slot)
        self.books.note(slot, -1, at_ns)
        partition.stirred = True
        if self.changes is not None:
            self.changes.left.append((table.job_id[slot], at_ns))
        if partition.by_end is not None:
            # An end by the expected cycle is no surprise, and neither is a later one: reservations expect overdue jobs to end at any
            # moment.
            expected_ns = table.start_ns[slot] + table.expected_ns[slot]
            if at_ns < expected_ns and -(-at_ns // self._cycle_ns) < -(-expected_ns // self._cycle_ns):
                partition.surprises += 1

    def set_priority(self, slot: int, priority: int) -> None:
        """The running job has another priority: who may preempt it is another question from now on."""
        partition, table = self.partition_of(slot), self.table
        if partition.preemptible is not None and table.preemptible[slot]:
            partition.preemptible[table.priority[slot]] -= 1
            partition.preemptible[priority] += 1
        table.priority[slot] = priority
        partition.stirred = True

    def lift(self, slot: int, at_ns: int) -> None:
        """As ``stop``, of a job that starts elsewhere at once."""
        self.stop(slot, at_ns)
        self.table.state[slot] = State.PENDING

    def use_predictions(self) -> None:
        """From now on jobs are expected to take what is predicted, not what their users say."""
        if self._predictions is None:
            self._predictions = Predictions(self.table, self.books.history())

    def expect(self, slot: int) -> None:
        """The job begins to wait: see how long a run is expected to take."""
        if self._predictions is not None:
            self._predictions.predict(slot)

    def correct_predictions(self, now_ns: int) -> None:
        """Expect a later end of jobs that run for longer than predicted."""
        table, predictions = self.table, self._predictions
        assert predictions is not None, "only where they are used"
        for partition in self.partitions:
            assert partition.by_end is not None, "predictions are for policies that ask for running jobs by their ends"
            overdue = partition.by_end[: bisect_right(partition.by_end, (now_ns, NEVER))]
            for expected_ns, slot in overdue:
                if predictions.correct(slot, now_ns - table.start_ns[slot]):
                    del partition.by_end[bisect_left(partition.by_end, (expected_ns, slot))]
                    insort(partition.by_end, (table.start_ns[slot] + table.expected_ns[slot], slot))
                    partition.surprises += 1
                    partition.shadow = None

    def mark(self) -> int:
        """The present moment, for ``undo``; good until ``settle``."""
        return len(self._log)

    def undo(self, mark: int) -> Iterator[tuple[int, bool]]:
        """Take back what was done since ``mark``, the latest first. Yields each job, and whether it had been started (else stopped)."""
        table = self.table
        while len(self._log) > mark:
            change, at_ns, slot, rows, start_ns, host_type, gpus = self._log.pop()
            partition = self.partition_of(slot)
            if change > 0:
                self._give_back(partition, slot)
                table.rows[slot], table.start_ns[slot], table.state[slot] = rows, start_ns, State.PENDING
            else:
                self._take_up(partition, slot, rows, start_ns)
                if self.changes is not None:
                    self.changes.left.pop()
            self.books.note(slot, -change, at_ns)
            partition.surprises += 1
            table.size_gpus[slot] = gpus
            table.bind(slot, host_type)
            yield slot, change > 0

    def settle(self) -> None:
        """What was done stands: it can no longer be undone."""
        self._log.clear()

    def _take_up(self, partition: Partition, slot: int, rows: list[Row], start_ns: int) -> None:
        """The job holds ``rows``, and has since ``start_ns``."""
        table = self.table
        table.bind(slot, partition.host_type)
        milli_gpus, expected_ns = table.milli_gpus[slot], start_ns + table.expected_ns[slot]
        if partition.shadow is not None:
            partition.shadow.starts(rows, milli_gpus, expected_ns)
        partition.hold(rows, milli_gpus)
        if partition.by_end is not None:
            insort(partition.by_end, (expected_ns, slot))
        table.rows[slot], table.start_ns[slot], table.state[slot] = rows, start_ns, State.RUNNING
        partition.running.add(slot)
        if self.accounts is not None:
            self.accounts.take(slot, partition.host_type)
        if partition.preemptible is not None and table.preemptible[slot]:
            partition.preemptible[table.priority[slot]] += 1
        for block, _, _ in rows:
            self._jobs_of_block[block].add(slot)

    def _give_back(self, partition: Partition, slot: int) -> None:
        table = self.table
        rows, milli_gpus = table.rows[slot], table.milli_gpus[slot]
        expected_ns = table.start_ns[slot] + table.expected_ns[slot]
        if partition.by_end is not None:
            del partition.by_end[bisect_left(partition.by_end, (expected_ns, slot))]
        if partition.shadow is not None:
            partition.shadow.stops(rows, milli_gpus, expected_ns)
        partition.let_go(rows, milli_gpus)
        partition.freed += 1
        partition.running.discard(slot)
        if self.accounts is not None:
            self.accounts.give(slot, partition.host_type)
        if partition.preemptible is not None and table.preemptible[slot]:
            partition.preemptible[table.priority[slot]] -= 1
        for block, _, _ in rows:
            self._jobs_of_block[block].discard(slot)

    # -- rules ----------------------------------------------------------------------------------------------------------------------

    def _check_start(self, slot: int, rows: list[Row], at_ns: int) -> Partition:
        """The partition that ``rows`` are in. Raises Refused for what breaks a rule."""
        table = self.table
        number = self.block_partition[rows[0][0]] if rows else -1
        if table.state[slot] != State.PENDING or number not in table.partitions[slot] or slot in table.on_hold:
            self._refuse_job(slot, number)
        partition = self.partitions[number]
        free = partition.free if partition.views is None else self.free_for(partition, slot, at_ns, gpus_in(rows))
        gpus = 0
        for block, hosts, mask in rows:
            gpus += hosts.bit_count() * mask.bit_count()
            if hosts & ~free.block_free[block] and not free.has_free(block, hosts, mask):
                self._check_hosts(free, block, hosts, mask, slot, at_ns)
        if gpus != table.gpus[slot]:
            self.check_size(slot, gpus, free.gpus_per_host)
        level = table.require_level[slot]
        if level != ANY_LEVEL and (len(rows) > 1 or rows[0][1].bit_count() > 1):
            self._check_level(slot, rows, level)
        if table.slice_gpus[slot]:
            self._check_slices(slot, rows)
        if self.accounts is not None and not self.accounts.allows(slot, partition.host_type, gpus):
            why = self.accounts.refusal(slot, partition.host_type, gpus)
            assert why is not None, "what is not allowed has a reason"
            raise Refused(why.rule, f"job {table.job_id[slot]}: {why.text}")
        return partition

    def check_size(self, slot: int, gpus: int, gpus_per_host: int) -> None:
        """Raises Refused where the job may not run with so many GPUs on hosts that have so many."""
        table = self.table
        sizes = table.sizes.get(slot)
        if sizes is not None and sizes.allows(gpus, gpus_per_host):
            return
        asked = f"job {table.job_id[slot]} asks for {table.gpus[slot]} GPUs"
        if sizes is not None:
            asked += f", or fewer in steps of {sizes.step(gpus_per_host)} down to {sizes.least_gpus},"
        raise Refused(Rule.SIZE, f"{asked} and is given {gpus}")

    def _refuse_job(self, slot: int, number: int) -> None:
        table = self.table
        job = f"job {table.job_id[slot]}"
        if table.state[slot] != State.PENDING:
            raise Refused(Rule.PENDING, f"{job} does not wait: it is {table.state[slot].name.lower()}")
        if slot in table.on_hold:
            raise Refused(Rule.HOLD, f"{job} is on hold")
        if number < 0:
            raise Refused(Rule.SIZE, f"{job} is given no GPUs")
        wanted = " or ".join(self.partitions[number].name for number in table.partitions[slot])
        raise Refused(Rule.TYPE, f"{job} asks for {wanted} hosts and is given {self.partitions[number].name} ones")

    def _check_hosts(self, free: FreeIndex, block: int, hosts: int, mask: int, slot: int, at_ns: int) -> None:
        """Raises Refused where the GPUs of ``mask`` are not to be had on each of these hosts."""
        milli_gpus = self.table.milli_gpus[slot]
        for bit in mask_bits(hosts):
            host = self.first_host[block] + bit
            if free.free_mask(host) & mask == mask:
                continue
            if milli_gpus < 1000 and free.is_offered(host) and milli_gpus <= free.share(host, mask.bit_length() - 1) < 1000:
                continue
            name = self.cluster.host_name(host)
            if not free.is_offered(host):
                self._check_windows(host, slot, at_ns)
                raise Refused(Rule.OFFERED, f"host {name} may not be used: {', '.join(self.reasons_of(host))}")
            raise Refused(Rule.FREE, f"of host {name} not all of the GPUs {', '.join(map(str, mask_bits(mask)))} are free")

    def _check_windows(self, host: int, slot: int, at_ns: int) -> None:
        """Raises Refused where a window keeps the host from the job, and nothing else does."""
        if self.calendar is None or not self.usable(host):
            return
        expected_ns = self.table.expected_on(slot, self.partition_of_host(host).host_type)
        window = self.calendar.in_the_way(host, at_ns + expected_ns)
        if window is not None:
            told = window.told(self.calendar.reservations[window.number])
            job = f"job {self.table.job_id[slot]}"
            raise Refused(Rule.RESERVED, f"host {self.cluster.host_name(host)} is not for {job}: {told}")

    def _check_level(self, slot: int, rows: list[Row], level: int) -> None:
        name, gpus = self._gpus_by_unit(rows, level)
        if len(gpus) > 1:
            raise Refused(Rule.LEVEL, f"job {self.table.job_id[slot]} requires one {name} and is given {len(gpus)}")

    def _check_slices(self, slot: int, rows: list[Row]) -> None:
        """Units are ranges of hosts. So whole slices lie in every unit exactly where the job has a multiple of a slice's GPUs there."""
        slice_gpus = self.table.slice_gpus[slot]
        name, gpus = self._gpus_by_unit(rows, self.table.slice_level[slot])
        wrong = next((held for held in gpus.values() if held % slice_gpus), 0)
        if wrong:
            job = f"job {self.table.job_id[slot]}"
            raise Refused(Rule.SLICE, f"{job} has slices of {slice_gpus} GPUs, each inside one {name}, and is given {wrong} GPUs in one")

    def _gpus_by_unit(self, rows: list[Row], level: int) -> tuple[str, Counter[int]]:
        """The name of ``level``, or of the next coarser one that the cluster has, and GPUs of ``rows`` by unit of it."""
        there = [one.name for one in self.cluster.levels]
        name = next((name for name in LEVEL_NAMES[level:] if name in there), "cluster")
        hosts, gpus = zip(
            *[(self.first_host[block] + bit, gpus.bit_count()) for block, mask, gpus in rows for bit in mask_bits(mask)], strict=True
        )
        held: Counter[int] = Counter()
        units = self.cluster.level(name).first_host.searchsorted(hosts, side="right").tolist() if name in there else [0] * len(hosts)
        for unit, count in zip(units, gpus, strict=True):
            held[unit] += count
        return name, held

    # -- hosts ----------------------------------------------------------------------------------------------------------------------

    def withhold(self, host: int, reason: Withheld) -> None:
        """Nothing more is placed on ``host``; what runs there stays."""
        offered = not self.reasons_of(host)
        self._withheld[reason].add(host)
        if offered:
            partition = self.partition_of_host(host)
            partition.free.withdraw(host)
            self._surprise(partition, host)
        if self.calendar is not None:
            self._note_in_views(host)

    def release(self, host: int, reason: Withheld) -> None:
        """``reason`` no longer holds; the host is offered where there is no other."""
        if host not in self._withheld[reason]:
            return
        self._withheld[reason].discard(host)
        if not self.reasons_of(host):
            partition = self.partition_of_host(host)
            partition.free.offer(host)
            partition.freed += 1
            self._surprise(partition, host)
        if self.calendar is not None:
            self._note_in_views(host)

    def _note_in_views(self, host: int) -> None:
        if self.changes is not None:
            self.changes.hosts.add(host)
        partition = self.partition_of_host(host)
        if partition.views is not None:
            partition.views.note_host(host)
            partition.surprises += 1
            partition.shadow, partition.stirred = None, True

    def usable(self, host: int) -> bool:
        """Whether ``host`` may be used but for windows."""
        return not any(host in hosts for reason, hosts in self._withheld.items() if reason not in WINDOWS)

    def free_for(self, partition: Partition, slot: int, now_ns: int, gpus: int = 0) -> FreeIndex:
        """What the job sees of the free GPUs of the partition, if it starts now, with so many GPUs; 0: as many as its size is."""
        if partition.views is None:
            return partition.free
        if slot in self.table.reservation:
            assert self.calendar is not None, "a job that uses a reservation was told that there is one"
            number = self.calendar.number_of[self.table.reservation[slot]]
            if number in self.calendar.open:
                return partition.views.inside(number)
        return partition.views.until(now_ns + self.table.expected_on(slot, partition.host_type, gpus))

    def reasons_of(self, host: int) -> list[Withheld]:
        """Why ``host`` may not be used; none where it may."""
        return [reason for reason, hosts in self._withheld.items() if host in hosts]

    def withheld(self, *reasons: Withheld) -> Collection[int]:
        """The hosts that may not be used for any of these reasons."""
        first, *others = (self._withheld[reason] for reason in reasons)
        return first.union(*others) if others else first

    def _surprise(self, partition: Partition, host: int) -> None:
        """``host`` came or went."""
        if self.changes is not None:
            self.changes.hosts.add(host)
        partition.surprises += 1
        partition.shadow = None
        partition.stirred = True

    # -- reading --------------------------------------------------------------------------------------------------------------------

    def partition_of(self, slot: int) -> Partition:
        """The partition that the job runs in, or last did."""
        return self.partitions[self.block_partition[self.table.rows[slot][0][0]]]

    def partitions_for(self, slot: int) -> tuple[Partition, ...]:
        """Those that the job may run in, the preferred ones first."""
        numbers = self.table.partitions[slot]
        found = self._partitions_of.get(numbers)
        if found is None:
            found = self._partitions_of[numbers] = tuple([self.partitions[number] for number in numbers])
        return found

    def partition_of_host(self, host: int) -> Partition:
        return self.partitions[self.block_partition[self.host_block[host]]]

    def jobs_on(self, host: int) -> list[int]:
        """Slots of the jobs that hold GPUs of ``host``, by job id."""
        return sorted(self._slots_on(host), key=self.table.job_id.__getitem__)

    def is_held(self, hosts: Iterable[int]) -> bool:
        """Whether a job holds GPUs of any of these hosts."""
        return any(True for host in hosts for _ in self._slots_on(host))

    def _slots_on(self, host: int) -> Iterator[int]:
        """Of the jobs that hold GPUs of ``host``, in no order."""
        block, rows = self.host_block[host], self.table.rows
        bit = 1 << (host - self.first_host[block])
        for slot in self._jobs_of_block[block]:
            for row in rows[slot]:
                if row[0] == block and row[1] & bit:
                    yield slot
                    break

    def mask_on(self, slot: int, host: int) -> int:
        """The GPUs of ``host`` that the job holds, or a part of, as a mask."""
        block, mask = self.host_block[host], 0
        bit = 1 << (host - self.first_host[block])
        for row, hosts, gpus in self.table.rows[slot]:
            if row == block and hosts & bit:
                mask |= gpus
        return mask

    def gpus_of(self, hosts: Iterable[int]) -> int:
        """GPUs that ``hosts`` have, whatever their state."""
        return sum(self.partition_of_host(host).free.gpus_per_host for host in hosts)


def _partition_of_blocks(cluster: Cluster, partitions: tuple[Partition, ...]) -> list[int]:
    """The number of the partition that each block's hosts are in."""
    found = cluster.block_type.astype(int)
    if partitions[0].site != ANY_SITE:
        place = {(partition.site, partition.host_type): partition.number for partition in partitions}
        sites = cluster.level("site").host_unit[cluster.block.first_host[:-1]]
        return [place[pair] for pair in zip(sites.tolist(), found.tolist(), strict=True)]
    numbers: list[int] = found.tolist()
    return numbers
