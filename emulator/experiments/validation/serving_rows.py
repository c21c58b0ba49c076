"""Rows of serving as CSV: a closed loop at a fixed concurrency, in the form of InferenceMAX's tables."""

from dataclasses import dataclass
from pathlib import Path

from emulator.experiments.validation.fields import NOTHING, Fields, RowsError, host_of, read_text, records
from emulator.workload.serving.costs import ModelDoesNotFit, PlanDoesNotFit, ServingPlan, kv_room, plan_of
from emulator.workload.serving.stacks import ENGINES, stack_of
from emulator.workload.training import MODELS, UnknownPrecision, peak_flops
from topology.catalog import GPUS

#: What every file of serving rows has, and what it may have.
NEEDED = ("system", "model", "precision", "backend", "isl", "osl", "tp", "concurrency", "ttft_ms", "tpot_ms")
OPTIONAL = ("id", "backend_version", "pp", "attn_dp", "moe_tp", "moe_ep", "source")
#: By these columns a file of serving rows is known.
KNOWN_BY = {"isl", "osl", "concurrency"}
MOST_TOKENS, MOST_CONCURRENCY, MOST_GPUS = 1_000_000, 10_000, 1024
#: Models under other names: the same shape.
_MODELS = {
    "deepseek-r1": "deepseek-v3",
    "deepseek-v3.1": "deepseek-v3",
    "llama3.3-70b": "llama3.1-70b",
}
_PRECISIONS = {"": "bf16", "fp16": "bf16", "float16": "bf16", "bfloat16": "bf16", "fp8-block": "fp8", "mxfp8": "fp8", "fp4": "nvfp4"}
_ENGINES = {"trt": "trtllm", "tensorrt-llm": "trtllm", "trt-llm": "trtllm"}


@dataclass(frozen=True)
class ServingRow:
    """One published point of a sweep over concurrency; ``input_tokens`` and ``output_tokens`` are the longest of the requests."""

    id: str
    model: str
    gpu: str
    precision: str
    engine: str
    plan: ServingPlan
    input_tokens: int
    output_tokens: int
    concurrency: int
    ttft_seconds: float
    tpot_seconds: float
    source: str

    @property
    def sweep(self) -> tuple[object, ...]:
        """What is the same in all rows of a sweep."""
        return self.model, self.gpu, self.precision, self.engine, self.plan, self.input_tokens, self.output_tokens, self.source


def read_serving_rows(path: Path) -> list[ServingRow]:
    """The rows of a file. Raises RowsError."""
    return parse_serving_rows(read_text(path), str(path))


def parse_serving_rows(text: str, name: str) -> list[ServingRow]:
    """The rows of a file's text. Raises RowsError."""
    rows = list[ServingRow]()
    known = set[str]()
    for line, fields in records(text, name, NEEDED, OPTIONAL):
        row = _Fields(fields, f"{name}:{line}").row(f"{len(rows) + 1}")
        if row.id in known:
            raise RowsError(f"{name}:{line}: id: {row.id!r:.60} is there twice; allowed: every id once")
        known.add(row.id)
        rows.append(row)
    return rows


class _Fields(Fields):
    """The fields of a record of serving."""

    def row(self, number: str) -> ServingRow:
        """The record as a row. Raises RowsError."""
        model, gpu = self._model(), self.gpu("system")
        precision, plan, engine = self._precision(gpu), self._plan(gpu), self._engine()
        stack = stack_of(gpu, precision, engine, mixture=MODELS[model].experts > 0)
        inputs, outputs = self._count("isl", MOST_TOKENS), self._count("osl", MOST_TOKENS)
        if outputs < 2:  # a time between tokens takes two
            raise self.wrong("osl", "leaves no time between two tokens", f"2 to {MOST_TOKENS:,}")
        try:
            room = kv_room(MODELS[model], GPUS[gpu], precision, plan, stack.kv_precision)
        except ModelDoesNotFit as error:
            raise self.wrong("tp", f"is too few: {error}", "more GPUs, or a smaller precision") from error
        if room.tokens < inputs + outputs:
            raise self.wrong("isl", f"and osl are {inputs + outputs:,} tokens", f"up to {room.tokens:,}, what the KV memory holds")
        milliseconds = {name: self.positive(name) for name in ("ttft_ms", "tpot_ms")}
        for name, value in milliseconds.items():
            if value is None:
                raise self.wrong(name, "is empty", "a number above 0")
        ttft, tpot = ((value or 0.0) / 1000 for value in milliseconds.values())
        return ServingRow(
            self.given.get("id") or number,
            model,
            gpu,
            precision,
            engine,
            plan,
            inputs,
            outputs,
            self._count("concurrency", MOST_CONCURRENCY),
            ttft,
            tpot,
            self.given.get("source", ""),
        )

    def _count(self, name: str, most: int) -> int:
        value = self.whole(name)
        if value > most:
            raise self.wrong(name, "is no whole number in range", f"1 to {most:,}")
        return value

    def _model(self) -> str:
        name = self.given["model"].lower().replace("_", "-").rpartition("/")[2].replace("llama-", "llama")
        name = name.removesuffix("-instruct")
        name = _MODELS.get(name, name)
        if name not in MODELS:
            raise self.wrong("model", "is unknown", ", ".join([*MODELS, *_MODELS]))
        return name

    def _precision(self, gpu: str) -> str:
        name = self.given["precision"].lower().replace("_", "-")
        name = _PRECISIONS.get("" if name in NOTHING else name, name)
        try:
            peak_flops(GPUS[gpu], name)
        except UnknownPrecision as error:
            raise self.wrong("precision", f"is none of {gpu}", str(error).rpartition("allowed: ")[2]) from error
        return name

    def _engine(self) -> str:
        name = self.given["backend"].lower()
        name = _ENGINES.get(name, name)
        if name not in ENGINES:
            raise self.wrong("backend", "is unknown", ", ".join(ENGINES))
        return name

    def _plan(self, gpu: str) -> ServingPlan:
        tensor, groups, stages = self.whole("tp"), self.whole("attn_dp", 1), self.whole("pp", 1)
        if (gpus := tensor * groups * stages) > MOST_GPUS:
            raise self.wrong("tp", f"makes {gpus:,} GPUs a replica", f"up to {MOST_GPUS:,}")
        try:
            return plan_of(tensor, groups, stages, host_of(gpu).domain_gpus)
        except PlanDoesNotFit as error:
            raise self.wrong("tp", f"makes {str(error).partition(';')[0]}", str(error).rpartition("allowed: ")[2]) from error
