"""A pool step by step, one token after the other, with objects and without a closed form: obviously right, and slow."""

from dataclasses import dataclass, field
from itertools import takewhile

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
    ready: int = 0  # tokens of the prompt whose keys and values come with it
    think_ps: int | None = None  # of the user who asks again after it; None: nobody does
    draw: int = 0  # 62 bits
    came_ps: int = 0  # last
    turn: int = 0
    tries: int = 0
    generated: int = 0
    computed: int = 0
    blocks: int = 0
    cached: int = 0
    begun_ps: int = NOT_YET
    begun: bool = False  # since it last came
    decodes: bool = False  # all that it has so far is computed, since it last began
    pieces: list[int | None] = field(default_factory=list)  # of its prompt as far as it is computed or found; None: not shared
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

    @property
    def shared(self) -> int:
        return sum(piece is not None for piece in self.pieces)

    def start_anew(self) -> None:
        self.generated = self.computed = self.blocks = 0
        self.decodes = False
        self.begun_ps, self.first_ps, self.place = NOT_YET, NOT_YET, -1


@dataclass(eq=False)
class Replica:
    blocked: bool = False  # who is first could not begin, and nothing has been given back since
    users: dict[int, int] = field(default_factory=dict)  # of each piece in its cache
    idle: list[int] = field(default_factory=list)  # pieces without users, the one that goes first first
    not_told: set[int] = field(default_factory=set)  # pieces that are gone, and routers do not know it
    draining: bool = False
    running: list[Request] = field(default_factory=list)
    waiting: list[Request] = field(default_factory=list)
    ends_ps: int | None = None  # of the step under way
    scheduled: dict[Request, int] = field(default_factory=dict)
    gone: dict[Request, How] = field(default_factory=dict)  # whose clients have gone away during the step
    step_parts: tuple[int, int, int, int] = (0, 0, 0, 0)
    counts: list[int] = field(default_factory=lambda: [0] * 11)  # in the order of PoolReading
    slow: bool = False
    token_ps: int = 0  # over the fabric

    @property
    def outstanding(self) -> int:
        return len(self.running) + len(self.waiting)


class PlainPool:
    def __init__(
        self,
        costs: tuple[StepCosts, StepCosts],
        limits: ReplicaLimits,
        settings: PoolSettings,
        requests: list[Request],
        asks: list[Request] | None = None,
    ) -> None:
        """``costs``: at the full clock, and at a slow one."""
        self.costs, self.limits, self.settings = costs, limits, settings
        self.width = costs[0].width
        self.seats = min(limits.seats, limits.tokens // self.width) if self.width > 1 else limits.seats
        self.coming, self.again = list(requests), list[Request]()
        self.asks = list(asks or [])  # what users ask, one after the other; the clients' times count from when they do
        self.thinking: list[tuple[int, int]] = []  # when a user asks next, and the number of what was asked last
        self.users = self.wanted_users = 0
        self.replicas: dict[int, Replica] = {}
        self.ended: list[Request] = []
        self.now_ps, self.last_place, self.turns, self.lost_tokens = 0, -1, 0, 0
        self.counts_of_gone = [0] * 11

    def run(self, until_ps: int = NEVER_PS) -> None:
        """Everything before ``until_ps``."""
        while True:
            times = [one.ends_ps for one in self.replicas.values() if one.ends_ps is not None]
            times += [self.now_ps for one in self.replicas.values() if one.ends_ps is None and one.outstanding]
            times += [one.came_ps for one in self.again] + [one.arrival_ps for one in self.coming] + [at for at, _ in self.thinking]
            times += [self.leaves_ps(one) for one in self.under_way()]
            now = min(times, default=NEVER_PS)
            if now >= until_ps:
                return
            self.steps_end(now)
            for one in [one for one in self.under_way() if self.leaves_ps(one) <= now]:
                self.goes_away(one, now)
            while True:
                arriving = [one for one in self.again if one.came_ps == now] + [one for one in self.coming if one.arrival_ps == now]
                first = min(arriving, key=lambda one: one.number, default=None)
                user = min([(at, last) for at, last in self.thinking if at == now], default=None)
                if user is not None and (first is None or user[1] < first.number):
                    self.thinking.remove(user)
                    self.asks_next(now)
                elif first is not None:
                    (self.again if first in self.again else self.coming).remove(first)
                    self.arrives(first, now)
                else:
                    break
            for replica in self.replicas.values():
                if replica.ends_ps is None and replica.outstanding:
                    self.step_begins(replica, now)

    def set_users(self, count: int, now: int) -> None:
        self.run(now)
        self.steps_end(now)
        self.thinking += [(now, -1)] * (count - self.users)
        self.users, self.wanted_users = max(self.users, count), count

    def asks_next(self, now: int) -> None:
        if not self.asks:
            self.wanted_users = 0
        if self.users > self.wanted_users:
            self.users -= 1
            return
        one = self.asks.pop(0)
        one.arrival_ps = now
        one.cancel_ps = min(NEVER_PS, now + one.cancel_ps)
        self.arrives(one, now)

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
        one.begun, one.cached = False, 0
        if one.cancel_ps <= now:
            self.ends(one, How.CANCELLED, now)
        elif one.prompt + one.output > self.limits.blocks * BLOCK_TOKENS:
            self.ends(one, How.TOO_LONG, now)
        elif (place := self.route(one)) < 0:
            self.turned_away(one, How.REJECTED, now)
        else:
            self.waits(one, place)

    def waits(self, one: Request, place: int) -> None:
        one.place = place
        waiting = self.replicas[place].waiting
        waiting.append(one)
        waiting.sort(key=lambda other: other.order)
        if waiting[0] is one:
            self.replicas[place].blocked = False

    def turned_away(self, one: Request, how: How, now: int) -> None:
        if one.tries > self.settings.retries:
            self.ends(one, how, now)
            return
        self.lost_tokens += one.generated
        one.start_anew()
        if how == How.LOST:
            one.ready = 0
        one.came_ps = now + self.settings.retry_after_ps
        self.again.append(one)

    def ends(self, one: Request, how: How, now: int) -> None:
        one.how, one.done_ps = how, now
        self.ended.append(one)
        if how != How.FINISHED:
            self.lost_tokens += one.generated
        if one.think_ps is not None:
            pause = 0 if how == How.FINISHED else self.settings.retry_after_ps
            self.thinking.append((now + one.think_ps + pause, one.number))

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
        if one in replica.waiting:
            self.stops_waiting(one, replica)
        else:
            replica.running.remove(one)
            self.gives_back(one, replica)
            replica.not_told.clear()
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
        least = min(room, key=lambda place: (self.replicas[place].outstanding, place))
        if self.settings.router == Router.PREFIX_AWARE and self.settings.cache_block_tokens:
            runs = {place: self.known_run(one, self.replicas[place]) for place in room}
            best = min(room, key=lambda place: (-runs[place], self.replicas[place].outstanding, place))
            more = self.replicas[best].outstanding - self.replicas[least].outstanding
            if runs[best] and not (more > self.settings.imbalance and 2 * more > self.replicas[least].outstanding):
                return best
        return least

    def known_run(self, one: Request, replica: Replica) -> int:
        most = (one.prompt - 1) // self.settings.cache_block_tokens
        return len(list(takewhile(lambda piece: piece in replica.users or piece in replica.not_told, one.hashes[:most])))

    # -- replicas -------------------------------------------------------------------------------------------------------------------------

    def open(self, now: int) -> int:
        self.run(now)
        self.steps_end(now)
        place = min(set(range(len(self.replicas) + 1)) - set(self.replicas))
        self.replicas[place] = Replica()
        return place

    def drain(self, place: int, now: int) -> None:
        self.run(now)
        self.steps_end(now)
        replica = self.replicas[place]
        replica.draining = True
        for one in list(replica.waiting):
            if (other := self.route(one)) < 0:
                break
            self.stops_waiting(one, replica)
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

    def set_pace(self, place: int, now: int, *, slow: bool, token_ps: int) -> None:
        self.run(now)
        self.steps_end(now)
        self.replicas[place].slow, self.replicas[place].token_ps = slow, token_ps

    def step_begins(self, replica: Replica, now: int) -> None:
        scheduled = replica.scheduled = self.schedule(replica)
        costs = self.costs[replica.slow]
        decoding = sum(one.decodes for one in scheduled)
        prompts = sum(tokens for one, tokens in scheduled.items() if not one.decodes)
        verified = decoding * self.width
        floor = (costs.decode_base_ps if decoding else costs.base_ps) + costs.running_ps * len(scheduled)
        in_all = int(costs.decode_ps[decoding] + costs.table_ps[verified + prompts] - costs.table_ps[verified])
        memory = int(costs.decode_weights_ps[decoding] + costs.weights_ps[verified + prompts] - costs.weights_ps[verified])
        compute = in_all - memory
        of_prompt, of_decode = costs.crossing_ps(replica.token_ps)
        crossed = of_prompt * prompts + of_decode * decoding
        for one, tokens in scheduled.items():
            one.begun_ps = now if one.begun_ps == NOT_YET else one.begun_ps
            for token in range(tokens):
                if tokens == 1:
                    memory += (one.computed + token + 1) * costs.kv_ps
                else:
                    compute += (one.computed + token + 1) * costs.attention_ps
        replica.step_parts = floor, memory, compute, crossed
        replica.ends_ps = now + sum(replica.step_parts)

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
                one.decodes = True
                one.generated += 1
                counts[2] += 1
                if one.first_ps == NOT_YET:
                    one.first_ps = now
            how = How.FINISHED if one.generated == one.output else replica.gone.get(one)
            if how:
                replica.running.remove(one)
                replica.gone.pop(one, None)
                self.gives_back(one, replica)
                replica.not_told.clear()
                self.ends(one, how, now)

    def gives_back(self, one: Request, replica: Replica) -> None:
        for piece in reversed(one.pieces):
            if piece is not None:
                replica.users[piece] -= 1
                if not replica.users[piece]:
                    replica.idle.append(piece)
        one.pieces = []
        one.blocks = 0
        one.decodes = False
        replica.blocked = False

    def stops_waiting(self, one: Request, replica: Replica) -> None:
        if replica.waiting[0] is one:
            replica.blocked = False
        replica.waiting.remove(one)

    # -- memory ---------------------------------------------------------------------------------------------------------------

    def used(self, replica: Replica) -> int:
        """Blocks of those who run; what they share counts once."""
        piece_blocks = self.settings.cache_block_tokens // BLOCK_TOKENS
        own = sum(one.blocks - one.shared * piece_blocks for one in replica.running)
        return own + piece_blocks * (len(replica.users) - len(replica.idle))

    def free(self, replica: Replica) -> int:
        return self.limits.blocks - self.used(replica)

    def make_room(self, replica: Replica) -> None:
        piece_blocks = self.settings.cache_block_tokens // BLOCK_TOKENS
        while not self.settings.unlimited_cache and self.used(replica) + piece_blocks * len(replica.idle) > self.limits.blocks:
            piece = replica.idle.pop(0)
            del replica.users[piece]
            replica.not_told.add(piece)

    def list_pieces(self, one: Request, replica: Replica, computed: int) -> None:
        if self.settings.cache_block_tokens:
            for piece in one.hashes[len(one.pieces) : min(computed, one.prompt) // self.settings.cache_block_tokens]:
                one.pieces.append(None if piece in replica.users else piece)
                replica.users.setdefault(piece, 1)

    def found(self, one: Request, replica: Replica) -> list[int]:
        if not self.settings.cache_block_tokens:
            return []
        most = (one.known - 1) // self.settings.cache_block_tokens
        return list(takewhile(lambda piece: piece in replica.users, one.hashes[:most]))

    def schedule(self, replica: Replica) -> dict[Request, int]:  # noqa: C901
        """Tokens of each request in the next step."""
        scheduled: dict[Request, int] = {}
        taken: dict[Request, int] = {}  # of the step's tokens
        left, stopped_any = self.limits.tokens, False
        for one in list(replica.running):
            if one not in replica.running:
                continue
            tokens = min(one.known - one.computed, left)
            takes = self.width if one.decodes else tokens
            assert 0 < takes <= left, "everybody who runs has a token in each step"
            while self.blocks_for(one, one.computed + tokens) - one.blocks > self.free(replica) and one in replica.running:
                last = max(replica.running, key=lambda other: other.order)
                replica.running.remove(last)
                left += taken.pop(last, 0)
                scheduled.pop(last, None)
                self.gives_back(last, replica)
                replica.counts[3] += 1
                replica.counts[4] += last.computed
                last.computed = 0
                replica.waiting.append(last)
                stopped_any = True
            if one in replica.running:
                one.blocks = self.blocks_for(one, one.computed + tokens)
                scheduled[one], taken[one] = tokens, takes
                left -= takes
        replica.waiting.sort(key=lambda other: other.order)
        self.make_room(replica)
        for one in replica.running:
            self.list_pieces(one, replica, one.computed + scheduled[one])
        begun = False
        while replica.waiting and left and not stopped_any and len(replica.running) < self.seats:
            if replica.blocked and self.settings.cache_block_tokens:
                break
            one = replica.waiting[0]
            found = self.found(one, replica)
            one.computed = max(len(found) * self.settings.cache_block_tokens, one.ready)
            tokens = min(one.known - one.computed, left)
            blocks = self.blocks_for(one, one.computed + tokens)
            in_use = sum(replica.users[piece] > 0 for piece in found) * (self.settings.cache_block_tokens // BLOCK_TOKENS)
            if blocks - in_use > self.free(replica):
                replica.blocked = True
                one.computed = 0
                break
            self.stops_waiting(one, replica)
            one.ready = 0
            for piece in found:
                replica.users[piece] += 1
                if piece in replica.idle:
                    replica.idle.remove(piece)
            replica.running.append(one)
            one.pieces, one.blocks = list(found), blocks
            self.make_room(replica)
            self.list_pieces(one, replica, one.computed + tokens)
            if not one.begun:
                one.begun, one.cached = True, len(found) * self.settings.cache_block_tokens
                replica.counts[5] += one.cached
            scheduled[one] = tokens
            left -= tokens
            begun = True
        if begun or stopped_any:
            replica.not_told.clear()
        return scheduled

    def blocks_for(self, one: Request, tokens: int) -> int:
        if self.limits.reserves:
            tokens = one.prompt + one.output
        return -(-tokens // BLOCK_TOKENS)
