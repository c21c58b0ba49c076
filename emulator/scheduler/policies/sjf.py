"""Shortest job first, by the estimate: the strict pass of ``fifo`` over a queue in this order (Hu et al., SC'21, artifact)."""

from emulator.scheduler.pending import by_estimate
from emulator.scheduler.policies import fifo
from emulator.scheduler.policy import Policy

POLICY = Policy("sjf", fifo.plan, by_estimate, heads_only=True)
