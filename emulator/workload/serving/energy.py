"""What a replica's GPUs draw, by what its steps do: a part of their dynamic power while they are busy, and more while they multiply.

    power = idle + (maximum - idle) min(1, a busy + b multiplying)

``busy`` is the part of the time in which steps run, ``multiplying`` the part that their multiplications and attention would take alone. FIT
on four figures of ML.ENERGY (v3, arXiv 2505.06371): Llama-3.3-70B in bf16 on 4 H100, conversations of some 410 output tokens, at most 8,
64, 256 and 768 at a time, draw 1,787, 2,108, 2,519 and 2,546 W of GPU power (tests/workload/serving/test_energy.py). That other GPUs and
precisions draw the same parts of theirs is assumed.
"""

BUSY_RATIO, MULTIPLY_RATIO = 0.551, 0.621


def dynamic_ratio(busy: float, multiplying: float) -> float:
    """The part of a GPU's dynamic power, 0 to 1."""
    return min(1.0, BUSY_RATIO * busy + MULTIPLY_RATIO * multiplying)
