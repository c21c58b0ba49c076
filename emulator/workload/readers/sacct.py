"""Slurm's accounting, as ``sacct --parsable2`` prints it: a header, then fields separated by ``|``, columns in any order.

slurm.schedmd.com/sacct.html. For example::

    sacct -a -P -S 2026-03-01 -E 2026-04-01 -o JobID,User,Account,Partition,Submit,Start,End,ElapsedRaw,Timelimit,AllocTRES,State

A job's queue is its Partition and its tenant its Account; the options ``queue`` and ``tenant`` name other columns. Its estimate is the time
limit. Decisions:

- GPUs are those allocated (AllocTRES, else NGPUS or AllocGRES), and where nothing is recorded as allocated those requested (ReqTRES,
  ReqGRES; Slurm's database has all of them as sums over the job's nodes). A type in ``gres/gpu:h100=16`` binds the job to the host
  type that it names, where the cluster has it;
- steps (``5001.batch``) are parts of a job and are dropped; so is a run that was requeued (``--duplicates`` shows it), a job that never
  started, and one that had not ended;
- tasks of an array are jobs of their own, and so are the components of a heterogeneous job: Slurm has a record for each. JobIDRaw, where
  it is there, is the job's number; JobID (``5002_3``) is its name;
- the running time is ElapsedRaw or Elapsed, which leave suspensions out, else End - Start;
- ``UNLIMITED`` is a year, as Slurm's backfill takes it; without a limit of its own (``Partition_Limit``) the running time is the estimate.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from emulator.workload.jobs import ANY_TYPE, SECOND, JobSource
from emulator.workload.readers.batches import NEVER_STARTED, NO_SUBMISSION, STILL_RUNNING, Ids, Kept, job_batches
from emulator.workload.readers.errors import TraceError
from emulator.workload.readers.rows import MAX_GPUS, Columns, Interned, Row, Trace, csv_rows, named
from emulator.workload.readers.times import UNITS, parse_clock
from emulator.workload.readers.window import window

_READ = (
    "JobID", "JobIDRaw", "JobName", "User", "Account", "Partition", "QOS", "Cluster", "Group", "WCKey", "Submit", "Eligible", "Start",
    "End", "Elapsed", "ElapsedRaw", "Timelimit", "TimelimitRaw", "AllocTRES", "ReqTRES", "AllocGRES", "ReqGRES", "NGPUS", "State",
)  # fmt: skip
#: Other columns that are often printed, which an emulation does not need.
_UNREAD = (
    "UID", "GID", "NNodes", "AllocNodes", "ReqNodes", "NCPUS", "AllocCPUS", "ReqCPUS", "NTasks", "NodeList", "ExitCode",
    "DerivedExitCode", "Reason", "Priority", "ReqMem", "MaxRSS", "AveRSS", "CPUTime", "CPUTimeRAW", "TotalCPU", "Reserved", "Planned",
    "WorkDir", "Constraints", "Flags", "Suspended", "SubmitLine", "Comment", "AssocID", "DBIndex",
)  # fmt: skip
#: Columns that ``queue`` and ``tenant`` may name.
_GROUPS = ("Partition", "Account", "User", "QOS", "Cluster", "Group", "WCKey")
_TRES_GPU = re.compile(r"gres/gpu(?::([^=,]+))?=(\d{1,9})", re.ASCII)
_GRES_GPU = re.compile(r"(?:gres[:/])?gpu(?::([A-Za-z][^:,=()]*))?[:=](\d{1,9})(?:\(.*?\))?", re.ASCII)
_YEAR_NS = 365 * UNITS["d"]
OPTIONS = {
    "from": "a date, of submission",
    "until": "a date, of submission",
    "partition": "keep the jobs of this one",
    "queue": f"the column that is the job's queue: one of {', '.join(_GROUPS)}; default Partition",
    "tenant": "the column that is the job's tenant, one of the same; default Account",
}


class _Gpus(NamedTuple):
    total: int
    models: tuple[str, ...]


class _Ran(NamedTuple):
    submit_ns: int  # -1 where it is not known
    start_ns: int | None
    end_ns: int | None
    duration_ns: int


def _columns(words: tuple[str, ...]) -> Columns:
    """``JobID`` and ``Submit`` have to be there, and what the options name; the rest is as it comes."""
    required = dict.fromkeys(("JobID", "Submit", *words))
    optional = [word for word in _READ if word not in required]
    hint = ", as in the output of sacct --parsable2 with its header"
    return Columns(named(*required), named(*optional), _UNREAD, any_case=True, hint=hint)


def read(trace: Trace, options: Mapping[str, str]) -> JobSource:
    """Jobs of the accounting, sorted stably by submission. Raises TraceError."""
    trace.sort = trace.dates = True
    limits = window(options, seconds=False, dates=True)
    queue_word, tenant_word = (_group(options, name) for name in ("queue", "tenant"))
    partition = options.get("partition")
    chosen = [word for word in (queue_word, tenant_word, "Partition" if partition is not None else "") if word]
    queues, tenants = Interned("default"), Interned("default")
    raw_ids = Ids(trace, "JobIDRaw")

    def parse(row: Row) -> Kept | str:
        fields = row.fields
        job = fields["JobID"]
        if not job:
            raise row.error("JobID", "is empty", "a job's id")
        if "." in job:
            return "step of a job"
        gpus, ran = _gpus(row), _ran(row)
        if partition is not None and fields["Partition"] != partition:
            return "other partition"
        if reason := _left_out(row, ran) or limits.outside(ran.submit_ns):
            return reason
        if "+" in job and gpus.total:
            trace.note("component of a heterogeneous job, kept as a separate job")
        return Kept(
            row.source_row,
            ran.submit_ns,
            gpus.total,
            ran.duration_ns,
            _limit(row) or ran.duration_ns,
            name=job,
            job_id=raw_ids.read(row) if "JobIDRaw" in fields else None,
            queue=queues[fields.get(queue_word or "Partition") or "default"],
            tenant=tenants[fields.get(tenant_word or "Account") or "default"],
            host_type=trace.host_type(gpus.models) if gpus.total and ran.duration_ns else ANY_TYPE,
        )

    rows = csv_rows(trace, _columns(tuple(chosen)), separators="|\t;^")
    return job_batches(trace, rows, parse, limits, id_word="JobID", queues=queues, tenants=tenants)


def _ran(row: Row) -> _Ran:
    """When a job was submitted, started and ended, and for how long it ran."""
    submit_ns = next((row.date(word) for word in ("Submit", "Eligible") if not row.missing(word)), -1)
    start_ns = None if row.missing("Start") else row.date("Start")
    end_ns = None if row.missing("End") else row.date("End")
    return _Ran(submit_ns, start_ns, end_ns, _duration(row, start_ns, end_ns))


def _left_out(row: Row, ran: _Ran) -> str:
    """Why a record is not a job that ran, or ''."""
    fields = row.fields
    state = fields.get("State", "").split(" ")[0].upper()
    if state == "REQUEUED":
        return "run of a job that was requeued"
    if state == "PENDING" or ("Start" in fields and ran.start_ns is None):
        return NEVER_STARTED
    if state in ("RUNNING", "SUSPENDED", "RESIZING") or ("End" in fields and ran.end_ns is None):
        return STILL_RUNNING
    if state.startswith("CANCELLED") and not ran.duration_ns:
        return NEVER_STARTED
    return NO_SUBMISSION if ran.submit_ns < 0 else ""


def _group(options: Mapping[str, str], name: str) -> str:
    """The column that an option names; "" where it is not given. Raises TraceError."""
    given = options.get(name)
    if given is None:
        return ""
    found = next((word for word in _GROUPS if word.lower() == given.lower()), None)
    if found is None:
        raise TraceError(f"trace option {name}={given}", allowed=", ".join(_GROUPS))
    return found


def _gpus(row: Row) -> _Gpus:
    """GPUs of a job, of the first column that says anything of resources; those that were requested only where none were allocated."""
    for word in ("AllocTRES", "NGPUS", "AllocGRES", "ReqTRES", "ReqGRES"):
        if row.missing(word):
            continue
        if word == "NGPUS":
            found = _Gpus(row.integer(word, 0, MAX_GPUS), ())
        elif word.endswith("TRES"):
            found = _tres(row.fields[word])
        else:
            found = _gres(row.fields[word])
        if found.total or word == "AllocTRES":
            if found.total > MAX_GPUS:
                raise row.error(word, f"{found.total} GPUs", f"at most {MAX_GPUS}")
            return found
    return _Gpus(0, ())


def _tres(text: str) -> _Gpus:
    """Of ``cpu=64,gres/gpu:h100=16,gres/gpu=16``: the count without a type is the sum over the types, where it is there."""
    found = [_TRES_GPU.fullmatch(part) for part in text.split(",")]
    counts = [(match[1], int(match[2])) for match in found if match]
    total = next((count for model, count in counts if model is None), sum(count for _, count in counts))
    return _Gpus(total, tuple(model for model, _ in counts if model))


def _gres(text: str) -> _Gpus:
    """Of ``gpu:4``, ``gpu:v100:4(S:0-1)`` or ``gres:gpu:4,gres:mps:100``."""
    found = [_GRES_GPU.fullmatch(part) for part in re.split(r",(?![^(]*\))", text)]
    counts = [(match[1], int(match[2])) for match in found if match]
    return _Gpus(sum(count for _, count in counts), tuple(model for model, _ in counts if model))


def _duration(row: Row, start_ns: int | None, end_ns: int | None) -> int:
    for word in ("ElapsedRaw", "Elapsed"):
        if not row.missing(word):
            return row.duration(word)
    if start_ns is None or end_ns is None:
        return 0
    if end_ns < start_ns:
        raise row.error("End", f"{row.fields['End'][:40]!r} is before Start", "an end after its start")
    return end_ns - start_ns


def _limit(row: Row) -> int:
    """The time limit in ns; 0 where the job has none of its own."""
    text = row.fields.get("Timelimit", "")
    if text.upper() == "UNLIMITED" or row.fields.get("TimelimitRaw", "").upper() == "UNLIMITED":
        return _YEAR_NS
    if not row.missing("Timelimit") and text.lower() not in ("partition_limit", "invalid"):
        return parse_clock(text) or row.duration("Timelimit", 60 * SECOND)
    if not row.missing("TimelimitRaw") and row.fields["TimelimitRaw"].lower() not in ("partition_limit", "invalid"):
        return row.duration("TimelimitRaw", 60 * SECOND)
    return 0
