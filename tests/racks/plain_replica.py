"""A replica step by step, one token after the other, with objects and without a closed form: obviously right, and slow."""

from collections import deque
from dataclasses import dataclass

from emulator.racks.replica import ReplicaLimits
from emulator.racks.replica_steps import NEVER_PS
from emulator.workload.serving.costs import BLOCK_TOKENS, StepCosts


@dataclass
class Request:
    number: int
    arrival_ps: int
    prompt: int
    output: int
    generated: int = 0
    computed: int = 0
    blocks: int = 0
    first_ps: int = -1
    done_ps: int = -1

    @property
    def known(self) -> int:
        return self.prompt + self.generated


class PlainReplica:
    def __init__(self, costs: StepCosts, limits: ReplicaLimits, requests: list[Request]) -> None:
        self.costs, self.limits = costs, limits
        self.coming, self.waiting, self.running = deque(requests), deque[Request](), list[Request]()
        self.free, self.now_ps, self.steps, self.preemptions = limits.blocks, 0, 0, 0

    def run(self) -> None:
        while self.coming or self.waiting or self.running:
            if not self.waiting and not self.running:
                if self.coming[0].arrival_ps == NEVER_PS:
                    return
                self.now_ps = max(self.now_ps, self.coming[0].arrival_ps)
            while self.coming and self.coming[0].arrival_ps <= self.now_ps:
                self.waiting.append(self.coming.popleft())
            self.step()

    def step(self) -> None:
        scheduled = self.schedule()
        took = self.costs.base_ps + int(self.costs.table_ps[sum(scheduled.values())]) + self.costs.running_ps * len(scheduled)
        by_number = {one.number: one for one in self.running}
        for number, tokens in scheduled.items():
            for token in range(tokens):
                reach = by_number[number].computed + token + 1
                took += reach * (self.costs.kv_ps if tokens == 1 else self.costs.attention_ps)
        self.now_ps += took
        self.steps += 1
        for one in list(self.running):
            tokens = scheduled.get(one.number, 0)
            one.computed += tokens
            if tokens and one.computed == one.known:
                one.generated += 1
                if one.first_ps < 0:
                    one.first_ps = self.now_ps
            if one.generated == one.output:
                one.done_ps = self.now_ps
                self.free += one.blocks
                self.running.remove(one)
                if self.limits.closed and (next_one := next((c for c in self.coming if c.arrival_ps == NEVER_PS), None)):
                    next_one.arrival_ps = self.now_ps

    def schedule(self) -> dict[int, int]:
        """Tokens of each request in the next step."""
        scheduled: dict[int, int] = {}
        left, stopped_any = self.limits.tokens, False
        for one in list(self.running):
            if one not in self.running or not left:
                continue
            tokens = min(one.known - one.computed, left)
            while self.blocks_for(one, one.computed + tokens) - one.blocks > self.free and one in self.running:
                last = self.running.pop()
                self.free += last.blocks
                last.blocks = last.computed = 0
                self.waiting.appendleft(last)
                self.preemptions += 1
                stopped_any = True
            if one in self.running:
                more = self.blocks_for(one, one.computed + tokens) - one.blocks
                self.free -= more
                one.blocks += more
                scheduled[one.number] = tokens
                left -= tokens
        while self.waiting and left and not stopped_any and len(self.running) < self.limits.seats:
            one = self.waiting[0]
            tokens = min(one.known, left)
            needed = self.blocks_for(one, tokens)
            if needed > self.free:
                break
            self.waiting.popleft()
            self.running.append(one)
            self.free -= needed
            one.blocks = needed
            scheduled[one.number] = tokens
            left -= tokens
        return scheduled

    def blocks_for(self, one: Request, tokens: int) -> int:
        if self.limits.reserves:
            tokens = one.prompt + one.output
        return -(-tokens // BLOCK_TOKENS)
