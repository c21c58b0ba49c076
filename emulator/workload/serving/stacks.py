"""The numbers of a serving engine on a GPU: five for each precision, fitted on published rows.

FIT: ``python -m emulator.experiments.validation.fit_serving`` on the rows of ``gigawatt validate``. The software of a serving engine moves
quickly (the same rack became 1.2 to 2.8 times as fast within half a year of MLPerf), so the numbers are those of the rows' releases.
"""

from dataclasses import dataclass

from topology.catalog import GPUS

#: vLLM, SGLang, TensorRT-LLM, and TensorRT-LLM as it is tuned for MLPerf Inference.
ENGINES = ("vllm", "sglang", "trtllm", "mlperf")
#: Those that give a request the KV memory of its whole length when it begins.
RESERVING = ("trtllm", "mlperf")


#: Of a front end where only throughput is published: assumed.
FRONT_END_SECONDS = 0.02


@dataclass(frozen=True)
class Stack:
    """``memory_ratio``: part of the memory's peak that reading weights reaches. ``multiply_ratio``: of the dense peak, multiplications.

    ``kv_precision`` is how the engine keeps keys and values: chosen, not fitted.
    """

    floor_seconds: float  # of each layer, in each step
    memory_ratio: float
    multiply_ratio: float
    running_seconds: float  # of each request in a step
    front_end_seconds: float  # of each request, before it reaches the engine and on its way back
    kv_precision: str = "bf16"


#: By GPU, precision, engine and kind of model. FIT.
STACKS: dict[tuple[str, str, str, str], Stack] = {
    ("B200-SXM-180GB", "nvfp4", "vllm", "dense"): Stack(7e-05, 0.89, 0.33, 4.42e-05, 0.0512),
    ("B200-SXM-180GB", "fp8", "vllm", "dense"): Stack(5.87e-05, 0.838, 0.41, 4.84e-05, 0.062),
    ("H100-SXM5-80GB", "fp8", "vllm", "dense"): Stack(7.4e-05, 0.983, 0.473, 3.81e-05, 0.0121),
    ("H100-SXM5-80GB", "bf16", "vllm", "dense"): Stack(7.4e-05, 0.969, 0.491, 4.74e-05, 0.0467),
    ("H200-SXM-141GB", "fp8", "sglang", "mixture"): Stack(0.000101, 0.731, 0.152, 2.36e-05, 0.199),
    ("H200-SXM-141GB", "fp8", "vllm", "dense"): Stack(7.29e-05, 0.988, 0.493, 1.58e-05, 0.0243),
    ("H100-SXM5-80GB", "fp8", "trtllm", "dense"): Stack(4.37e-05, 0.936, 0.606, 2.46e-05, FRONT_END_SECONDS, "fp8"),
    ("GB200-186GB", "nvfp4", "trtllm", "dense"): Stack(3.58e-05, 0.984, 0.439, 2.4e-05, FRONT_END_SECONDS, "fp8"),
    ("H100-SXM5-80GB", "fp8", "mlperf", "dense"): Stack(3.91e-05, 0.594, 0.785, 4.75e-07, FRONT_END_SECONDS, "fp8"),
}

#: GPUs that stand for each other where one has no rows: the first that has.
_FAMILIES = (("H100", "H200", "H800"), ("B200", "GB200", "B300", "GB300"))
#: Where the same holds for precisions and engines.
_PRECISIONS, _OTHERWISE = ("fp8", "bf16", "nvfp4"), "vllm"
_KINDS = ("dense", "mixture")


def stack_of(gpu: str, precision: str, engine: str, *, mixture: bool = False) -> Stack:
    """The numbers of an engine on a GPU. What has none of its own has those of the nearest: of a sibling of the GPU, then of another
    precision, then of vLLM (of a mixture: of any engine), then of another family, then of the other kind of model.
    """
    short = gpu.partition("-")[0]
    families = sorted(_FAMILIES, key=lambda names: short not in names)
    siblings = [gpu, *(name for names in families for one in names for name in GPUS if name.partition("-")[0] == one and name != gpu)]
    own, other = siblings[: len(families[0]) + 1], siblings[len(families[0]) + 1 :]
    kind = _KINDS[mixture]
    engines = list(dict.fromkeys((engine, *(ENGINES if mixture else (_OTHERWISE,)))))
    precisions = list(dict.fromkeys((precision, *_PRECISIONS)))
    for one in (kind, *_KINDS):
        for some in (own, other):
            for name in engines:
                for way in precisions:
                    for sibling in some:
                        if (found := STACKS.get((sibling, way, name, one))) is not None:
                            return found
    raise AssertionError("there is a stack of each kind")
