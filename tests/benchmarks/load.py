"""Many clients at once: submissions at a steady rate, watches of which half are never read, idle streams, scrapes; loopback only.

    python tests/benchmarks/load.py HOST:PORT METRICS_HOST:PORT --rate 1000 --seconds 30 --watches 50 --idle 100

Prints one JSON object: what was accepted a second, latencies of what was (p50, p99), and how many calls ended with which code.
The calls are sent when they are due, whether the earlier ones have been answered or not: a server that is slow gets no fewer of them.
"""

import argparse
import asyncio
import contextlib
import json
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator

import grpc
import grpc.aio

from emulator.v1 import job_service_pb2 as pb
from emulator.v1.job_service_pb2_grpc import JobServiceStub

#: Longest that a client waits for an answer, and most calls and seconds of one run.
DEADLINE_SECONDS, MOST_CALLS, MOST_SECONDS = 10.0, 500_000, 120.0
OPTIONS = (("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1))


async def submit(stub: JobServiceStub, due: float, latencies: list[float], codes: Counter[str]) -> None:
    request = pb.SubmitJobRequest()
    request.spec.gpus, request.spec.duration.seconds = 8, 600
    try:
        await stub.SubmitJob(request, timeout=DEADLINE_SECONDS)
    except grpc.aio.AioRpcError as error:
        known = error.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED)
        codes[error.code().name + ("" if known else f": {(error.details() or '')[:80]}")] += 1
    else:
        codes["OK"] += 1
        latencies.append(time.monotonic() - due)


async def idle(stub: JobServiceStub) -> None:
    """A stream that is opened and then says nothing."""

    async def nothing() -> AsyncIterator[pb.SubmitJobsRequest]:
        await asyncio.sleep(MOST_SECONDS)
        yield pb.SubmitJobsRequest()

    with contextlib.suppress(grpc.aio.AioRpcError):
        await stub.SubmitJobs(nothing())


async def watch(stub: JobServiceStub, read: bool, seen: Counter[str]) -> None:
    try:
        stream = stub.WatchJobs(pb.WatchJobsRequest())
        async for response in stream:
            seen["events"] += len(response.events)
            if not read:
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


async def load(arguments: argparse.Namespace) -> dict[str, object]:
    channels = [grpc.aio.insecure_channel(arguments.api, options=(*OPTIONS, ("gigawatt.n", n))) for n in range(arguments.connections)]
    stubs = [JobServiceStub(channel) for channel in channels]
    latencies: list[float] = []
    codes, watched, scraped = Counter[str](), Counter[str](), Counter[str]()
    others = [asyncio.create_task(idle(stubs[n % len(stubs)])) for n in range(arguments.idle)]
    others += [asyncio.create_task(watch(stubs[n % len(stubs)], n % 2 == 0, watched)) for n in range(arguments.watches)]
    if arguments.metrics:
        others.append(asyncio.create_task(scrape(arguments.metrics, scraped)))
    await asyncio.sleep(1.0)
    calls: set[asyncio.Task[None]] = set()
    total = min(MOST_CALLS, int(arguments.rate * min(arguments.seconds, MOST_SECONDS)))
    begun = time.monotonic()
    for number in range(total):
        due = begun + number / arguments.rate
        if (wait := due - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        call = asyncio.create_task(submit(stubs[number % len(stubs)], due, latencies, codes))
        calls.add(call)
        call.add_done_callback(calls.discard)
        if number % 50 == 0:
            await asyncio.sleep(0)
    sent = time.monotonic() - begun
    if calls:
        await asyncio.wait(calls)
    seconds = time.monotonic() - begun
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    for channel in channels:
        await channel.close(None)
    latencies.sort()
    quantile = {f"p{q}_ms": round(1000 * latencies[int(len(latencies) * q / 100)], 1) for q in (50, 99)} if latencies else {}
    return {
        "asked_per_second": round(total / sent),
        "accepted_per_second": round(len(latencies) / seconds),
        **quantile,
        "codes": dict(codes),
        "watches": dict(watched),
        "scrapes": dict(scraped),
        "seconds": round(seconds, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("api")
    parser.add_argument("metrics", nargs="?")
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--watches", type=int, default=0)
    parser.add_argument("--idle", type=int, default=0)
    parser.add_argument("--connections", type=int, default=4)
    print(json.dumps(asyncio.run(load(parser.parse_args()))))


if __name__ == "__main__":
    main()
