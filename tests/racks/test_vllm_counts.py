"""vLLM's histograms, against counting one request after the other as vLLM does."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from emulator.racks.vllm_counts import BINS, BUCKETS, HISTOGRAMS, UNITS, VllmCounts, VllmHistogram

PLACES, FRONT = 3, 7 * 10**9
#: place, waiting, prefill and decoding in nanoseconds, prompt, output.
REQUEST = st.tuples(
    st.integers(0, PLACES - 1), st.integers(0, 10**13), st.integers(1, 10**13), st.integers(0, 10**13), st.integers(1, 2 * 10**6),
    st.integers(1, 10**4),
)  # fmt: skip


def plain(requests: list[tuple[int, ...]]) -> tuple[np.ndarray, np.ndarray]:
    """By the words of the table, one request after the other."""
    counts, sums = np.zeros((PLACES, HISTOGRAMS, BINS), np.int64), np.zeros((PLACES, HISTOGRAMS), np.int64)
    for place, wait, prefill, decode, prompt, output in requests:
        gap = decode * 1000 // max(1, output - 1)
        observed = {
            VllmHistogram.TTFT: [FRONT + (wait + prefill) * 1000], VllmHistogram.E2E: [FRONT + (wait + prefill + decode) * 1000],
            VllmHistogram.QUEUE: [wait * 1000], VllmHistogram.PREFILL: [prefill * 1000], VllmHistogram.DECODE: [decode * 1000],
            VllmHistogram.PROMPT: [prompt], VllmHistogram.GENERATION: [output],
            VllmHistogram.PER_TOKEN: [gap] if output > 1 else [], VllmHistogram.INTER_TOKEN: [gap] * (output - 1),
        }  # fmt: skip
        for histogram, values in observed.items():
            for value in values:
                within = [bound * UNITS[histogram] >= value for bound in BUCKETS[histogram]]
                counts[place, histogram, within.index(True) if any(within) else len(within)] += 1
            sums[place, histogram] += sum(values)
        if output > 1:  # of gaps that differ the sum is the whole time
            sums[place, VllmHistogram.INTER_TOKEN] += decode * 1000 - gap * (output - 1)
    return counts, sums


@given(st.lists(REQUEST.filter(lambda request: request[5] < 50 or request[0] == 0), max_size=6))
def test_as_one_after_the_other(requests: list[tuple[int, ...]]) -> None:
    columns = np.array(requests, np.int64).reshape(-1, 6).T
    place, wait, prefill, decode, prompt, output = columns
    told = VllmCounts(PLACES)
    arrival = np.arange(len(place)) * 10**6
    begun = arrival + wait * 1000
    first = begun + prefill * 1000
    told.add(place, arrival, begun, first, first + decode * 1000, prompt=prompt, output=output, later_ps=FRONT)
    counts, sums = plain(requests)
    assert (told.counts == counts).all()
    assert (told.sums == sums).all()


def test_a_bound_counts_below_it() -> None:
    """As Prometheus' histograms: le, less or equal."""
    told, one = VllmCounts(1), np.ones(1, np.int64)
    told.add(0 * one, 0 * one, 0 * one, 10**10 * one, 10**10 * one, prompt=one, output=one)  # 10 ms, of which 0.01 s is a bound
    assert told.counts[0, VllmHistogram.TTFT].tolist()[:4] == [0, 0, 1, 0]
    assert told.counts[0, VllmHistogram.PROMPT].tolist()[:2] == [1, 0]


def test_places_are_added_and_taken_over() -> None:
    told, one = VllmCounts(), np.ones(1, np.int64)
    told.grow(2)
    told.grow(1)
    assert len(told) == 2
    told.add(one, 0 * one, 0 * one, one, one, prompt=one, output=one)
    assert told.sums[1].any()
    assert not told.sums[0].any()
    told.clear(1)
    assert not told.counts.any()
    assert not told.sums.any()
