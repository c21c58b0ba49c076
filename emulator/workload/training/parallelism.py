"""How the GPUs of a job share a model, and where the ranks stand.

``tensor * context * pipeline`` GPUs take a microbatch through the model: tensor ranks share every matrix, context ranks share the tokens of
a sequence, pipeline ranks share the layers. ``data`` of these take other sequences, and reduce their gradients once a step. The experts of
a mixture are spread over ``expert`` consecutive GPUs of a stage, which exchange tokens all-to-all.

Ranks are laid out tensor, context, data, pipeline from the inside out, as Megatron-LM does, as far as a scale-up domain reaches: the data
ranks that fit in one domain stand together and reduce there first. What is left of the data ranks comes after the pipeline (LL3: the
outermost dimension needs the network least).
"""

from dataclasses import dataclass
from math import lcm

#: What the optimizer's sharding may be: the optimizer state over the replicas, or the weights and gradients too (Rajbhandari et al., ZeRO,
#: SC'20, stages 1 and 3; stage 3 is FSDP).
ZERO_STAGES = (1, 3)


@dataclass(frozen=True)
class Parallelism:
    """How a job's GPUs share the model; ``microbatches`` per replica and step, each of ``microbatch_sequences``."""

    tensor: int
    pipeline: int
    data: int
    microbatches: int
    microbatch_sequences: int = 1
    interleave: int = 1  # virtual stages per pipeline rank
    expert: int = 1  # GPUs that share the experts of a layer; a multiple of ``tensor``, or 1
    context: int = 1  # GPUs times ``tensor`` that share the tokens of a sequence
    zero: int = 1  # one of ZERO_STAGES

    @property
    def gpus(self) -> int:
        return self.tensor * self.context * self.pipeline * self.data

    @property
    def sequence_gpus(self) -> int:
        """GPUs of one stage that share a microbatch."""
        return self.tensor * self.context

    @property
    def expert_gpus(self) -> int:
        """GPUs of one stage with all experts of its layers."""
        return max(self.tensor, self.expert)

    @property
    def bubble_ratio(self) -> float:
        """Idle over useful time of a pipeline: (p - 1) / (v m) (MLM section 2.2)."""
        return (self.pipeline - 1) / (self.interleave * self.microbatches)

    @property
    def sequences(self) -> int:
        """Sequences per step of the whole job."""
        return self.data * self.microbatches * self.microbatch_sequences

    def stage_gpus(self, domain_gpus: int) -> int:
        """GPUs of a stage that stand side by side: as many replicas as share a domain, and whole groups of experts.

        Without a pipeline nothing comes between the replicas, and the fabric finds those that share a domain by itself.
        """
        mine = lcm(self.sequence_gpus, self.expert_gpus)
        if self.pipeline == 1:
            return mine
        together = self.sequence_gpus * self.data // mine  # such groups in a stage
        most = max(1, min(together, domain_gpus // mine))
        return mine * next(count for count in range(most, 0, -1) if together % count == 0)

    def replica_gpus(self, domain_gpus: int) -> int:
        """GPUs of all stages of such a group: the stride of the rings over the fabric."""
        return self.stage_gpus(domain_gpus) * self.pipeline
