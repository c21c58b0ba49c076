"""docs/validity.md, written from the comparison itself: ``python -m emulator.experiments.validation.page docs/validity.md``."""

import sys
from dataclasses import replace
from pathlib import Path

from emulator.experiments.validation.compare import Comparison, Row, compare_training, published_rows
from emulator.experiments.validation.figures import MEGASCALE_STACK_RATIO, compare_all
from emulator.workload.serving.stacks import STACKS
from emulator.workload.training.kernels import CURVES, DEFAULT_HALF, DEFAULT_SHARE
from emulator.workload.training.step import STAGE_SECONDS

_INTRO = """\
# How far to trust the figures

Written by `python -m emulator.experiments.validation.page docs/validity.md` from the published figures in
`emulator/experiments/validation/published/`; do not edit.

`gigawatt validate` prints each published figure beside ours, and ends with exit code 1 where one is outside its bar. Of training steps it
compares tokens per second, not TFLOP/s: sources count operations differently. `gigawatt validate --rows FILE.csv` does so for rows of your
own: of training steps with these columns,

    model gpu gpus precision global_batch_sequences sequence               needed
    id tp pp cp vp ep micro_batch                                          1 where empty (vp: 6 on a pipeline, assumed);
                                                                           chosen where tp, pp, cp and ep are all empty
    step_seconds_median tokens_per_second_per_gpu                          one of the two
    start_up_seconds source                                                not compared

and of serving, where there are `isl`, `osl` and `concurrency`, with these:

    system model precision backend isl osl tp concurrency ttft_ms tpot_ms  needed; precision: bf16 where empty
    id backend_version pp attn_dp moe_tp moe_ep source                     1 where empty; versions and the split of experts are not compared

What would not fit the memory of the GPUs is taken as sharded over the replicas (ZeRO 3). Rows of one source that differ in GPUs alone are a
series, and its scaling loss is compared too: what each GPU loses from the smallest size to a larger one.
"""

_FITTED = """\
## What is fitted

Two numbers for each GPU and precision, on the rows above, by `python -m emulator.experiments.validation.fit`: the share of the measured
matmul ceiling that training reaches, and the intensity (operations per byte of bf16) at which half of that is reached. No row has a
constant of its own. The software of MegaScale is one factor, {stack:g}, on all of its rows. A step has {stage:.0f} ms for each stage of its
pipeline.

{curves}
The ceilings of the H100 and GB200 are the best of measured tables. H200 and H800 are taken as the H100, whose die they have. B200, B300 and
GB300, and the bf16 share of the GB200, are assumed from the GB200's fp8: B200 and B300 by the peaks, GB300 by the power and in nvfp4 by the
peaks. Other accelerators have the share {share:g} and the half {half:g}, those of the A100: assumed.
"""

_SERVING = """\
## Serving

A replica runs each request with continuous batching (`emulator/racks/pool_batch.py`). A step takes a floor for each layer, the larger of
reading the weights and multiplying, reading the KV, attention, all-reduces, and a part for each request in it
(`emulator/workload/serving/costs.py`). The rows are closed loops as InferenceMAX ran them (kept in NVIDIA's aiconfigurator, Apache-2.0):
lengths uniform from 0.8 of the longest on, ten requests for each place. Single points differ by the luck of a run, so the errors are held
to quantiles; no row is left out.

{quantiles}
Five numbers are fitted for each GPU, precision and engine, by `python -m emulator.experiments.validation.fit_serving`; what has no rows has
those of the nearest that has (`stack_of`). Rows of throughput alone are in the first table.

{stacks}
{points}"""

_UNFITTED = """\
## Rows that nothing was fitted to

The same model on other rows, most of an older release of the same software (25.11, where the rows above are of 26.06). Nothing is held to
them. That GB300 goes by its power, what casts to fp8 read, and that half of ZeRO 3's traffic shows was chosen with U1 to U11 in sight; no
number was fitted to them.

{rows}
An older release is slower, and so are models that are sharded whole (FSDP). Mixtures come out too fast, most on B200 in fp8, whose
published steps are bound by what is not modelled; and too slow where the pipeline hides the all-to-alls.
"""

_NOT_MODELLED = """\
## What is not modelled

- **Mixtures beyond a balanced one.** Every expert gets the same tokens; launches of kernels, routing and the host take no time. All-to-alls
  are wholly visible; pipelines that hide them (DeepSeek's DualPipe) are faster than ours.
- **The age of software.** Constants are those of the releases named. The same rack became 1.2 to 2.8 times as fast within half a year of
  MLPerf.
- **Jitter and stragglers.** A step is its median: no stalls of seconds, no slow GPUs, no temperature. Published logs have a 90th percentile
  of 1.002 to 1.05 of the median, and a heavy tail beyond.
- **Start-up.** The seconds from the start of a job to its first step are in the rows, and not compared.
- **Memory.** Whether activations fit is not checked; a fixed part of the memory is left for them. Recomputation is of whole layers.
- **Overlap of tensor parallelism.** Its reductions are visible. Kernels that hide them are in the fitted share.
- **ZeRO 3.** Half of its traffic is taken as visible: assumed.
- **The fabric in these rows.** A job is alone on it and gets 90 % of the line rate. In an emulation it gets its share.
- **Power in these rows** is the idle draw and the component maximum; what a host draws under a job is a curve over utilization
  (`emulator/racks/power.py`).
- **E[ETTR]** of the paper is for small losses; `emulator.jobs.ettr.daly_ettr` is exact. RSC's own rate does not predict its jobs of 1,024
  GPUs (28.8 hours to a fault by the rate, 7.9 measured): small jobs fail for other reasons.
- **Serving in these rows**: no row has a pipeline of stages, attention in groups, a prefix cache or speculative decoding; every expert is
  as likely as any other; prompts and decodes share the GPUs.
  Latencies of a closed loop include those of its start, when all places fill at once.
"""


def markdown() -> str:
    """The page."""
    comparison = compare_all()
    unfitted = compare_training(published_rows("unfitted.csv"))
    curves = _table(
        ("GPU", "precision", "ceiling, TFLOP/s", "share", "half"),
        [
            (gpu, precision, f"{one.ceiling_flops / 1e12:,.0f}", f"{one.share:g}", f"{one.half_intensity:g}")
            for (gpu, precision), one in CURVES.items()
        ],
    )
    alone = tuple(row for row in comparison.rows if not row.in_quantile)
    fitted = _FITTED.format(stack=MEGASCALE_STACK_RATIO, stage=1000 * STAGE_SECONDS, curves=curves, share=DEFAULT_SHARE, half=DEFAULT_HALF)
    return "\n".join(
        (
            _INTRO,
            "## Published figures\n",
            _rows(alone),
            _summary(replace(comparison, rows=alone)),
            "## Scaling\n",
            _losses(comparison),
            fitted,
            _SERVING.format(quantiles=_quantiles(comparison), stacks=_stacks(), points=_points(comparison)),
            _UNFITTED.format(rows=_unfitted(unfitted)),
            _NOT_MODELLED.rstrip("\n"),
            "",
        )
    )


def _summary(comparison: Comparison) -> str:
    words = comparison.words()
    median, most = 100 * words["median_abs_error_ratio"], 100 * words["p90_abs_error_ratio"]
    return f"The error is {median:.1f} % in the median and {most:.1f} % at the 90th percentile of these rows.\n"


def _rows(rows: tuple[Row, ...]) -> str:
    return _table(
        ("id", "quantity", "published", "ours", "error", "bar", "source"),
        [
            (
                row.id,
                row.quantity,
                *_compared(row),
                f"±{100 * row.tolerance_ratio:.0f} %",
                row.source,
            )
            for row in rows
        ],
    )


def _unfitted(comparison: Comparison) -> str:
    given = published_rows("unfitted.csv")
    return _table(
        ("id", "model", "GPUs", "precision", "published", "ours", "error", "source"),
        [
            (
                row.id,
                row.model,
                f"{row.gpus:,} {row.gpu.partition('-')[0]}",
                row.precision,
                *_compared(one),
                row.source,
            )
            for row, one in zip(given, comparison.rows, strict=True)
        ],
    )


def _quantiles(comparison: Comparison) -> str:
    rows = list[tuple[str, ...]]()
    for one in comparison.quantiles:
        ratios = one.median_ratio, one.median_tolerance_ratio, one.p90_ratio, one.p90_tolerance_ratio
        rows.append((one.quantity, f"{one.rows}", *(f"{100 * ratio:.1f} %" for ratio in ratios)))
    return _table(("errors of", "rows", "median", "bar", "90th percentile", "bar"), rows)


def _stacks() -> str:
    rows = list[tuple[str, ...]]()
    for key, one in STACKS.items():
        times = 1e6 * one.floor_seconds, 1e6 * one.running_seconds, 1e3 * one.front_end_seconds
        floor, running, front_end = (f"{time:.3g}" for time in times)
        rows.append((*key, floor, f"{one.memory_ratio:g}", f"{one.multiply_ratio:g}", running, front_end, one.kv_precision))
    names = ("GPU", "precision", "engine", "models")
    return _table((*names, "floor, us a layer", "memory", "multiplication", "us a request", "front end, ms", "KV"), rows)


def _points(comparison: Comparison) -> str:
    """TTFT and TPOT of each row, side by side."""
    by_id = {(row.id, row.quantity): row for row in comparison.rows if row.in_quantile}
    pairs = [(row, by_id[row.id, "TPOT, ms"]) for (_, quantity), row in by_id.items() if quantity == "TTFT, ms"]
    return _table(
        ("id", "row", "TTFT, ms", "ours", "error", "TPOT, ms", "ours", "error"),
        [(first.id, first.source, *_compared(first), *_compared(later)) for first, later in pairs],
    )


def _losses(comparison: Comparison) -> str:
    return _table(
        ("series", "GPUs", "published loss", "ours", "bar"),
        [
            (
                loss.series,
                f"{loss.from_gpus:,} to {loss.gpus:,}",
                f"{100 * loss.published:.1f} %",
                f"{100 * loss.ours:.1f} %",
                f"±{100 * loss.tolerance:.0f} points",
            )
            for loss in comparison.losses
        ],
    )


def _table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [headings, tuple("---" for _ in headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _compared(row: Row) -> tuple[str, str, str]:
    """Published, ours, and the error."""
    error = round(100 * row.error_ratio, 1)
    return _number(row.published), _number(row.ours), f"{error:+.1f} %" if error else "0.0 %"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(markdown(), encoding="utf-8")
