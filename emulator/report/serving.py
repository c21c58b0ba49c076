"""The section ``inference`` of the summary, and ``requests.parquet``.

- ``requests``: that arrived; ``completed`` finished, the others were ``rejected`` (every replica had as many as may wait; ``too_long``: no
  replica could hold it), ``timed_out`` (no first token within the client's patience), ``cancelled`` by their clients, or ``lost`` with
  replicas as often as they were made; or they are still under way. ``retried``: tries after the first.
- ``run_ratio``: the part of the requests that was run one by one. Where it is below 1, every count is that of the pools that were run, each
  times the replicas that it stands for over its own.
- ``ttft_seconds``, ``tpot_seconds``, ``e2e_seconds``: of those that finished; quantiles within the bins that they are counted in, 2 % wide.
- ``slo_attainment_ratio``: that finished within both objectives, over all that ended but for the cancelled.
- ``goodput_tokens_per_second``: output of those within the objectives, over the emulated time.
- ``energy_joules``: of the replicas, what their GPUs drew above idle and their part of their hosts' idle draw, from the time that they held
  their GPUs: loading and waiting included, without PUE and switches. ``joules_per_request`` and ``_per_token`` (of output) are over those
  that finished.
- ``priorities`` of a service, highest first, where its requests have several: how many of each class were kept, and of these the TTFT of
  those that finished and the attainment, as above. Empty where no request was kept, or all have the same.
- ``cache_hit_ratio``: input tokens found in the prefix cache, over all. ``moved_tokens``: of prompts of disaggregated services, those of
  which keys and values went over the fabric.
- ``remote_requests``: of those that arrived, that entered at another site than the one that serves them.
"""

from typing import Any

import numpy as np

from emulator.engine.engine import Engine
from emulator.engine.service_accounts import ServiceAccount, run_ratio
from emulator.engine.service_control import ServiceView
from emulator.engine.service_views import service_views, tally_names
from emulator.racks.latencies import BINS, PS_PER_NS, bin_of, quantiles
from emulator.racks.pool_records import How
from emulator.racks.served import Served
from emulator.racks.serving_messages import LATENCIES, TALLIES, KeptRequests, Latency, Tally, chosen
from emulator.workload.jobs import SECOND

#: How requests end, by ``KeptRequests.how``, which is never 0.
HOW = ("", *(how.name.lower() for how in sorted(How)))


def inference_summary(engine: Engine) -> dict[str, Any] | None:
    """After the engine's ``finish``; None where nothing serves."""
    if engine.services is None:
        return None
    views, accounts = service_views(engine), engine.services.accounts
    seconds = engine.now_ns / SECOND
    kept, services = engine.services.sample.columns(), engine.services.settings.services
    of = kept.pool // engine.services.replicas.units
    each = {
        view.name: _section([view], [account], seconds) | {"priorities": _priorities(chosen(kept, of == number), services[number].served)}
        for number, (view, account) in enumerate(zip(views, accounts, strict=True))
    }
    return _section(views, accounts, seconds) | {"kept_requests_ratio": 0.5**engine.services.sample.shift, "services": each}


def _section(views: list[ServiceView], accounts: list[ServiceAccount], seconds: float) -> dict[str, Any]:
    tallies, counts = np.zeros(TALLIES, np.int64), np.zeros((LATENCIES, BINS), np.int64)
    for account in accounts:
        tallies += account.tallies
        counts += account.counts
    told, joules = tally_names(tallies), sum([view.energy_joules for view in views])
    good = sum([int(account.tallies[Tally.GOOD]) for account in accounts])
    ended = sum([account.ended for account in accounts])
    run = sum([account.run_requests for account in accounts])
    return {
        "requests": told["arrived"],
        "completed": told["finished"],
        "rejected": told["rejected"] + told["too_long"],
        "too_long": told["too_long"],
        "timed_out": told["timed_out"],
        "cancelled": told["cancelled"],
        "lost": told["lost"],
        "retried": told["retried"],
        "run_ratio": run_ratio(run, int(tallies[Tally.ARRIVED])),
        "input_tokens": told["input_tokens"],
        "output_tokens": told["output_tokens"],
        "wasted_tokens": told["wasted_tokens"],
        "moved_tokens": told["moved_tokens"],
        "remote_requests": told["remote_requests"],
        "cache_hit_ratio": told["cached_tokens"] / told["input_tokens"] if told["input_tokens"] else None,
        "ttft_seconds": dict(quantiles(counts[Latency.TTFT])),
        "tpot_seconds": dict(quantiles(counts[Latency.TPOT])),
        "e2e_seconds": dict(quantiles(counts[Latency.E2E])),
        "slo_attainment_ratio": good / ended if ended else None,
        "goodput_tokens_per_second": told["good_tokens"] / seconds if seconds else None,
        "energy_joules": joules,
        "joules_per_request": joules / told["finished"] if told["finished"] else None,
        "joules_per_token": joules / told["output_tokens"] if told["output_tokens"] else None,
        "replicas": sum([view.up_replicas for view in views]),
    }


def _priorities(kept: KeptRequests, served: Served) -> list[dict[str, Any]]:
    classes = np.unique(kept.priority)[::-1].tolist()
    return [_class(priority, chosen(kept, kept.priority == priority), served) for priority in classes] if len(classes) > 1 else []


def _class(priority: int, kept: KeptRequests, served: Served) -> dict[str, Any]:
    done, ended = chosen(kept, kept.how == How.FINISHED), int((kept.how != How.CANCELLED).sum())
    arrival_ps, first_ps, done_ps = (times_ns * PS_PER_NS for times_ns in (done.arrival_ns, done.first_ns, done.done_ns))
    answered = served.answered(arrival_ps, first_ps, done_ps, done.output, done.delay_ns * PS_PER_NS)
    return {
        "priority": priority,
        "kept_requests": len(kept.how),
        "ttft_seconds": dict(quantiles(np.bincount(bin_of(answered.ttft_ps), minlength=BINS))),
        "slo_attainment_ratio": int(answered.good.sum()) / ended if ended else None,
    }


def requests_table(kept: KeptRequests, services: tuple[str, ...], units: int, sites: tuple[str, ...]) -> Any:
    """``requests.parquet`` as a pyarrow.Table: a row per request that was kept, in order of arrival; null for what never came, and for the
    site at which it entered where that is not known.
    """
    import pyarrow as pa

    def words(codes: Any, names: tuple[str, ...]) -> Any:
        indices = pa.array(codes.astype(np.int32), mask=codes < 0)
        return pa.DictionaryArray.from_arrays(indices, pa.array(list(names))).cast(pa.string())

    def seconds(times_ns: Any) -> Any:
        return pa.array(times_ns / SECOND, mask=times_ns < 0, type=pa.float64())

    return pa.table(
        {
            "service": words(kept.pool // units, services),
            "pool": kept.pool % units,
            "request": kept.number,
            "arrival_seconds": seconds(kept.arrival_ns),
            "first_token_seconds": seconds(kept.first_ns),
            "end_seconds": seconds(kept.done_ns),
            "prompt_tokens": kept.prompt,
            "output_tokens": kept.output,
            "cached_tokens": kept.cached,
            "tries": kept.tries,
            "priority": kept.priority,
            "client_delay_seconds": kept.delay_ns / SECOND,
            "replica_job_id": pa.array(kept.replica, mask=kept.replica < 0),
            "origin": words(kept.entry, sites),
            "outcome": words(kept.how.astype(np.int64), HOW),
        }
    )


def served_numbers(engine: Engine) -> Any:
    """What a digest is to hold of each service: its counts, and its latencies in bins. None where nothing serves."""
    if engine.services is None:
        return None
    return np.concatenate([np.concatenate([account.tallies, account.counts.reshape(-1)]) for account in engine.services.accounts])
