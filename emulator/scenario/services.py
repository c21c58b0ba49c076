"""Services: the sections ``services``, a list, and ``serving``, what all of them share. What each number rests on: docs/serving.md."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from emulator.engine.scaling import TARGETS
from emulator.racks.pool_records import Router
from emulator.scenario.cluster import MOST_PARTS
from emulator.scenario.section import Int, Rate, Real, Section, as_texts, as_tuple
from emulator.scenario.units import DAY, YEAR, Duration, parse_duration
from emulator.workload.requests import MOST_PRIORITY, NAMED_LENGTHS, SLICE_NS
from emulator.workload.requests.open import REQUEST_FORMATS
from emulator.workload.serving.costs import KV_BYTES, WEIGHT_BYTES
from emulator.workload.serving.stacks import ENGINES
from emulator.workload.training import MODELS

ROUTERS = tuple([router.name.lower().replace("_", "-") for router in Router])
#: Distributions whose means a scenario gives.
FREE_LENGTHS = ("lognormal", "uniform", "constant")
#: Latencies are limits that a person waits for.
Limit = Annotated[Duration, Field(ge=1_000_000, le=DAY)]
#: Requests of a site next to those of the others, in any unit.
Part = Annotated[Real, Field(ge=0, le=1e12)]
#: A name that metrics and file names can carry.
NAME_RULE = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"


def _one_of(what: str, allowed: tuple[str, ...]) -> AfterValidator:
    def check(value: str) -> str:
        if value not in allowed:
            raise ValueError(f"there is no {what} {value!r:.80}; allowed: {', '.join(allowed)}")
        return value

    return AfterValidator(check)


class Objectives(Section):
    """What a request is to be answered within: the first token, and each later one in the mean of the request."""

    ttft: Limit = parse_duration("2s")
    tpot: Limit = parse_duration("80ms")


class LengthSettings(Section):
    """Tokens of prompts and outputs: a named distribution (docs/requests.md), or ones of this mean and coefficient of variation."""

    name: Annotated[str, _one_of("distribution of lengths", (*NAMED_LENGTHS, *FREE_LENGTHS))] = "azure-conv"
    prompt_tokens: Annotated[Real, Field(ge=1, le=1e6)] = 1000.0
    output_tokens: Annotated[Real, Field(ge=1, le=1e6)] = 200.0
    prompt_cv: Annotated[Real, Field(ge=0, le=10)] = 1.0
    output_cv: Annotated[Real, Field(ge=0, le=10)] = 1.0


class BurstSettings(Section):
    """The rate of each ``period`` is multiplied by a gamma factor of mean 1 and this coefficient of variation."""

    cv: Annotated[Real, Field(ge=0, le=10)] = 0.0
    period: Annotated[Duration, Field(ge=SLICE_NS, le=DAY, multiple_of=SLICE_NS)] = SLICE_NS  # of whole slices, in which arrivals are drawn


class SessionSettings(Section):
    """Part of the requests that belong to conversations, whose prompts are all that was said before and something new."""

    ratio: Annotated[Real, Field(ge=0, le=1)] = 0.0
    turns: Annotated[Real, Field(ge=1, le=1000)] = 4.0  # in the mean, geometric
    think: Annotated[Duration, Field(gt=0, le=DAY)] = parse_duration("30s")  # between an answer and the next prompt, in the mean
    system_tokens: Annotated[Int, Field(ge=0, le=100_000)] = 0  # with which every prompt of the service begins


class PrioritySettings(Section):
    """A class of requests: so large a part of them, with this priority. Of those that wait, higher goes first."""

    ratio: Annotated[Real, Field(ge=0, le=1)]
    priority: Annotated[Int, Field(ge=-MOST_PRIORITY, le=MOST_PRIORITY)]


class RequestSettings(Section):
    """What is asked: ``generated``, a ``trace`` file, or by the users of a ``closed`` loop, each of whom asks again after an answer."""

    kind: Literal["generated", "trace", "closed"] = "generated"
    per_day: Annotated[Rate, Field(ge=0, le=1e13)] | None = None
    per_second: Annotated[Rate, Field(ge=0, le=1e8)] | None = None
    concurrency: Annotated[Int, Field(ge=1, le=100_000_000)] | None = None  # users of a closed loop, in all of the service
    think: Annotated[Duration, Field(ge=0, le=DAY)] = 0  # of such a user between an answer and the next request, in the mean
    diurnal_ratio: Annotated[Real, Field(ge=0, lt=1)] = 0.0
    peak_hour: Annotated[Real, Field(ge=0, le=24)] = 15.0  # by the clock of each zone
    zones: Literal["one", "world"] = "one"  # world: the people of the earth by time zone
    context_tokens: Annotated[Int, Field(ge=2, le=2**24)] = 131_072  # of a conversation
    lengths: LengthSettings = LengthSettings()
    bursts: BurstSettings = BurstSettings()
    sessions: SessionSettings = SessionSettings()
    priorities: Annotated[tuple[PrioritySettings, ...], BeforeValidator(as_tuple), Field(max_length=16)] = ()  # the rest of them has 0
    path: str | None = None
    format: Annotated[str, _one_of("format of requests", tuple(REQUEST_FORMATS))] | None = None
    options: Annotated[dict[str, str], BeforeValidator(as_texts)] = Field(default_factory=dict)  # of the reader: docs/requests.md

    @model_validator(mode="after")
    def _says_how_many(self) -> Self:
        if self.kind == "generated" and (self.per_day is None) == (self.per_second is None):
            raise ValueError("generated requests need one of per_day and per_second")
        if self.kind == "trace" and not (self.path and self.format):
            raise ValueError("a trace needs both path and format")
        for name, given, kinds, usual in (
            ("concurrency", self.concurrency, ("closed",), None),
            ("think", self.think, ("closed",), 0),
            ("per_day", self.per_day, ("generated", "trace"), None),
            ("per_second", self.per_second, ("generated", "trace"), None),
            ("diurnal_ratio", self.diurnal_ratio, ("generated", "trace"), 0.0),
            ("bursts.cv", self.bursts.cv, ("generated", "trace"), 0.0),
            ("sessions.ratio", self.sessions.ratio, ("generated", "trace"), 0.0),
            ("sessions.system_tokens", self.sessions.system_tokens, ("generated", "trace"), 0),
        ):
            if given != usual and self.kind not in kinds:
                raise ValueError(f"{name} is {given} of requests that are {self.kind}; allowed: with kind {' or '.join(kinds)}")
        if self.kind == "closed" and self.concurrency is None:
            raise ValueError("a closed loop needs concurrency, its number of users")
        return self


class ScalingSettings(Section):
    """How the number of replicas follows the load: docs/serving.md has the rule and the metrics."""

    metric: Annotated[str, _one_of("metric", TARGETS)] = "none"
    target: Annotated[Real, Field(gt=0, le=1e6)] | None = None  # default: of the metric
    min: Annotated[Int, Field(ge=0, le=1_000_000)] = 1
    max: Annotated[Int, Field(ge=1, le=1_000_000)] | None = None  # default: as many as the cluster's GPUs hold
    up_cooldown: Annotated[Duration, Field(ge=0, le=DAY)] = 0
    down_cooldown: Annotated[Duration, Field(ge=0, le=DAY)] = parse_duration("5m")
    lead: Annotated[Duration, Field(ge=0, le=DAY)] = 0  # that the load is forecast for
    idle: Annotated[Duration, Field(gt=0, le=YEAR)] | None = None  # without a request for so long, there is no replica

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.max is not None and self.max < self.min:
            raise ValueError(f"max is {self.max} and min {self.min}; allowed: a max of at least min")
        return self


class PatienceSettings(Section):
    """Clients that go away: the part ``cancel_ratio`` of them, after a time of this mean; all of them after ``timeout`` without a token."""

    timeout: Limit | None = None
    cancel_ratio: Annotated[Real, Field(ge=0, le=1)] = 0.0
    cancel_after: Annotated[Duration, Field(gt=0, le=DAY)] = parse_duration("10s")


class RetrySettings(Section):
    """A request that was turned away, or lost with its replica, is made again so often, after so long."""

    most: Annotated[Int, Field(ge=0, le=100)] = 2
    after: Annotated[Duration, Field(ge=1_000_000, le=DAY)] = parse_duration("1s")


class PrefixCacheSettings(Section):
    """Whether keys and values of prompts are kept for prompts that begin alike. ``unlimited``: outside the GPUs' memory."""

    enabled: bool = False
    unlimited: bool = False


class DisaggregatedSettings(Section):
    """So many of the service's ``replicas`` compute prompts, and the others answer; the proportion is kept when it scales."""

    prefill_replicas: Annotated[Int, Field(ge=1, le=999_999)]


class SpeculativeSettings(Section):
    """So many ``tokens`` are drafted for each step, of which each is accepted, if those before it are, with the probability ``acceptance``;
    a draft takes the part ``draft_ratio`` of a step. The defaults are assumed.
    """

    tokens: Annotated[Int, Field(ge=0, le=64)] = 0
    acceptance: Annotated[Real, Field(ge=0, le=1)] = 0.7
    draft_ratio: Annotated[Real, Field(ge=0, le=1)] = 0.03


class ServiceSettings(Section):
    """A model that is served by replicas, each a job of ``tensor`` times ``attention_data`` times ``pipeline`` GPUs."""

    name: Annotated[str, Field(pattern=NAME_RULE)]
    model: Annotated[str, _one_of("model", tuple(MODELS))]
    precision: Annotated[str, _one_of("precision", tuple(WEIGHT_BYTES))] = "fp8"
    kv_precision: Annotated[str, _one_of("precision of keys and values", tuple(KV_BYTES))] | None = None  # default: the engine's
    engine: Annotated[str, _one_of("engine", ENGINES)] = "vllm"
    tensor: Annotated[Int, Field(ge=1, le=1024)] = 8
    attention_data: Annotated[Int, Field(ge=1, le=1024)] = 1  # groups over which attention is spread; experts are over all GPUs of a stage
    pipeline: Annotated[Int, Field(ge=1, le=64)] = 1  # stages
    speculative: SpeculativeSettings = SpeculativeSettings()
    gpu: str | None = None  # a GPU of the cluster; needed where there are several kinds
    replicas: Annotated[Int, Field(ge=0, le=1_000_000)] = 1  # at the start, warm
    scaling: ScalingSettings = ScalingSettings()
    token_budget: Annotated[Int, Field(ge=1, le=131_072)] = 8192  # of a step
    max_running: Annotated[Int, Field(ge=1, le=8192)] = 256  # requests of a replica at a time
    max_waiting: Annotated[Int, Field(ge=1, le=100_000)] = 512  # and so many behind them; more are turned away
    router: Annotated[str, _one_of("router", ROUTERS)] = "least-outstanding"
    prefix_cache: PrefixCacheSettings = PrefixCacheSettings()
    objectives: Objectives = Objectives()
    requests: RequestSettings
    origins: Annotated[dict[str, Part], Field(min_length=1, max_length=MOST_PARTS)] | None = None  # where requests enter, by site
    patience: PatienceSettings = PatienceSettings()
    retries: RetrySettings = RetrySettings()
    cold_start: Annotated[Duration, Field(ge=0, le=DAY)] = parse_duration("60s")  # before the weights are read
    weights_from: Literal["storage", "peers"] = "storage"  # peers: replicas of the site that are up, where there are any
    run_one_in: Annotated[Int, Field(ge=1, le=100_000)] = 1  # of its pools one in so many is run; the others are weighted copies
    disaggregated: DisaggregatedSettings | None = None  # default: every replica computes prompts and answers
    queue: Annotated[str, Field(min_length=1, max_length=200)] = "default"
    tenant: Annotated[str, Field(min_length=1, max_length=200)] = "default"
    priority: Annotated[Int, Field(ge=-(2**31), lt=2**31)] = 0
    preemptible: bool = False

    @model_validator(mode="after")
    def _some_answer(self) -> Self:
        if self.disaggregated is not None and self.disaggregated.prefill_replicas >= self.replicas:
            raise ValueError(
                f"disaggregated.prefill_replicas is {self.disaggregated.prefill_replicas} of {self.replicas} replicas; allowed: less than "
                "all, so that some are left to answer"
            )
        return self

    @model_validator(mode="after")
    def _some_origin(self) -> Self:
        if self.origins is not None and not any(self.origins.values()):
            raise ValueError("origins are all 0; allowed: at least one above 0")
        return self


class ServingSettings(Section):
    """What the services share: how often shares and numbers of replicas are renewed, and how large a pool is."""

    interval: Annotated[Duration, Field(ge=1_000_000, le=DAY)] = parse_duration("1m")
    pool: Literal["leaf", "pod", "building", "site"] | None = None  # default: the smallest of pod, building and site that there is
    keep_requests: Annotated[Int, Field(ge=0, le=20_000_000)] = 200_000  # of requests.parquet; beyond, a sample
