"""A job to submit, from options and files, under the same words."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emulator.cli.errors import CommandError, wrong
from emulator.cli.values import duration_ns

if TYPE_CHECKING:
    from emulator.service.spec import JobSpec, TrainingSpec

#: Option or file key -> the field of JobSpec, and what it holds.
_WORDS: dict[str, tuple[str, type]] = {
    "gpus": ("gpus", int),
    "min_gpus": ("min_gpus", int),
    "name": ("name", str),
    "queue": ("queue", str),
    "tenant": ("tenant", str),
    "priority": ("priority", int),
    "milli_gpus": ("milli_gpus", int),
    "duration": ("duration_seconds", float),
    "estimate": ("estimate_seconds", float),
    "deadline": ("deadline_seconds", float),
    "checkpoint": ("checkpoint_seconds", float),
    "recovery": ("recovery", str),
    "require": ("require_level", str),
    "prefer": ("prefer_level", str),
    "slice_gpus": ("slice_gpus", int),
    "slice_level": ("slice_level", str),
    "preemptible": ("preemptible", bool),
    "utilization": ("utilization_ratio", float),
    "replicas": ("replicas", int),
    "gpu_type": ("gpu_type", str),
    "after": ("after", list),
    "after_any": ("after_any", list),
    "array": ("array_size", int),
    "array_parallel": ("array_parallel", int),
    "reservation": ("reservation", str),
    "site": ("site", str),
    "prefer_site": ("prefer_site", str),
    "dataset": ("dataset", str),
    "training": ("training", dict),
}
#: A job's file has a few dozen.
_MOST_VALUES = 1000
_DURATIONS = ("duration", "estimate", "deadline", "checkpoint")
_NOUNS = {int: "a whole number", float: "a number", str: "a word", bool: "true or false", dict: "a mapping"}


def read(path: Path) -> dict[str, Any]:
    """The mapping in a JSON or YAML file (JSON is YAML). Raises CommandError with the place."""
    from topology import yaml_lines
    from topology.files import MOST_HAND_WRITTEN_BYTES, read_whole

    try:
        value, _ = yaml_lines.typed(read_whole(path, MOST_HAND_WRITTEN_BYTES).decode("utf-8"), _MOST_VALUES)
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"--file: cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    except yaml_lines.YamlError as error:
        raise CommandError(f"--file: {path}{f':{error.line}' if error.line else ''} is neither JSON nor YAML: {error}") from error
    if not isinstance(value, dict):
        raise CommandError(f"--file: {path} holds no mapping; allowed: keys {', '.join(_WORDS)}")
    return {str(key): item for key, item in value.items()}


def job_spec(words: Mapping[str, Any], place: str) -> "JobSpec":
    """``words`` as a JobSpec; ``place`` begins the messages (``--file job.yaml: ``, or ``--`` for options). Raises CommandError."""
    from emulator.service.spec import JobSpec

    if words.get("gpus") is None:
        raise CommandError(f"{place}gpus: not given; allowed: a whole number, 1 or more")
    given: dict[str, Any] = {}
    for word, value in words.items():
        if word not in _WORDS:
            raise CommandError(f"{place}{word}: unknown; allowed: {', '.join(_WORDS)}")
        field, kind = _WORDS[word]
        if word == "checkpoint" and value in ("young", "daly"):
            given["checkpoint"] = value
        elif word in _DURATIONS:
            given[field] = duration_ns(f"{place}{word}", value) / 1e9
        elif word == "training":
            given[field] = training_spec(value, f"{place}training.")
        elif kind is list:
            given[field] = _ids(f"{place}{word.replace('_', '-') if place == '--' else word}", value)
        else:
            given[field] = _checked(f"{place}{word}", value, kind)
    return JobSpec(**given)


def training_spec(words: Any, place: str) -> "TrainingSpec":
    """``training:`` of a file, or ``--model`` and ``--steps``."""
    from emulator.service.spec import TrainingSpec
    from emulator.workload.jobs import TrainingShape

    given = _words_of(TrainingSpec, words, place)
    if "step" in given:
        if others := ", ".join(word for word in given if word not in ("step", "steps")):
            raise CommandError(f"{place}step: it is given instead of a model; allowed: without {others}")
        plain = {"overlap_seconds": 0.0, "latency_seconds": 0.0, "model_flops": 0.0}
        step = _words_of(TrainingShape, given["step"], f"{place}step.")
        for word in ("compute_seconds", "ring_bytes"):
            if word not in step:
                raise CommandError(f"{place}step.{word}: not given; allowed: a number")
        given["step"] = TrainingShape(**(plain | step))
    return TrainingSpec(**given)


def _words_of(record: type, words: Any, place: str) -> dict[str, Any]:
    """The mapping ``words``, checked to hold fields of a dataclass of plain values (or of one with such)."""
    names = [one.name for one in fields(record)]
    given = dict(_checked(place.removesuffix("."), words, dict))
    for word, value in given.items():
        if word not in names:
            raise CommandError(f"{place}{word}: unknown; allowed: {', '.join(names)}")
        types = str(next(one.type for one in fields(record) if one.name == word))
        given[word] = _checked(f"{place}{word}", value, next((kind for kind in (bool, str, int, float) if kind.__name__ in types), dict))
    return given


def _ids(place: str, value: Any) -> tuple[int, ...]:
    """Ids of jobs: ``12,13``, one number, or a list of them."""
    given = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    texts = [str(one).strip() for one in given if not isinstance(one, bool)]
    if len(texts) < len(given) or any(not (text.isascii() and text.isdecimal() and len(text) < 20) for text in texts):
        raise wrong(place, value, "is no list of ids", "ids of jobs, as 12,13")
    return tuple(int(text) for text in texts)


def _checked(place: str, value: Any, kind: type) -> Any:
    """``value`` where it is of ``kind`` (whole numbers pass for floats, 2.0 for 2, bools never for numbers)."""
    if kind is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    good = isinstance(value, kind) or (kind is float and isinstance(value, int))
    if not good or (isinstance(value, bool) and kind is not bool):
        raise wrong(place, value, f"is not {_NOUNS[kind]}", _NOUNS[kind])
    return float(value) if kind is float else value
