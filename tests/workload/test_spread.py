"""The generated day over several host types."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from emulator.workload.generate import GeneratorSettings, generate
from emulator.workload.jobs import COLUMN_NAMES, SECOND, JobColumns, JobKind
from emulator.workload.spread import generate_by_type
from topology import catalog

H100, GB200 = catalog.host("hgx-h100"), catalog.host("gb200-nvl72")
DAY = 86_400 * SECOND


def column(batches: list[JobColumns], name: str) -> np.ndarray:
    return np.concatenate([getattr(batch, name) for batch in batches])


def day(hosts: tuple[int, int] = (1250, 1800), **settings: Any) -> list[JobColumns]:
    return list(generate_by_type(GeneratorSettings(**settings), (H100, GB200), hosts, 1, DAY))


def test_one_type_is_the_plain_generator() -> None:
    one = list(generate_by_type(GeneratorSettings(), (H100,), (1250,), 5, DAY))
    plain = list(generate(GeneratorSettings(), 10_000, 5, DAY, H100.gpu, 8))
    assert len(one) == len(plain)
    for name in COLUMN_NAMES:
        assert column(one, name).tolist() == column(plain, name).tolist()


def test_every_type_gets_its_load_and_its_own_shapes_in_order_of_submission() -> None:
    batches = day(carry_over=False)
    submit, host_type = column(batches, "submit_ns"), column(batches, "host_type")
    assert (np.diff(submit) >= 0).all()
    assert submit[-1] < DAY
    assert column(batches, "job_id").tolist() == list(range(len(submit)))
    work = column(batches, "gpus").astype(float) * column(batches, "duration_ns")
    for number, gpus in ((0, 10_000), (1, 7_200)):
        assert work[host_type == number].sum() / (gpus * DAY) == pytest.approx(0.95, rel=0.1)
    shapes = {
        number: {
            batch.shapes[index] for batch in batches for index in batch.shape[(batch.host_type == number) & (batch.shape >= 0)].tolist()
        }
        for number in (0, 1)
    }
    assert shapes[0]
    assert shapes[1]
    assert not shapes[0] & shapes[1]
    for batch in batches:
        assert ((batch.shape >= 0) == (batch.kind == JobKind.TRAINING)).all()


def test_the_jobs_of_one_type_do_not_depend_on_the_other() -> None:
    """Those of the first are what it would get alone; those of the second do not change with the size of the first."""
    both, other = day(), day(hosts=(500, 1800))
    alone = list(generate(GeneratorSettings(), 10_000, 1, DAY, H100.gpu, 8))
    for name in set(COLUMN_NAMES) - {"job_id", "shape", "host_type"}:
        kinds = column(both, "host_type")
        assert column(both, name)[kinds == 0].tolist() == column(alone, name).tolist(), name
        assert column(both, name)[kinds == 1].tolist() == column(other, name)[column(other, "host_type") == 1].tolist(), name
    assert column(both, "duration_ns")[kinds == 0][:50].tolist() != column(both, "duration_ns")[kinds == 1][:50].tolist()


def test_what_is_given_for_the_whole_is_split_by_gpus() -> None:
    batches = day(hosts=(900, 1800), jobs_per_day=8000.0, carry_over=False)
    counts = np.bincount(column(batches, "host_type"))
    assert counts.tolist() == pytest.approx([4000, 4000], rel=0.05)


def test_a_type_that_cannot_have_the_load_is_named() -> None:
    with pytest.raises(ValueError, match="hgx-h100: jobs of"):
        generate_by_type(GeneratorSettings(jobs_per_day=20.0), (replace(H100, gpus=8), GB200), (2, 1800), 1, DAY)
