"""The free-GPU index against a list of GPUs, whatever the order of what happens to it."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from emulator.scheduler.free import FreeIndex, lowest_bits, mask_bits
from tests.scheduler.drive import PLANS, make_cluster
from tests.scheduler.oracle import Place, Plain

#: ((host, GPU), thousandths of it).
Tenant = tuple[tuple[int, int], int]


class Machine(RuleBasedStateMachine):
    """Jobs take whole hosts and parts of hosts anywhere (not only where a policy would put them); hosts come and go under them."""

    held = Bundle("held")
    shared = Bundle("shared")

    @initialize(name=st.sampled_from(sorted(PLANS)))
    def build(self, name: str) -> None:
        cluster = make_cluster(name)
        self.index, self.plain, self.block = FreeIndex(cluster), Plain.of(cluster), cluster.block
        self.hosts = range(cluster.host_count)

    def pick(self, data: st.DataObject, wanted: Callable[..., int]) -> int:
        """A host for which ``wanted`` holds, -1 when there is none."""
        fitting = [host for host in self.hosts if wanted(host)]
        return data.draw(st.sampled_from(fitting)) if fitting else -1

    def rows(self, place: Place) -> list[tuple[int, int, int]]:
        rows: dict[tuple[int, int], int] = {}
        for host, gpus in place:
            block = self.index.host_block[host]
            key = block, gpus
            rows[key] = rows.get(key, 0) | 1 << (host - self.index.first_host[block])
        return [(block, hosts, gpus) for (block, gpus), hosts in rows.items()]

    @rule(target=held, data=st.data(), count=st.integers(1, 40))
    def take_whole_hosts(self, data: st.DataObject, count: int) -> Place | MultipleResults[Place]:
        wholes = self.plain.wholes(self.hosts)[:: data.draw(st.integers(1, 3))][:count]
        return self.take([(host, self.plain.full) for host in wholes])

    @rule(target=held, data=st.data())
    def take_part(self, data: st.DataObject) -> Place | MultipleResults[Place]:
        host = self.pick(data, self.plain.free)
        if host < 0:
            return multiple()
        part = data.draw(st.integers(1, self.plain.full)) & self.plain.mask[host]
        if part in (0, self.plain.full):
            return multiple()
        return self.take([(host, part)])

    def take(self, place: Place) -> Place | MultipleResults[Place]:
        if not place:
            return multiple()
        self.plain.take(place)
        self.index.take(self.rows(place))
        return place

    @rule(place=consumes(held))
    def give(self, place: Place) -> None:
        self.plain.give(place)
        self.index.give(self.rows(place))

    @rule(target=held, place=consumes(held))
    def give_and_take_back(self, place: Place) -> Place:
        """What preemption tries out, on hosts that are withdrawn too."""
        for change in (self.give, self.take):
            change(place)
        return place

    @rule(target=shared, data=st.data(), milli=st.sampled_from((1, 250, 500, 999)))
    def take_share(self, data: st.DataObject, milli: int) -> Tenant | MultipleResults[Tenant]:
        found = self.index.shared_gpu(milli)
        fitting = [(left, key) for key, left in self.plain.milli.items() if left >= milli and self.plain.offered[key[0]]]
        assert found == (min(fitting)[1] if fitting else None)
        if found is None:
            host = self.pick(data, self.plain.free)
            if host < 0:
                return multiple()
            found = host, data.draw(st.sampled_from(list(mask_bits(self.plain.mask[host]))))
        opened = found not in self.plain.milli
        assert self.index.take_share(*found, milli) == opened
        self.plain.take([(found[0], 1 << found[1])], milli)
        return found, milli

    @rule(tenant=consumes(shared))
    def give_share(self, tenant: Tenant) -> None:
        (host, gpu), milli = tenant
        emptied = self.index.give_share(host, gpu, milli)
        self.plain.give([(host, 1 << gpu)], milli)
        assert emptied == ((host, gpu) not in self.plain.milli)
        assert self.index.share(host, gpu) == self.plain.milli.get((host, gpu), 1000)

    @rule(data=st.data(), down=st.booleans())
    def withdraw_or_offer(self, data: st.DataObject, down: bool) -> None:
        for host in data.draw(st.lists(st.sampled_from(self.hosts), max_size=4)):  # again and again is allowed
            (self.index.withdraw if down else self.index.offer)(host)
            self.plain.offered[host] = not down

    @invariant()
    def counts_agree(self) -> None:
        index, plain = self.index, self.plain
        wholes = plain.wholes(self.hosts)
        split = {host: plain.mask[host] for host in self.hosts if host in index.split}
        assert index.split == split
        offered = [mask.bit_count() for host, mask in split.items() if plain.offered[host]]
        assert index.whole == len(wholes)
        assert index.split_gpus == sum(offered)
        assert index.split_count == [offered.count(free) for free in range(plain.per_host)]
        assert index.free_gpus == sum(map(plain.free, self.hosts))
        assert [index.is_offered(host) for host in self.hosts] == plain.offered
        firsts = index.first_host
        for block, mask in enumerate(index.block_free):
            assert [firsts[block] + bit for bit in mask_bits(mask)] == [host for host in wholes if index.host_block[host] == block]
        assert index.has_room() == (index.free_gpus > 0 or any(left > 0 for left in plain.milli.values()))

    @invariant()
    def searches_agree(self) -> None:
        index, plain = self.index, self.plain
        largest = max((gpus for gpus in range(1, len(self.hosts) * plain.per_host + 1) if index.fits(gpus)), default=0)
        assert index.most_that_could_fit() == largest
        for gpus in range(1, plain.per_host):
            split = plain.splits(self.hosts, gpus)
            assert index.split_host(gpus) == (split[0] if split else -1)
            assert index.fits(gpus) == (plain.consolidate(gpus) is not None)
            exactly = [host for host in split if plain.free(host) == gpus]
            assert index.first_split(gpus) == (exactly[0] if exactly else -1)
        wholes = plain.wholes(self.hosts)
        for count in {1, 2, len(wholes) // 2, len(wholes)} - {0}:
            if count <= len(wholes):
                rows = index.first_whole_hosts(count)
                assert [index.first_host[block] + bit for block, mask, _ in rows for bit in mask_bits(mask)] == wholes[:count]

    @invariant()
    def levels_agree(self) -> None:
        assert [len(level.counts) for level in self.index.levels] == [len(units) for units in self.plain.levels]
        for number, (level, units) in enumerate(zip(self.index.levels, self.plain.levels, strict=True)):
            counts = [len(self.plain.wholes(unit)) for unit in units]
            assert level.counts == counts
            assert level.capacity == [len(unit) for unit in units]
            for hosts in {1, 2, max(counts), max(counts) + 1} - {0}:
                fitting = [(count, unit) for unit, count in enumerate(counts) if count >= hosts]
                assert level.best(hosts) == (min(fitting)[1] if fitting else -1)
            for block, start in enumerate(self.index.first_host[:-1]):
                assert start in units[self.index.unit_of_block(number, block)]


Machine.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
TestFreeIndex = Machine.TestCase


@pytest.mark.parametrize(("mask", "count", "expected"), [(0b1, 1, 0b1), (0b1011, 2, 0b11), (0b1101, 2, 0b101), (0b110100, 3, 0b110100)])
def test_lowest_bits(mask: int, count: int, expected: int) -> None:
    assert lowest_bits(mask, count) == expected


@pytest.mark.parametrize("bucketed", [True, False])
def test_large_units_are_scanned_with_the_same_answer(bucketed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emulator.scheduler.levels.BUCKETED_HOSTS", 1024 if bucketed else 1)
    index = FreeIndex(make_cluster("pods"))
    index.take([(0, 0b01, 0xFF), (1, 0b11, 0xFF), (5, 0b10, 0xFF)])
    assert [index.levels[0].best(hosts) for hosts in (1, 2, 3)] == [0, 2, -1]
    # Pods of 4 leaves of 2 hosts: 5 free in pod 0, 7 in pod 1, 8 in the others.
    assert [index.levels[1].best(hosts) for hosts in (5, 6, 7, 8, 9)] == [0, 1, 1, 2, -1]


def test_lazy_entries_do_not_pile_up() -> None:
    """A unit that goes up and down for ever leaves bounded traces, and the answer stays."""
    index = FreeIndex(make_cluster("hgx"))
    for _ in range(2000):
        for rows in ([(0, 0b1, 0xFF)], [(0, 0b10, 0x0F)]):
            index.take(rows)
            index.give(rows)
    assert index.levels[0]._buckets is not None
    assert max(map(len, index.levels[0]._buckets)) <= 2 + 64
    assert max(map(len, index._split_by_free)) <= 2 + 64
    assert index.levels[0].best(16) == 0


def test_one_look_at_a_placement_changes_nothing() -> None:
    index = FreeIndex(make_cluster("leaves"))
    assert index.first_whole_hosts(7) == index.first_whole_hosts(7)
