"""``gigawatt job``: submit jobs to a running emulation and follow them."""

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emulator.cli.connection import TIMEOUT_SECONDS, ApiOption, TimeoutOption, connected
from emulator.cli.errors import CommandError, Exit
from emulator.cli.output import Format, FormatOption, LimitOption, console, note, show_listing, show_one
from emulator.cli.progress import stamp
from emulator.cli.specs import job_spec, read
from emulator.cli.values import path as path_of

if TYPE_CHECKING:
    from emulator.engine.job_control import JobView
    from emulator.service.client import Client

app = typer.Typer(help="Jobs of a running emulation.", no_args_is_help=True)

JobArgument = Annotated[str, typer.Argument(metavar="ID|NAME", help="The job's id, or its name where no other job has it.")]
_COLUMNS = {
    "job_id": "ID",
    "name": "NAME",
    "queue": "QUEUE",
    "state": "STATE",
    "gpus": "GPUS",
    "submit_seconds": "SUBMITTED",
    "start_seconds": "STARTED",
    "end_seconds": "ENDED",
    "progress_ratio": "DONE",
    "speed_ratio": "SPEED",
    "network_slowdown_ratio": "SLOWDOWN",
    "reason": "REASON",
}


class State(StrEnum):
    """What ``--state`` takes, by the names of `engine.job_control.JobState`, which is not imported for ``--help``."""

    PENDING = "pending"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INFEASIBLE = "infeasible"
    REJECTED = "rejected"


#: A job in one of these may still change.
_GOING = (State.PENDING, State.RUNNING)


@app.command("submit")
def submit(
    *,
    gpus: Annotated[int | None, typer.Option("--gpus", "-g", metavar="N", help="GPUs, all at once.")] = None,
    duration: Annotated[str | None, typer.Option("--duration", "-d", metavar="TIME", help="Emulated running time, e.g. 2h.")] = None,
    min_gpus: Annotated[
        int | None, typer.Option("--min-gpus", metavar="N", help="The fewest GPUs that it may run with; --gpus is the most.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="The job's name.")] = None,
    queue: Annotated[str | None, typer.Option("--queue", help="The queue to wait in.")] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="The tenant whose job it is.")] = None,
    priority: Annotated[int | None, typer.Option("--priority", help="Higher goes first.")] = None,
    estimate: Annotated[
        str | None, typer.Option("--estimate", metavar="TIME", help="The submitter's estimate of the running time; backfill plans with it.")
    ] = None,
    deadline: Annotated[
        str | None, typer.Option("--deadline", metavar="TIME", help="By so long after its submission it should have ended.")
    ] = None,
    milli_gpus: Annotated[
        int | None, typer.Option("--milli-gpus", metavar="N", help="Thousandths of a GPU, for a job that shares one.")
    ] = None,
    require: Annotated[
        str | None, typer.Option("--require", metavar="LEVEL", help="The whole job must be in one unit of this level.")
    ] = None,
    prefer: Annotated[
        str | None, typer.Option("--prefer", metavar="LEVEL", help="The whole job should be in one unit of this level.")
    ] = None,
    slice_gpus: Annotated[
        int | None, typer.Option("--slice-gpus", metavar="N", help="Cut it into slices of N GPUs, each in one unit of --slice-level.")
    ] = None,
    slice_level: Annotated[str | None, typer.Option("--slice-level", metavar="LEVEL", help="The level of the slices.")] = None,
    checkpoint: Annotated[
        str | None, typer.Option("--checkpoint", metavar="TIME", help="Time between checkpoints; or young, or daly.")
    ] = None,
    recovery: Annotated[str | None, typer.Option("--recovery", help="After a fault: requeue, in-place, spares or elastic.")] = None,
    no_preempt: Annotated[bool, typer.Option("--no-preempt", help="Jobs of higher priority may not take its GPUs.")] = False,
    utilization: Annotated[float | None, typer.Option("--utilization", metavar="R", help="How busy its GPUs are, 0 to 1.")] = None,
    replicas: Annotated[
        int | None, typer.Option("--replicas", metavar="N", help="Submit a service of N replicas, each placed by itself.")
    ] = None,
    gpu_type: Annotated[
        str | None,
        typer.Option("--gpu-type", metavar="TYPE", help="Model of its GPUs or type of its hosts; several: GB200,H100."),
    ] = None,
    after: Annotated[
        str | None,
        typer.Option("--after", metavar="ID,ID", help="It starts when these jobs have finished; cancelled where one ends otherwise."),
    ] = None,
    after_any: Annotated[
        str | None, typer.Option("--after-any", metavar="ID,ID", help="It starts when these jobs have ended, in any way.")
    ] = None,
    array: Annotated[
        int | None, typer.Option("--array", metavar="N", help="Submit N jobs like this one, called NAME[0] and so on.")
    ] = None,
    array_parallel: Annotated[
        int | None, typer.Option("--array-parallel", metavar="N", help="At most N jobs of the array run at a time.")
    ] = None,
    reservation: Annotated[str | None, typer.Option("--reservation", help="Run on the hosts of this reservation, while it lasts.")] = None,
    site: Annotated[
        str | None, typer.Option("--site", metavar="NAME", help="It may run at this site only, where jobs are dispatched to sites.")
    ] = None,
    prefer_site: Annotated[str | None, typer.Option("--prefer-site", metavar="NAME", help="The site that it prefers.")] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="NAME", help="The dataset that it reads, which must come to where it runs.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="Train this model, e.g. llama3-70b.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", metavar="N", help="Training steps, instead of a duration.")] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", parser=path_of, metavar="FILE", help="A YAML or JSON file with these settings; options override it."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow it to its end.")] = False,
    api: ApiOption = None,
    timeout: TimeoutOption = TIMEOUT_SECONDS,
    output: FormatOption = Format.TABLE,
) -> None:
    """Submit a job: a gang of GPUs for a duration, training with --model, a service with --replicas."""
    words: dict[str, Any] = {
        "gpus": gpus,
        "min_gpus": min_gpus,
        "duration": duration,
        "name": name,
        "queue": queue,
        "tenant": tenant,
        "priority": priority,
        "estimate": estimate,
        "deadline": deadline,
        "milli_gpus": milli_gpus,
        "require": require,
        "prefer": prefer,
        "slice_gpus": slice_gpus,
        "slice_level": slice_level,
        "checkpoint": checkpoint,
        "recovery": recovery,
        "preemptible": False if no_preempt else None,
        "utilization": utilization,
        "replicas": replicas,
        "gpu_type": gpu_type,
        "after": after,
        "after_any": after_any,
        "array": array,
        "array_parallel": array_parallel,
        "reservation": reservation,
        "site": site,
        "prefer_site": prefer_site,
        "dataset": dataset,
        "training": {key: value for key, value in (("name", model), ("steps", steps)) if value is not None} or None,
    }
    given = {word: value for word, value in words.items() if value is not None}
    spec = job_spec(given, "--") if file is None else job_spec(read(file) | given, f"--file {file}: ")
    with connected(api, timeout) as client:
        job = client.submit(spec)
        show_one(asdict(job), output)
        if watch:
            _follow(client, [job.job_id])


@app.command("list")
def list_jobs(
    *,
    state: Annotated[list[State] | None, typer.Option("--state", help="Only jobs in this state; may be repeated.")] = None,
    queue: Annotated[str, typer.Option("--queue", help="Only jobs of this queue.")] = "",
    limit: LimitOption = None,
    api: ApiOption = None,
    timeout: TimeoutOption = TIMEOUT_SECONDS,
    output: FormatOption = Format.TABLE,
) -> None:
    """List jobs by id."""
    from emulator.engine.job_control import JobState

    states = frozenset(JobState(str(one)) for one in state or ())
    with connected(api, timeout) as client:
        show_listing(lambda most: client.jobs(states=states, queue=queue, limit=most), limit, _COLUMNS, output)


@app.command("get")
def get(job: JobArgument, api: ApiOption = None, timeout: TimeoutOption = TIMEOUT_SECONDS, output: FormatOption = Format.TABLE) -> None:
    """Show one job."""
    with connected(api, timeout) as client:
        show_one(asdict(client.job(_id(client, job))), output)


@app.command("cancel")
def cancel(job: JobArgument, api: ApiOption = None, timeout: TimeoutOption = TIMEOUT_SECONDS, output: FormatOption = Format.TABLE) -> None:
    """End a pending or running job."""
    with connected(api, timeout) as client:
        show_one(asdict(client.cancel(_id(client, job))), output)


@app.command("hold")
def hold(job: JobArgument, api: ApiOption = None, timeout: TimeoutOption = TIMEOUT_SECONDS, output: FormatOption = Format.TABLE) -> None:
    """Keep a pending job from starting until it is released."""
    with connected(api, timeout) as client:
        show_one(asdict(client.hold(_id(client, job))), output)


@app.command("release")
def release(job: JobArgument, api: ApiOption = None, timeout: TimeoutOption = TIMEOUT_SECONDS, output: FormatOption = Format.TABLE) -> None:
    """Let a job that is on hold wait in its queue again, in its old place."""
    with connected(api, timeout) as client:
        show_one(asdict(client.release(_id(client, job))), output)


@app.command("priority", context_settings={"ignore_unknown_options": True})  # a number below 0 is no option
def priority_of(
    job: JobArgument,
    priority: Annotated[int, typer.Argument(metavar="N", min=-(2**31), max=2**31 - 1, help="Higher goes first; its queue's is added.")],
    api: ApiOption = None,
    timeout: TimeoutOption = TIMEOUT_SECONDS,
    output: FormatOption = Format.TABLE,
) -> None:
    """Give a pending or running job another priority, from the next cycle on."""
    with connected(api, timeout) as client:
        show_one(asdict(client.set_priority(_id(client, job), priority)), output)


@app.command("watch")
def watch_jobs(
    jobs: Annotated[list[str] | None, typer.Argument(metavar="[ID|NAME]...", help="Only these jobs. Default: all.")] = None,
    api: ApiOption = None,
    timeout: TimeoutOption = TIMEOUT_SECONDS,
) -> None:
    """Print a line for every change of a job; ends when all named jobs, or the emulation, have ended."""
    with connected(api, timeout) as client:
        _follow(client, [_id(client, job) for job in jobs or ()])


@app.command("explain")
def explain(job: JobArgument, api: ApiOption = None, timeout: TimeoutOption = TIMEOUT_SECONDS, output: FormatOption = Format.TABLE) -> None:
    """Say why a job is in its state, with the numbers, and what would let it start."""
    with connected(api, timeout) as client:
        show_one(asdict(client.explain(_id(client, job))), output)


def _id(client: "Client", job: str) -> int:
    """The id of the job that ``job`` names: digits are an id, anything else is a name."""
    if not job.strip():
        raise CommandError("ID|NAME is empty; allowed: the id or the name of a submitted job")
    if job.startswith("-") and job[1:].isdecimal():
        raise CommandError(f"ID|NAME is {job:.80}; allowed: an id greater than or equal to 0, or a name")
    if job.isascii() and job.isdecimal():
        return int(job)
    return client.job_named(job).job_id


def _follow(client: "Client", job_ids: list[int]) -> None:
    """Print events until the jobs or the emulation have ended; exit 1 if one of the named jobs did not finish."""
    out = console()
    last: dict[int, JobView] = {}
    for event in client.watch(job_ids=frozenset(job_ids)):
        job = event.job
        last[job.job_id] = job
        where = f" on {job.hosts}" if job.hosts else ""
        why = f": {job.reason}" if job.reason else ""
        name = f" ({job.name})" if job.name else ""
        out.print(f"{stamp(event.at_seconds)}  job {job.job_id}{name}  {job.state}{where}{why}", markup=False)
    going = [job for job in last.values() if str(job.state) in _GOING]
    if not job_ids:
        note("the emulation has ended")
    elif going:
        raise CommandError(f"the emulation has ended, and job {going[0].job_id} is {going[0].state}", Exit.FAILED)
    unfinished = [job for job in last.values() if str(job.state) != State.FINISHED]
    if job_ids and unfinished:
        job = unfinished[0]
        raise CommandError(f"job {job.job_id} {job.state}" + (f": {job.reason}" if job.reason else ""), Exit.FAILED)
