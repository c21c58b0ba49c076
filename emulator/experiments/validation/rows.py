"""Rows of training steps as CSV: what is in a file, each field checked, and where it is wrong."""

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from emulator.workload.training import (
    ALIASES,
    MODELS,
    PRECISIONS,
    Model,
    Parallelism,
    UnknownPrecision,
    choose_parallelism,
    peak_flops,
    state_bytes,
)
from topology.catalog import GPUS, HOSTS, HostType

#: What every file of training rows has, and what it may have.
NEEDED = ("model", "gpu", "gpus", "precision", "global_batch_sequences", "sequence")
OPTIONAL = (
    *("id", "tp", "pp", "cp", "vp", "ep", "micro_batch", "step_seconds_median", "tokens_per_second_per_gpu"),
    *("start_up_seconds", "source"),
)
#: Columns by which a file of serving rows is known.
SERVING = {"isl", "osl", "concurrency"}
#: Virtual stages of a pipeline where a row does not say: assumed.
ASSUMED_INTERLEAVE = 6
#: Places in a pipeline that may hold no layer: embedding, logits, the prediction of a second token.
PLACES = 3
MOST_BYTES, MOST_ROWS, MOST = 4 << 20, 10_000, 10**7
_BOARD = re.compile(r"(SXM\d?-?)?(\d{2,3}GB)?", re.ASCII)
_NOTHING = {"", "-", "n/a", "na", "none"}


class RowsError(ValueError):
    """A file of rows that cannot be used; the message says where, what, and what is allowed."""


@dataclass(frozen=True)
class TrainingRow:
    """One published training step."""

    id: str
    model: str
    gpu: str
    gpus: int
    precision: str
    sequences: int  # of the global batch
    sequence: int
    plan: Parallelism
    tokens_per_second_per_gpu: float
    source: str
    series: str = ""  # what comes from one experiment has one name

    @property
    def host(self) -> HostType:
        """The host that carries the GPU."""
        return next(host for host in HOSTS.values() if host.gpu.name == self.gpu)


def read_rows(path: Path) -> list[TrainingRow]:
    """The rows of a file. Raises RowsError."""
    try:
        if path.exists() and not path.is_file():
            raise RowsError(f"{path}: is no file; allowed: a CSV file of training rows")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise RowsError(f"{path}: {error.strerror or error}") from error
    if len(content) > MOST_BYTES:
        raise RowsError(f"{path}: has more than {MOST_BYTES >> 20} MiB; allowed: up to {MOST_BYTES >> 20} MiB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise RowsError(f"{path}:{line}: is no UTF-8; allowed: a CSV file of training rows") from error
    return parse_rows(text, str(path))


def parse_rows(text: str, name: str) -> list[TrainingRow]:
    """The rows of a file's text. Raises RowsError."""
    rows: list[TrainingRow] = []
    known: set[str] = set()
    series = ""
    for line, fields in _records(text, name):
        row = _Fields(fields, f"{name}:{line}").row(f"{len(rows) + 1}", series)
        if row.id in known:
            raise RowsError(f"{name}:{line}: id: {row.id!r:.60} is there twice; allowed: every id once")
        known.add(row.id)
        rows.append(row)
        series = row.series
        if len(rows) > MOST_ROWS:
            raise RowsError(f"{name}:{line}: is row {len(rows):,}; allowed: up to {MOST_ROWS:,} rows")
    if not rows:
        raise RowsError(f"{name}: has no rows; allowed: at least one below the header")
    return rows


def _records(text: str, name: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Each record that is not blank, with the line that it ends on."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [column.strip().lower() for column in next(reader, [])]
        _check_header(header, name)
        for record in reader:
            if not any(field.strip() for field in record):
                continue
            if len(record) != len(header):
                raise RowsError(f"{name}:{reader.line_num}: has {len(record)} fields; allowed: {len(header)}, as many as the header")
            yield reader.line_num, {column: field.strip() for column, field in zip(header, record, strict=True)}
    except csv.Error as error:
        raise RowsError(f"{name}:{reader.line_num}: is no CSV: {error}") from error


def _check_header(header: list[str], name: str) -> None:
    allowed = ", ".join((*NEEDED, *OPTIONAL))
    if set(header) >= SERVING:
        raise RowsError(
            f"{name}:1: has the columns of serving rows; there is no serving model yet to compare them with; allowed: {allowed}"
        )
    for column in NEEDED:
        if column not in header:
            raise RowsError(f"{name}:1: {column}: missing in the header; allowed: {allowed}")
    for column in header:
        if column not in NEEDED + OPTIONAL:
            raise RowsError(f"{name}:1: {column!r:.60}: unknown in the header; allowed: {allowed}")
        if header.count(column) > 1:
            raise RowsError(f"{name}:1: {column}: is there twice in the header; allowed: every column once")


@dataclass(frozen=True)
class _Fields:
    """The fields of one record, and where it is."""

    given: Mapping[str, str]
    place: str

    def wrong(self, field: str, problem: str, allowed: str) -> RowsError:
        """The error that names place, field, value and what is allowed."""
        return RowsError(f"{self.place}: {field}: {self.given.get(field, '')!r:.60} {problem}; allowed: {allowed}")

    def row(self, number: str, last_series: str) -> TrainingRow:
        """The record as a row. Raises RowsError."""
        model, gpu = self._model(), self._gpu()
        gpus, sequences, sequence = (self.whole(name) for name in ("gpus", "global_batch_sequences", "sequence"))
        precision = self._precision(gpu)
        tokens = self.positive("tokens_per_second_per_gpu")
        step = self.positive("step_seconds_median")
        self.positive("start_up_seconds")
        if tokens is None and step is None:
            raise self.wrong("tokens_per_second_per_gpu", "is empty, and so is step_seconds_median", "a number above 0 in one of them")
        source = self.given.get("source", "")
        series = source.partition(";")[0].partition("(")[0].strip()
        row = TrainingRow(
            self.given.get("id") or number,
            model,
            gpu,
            gpus,
            precision,
            sequences,
            sequence,
            self._plan(model, gpu, gpus, sequences),
            tokens if tokens is not None else sequences * sequence / (step or 1.0) / gpus,
            source,
            last_series if series in ("same", "") else series,
        )
        return replace(row, plan=_sharded(row))

    def whole(self, name: str, default: int | None = None) -> int:
        """A count."""
        text = self.given.get(name, "").lower()
        if text in _NOTHING and default is not None:
            return default
        plain = text.replace(",", "")
        if not (plain.isascii() and plain.isdecimal() and len(plain) < 12 and 1 <= int(plain) <= MOST):
            raise self.wrong(name, "is no whole number in range", f"1 to {MOST:,}")
        return int(plain)

    def positive(self, name: str) -> float | None:
        """A number above 0, or None for an empty field."""
        text = self.given.get(name, "")
        if text.lower() in _NOTHING:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 1e-6 <= value <= 1e12:
            raise self.wrong(name, "is no number in range", "empty, or 0.000001 to 1e12")
        return value

    def _model(self) -> str:
        name = self.given["model"].lower().replace("_", "-")
        if name not in MODELS:
            raise self.wrong("model", "is unknown", ", ".join(MODELS))
        return name

    def _gpu(self) -> str:
        family, _, rest = self.given["gpu"].upper().partition("-")
        hosted = {host.gpu.name for host in HOSTS.values()}
        plain = not rest or _BOARD.fullmatch(rest)  # tables differ in the memory that they print
        found = [gpu for gpu in GPUS if gpu.upper().partition("-")[0] == family and plain and gpu in hosted]
        if not found:
            raise self.wrong("gpu", "is unknown", ", ".join(gpu for gpu in GPUS if gpu in hosted))
        return found[0]

    def _precision(self, gpu: str) -> str:
        name = self.given["precision"].lower()
        try:
            peak_flops(GPUS[gpu], name)
        except UnknownPrecision as error:
            allowed = str(error).rpartition("allowed: ")[2]
            raise self.wrong("precision", f"is none of {gpu}", allowed) from error
        return name

    def _plan(self, model_name: str, gpu: str, gpus: int, sequences: int) -> Parallelism:
        model = MODELS[model_name]
        domain_gpus = next(host for host in HOSTS.values() if host.gpu.name == gpu).domain_gpus
        if all(self.given.get(name, "").lower() in _NOTHING for name in ("tp", "pp", "cp", "ep")):
            return self._chosen(model, gpu, gpus, sequences, domain_gpus)
        tensor, pipeline, context, expert, micro = (self.whole(name, 1) for name in ("tp", "pp", "cp", "ep", "micro_batch"))
        virtual = self.whole("vp", 1 if pipeline == 1 else max(1, min(ASSUMED_INTERLEAVE, model.layers // pipeline)))
        share = tensor * context * pipeline
        if tensor > domain_gpus:
            raise self.wrong("tp", "leaves the scale-up domain", f"at most {domain_gpus}, the GPUs of a domain")
        if model.heads % tensor:
            raise self.wrong("tp", "does not divide the heads", f"a divisor of {model.heads}")
        if gpus % share:
            raise self.wrong("gpus", f"is no multiple of tp * cp * pp = {share:,}", "a multiple of it")
        most = model.layers + PLACES
        if pipeline * virtual > most:
            field = "vp" if pipeline <= model.layers else "pp"
            raise self.wrong(field, "makes more stages than the model has layers", f"pp * vp up to {most}: {PLACES} for what is no layer")
        if expert > 1 and (not model.experts or expert > tensor * model.experts or expert % tensor or gpus // pipeline % expert):
            allowed = f"1, or a multiple of tp up to {tensor * model.experts} that divides gpus / pp" if model.experts else "1"
            raise self.wrong("ep", f"does not go together with {model_name}", allowed)
        data = gpus // share
        if sequences % (data * micro):
            raise self.wrong(
                "global_batch_sequences", f"is no multiple of {data * micro:,}", "a multiple of data parallelism * micro_batch"
            )
        return Parallelism(tensor, pipeline, data, sequences // (data * micro), micro, virtual, expert, context)

    def _chosen(self, model: Model, gpu: str, gpus: int, sequences: int, domain_gpus: int) -> Parallelism:
        """The parallelism of a row that gives none."""
        plan = choose_parallelism(model, gpus, GPUS[gpu], domain_gpus=domain_gpus)
        if plan is None:
            raise self.wrong("gpus", f"cannot hold {model.name}", "more GPUs, or tp, pp, cp and ep as they were")
        if sequences % plan.data:
            raise self.wrong(
                "global_batch_sequences", f"is no multiple of {plan.data:,}", "a multiple of the replicas, or tp, pp, cp and ep"
            )
        return replace(plan, microbatches=sequences // plan.data)


def _sharded(row: TrainingRow) -> Parallelism:
    """The plan of a row; what would not fit the memory of the GPUs must have been sharded over the replicas (ZeRO 3, FSDP)."""
    fits = state_bytes(MODELS[row.model], row.plan) <= GPUS[row.gpu].memory_bytes
    return row.plan if fits else replace(row.plan, zero=3)


def is_mixture(row: TrainingRow) -> bool:
    """Whether the row's model has experts."""
    return MODELS[row.model].experts > 0


def plain_precision(row: TrainingRow) -> str:
    """bf16, fp8 or nvfp4."""
    name = ALIASES.get(row.precision, row.precision)
    assert name in PRECISIONS
    return name
