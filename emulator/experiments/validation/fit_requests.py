"""The fit of the request generator to published traces: ``python -m emulator.experiments.validation.fit_requests [FOLDER]``.

It writes `emulator/workload/requests/fitted.py` from the traces in FOLDER, by default that of GIGAWATT_TRACES. Of the traces themselves
nothing is kept but quantiles. Shape and period of the bursts are those for which the index of dispersion, less 1, is nearest to the
measured one: least squares of the ratio's logarithm over windows from 5 s to 5 min. Mooncake's clock ticks every 3 s, give or take a
millisecond, so its windows are multiples of that, begin between two ticks, and are at least 15 s long.
"""

import math
import os
import sys
from pathlib import Path

import numpy as np

from emulator.workload.requests import fitted
from emulator.workload.requests.columns import Int64, RequestColumns
from emulator.workload.requests.open import open_request_trace
from emulator.workload.requests.statistics import burst_dispersion, counts_in, dispersion, gap_variation, length_quantiles
from emulator.workload.requests.tables import Fitted

#: By the table's name: the file, its format, and the windows in seconds.
TRACES = {
    "azure-conv": ("azure/AzureLLMInferenceTrace_conv.csv.gz", "azure", (5, 10, 15, 30, 60, 120, 300)),
    "mooncake-conversation": ("mooncake/conversation_trace.jsonl.gz", "mooncake", (15, 30, 60, 120, 300)),
}
#: Windows begin so long before the first arrival, which is half a tick of Mooncake's clock.
AHEAD_NS = 1_500_000_000
#: Periods that are tried, in seconds: multiples of a slice.
PERIODS = (10, 20, 30, 60, 120, 180, 300, 600, 900, 1200, 1800)


def fit_bursts(arrival_ns: Int64, windows: tuple[int, ...]) -> tuple[float, float]:
    """Shape and period in seconds."""
    counts = [counts_in(arrival_ns, window * 10**9, AHEAD_NS) for window in windows]
    measured = [(float(np.mean(count)), dispersion(count) - 1.0) for count in counts]
    best = (math.inf, 0.0, 0.0)
    for period in PERIODS:
        logs = [
            math.log((burst_dispersion(mean, 1.0, window / period) - 1.0) / excess)
            for window, (mean, excess) in zip(windows, measured, strict=True)
        ]
        middle = math.fsum(logs) / len(logs)
        best = min(best, (math.fsum((one - middle) ** 2 for one in logs), math.exp(middle), float(period)))
    return float(f"{best[1]:.3g}"), best[2]


def fit_tables(requests: RequestColumns) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """The quantiles of the prompts, and those of the outputs for each quarter of the requests by their prompts."""
    order = np.argsort(requests.prompt, kind="stable")
    quarters = np.array_split(requests.output[order], 4)
    return _whole(requests.prompt), tuple(_whole(quarter) for quarter in quarters)


def _whole(tokens: Int64) -> tuple[int, ...]:
    """Rounded points. All but the last stay at the longest there is, so that no longer one is drawn."""
    most = int(tokens.max())
    return (*(min(most, round(value)) for value in length_quantiles(tokens)[:-1].tolist()), most + 1)


def fit(folder: Path, name: str) -> Fitted:
    """All that is fitted to a trace. Raises TraceError."""
    file, format, windows = TRACES[name]
    trace, _ = open_request_trace(folder / file, format)
    prompt, output = fit_tables(trace.requests)
    return Fitted(prompt, output, *fit_bursts(trace.requests.arrival_ns, windows))


def _row(values: tuple[int, ...], indent: str) -> str:
    lines = [", ".join(map(str, values[start : start + 15])) + "," for start in range(0, len(values), 15)]
    return "(\n" + "".join(f"{indent}    {line}\n" for line in lines) + f"{indent}),"


def module(tables: dict[str, Fitted]) -> str:
    """The text of the module with these tables."""
    text = [
        '"""FIT: quantiles of lengths and burstiness of published traces, written by',
        "``python -m emulator.experiments.validation.fit_requests``, which says how.",
        '"""',
        "",
        "from collections.abc import Mapping",
        "",
        "from emulator.workload.requests.tables import Fitted",
        "",
        "# fmt: off",
        "FITTED: Mapping[str, Fitted] = {",
    ]
    for name, one in tables.items():
        text += [f'    "{name}": Fitted(', f"        {_row(one.prompt, ' ' * 8)}", "        ("]
        text += [f"            {_row(row, ' ' * 12)}" for row in one.output]
        text += ["        ),", f"        {one.burst_shape!r},", f"        {one.burst_period_seconds!r},", "    ),"]
    return "\n".join([*text, "}", "# fmt: on", ""])


def main() -> None:
    """Write the tables, and print what they were fitted to."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("GIGAWATT_TRACES", "../shared/traces"))
    tables = {name: fit(folder, name) for name in TRACES}
    Path(fitted.__file__).write_text(module(tables), encoding="utf-8")
    for name, one in tables.items():
        file, format, windows = TRACES[name]
        trace, _ = open_request_trace(folder / file, format)
        arrival_ns = trace.requests.arrival_ns
        print(f"{name}: shape {one.burst_shape}, period {one.burst_period_seconds:g} s, variation of gaps {gap_variation(arrival_ns):.3f}")
        for window in windows:
            counts = counts_in(arrival_ns, window * 10**9, AHEAD_NS)
            model = burst_dispersion(float(np.mean(counts)), one.burst_shape, window / one.burst_period_seconds)
            print(f"  {window:4d} s: index of dispersion {dispersion(counts):7.2f}, by the fit {model:7.2f}")


if __name__ == "__main__":
    main()
