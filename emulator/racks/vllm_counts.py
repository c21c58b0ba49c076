"""What vLLM counts of each replica: histograms of its finished requests, in vLLM's buckets (vllm/v1/metrics/buckets.py)."""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]

_FIRST = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0),
    2560.0,
)
_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0)
_REQUEST = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0),
    7680.0,
)
#: vLLM's end at the longest context of the model; these are one list for all models, up to a million tokens.
_TOKENS = tuple([float(part * 10**zeros) for zeros in range(6) for part in (1, 2, 5)] + [1e6])


class VllmHistogram(IntEnum):
    """In seconds but for the last two, which are in tokens."""

    TTFT = 0  # from the request to its first token
    INTER_TOKEN = 1  # every token after the first counts, each with the mean time of its request
    PER_TOKEN = 2  # of a token after the first, in the mean of the request
    E2E = 3  # from the request to its last token
    QUEUE = 4  # from the request to the step in which its prompt began to be computed
    PREFILL = 5  # from there to the first token
    DECODE = 6  # from the first token to the last
    PROMPT = 7
    GENERATION = 8


HISTOGRAMS = len(VllmHistogram)
#: Upper bounds of the buckets, by ``VllmHistogram``.
BUCKETS: tuple[tuple[float, ...], ...] = (_FIRST, _TOKEN, _TOKEN, *[_REQUEST] * 4, _TOKENS, _TOKENS)
#: Counts of a histogram, the last for what is above all bounds. Some have fewer buckets; counts beyond theirs stay 0.
BINS = 1 + max(len(bounds) for bounds in BUCKETS)
#: In what ``VllmCounts`` adds up, so many are a second, or a token.
UNITS = (*[10**12] * 7, 1, 1)
_EDGES = tuple([np.array([round(bound * unit) for bound in bounds], np.int64) for bounds, unit in zip(BUCKETS, UNITS, strict=True)])


class VllmCounts:
    """By place of a pool: ``counts``, shape (places, HISTOGRAMS, BINS), and ``sums`` in picoseconds and tokens, (places, HISTOGRAMS)."""

    def __init__(self, places: int = 0) -> None:
        self.counts = np.zeros((places, HISTOGRAMS, BINS), np.int64)
        self.sums = np.zeros((places, HISTOGRAMS), np.int64)

    def __len__(self) -> int:
        return len(self.sums)

    def grow(self, places: int) -> None:
        """Have at least so many places."""
        more = places - len(self)
        if more > 0:
            self.counts = np.concatenate([self.counts, np.zeros((more, HISTOGRAMS, BINS), np.int64)])
            self.sums = np.concatenate([self.sums, np.zeros((more, HISTOGRAMS), np.int64)])

    def move(self, place: int, other: "VllmCounts") -> None:
        """Add what a place has counted to the first of ``other``, and clear it."""
        other.counts[0] += self.counts[place]
        other.sums[0] += self.sums[place]
        self.clear(place)

    def clear(self, place: int) -> None:
        """Somebody else is there now."""
        self.counts[place], self.sums[place] = 0, 0

    def add(
        self,
        place: Int64,
        arrival_ps: Int64,
        begun_ps: Int64,
        first_ps: Int64,
        done_ps: Int64,
        *,
        prompt: Int64,
        output: Int64,
        later_ps: int | Int64 = 0,
    ) -> None:
        """Requests that finished at these places, shape (requests,) each. ``begun_ps``: when their prompts began to be computed.

        ``later_ps``, of all or of each, is in the whole times and not in those of the phases.
        """
        decode_ps, several = done_ps - first_ps, output > 1
        token_ps = decode_ps[several] // (output[several] - 1)
        self._count(VllmHistogram.TTFT, place, first_ps - arrival_ps + later_ps)
        self._count(VllmHistogram.INTER_TOKEN, place[several], token_ps, output[several] - 1, decode_ps[several])
        self._count(VllmHistogram.PER_TOKEN, place[several], token_ps)
        self._count(VllmHistogram.E2E, place, done_ps - arrival_ps + later_ps)
        self._count(VllmHistogram.QUEUE, place, begun_ps - arrival_ps)
        self._count(VllmHistogram.PREFILL, place, first_ps - begun_ps)
        self._count(VllmHistogram.DECODE, place, decode_ps)
        self._count(VllmHistogram.PROMPT, place, prompt)
        self._count(VllmHistogram.GENERATION, place, output)

    def _count(self, histogram: VllmHistogram, place: Int64, values: Int64, times: Int64 | None = None, sums: Int64 | None = None) -> None:
        bins = np.searchsorted(_EDGES[histogram], values, side="left")
        np.add.at(self.counts.reshape(-1), (place * HISTOGRAMS + histogram) * BINS + bins, 1 if times is None else times)
        np.add.at(self.sums[:, histogram], place, values if sums is None else sums)
