"""A pool step by step, one token after the other, with objects and without a closed form: obviously right, and slow."""

from dataclasses import dataclass, field

from emulator.racks.pool_layout import NEVER_PS, NOT_YET
from emulator.racks.pool_records import How, PoolSettings, ReplicaLimits, Router
from emulator.workload.serving.costs import BLOCK_TOKENS, StepCosts


@dataclass(eq=False)
class Request:
    number: int
    arrival_ps: int
    prompt: int
    output: int
    priority: int = 0
    cancel_ps: int = NEVER_PS
    hashes: tuple[int, ...] = ()
    draw: int = 0  # 62 bits
    came_ps: int = 0  # last
    turn: int = 0
    tries: int = 0
    generated: int = 0
    computed: int = 0
    blocks: int = 0
    cached: int = 0
    first_ps: int = NOT_YET
    done_ps: int = NOT_YET
    place: int = -1
    how: How | None = None

    @property
    def known(self) -> int:
        return self.prompt + self.generated

    @property
    def order(self) -> tuple[int, int]:
        return -self.priority, self.turn

    def start_anew(self) -> None:
        self.generated = self.computed = self.blocks = 0
        self.first_ps, self.place = NOT_YET, -1


@dataclass(eq=False)
class Replica:
    free: int
    draining: bool = False
    running: list[Request] = field(default_factory=list)
    waiting: list[Request] = field(default_factory=list)
    ends_ps: int | None = None  # of the step under way
    scheduled: dict[Request, int] = field(default_factory=dict)
    gone: dict[Request, How] = field(default_factory=dict)  # whose clients have gone away during the step
    step_parts: tuple[int, int, int] = (0, 0, 0)
    counts: list[int] = field(default_factory=lambda: [0] * 10)  # in the order of PoolReading

    @property
    def outstanding(self) -> int:
        return len(self.running) + len(self.waiting)


class PlainPool:
    def __init__(self, costs: StepCosts, limits: ReplicaLimits, settings: PoolSettings, requests: list[Request]) -> None:
        self.costs, self.limits, self.settings = costs, limits, settings
        self.coming, self.again = list(requests), list[Request]()
        self.replicas: dict[int, Replica] = {}
        self.ended: list[Request] = []
        self.now_ps, self.last_place, self.turns, self.lost_tokens = 0, -1, 0, 0
        self.counts_of_gone = [0] * 10

    def run(self, until_ps: int = NEVER_PS) -> None:
        """Everything before ``until_ps``."""
        while True:
            times = [one.ends_ps for one in self.replicas.values() if one.ends_ps is not None]
            times += [self.now_ps for one in self.replicas.values() if one.ends_ps is None and one.outstanding]
            times += [one.came_ps for one in self.again] + [one.arrival_ps for one in self.coming]
            times += [self.leaves_ps(one) for one in self.under_way()]
            now = min(times, default=NEVER_PS)
            if now >= until_ps:
                return
            self.steps_end(now)
            for one in [one for one in self.under_way() if self.leaves_ps(one) <= now]:
                self.goes_away(one, now)
            while arriving := [one for one in self.again if one.came_ps == now] + [one for one in self.coming if one.arrival_ps == now]:
                one = min(arriving, key=lambda one: one.number)
                (self.again if one in self.again else self.coming).remove(one)
                self.arrives(one, now)
            for replica in self.replicas.values():
                if replica.ends_ps is None and replica.outstanding:
                    self.step_begins(replica, now)

    def steps_end(self, now: int) -> None:
        self.now_ps = now
        for replica in self.replicas.values():
            if replica.ends_ps == now:
                self.step_ends(replica, now)

    def under_way(self) -> list[Request]:
        at_replicas = [one for replica in self.replicas.values() for one in (*replica.running, *replica.waiting) if one not in replica.gone]
        return at_replicas + self.again

    def leaves_ps(self, one: Request) -> int:
        """When its client goes away, as things stand."""
        waits_for_token = one not in self.again and one.first_ps == NOT_YET
        return min(one.cancel_ps, one.came_ps + self.settings.first_token_limit_ps if waits_for_token else NEVER_PS)

    # -- requests ------------------------------------------------------------------------------------------------------------------------

    def arrives(self, one: Request, now: int) -> None:
        one.came_ps, one.turn = now, self.turns
        self.turns += 1
        one.tries += 1
        if one.cancel_ps <= now:
            self.ends(one, How.CANCELLED, now)
        elif (place := self.route(one)) < 0:
            self.turned_away(one, How.REJECTED, now)
        else:
            self.waits(one, place)

    def waits(self, one: Request, place: int) -> None:
        one.place = place
        waiting = self.replicas[place].waiting
        waiting.append(one)
        waiting.sort(key=lambda other: other.order)

    def turned_away(self, one: Request, how: How, now: int) -> None:
        if one.tries > self.settings.retries:
            self.ends(one, how, now)
            return
        self.lost_tokens += one.generated
        one.start_anew()
        one.came_ps = now + self.settings.retry_after_ps
        self.again.append(one)

    def ends(self, one: Request, how: How, now: int) -> None:
        one.how, one.done_ps = how, now
        self.ended.append(one)
        if how != How.FINISHED:
            self.lost_tokens += one.generated
        if self.limits.closed and (next_one := next((other for other in self.coming if other.arrival_ps == NEVER_PS), None)):
            next_one.arrival_ps = max([now, *(other.arrival_ps for other in self.coming if other.arrival_ps != NEVER_PS)])

    def goes_away(self, one: Request, now: int) -> None:
        how = How.CANCELLED if one.cancel_ps <= now else How.TIMED_OUT
        if one in self.again:
            self.again.remove(one)
            self.ends(one, how, now)
            return
        replica = self.replicas[one.place]
        if one in replica.running and replica.ends_ps is not None:
            replica.gone[one] = how
            return
        (replica.waiting if one in replica.waiting else replica.running).remove(one)
        self.gives_back(one, replica)
        self.ends(one, how, now)

    # -- routing --------------------------------------------------------------------------------------------------------------------------

    def route(self, one: Request) -> int:
        opened = sorted(place for place, replica in self.replicas.items() if not replica.draining)
        room = [place for place in opened if len(self.replicas[place].waiting) < self.settings.most_waiting]
        if not room:
            return -1
        match self.settings.router:
            case Router.ROUND_ROBIN:
                self.last_place = min(room, key=lambda place: (place <= self.last_place, place))
                return self.last_place
            case Router.POWER_OF_TWO:
                count = len(opened)
                first = ((one.draw >> 31) * count // 2**31 + one.tries) % count
                second = (first + 1 + one.draw % 2**31 * (count - 1) // 2**31) % count
                drawn = [opened[row] for row in (first, second) if opened[row] in room]
                return min(
                    drawn or [next(p for p in opened[first:] + opened if p in room)], key=lambda place: self.replicas[place].outstanding
                )
        return min(room, key=lambda place: (self.replicas[place].outstanding, place))

    # -- replicas -------------------------------------------------------------------------------------------------------------------------

    def open(self, now: int) -> int:
        self.run(now)
        self.steps_end(now)
        place = min(set(range(len(self.replicas) + 1)) - set(self.replicas))
        self.replicas[place] = Replica(self.limits.blocks)
        return place

    def drain(self, place: int, now: int) -> None:
        self.run(now)
        self.steps_end(now)
        replica = self.replicas[place]
        replica.draining = True
        for one in list(replica.waiting):
            if (other := self.route(one)) < 0:
                break
            replica.waiting.remove(one)
            self.waits(one, other)

    def drained(self) -> list[int]:
        places = sorted(place for place, replica in self.replicas.items() if replica.draining and not replica.outstanding)
        for place in places:
            self.close(place)
        return places

    def lose(self, place: int, now: int) -> None:
        self.run(now)
        self.steps_end(now)
        replica = self.close(place)
        for one in (*replica.running, *replica.waiting):
            if one in replica.gone:
                self.ends(one, replica.gone[one], now)
            else:
                self.turned_away(one, How.LOST, now)

    def close(self, place: int) -> Replica:
        replica = self.replicas.pop(place)
        self.counts_of_gone = [a + b for a, b in zip(self.counts_of_gone, replica.counts, strict=True)]
        return replica

    def step_begins(self, replica: Replica, now: int) -> None:
        scheduled = replica.scheduled = self.schedule(replica)
        floor = self.costs.base_ps + self.costs.running_ps * len(scheduled)
        tokens_in_step = sum(scheduled.values())
        memory = int(self.costs.weights_ps[tokens_in_step])
        compute = int(self.costs.table_ps[tokens_in_step]) - memory
        for one, tokens in scheduled.items():
            for token in range(tokens):
                if tokens == 1:
                    memory += (one.computed + token + 1) * self.costs.kv_ps
                else:
                    compute += (one.computed + token + 1) * self.costs.attention_ps
        replica.step_parts = floor, memory, compute
        replica.ends_ps = now + floor + memory + compute

    def step_ends(self, replica: Replica, now: int) -> None:
        replica.ends_ps = None
        counts = replica.counts
        counts[0] += 1
        for place, part in enumerate((sum(replica.step_parts), *replica.step_parts)):
            counts[6 + place] += part
        for one in list(replica.running):
            for _ in range(replica.scheduled[one]):
                counts[1] += one.computed < one.prompt
                one.computed += 1
            if one.computed == one.known:
                one.generated += 1
                counts[2] += 1
                if one.first_ps == NOT_YET:
                    one.first_ps = now
            how = How.FINISHED if one.generated == one.output else replica.gone.get(one)
            if how:
                replica.running.remove(one)
                replica.gone.pop(one, None)
                self.gives_back(one, replica)
                self.ends(one, how, now)

    def gives_back(self, one: Request, replica: Replica) -> None:
        replica.free += one.blocks
        one.blocks = 0

    def schedule(self, replica: Replica) -> dict[Request, int]:
        """Tokens of each request in the next step."""
        scheduled: dict[Request, int] = {}
        left, stopped_any = self.limits.tokens, False
        for one in list(replica.running):
            if one not in replica.running:
                continue
            tokens = min(one.known - one.computed, left)
            assert tokens > 0, "everybody who runs has a token in each step"
            while self.blocks_for(one, one.computed + tokens) - one.blocks > replica.free and one in replica.running:
                last = max(replica.running, key=lambda other: other.order)
                replica.running.remove(last)
                left += scheduled.pop(last, 0)
                self.gives_back(last, replica)
                replica.counts[3] += 1
                replica.counts[4] += last.computed
                last.computed = 0
                replica.waiting.append(last)
                stopped_any = True
            if one in replica.running:
                more = self.blocks_for(one, one.computed + tokens) - one.blocks
                replica.free -= more
                one.blocks += more
                scheduled[one] = tokens
                left -= tokens
        replica.waiting.sort(key=lambda other: other.order)
        while replica.waiting and left and not stopped_any and len(replica.running) < self.limits.seats:
            one = replica.waiting[0]
            tokens = min(one.known, left)
            needed = self.blocks_for(one, tokens)
            if needed > replica.free:
                break
            replica.waiting.pop(0)
            replica.running.append(one)
            replica.free -= needed
            one.blocks = needed
            scheduled[one] = tokens
            left -= tokens
        return scheduled

    def blocks_for(self, one: Request, tokens: int) -> int:
        if self.limits.reserves:
            tokens = one.prompt + one.output
        return -(-tokens // BLOCK_TOKENS)
