"""Preemption by priority: what running jobs of lower priority make room for the head of the queue."""

from emulator.scheduler.view import View


def preempt_for_head(view: View, running: set[int], after_ns: int) -> None:
    """Let the head of the queue start by stopping jobs of lower priority, as few of them as the greedy order below allows.

    Victims have run for at least ``after_ns`` (RSC preempts after two hours: Kokolis et al., HPCA'25). Lowest priority first, then those
    that started last, since they lose least; then every victim whose GPUs turn out not to be needed goes on. Where the head would fit
    only with jobs that have not run for long enough, the plan says when to look again.
    """
    table, head = view.table, view.pending.head()
    priority = table.priority[head]
    lower = [slot for slot in running if table.preemptible[slot] and table.priority[slot] < priority and table.milli_gpus[slot] == 1000]
    if view.free.free_gpus + sum(table.gpus[slot] for slot in lower) < table.gpus[head]:
        return
    ripe = [slot for slot in lower if table.start_ns[slot] + after_ns <= view.now_ns]
    if len(ripe) < len(lower):
        soon = min(table.start_ns[slot] + after_ns for slot in lower if table.start_ns[slot] + after_ns > view.now_ns)
        view.plan.reconsider_at_ns = min(view.plan.reconsider_at_ns, soon)
    ripe.sort(key=lambda slot: (table.priority[slot], -table.start_ns[slot], -table.job_id[slot]))
    stopped: list[int] = []
    for slot in ripe:
        view.free.give(table.rows[slot])
        stopped.append(slot)
        if view.free.fits(table.gpus[head]) and view.choose(head) is not None:
            break
    else:
        for slot in stopped:
            view.free.take(table.rows[slot])
        return
    for slot in stopped[:-1]:
        view.free.take(table.rows[slot])
        if view.choose(head) is None:
            view.free.give(table.rows[slot])
        else:
            stopped = [other for other in stopped if other != slot]
    rows = view.choose(head)
    assert rows is not None, "the head fits after the last victim was given back"
    view.plan.preempted += stopped
    view.start(head, rows)
