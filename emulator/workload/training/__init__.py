"""How long a training step takes, from the shape of the model, the parallelism, the GPU and the precision.

``model`` and ``catalogue`` say what is trained, ``parallelism`` and ``choice`` how the GPUs share it, ``kernels`` how fast they compute,
``communication`` what they send, and ``step`` puts these together: to a ``TrainingShape``, whose steps take ``step_seconds`` at the
fabric's share.
"""

from emulator.workload.training.catalogue import GENERATED, MODELS, megatron_model
from emulator.workload.training.choice import choose_parallelism, state_bytes
from emulator.workload.training.communication import inside_copies, other_domains
from emulator.workload.training.kernels import ALIASES, PRECISIONS, UnknownPrecision, peak_flops
from emulator.workload.training.model import Model, step_flops
from emulator.workload.training.parallelism import ZERO_STAGES, Parallelism
from emulator.workload.training.step import LayerSeconds, layer_seconds, step_seconds, training_shape

__all__ = [
    "ALIASES",
    "GENERATED",
    "MODELS",
    "PRECISIONS",
    "ZERO_STAGES",
    "LayerSeconds",
    "Model",
    "Parallelism",
    "UnknownPrecision",
    "choose_parallelism",
    "inside_copies",
    "layer_seconds",
    "megatron_model",
    "other_domains",
    "peak_flops",
    "state_bytes",
    "step_flops",
    "step_seconds",
    "training_shape",
]
