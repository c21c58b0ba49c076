"""Rows of training steps as CSV."""

from dataclasses import dataclass, replace
from pathlib import Path

from emulator.experiments.validation.fields import NOTHING, Fields, RowsError, host_of, read_text, records
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
from topology.catalog import GPUS, HostType

#: What every file of training rows has, and what it may have.
NEEDED = ("model", "gpu", "gpus", "precision", "global_batch_sequences", "sequence")
OPTIONAL = (
    *("id", "tp", "pp", "cp", "vp", "ep", "micro_batch", "step_seconds_median", "tokens_per_second_per_gpu"),
    *("start_up_seconds", "source"),
)
#: Virtual stages of a pipeline where a row does not say: assumed.
ASSUMED_INTERLEAVE = 6
#: Places in a pipeline that may hold no layer: embedding, logits, the prediction of a second token.
PLACES = 3


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
        return host_of(self.gpu)


def read_rows(path: Path) -> list[TrainingRow]:
    """The rows of a file. Raises RowsError."""
    return parse_rows(read_text(path), str(path))


def parse_rows(text: str, name: str) -> list[TrainingRow]:
    """The rows of a file's text. Raises RowsError."""
    rows: list[TrainingRow] = []
    known: set[str] = set()
    series = ""
    for line, fields in records(text, name, NEEDED, OPTIONAL):
        row = _Fields(fields, f"{name}:{line}").row(f"{len(rows) + 1}", series)
        if row.id in known:
            raise RowsError(f"{name}:{line}: id: {row.id!r:.60} is there twice; allowed: every id once")
        known.add(row.id)
        rows.append(row)
        series = row.series
    return rows


class _Fields(Fields):
    """The fields of a record of training steps."""

    def row(self, number: str, last_series: str) -> TrainingRow:
        """The record as a row. Raises RowsError."""
        model, gpu = self._model(), self.gpu()
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

    def _model(self) -> str:
        name = self.given["model"].lower().replace("_", "-")
        if name not in MODELS:
            raise self.wrong("model", "is unknown", ", ".join(MODELS))
        return name

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
        domain_gpus = host_of(gpu).domain_gpus
        if all(self.given.get(name, "").lower() in NOTHING for name in ("tp", "pp", "cp", "ep")):
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
