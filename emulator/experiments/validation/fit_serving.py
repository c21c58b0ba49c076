"""The fit of the serving engines' numbers to the published rows: ``python -m emulator.experiments.validation.fit_serving``.

For each GPU, precision, engine and kind of model those five numbers are searched, one after the other in ever smaller steps, for which the
errors of its rows are least in the mean: three parts the time between tokens, one part that to the first token. Where only throughput is
published, its errors count, and the front end's time, which it does not show, is assumed. No share is above 1. The script prints what it
found beside what the module holds; a test holds the two together.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from emulator.experiments.validation.serving import Throughput, published_serving, published_throughput, served, throughput
from emulator.experiments.validation.serving_rows import ServingRow
from emulator.workload.serving.stacks import FRONT_END_SECONDS, STACKS, Stack
from emulator.workload.training import MODELS

Key = tuple[str, str, str, str]

#: Where the search begins, and the first steps, as parts of the value.
BEGIN = Stack(70e-6, 0.9, 0.45, 40e-6, 40e-3)
STEPS = {"floor_seconds": 0.2, "memory_ratio": 0.1, "multiply_ratio": 0.15, "running_seconds": 0.4, "front_end_seconds": 0.4}
ROUNDS, DIGITS = 12, 3
#: TensorRT-LLM keeps keys and values in fp8 where it multiplies in fp8 or nvfp4 (its performance overview); others do not by default.
FP8_KV = {"trtllm", "mlperf"}


def errors(key: Key, stack: Stack) -> float:
    """What the search makes small."""
    loops = [(row, served(row, stack)) for row in published_serving() if _key(row) == key]
    if loops:
        between = [abs(one.tpot_seconds / row.tpot_seconds - 1) for row, one in loops]
        first = [abs(one.ttft_seconds / row.ttft_seconds - 1) for row, one in loops]
        return (3 * sum(between) + sum(first)) / len(loops)
    rows = [row for row in published_throughput() if _key(row) == key]
    off = [abs(throughput(row, stack) / row.tokens_per_second - 1) for row in rows]
    return max(off) + sum(off) / len(off)


def keys() -> list[Key]:
    """What there are rows of."""
    found = [_key(row) for row in published_serving()] + [_key(row) for row in published_throughput()]
    return list(dict.fromkeys(found))


def _key(row: ServingRow | Throughput) -> Key:
    """GPU, precision, engine and kind of model. MLPerf's few rows of H100 and H200, which have one die, are fitted together."""
    return (
        ("H100-SXM5-80GB" if row.engine == "mlperf" else row.gpu),
        row.precision,
        row.engine,
        "mixture" if MODELS[row.model].experts else "dense",
    )


def fit(key: Key) -> Stack:
    """The numbers of a GPU, precision and engine."""
    best = replace(BEGIN, kv_precision="fp8") if key[2] in FP8_KV else BEGIN
    steps = dict(STEPS)
    if key not in {_key(row) for row in published_serving()}:
        best = replace(best, front_end_seconds=FRONT_END_SECONDS)
        del steps["front_end_seconds"]
    least = errors(key, best)
    for _ in range(ROUNDS):
        for name, step in steps.items():
            least, best, moved = _try(lambda stack: errors(key, stack), least, best, name, step)
            if not moved:
                steps[name] = step / 2
    return best


def _try(off: Callable[[Stack], float], least: float, best: Stack, name: str, step: float) -> tuple[float, Stack, bool]:
    """One step of one number up or down, where that is better."""
    for factor in (1 + step, 1 - step):
        value = float(f"{getattr(best, name) * factor:.{DIGITS}g}")
        if name.endswith("_ratio") and value > 1:
            continue
        changed: dict[str, Any] = {name: value}
        tried = replace(best, **changed)
        if (found := off(tried)) < least:
            return found, tried, True
    return least, best, False


def main() -> None:
    """Print every fitted set of numbers, found and held."""
    for key in keys():
        found, held = fit(key), STACKS.get(key)
        print(f"    {key!r}: {found!r},  # {errors(key, found):.3f}".replace("'", '"'))
        if held is not None and held != found:
            print(f"    held: {held!r}, {errors(key, held):.3f}")


if __name__ == "__main__":
    main()
