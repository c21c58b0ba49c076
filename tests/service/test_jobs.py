"""JobService, call by call, through the client and through plain stubs."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from emulator.engine.job_control import JobState
from emulator.service.client import Client, ClientError
from emulator.service.spec import JobSpec, TrainingSpec
from emulator.workload.jobs import DALY, LEVEL_NAMES, SECOND, JobKind, Recovery, TrainingShape
from emulator.workload.training import MODELS, Parallelism, step_seconds, training_shape
from tests.service.conftest import FakeControl
from topology.catalog import HostType


def test_a_gang_arrives_as_it_was_described(client: Client, control: FakeControl) -> None:
    spec = JobSpec(
        gpus=1024,
        name="pretrain",
        queue="research",
        tenant="team-a",
        priority=-5,
        duration_seconds=3600.5,
        estimate_seconds=7200.0,
        require_level="pod",
        prefer_level="leaf",
        preemptible=False,
        checkpoint_seconds=600.0,
        utilization_ratio=0.4,
        slice_gpus=128,
        slice_level="rack",
        min_gpus=256,
    )
    view = client.submit(spec)
    assert (view.job_id, view.name, view.queue, view.tenant, view.kind) == (0, "pretrain", "research", "team-a", "gang")
    assert (view.state, view.gpus, view.milli_gpus, view.priority) == (JobState.PENDING, 1024, 1000, -5)
    assert (view.start_seconds, view.end_seconds) == (None, None)
    (columns,) = control.batches
    assert columns.duration_ns.tolist() == [3600 * SECOND + SECOND // 2]
    assert columns.estimate_ns.tolist() == [7200 * SECOND]
    assert columns.checkpoint_ns.tolist() == [600 * SECOND]
    assert [LEVEL_NAMES[columns.require_level[0]], LEVEL_NAMES[columns.prefer_level[0]]] == ["pod", "leaf"]
    assert (columns.slice_gpus.tolist(), LEVEL_NAMES[columns.slice_level[0]]) == ([128], "rack")
    assert columns.min_gpus.tolist() == [256]
    assert (columns.preemptible.tolist(), columns.utilization.tolist(), columns.shape.tolist()) == ([False], [0.4], [-1])


def test_what_becomes_of_it_after_a_fault_arrives(client: Client, control: FakeControl) -> None:
    client.submit(JobSpec(gpus=8, duration_seconds=10.0, checkpoint="daly", recovery="in-place"))
    (columns,) = control.batches
    assert (columns.checkpoint_ns.tolist(), columns.recovery.tolist()) == ([DALY], [Recovery.IN_PLACE])


@pytest.mark.parametrize(
    ("words", "told", "allowed"),
    [
        ({"checkpoint": "often"}, "spec.checkpoint is 'often'", "young, daly"),
        ({"checkpoint": "young", "checkpoint_seconds": 60.0}, "spec.checkpoint is given with an interval", "one of them"),
        ({"recovery": "hope"}, "spec.recovery is 'hope'", "requeue, in-place, spares, elastic"),
    ],
)
def test_a_word_that_is_none_is_refused(client: Client, words: dict[str, Any], told: str, allowed: str) -> None:
    with pytest.raises(ClientError) as error:
        client.submit(JobSpec(gpus=8, duration_seconds=10.0, **words))
    assert told in str(error.value)
    assert allowed in str(error.value)


def test_what_is_not_given_has_its_default(client: Client, control: FakeControl) -> None:
    client.submit(JobSpec(gpus=8, duration_seconds=10.0))
    (columns,) = control.batches
    assert (columns.queues, columns.tenants, columns.names) == (("default",), ("default",), ("",))
    assert columns.estimate_ns.tolist() == columns.duration_ns.tolist() == [10 * SECOND]
    assert columns.require_level.tolist() == columns.prefer_level.tolist() == columns.slice_level.tolist() == [-1]
    assert columns.slice_gpus.tolist() == columns.min_gpus.tolist() == [0]
    assert (columns.milli_gpus.tolist(), columns.preemptible.tolist(), columns.utilization.tolist()) == ([1000], [True], [1.0])


def test_a_share_of_a_gpu(client: Client, control: FakeControl) -> None:
    assert client.submit(JobSpec(gpus=1, milli_gpus=250, duration_seconds=10.0)).milli_gpus == 250
    assert control.batches[0].milli_gpus.tolist() == [250]


def test_training_takes_its_steps_times_the_step(client: Client, control: FakeControl, cluster_host: HostType) -> None:
    """llama3-70b, tp 8, pp 4, 1,024 GPUs: dp = 1024 / 32 = 32; 2,048 sequences are 64 microbatches a replica."""
    training = TrainingSpec(name="llama3-70b", steps=100, global_batch_size=2048, tensor_parallel=8, pipeline_parallel=4)
    assert client.submit(JobSpec(gpus=1024, training=training)).kind == "training"
    (columns,) = control.batches
    expected = training_shape(MODELS["llama3-70b"], Parallelism(8, 4, 32, 64), cluster_host.gpu, domain_gpus=8)
    assert columns.shapes == (expected,)
    assert columns.kind.tolist() == [JobKind.TRAINING]
    seconds = 100 * step_seconds(expected, cluster_host.nic_bytes_per_second)
    assert columns.duration_ns.tolist() == [round(seconds * SECOND)]


def test_training_in_another_precision(client: Client, control: FakeControl, cluster_host: HostType) -> None:
    """Two GPUs share the tokens of a sequence, weights are sharded over the replicas, and matrices are multiplied in fp8."""
    given: dict[str, Any] = {"tensor_parallel": 8, "context_parallel": 2, "precision": "fp8", "zero_stage": 3}
    client.submit(JobSpec(gpus=1024, training=TrainingSpec(name="llama3-70b", steps=100, global_batch_size=2048, **given)))
    plan = Parallelism(8, 1, 64, 32, context=2, zero=3)
    expected = training_shape(MODELS["llama3-70b"], plan, cluster_host.gpu, domain_gpus=8, precision="fp8")
    assert control.batches[0].shapes == (expected,)
    assert expected.peak_ratio == cluster_host.gpu.fp8_flops / cluster_host.gpu.bf16_flops  # type: ignore[operator]  # an H100 has fp8
    assert expected.context_bytes > 0


def test_a_measured_step_arrives_whole(client: Client, control: FakeControl) -> None:
    step = TrainingShape(
        1.0, 1e9, 0.5, 0.0, 1e15, exposed_ratio=0.125, context_gpus=16, context_bytes=1e8, context_overlap_seconds=0.01, peak_ratio=2.0
    )
    client.submit(JobSpec(gpus=64, training=TrainingSpec(steps=1, step=step)))
    assert control.batches[0].shapes == (step,)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"exposed_ratio": 1.5}, "exposed_ratio"),
        ({"exposed_ratio": -0.1}, "exposed_ratio"),
        ({"exposed_ratio": float("nan")}, "exposed_ratio"),
        ({"context_gpus": 7}, "context_gpus"),
        ({"context_gpus": -1}, "context_gpus"),
        ({"context_bytes": 1e19}, "context_bytes"),
        ({"context_overlap_seconds": -1.0}, "context_overlap_seconds"),
        ({"peak_ratio": 1e6}, "peak_ratio"),
        ({"peak_ratio": float("inf")}, "peak_ratio"),
    ],
)
def test_a_measured_step_that_is_none(client: Client, control: FakeControl, changes: dict[str, Any], field: str) -> None:
    step = replace(TrainingShape(1.0, 1e9, 0.5, 0.0, 1e15), **changes)
    with pytest.raises(ClientError) as caught:
        client.submit(JobSpec(gpus=64, training=TrainingSpec(steps=1, step=step)))
    assert (caught.value.code, caught.value.field) == ("INVALID_ARGUMENT", f"spec.training.step.{field}")
    assert not control.batches


def test_training_with_a_duration_keeps_it(client: Client, control: FakeControl) -> None:
    client.submit(JobSpec(gpus=64, duration_seconds=60.0, training=TrainingSpec(name="llama3-8b")))
    assert control.batches[0].duration_ns.tolist() == [60 * SECOND]
    assert control.batches[0].shape.tolist() == [0]


def test_a_model_of_ones_own(client: Client, control: FakeControl) -> None:
    given: dict[str, Any] = {"parameters": 8.03e9, "layers": 32, "hidden_size": 4096, "sequence_length": 8192, "attention_heads": 32}
    client.submit(JobSpec(gpus=64, training=TrainingSpec(steps=1, global_batch_size=512, tensor_parallel=1, **given)))
    client.submit(JobSpec(gpus=64, training=TrainingSpec(name="llama3-8b", steps=1, global_batch_size=512, tensor_parallel=1)))
    own, known = (columns.shapes[0] for columns in control.batches)
    assert own == known


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "gpt-9"}, "model.name"),
        ({"name": "", "layers": 32}, "model.parameters"),
        ({"tensor_parallel": 16}, "model.tensor_parallel"),
        ({"tensor_parallel": 3}, "model.tensor_parallel"),
        ({"pipeline_parallel": 81}, "model.pipeline_parallel"),
        ({"pipeline_parallel": 3}, "model.pipeline_parallel"),
        ({"tensor_parallel": 8, "global_batch_size": 127}, "model.global_batch_size"),
        ({"parameters": 1e6}, "model.parameters"),
        ({"parameters": float("nan")}, "model.parameters"),
        ({"layers": 0}, "model.layers"),
        ({"layers": 2_000_000_000}, "model.layers"),
        ({"precision": "int8"}, "model.precision"),
        ({"precision": "nvfp4"}, "model.precision"),
        ({"zero_stage": 2}, "model.zero_stage"),
        ({"context_parallel": 0}, "model.context_parallel"),
        ({"context_parallel": 3}, "model.context_parallel"),
        ({"tensor_parallel": 8, "context_parallel": 256}, "model.context_parallel"),
        ({"steps": -1}, "steps"),
        ({"steps": 10**12}, "steps"),
    ],
)
def test_training_that_does_not_go_together(client: Client, control: FakeControl, changes: dict[str, Any], field: str) -> None:
    given: dict[str, Any] = {"name": "llama3-70b", "steps": 10} | changes
    training = TrainingSpec(**given)
    with pytest.raises(ClientError) as caught:
        client.submit(JobSpec(gpus=1024, training=training))
    assert (caught.value.code, caught.value.exit_code, caught.value.field) == ("INVALID_ARGUMENT", 2, f"spec.training.{field}")
    assert caught.value.allowed
    assert not control.batches


def test_a_model_that_does_not_fit_the_memory_says_so(client: Client) -> None:
    with pytest.raises(ClientError, match="fits in the memory of 8 H100") as caught:
        client.submit(JobSpec(gpus=8, training=TrainingSpec(name="llama3-405b", steps=1)))
    assert caught.value.field == "spec.training.model.parameters"


def test_a_service_is_a_job_per_replica(client: Client, control: FakeControl) -> None:
    view = client.submit(JobSpec(gpus=4, name="chat", replicas=3))
    assert (view.kind, view.name) == ("service", "chat")
    (columns,) = control.batches
    assert (len(columns), columns.kind.tolist()) == (3, [JobKind.SERVICE] * 3)
    assert (columns.duration_ns.tolist(), columns.gpus.tolist()) == ([0, 0, 0], [4, 4, 4])


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (JobSpec(gpus=0, duration_seconds=1.0), "gpus"),
        (JobSpec(gpus=-8, duration_seconds=1.0), "gpus"),
        (JobSpec(gpus=8), "duration"),
        (JobSpec(gpus=8, duration_seconds=-1.0), "duration"),
        (JobSpec(gpus=8, duration_seconds=11 * 365 * 86_400.0), "duration"),
        (JobSpec(gpus=8, duration_seconds=1.0, estimate_seconds=-1.0), "estimate"),
        (JobSpec(gpus=8, duration_seconds=1.0, checkpoint_seconds=-1.0), "checkpoint_interval"),
        (JobSpec(gpus=1, milli_gpus=0, duration_seconds=1.0), "milli_gpus"),
        (JobSpec(gpus=1, milli_gpus=1001, duration_seconds=1.0), "milli_gpus"),
        (JobSpec(gpus=2, milli_gpus=500, duration_seconds=1.0), "milli_gpus"),
        (JobSpec(gpus=8, duration_seconds=1.0, utilization_ratio=1.5), "gang.utilization_ratio"),
        (JobSpec(gpus=8, duration_seconds=1.0, utilization_ratio=float("nan")), "gang.utilization_ratio"),
        (JobSpec(gpus=8, duration_seconds=1.0, require_level="row"), "require_level"),
        (JobSpec(gpus=8, duration_seconds=1.0, prefer_level="gpu"), "prefer_level"),
        (JobSpec(gpus=8, duration_seconds=1.0, slice_gpus=-4, slice_level="rack"), "slice_gpus"),
        (JobSpec(gpus=8, duration_seconds=1.0, slice_gpus=3, slice_level="rack"), "slice_gpus"),
        (JobSpec(gpus=8, duration_seconds=1.0, slice_gpus=16, slice_level="rack"), "slice_gpus"),
        (JobSpec(gpus=1, milli_gpus=500, duration_seconds=1.0, slice_gpus=1, slice_level="rack"), "slice_gpus"),
        (JobSpec(gpus=8, duration_seconds=1.0, slice_level="rack"), "slice_gpus"),
        (JobSpec(gpus=8, duration_seconds=1.0, slice_gpus=4), "slice_level"),
        (JobSpec(gpus=8, duration_seconds=1.0, slice_gpus=4, slice_level="row"), "slice_level"),
        (JobSpec(gpus=8, duration_seconds=1.0, slice_gpus=4, slice_level="pod", require_level="leaf"), "slice_level"),
        (JobSpec(gpus=8, duration_seconds=1.0, min_gpus=-1), "min_gpus"),
        (JobSpec(gpus=8, duration_seconds=1.0, min_gpus=9), "min_gpus"),
        (JobSpec(gpus=1, milli_gpus=500, duration_seconds=1.0, min_gpus=1), "min_gpus"),
        (JobSpec(gpus=64, duration_seconds=1.0, min_gpus=24, slice_gpus=16, slice_level="rack"), "min_gpus"),
        (JobSpec(gpus=8, replicas=1, min_gpus=4), "min_gpus"),
        (JobSpec(gpus=8, duration_seconds=1.0, queue="a b"), "queue"),
        (JobSpec(gpus=8, duration_seconds=1.0, tenant="x" * 64), "tenant"),
        (JobSpec(gpus=8, duration_seconds=1.0, name="x" * 254), "name"),
        (JobSpec(gpus=8, duration_seconds=1.0, name="\x1b[2J"), "name"),
        (JobSpec(gpus=8, replicas=0), "service.replicas"),
        (JobSpec(gpus=8, replicas=10_001), "service.replicas"),
    ],
)
def test_a_wrong_field_is_named_with_what_is_allowed(client: Client, control: FakeControl, spec: JobSpec, field: str) -> None:
    with pytest.raises(ClientError) as caught:
        client.submit(spec)
    assert (caught.value.code, caught.value.exit_code, caught.value.field) == ("INVALID_ARGUMENT", 2, f"spec.{field}")
    assert caught.value.allowed
    assert caught.value.allowed in str(caught.value)
    assert not control.batches


def test_a_job_that_never_fits_is_told_at_once(client: Client, control: FakeControl) -> None:
    with pytest.raises(ClientError, match="100000 GPUs") as caught:
        client.submit(JobSpec(gpus=control.GPUS + 1, duration_seconds=1.0))
    assert (caught.value.code, caught.value.exit_code) == ("FAILED_PRECONDITION", 4)


def test_a_full_queue_says_when_to_come_back(client: Client, control: FakeControl) -> None:
    control.pending_limit = 0
    with pytest.raises(ClientError) as caught:
        client.submit(JobSpec(gpus=1, duration_seconds=1.0))
    assert (caught.value.code, caught.value.exit_code, caught.value.retry_seconds) == ("RESOURCE_EXHAUSTED", 1, 2.5)


def test_replicas_beyond_the_limit_are_named(client: Client, control: FakeControl) -> None:
    control.pending_limit = 2
    with pytest.raises(ClientError, match="2 replicas were accepted") as caught:
        client.submit(JobSpec(gpus=1, replicas=5))
    assert caught.value.code == "RESOURCE_EXHAUSTED"
    assert len(control.views) == 2


def test_a_repeated_request_id_gets_the_first_answer(client: Client, control: FakeControl) -> None:
    spec = JobSpec(gpus=8, duration_seconds=1.0)
    first, again, other = client.submit(spec, "once"), client.submit(spec, "once"), client.submit(spec, "twice")
    assert (first.job_id, again.job_id, other.job_id) == (0, 0, 1)
    assert client.submit(spec).job_id != client.submit(spec).job_id  # without one, each is a request of its own


def test_a_repeat_for_a_job_that_is_no_longer_kept_is_no_error(client: Client, control: FakeControl) -> None:
    first = client.submit(JobSpec(gpus=8, duration_seconds=1.0, name="mine"), "one")
    del control.views[first.job_id]
    again = client.submit(JobSpec(gpus=8, duration_seconds=1.0, name="mine"), "one")
    assert (again.job_id, again.name, again.gpus) == (first.job_id, "mine", 8)
    assert again.reason == f"there is no job {first.job_id}"


@pytest.mark.parametrize("request_id", ["x" * 129, "a\nb", "é"])
def test_a_request_id_that_is_none(client: Client, request_id: str) -> None:
    with pytest.raises(ClientError) as caught:
        client.submit(JobSpec(gpus=8, duration_seconds=1.0), request_id)
    assert (caught.value.code, caught.value.field) == ("INVALID_ARGUMENT", "request_id")


def test_get_cancel_and_explain(client: Client, control: FakeControl) -> None:
    job = client.submit(JobSpec(gpus=16, duration_seconds=5.0))
    assert client.job(job.job_id) == job == control.views[job.job_id]
    why = client.explain(job.job_id)
    assert (why.kind, why.position, list(why.numbers.items())) == ("capacity", 0, [("gpus", 16.0), ("gpus_free", 8.0)])
    control.change(job.job_id, state=JobState.RUNNING, start_seconds=0.0, placement_level="host", hosts="r00000-h00")
    assert client.job(job.job_id) == control.views[job.job_id]
    assert client.explain(job.job_id).position == -1
    ended = client.cancel(job.job_id, "c")
    assert (ended.state, ended.end_seconds, ended.start_seconds) == (JobState.CANCELLED, 1.0, 0.0)
    assert client.cancel(job.job_id, "c") == ended
    with pytest.raises(ClientError, match="has ended") as caught:
        client.cancel(job.job_id)
    assert (caught.value.code, caught.value.exit_code) == ("FAILED_PRECONDITION", 1)


def test_hold_and_release(client: Client, control: FakeControl) -> None:
    job = client.submit(JobSpec(gpus=16, duration_seconds=5.0)).job_id
    held = client.hold(job, "h")
    assert (held.state, held.reason, client.hold(job, "h")) == (JobState.PENDING, "on hold", held)
    assert client.release(job, "r").reason == "waits for the next cycle"
    control.change(job, state=JobState.RUNNING, start_seconds=0.0)
    for call in (client.hold, client.release):
        with pytest.raises(ClientError, match="is running; allowed: a pending job") as caught:
            call(job)
        assert (caught.value.code, caught.value.field) == ("FAILED_PRECONDITION", "job_id")


def test_another_priority(client: Client, control: FakeControl) -> None:
    job = client.submit(JobSpec(gpus=16, duration_seconds=5.0)).job_id
    raised = client.set_priority(job, -(2**31), "p")
    assert (raised.priority, client.set_priority(job, -(2**31), "p")) == (-(2**31), raised)
    with pytest.raises(ClientError) as caught:
        client.set_priority(job, 2**31)
    assert (caught.value.code, control.views[job].priority) == ("INVALID_ARGUMENT", -(2**31))
    control.change(job, state=JobState.FINISHED, end_seconds=1.0)
    with pytest.raises(ClientError, match="has ended") as caught:
        client.set_priority(job, 1)
    assert caught.value.code == "FAILED_PRECONDITION"


@pytest.mark.parametrize("call", ["job", "cancel", "hold", "release", "explain"])
@pytest.mark.parametrize("job_id", [7, -1, 2**63 - 1])
def test_an_unknown_job_is_not_found(client: Client, call: str, job_id: int) -> None:
    with pytest.raises(ClientError, match=f"no job {job_id}") as caught:
        getattr(client, call)(job_id)
    assert (caught.value.code, caught.value.exit_code) == ("NOT_FOUND", 3)


def test_an_id_that_no_message_holds(client: Client) -> None:
    with pytest.raises(ClientError) as caught:
        client.job(2**64)
    assert caught.value.exit_code == 2


def test_lists_page_and_filter(client: Client, control: FakeControl) -> None:
    for number in range(25):
        client.submit(JobSpec(gpus=1, duration_seconds=1.0, queue=("a", "b")[number % 2]))
    for job_id in range(0, 25, 5):
        control.change(job_id, state=JobState.RUNNING)
    assert [job.job_id for job in client.jobs()] == list(range(25))
    assert [job.job_id for job in client.jobs(queue="b")] == list(range(1, 25, 2))
    assert [job.job_id for job in client.jobs(states=[JobState.RUNNING])] == [0, 5, 10, 15, 20]
    assert [job.job_id for job in client.jobs(states=[JobState.RUNNING], queue="a", limit=2)] == [0, 10]


def test_columns_keep_their_types(client: Client, control: FakeControl) -> None:
    client.submit(JobSpec(gpus=8, duration_seconds=1.0))
    (columns,) = control.batches
    dtypes = [column.dtype for column in (columns.gpus, columns.duration_ns, columns.kind)]
    assert dtypes == [np.dtype(kind) for kind in (np.int32, np.int64, np.int8)]
