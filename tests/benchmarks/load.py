"""Many clients at once: submissions at a steady rate, watches of which half are never read, idle streams, scrapes; loopback only.

    python tests/benchmarks/load.py HOST:PORT METRICS_HOST:PORT --rate 1000 --seconds 30 --watches 50 --idle 100

Prints one JSON object: what was accepted a second, latencies of what was (p50, p99, worst), how many calls ended with which code, and the
CPU seconds of the clients themselves (with ``--pid`` also those of the server, and its largest resident memory).

The calls are sent when they are due, whether the earlier ones have been answered or not: a server that is slow gets no fewer of them.
Clients share the machine with the server, so they do as little as can be: a request is encoded once, and answers are not decoded, save
those of one watch.
"""

import argparse
import asyncio
import contextlib
import json
import os
import resource
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from emulator.v1 import job_service_pb2 as pb

#: Longest that a client waits for an answer, and most calls and seconds of one run.
DEADLINE_SECONDS, MOST_CALLS, MOST_SECONDS = 10.0, 500_000, 120.0
#: Wall seconds for watches and streams to begin, before the first call.
BEGIN_SECONDS = 2.0
OPTIONS = (("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1))
_SERVICE = "/emulator.v1.JobService/"
_SUBMIT = pb.SubmitJobRequest()
_SUBMIT.spec.gpus, _SUBMIT.spec.duration.seconds = 8, 600
_REQUEST = _SUBMIT.SerializeToString()
#: Neither requests nor answers are messages: bytes as they are.
_RAW: dict[str, Any] = {"request_serializer": None, "response_deserializer": None}


async def submit(call: Any, due: float, latencies: list[float], codes: Counter[str]) -> None:
    try:
        await call(_REQUEST, timeout=DEADLINE_SECONDS)
    except grpc.aio.AioRpcError as error:
        known = error.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED)
        codes[error.code().name + ("" if known else f": {(error.details() or '')[:80]}")] += 1
    else:
        codes["OK"] += 1
        latencies.append(time.monotonic() - due)


async def idle(channel: grpc.aio.Channel) -> None:
    """A stream that is opened and then says nothing."""

    async def nothing() -> AsyncIterator[bytes]:
        await asyncio.sleep(MOST_SECONDS)
        yield b""

    with contextlib.suppress(grpc.aio.AioRpcError):
        await channel.stream_unary(_SERVICE + "SubmitJobs", **_RAW)(nothing())


async def watch(channel: grpc.aio.Channel, number: int, seen: Counter[str]) -> None:
    """Odd ones are never read behind their first message; of the first one events are counted."""
    try:
        async for response in channel.unary_stream(_SERVICE + "WatchJobs", **_RAW)(b""):
            seen["bytes"] += len(response)
            if number == 0:
                seen["events_of_the_first"] += len(pb.WatchJobsResponse.FromString(response).events)
            if number % 2:
                await asyncio.sleep(MOST_SECONDS)
    except grpc.aio.AioRpcError as error:
        seen[error.code().name] += 1


async def scrape(address: str, seen: Counter[str]) -> None:
    while True:
        try:
            await asyncio.to_thread(lambda: urllib.request.urlopen(f"http://{address}/metrics", timeout=5).read())
            seen["OK"] += 1
        except OSError as error:
            seen[type(error).__name__] += 1
        await asyncio.sleep(1.0)


async def load(arguments: argparse.Namespace, begin: float, share: float, others: bool) -> dict[str, Any]:
    """One process's share of the calls, from ``begin`` on; and all else where it is asked for ``others``."""
    channels = [grpc.aio.insecure_channel(arguments.api, options=(*OPTIONS, ("gigawatt.n", n))) for n in range(arguments.connections)]
    submits = [channel.unary_unary(_SERVICE + "SubmitJob", **_RAW) for channel in channels]
    latencies: list[float] = []
    codes, watched, scraped = Counter[str](), Counter[str](), Counter[str]()
    beside: list[asyncio.Task[None]] = []
    if others:
        beside = [asyncio.create_task(idle(channels[n % len(channels)])) for n in range(arguments.idle)]
        beside += [asyncio.create_task(watch(channels[n % len(channels)], n, watched)) for n in range(arguments.watches)]
        if arguments.metrics:
            beside.append(asyncio.create_task(scrape(arguments.metrics, scraped)))
    calls: set[asyncio.Task[None]] = set()
    rate = arguments.rate * share
    total = int(min(MOST_CALLS * share, rate * min(arguments.seconds, MOST_SECONDS)))
    for number in range(total):
        due = begin + number / rate
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        call = asyncio.create_task(submit(submits[number % len(submits)], due, latencies, codes))
        calls.add(call)
        call.add_done_callback(calls.discard)
        if number % 50 == 0:
            await asyncio.sleep(0)
    sent = time.monotonic() - begin
    if calls:
        await asyncio.wait(calls)
    seconds = time.monotonic() - begin
    for task in beside:
        task.cancel()
    await asyncio.gather(*beside, return_exceptions=True)
    for channel in channels:
        await channel.close(None)
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = used.ru_utime + used.ru_stime
    return {"latencies": latencies, "codes": codes, "watched": watched, "scraped": scraped, "sent": sent, "seconds": seconds, "cpu": cpu}


def one(arguments: argparse.Namespace, begin: float, share: float, others: bool) -> dict[str, Any]:
    return asyncio.run(load(arguments, begin, share, others))


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mebibytes(pid: int) -> int:
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return round(int(lines["VmHWM"].split()[0]) / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("api")
    parser.add_argument("metrics", nargs="?")
    parser.add_argument("--rate", type=float, default=500.0, help="submissions a second, in all")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--watches", type=int, default=0)
    parser.add_argument("--idle", type=int, default=0)
    parser.add_argument("--connections", type=int, default=4, help="of each process")
    parser.add_argument("--processes", type=int, default=1, help="that submit")
    parser.add_argument("--pid", type=int, default=0, help="of the server")
    arguments = parser.parse_args()
    before = cpu_seconds(arguments.pid) if arguments.pid else 0.0
    with ProcessPoolExecutor(arguments.processes, mp_context=get_context("spawn")) as pool:
        begin = time.monotonic() + BEGIN_SECONDS + 0.5 * arguments.processes
        parts = list(
            pool.map(
                one,
                [arguments] * arguments.processes,
                [begin] * arguments.processes,
                [1 / arguments.processes] * arguments.processes,
                [number == 0 for number in range(arguments.processes)],
            )
        )
    latencies = sorted(latency for part in parts for latency in part["latencies"])
    seconds = max(part["seconds"] for part in parts)
    codes = sum((part["codes"] for part in parts), Counter[str]())
    quantile = {f"p{q}_ms": round(1000 * latencies[int(len(latencies) * q / 100)], 1) for q in (50, 99)} if latencies else {}
    answer: dict[str, object] = {
        "asked_per_second": round(codes.total() / max(part["sent"] for part in parts)),
        "accepted_per_second": round(len(latencies) / seconds),
        **quantile,
        "worst_ms": round(1000 * latencies[-1], 1) if latencies else None,
        "codes": dict(codes),
        "watches": dict(parts[0]["watched"]),
        "scrapes": dict(parts[0]["scraped"]),
        "seconds": round(seconds, 1),
        "client_cpu_seconds": round(sum(part["cpu"] for part in parts), 1),
    }
    if arguments.pid:
        answer |= {"server_cpu_seconds": round(cpu_seconds(arguments.pid) - before, 1), "server_peak_mib": peak_mebibytes(arguments.pid)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
