"""One run of a comparison, in this process."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from emulator.engine.errors import ControlError
from emulator.engine.shards import ShardsLost
from emulator.experiments.compare.cells import Cell
from emulator.experiments.compare.metrics import Metrics, metrics, started_ratios
from emulator.report import usage
from emulator.report.summary import plain, summary
from emulator.runtime.opening import open_session
from emulator.runtime.session import Session
from emulator.scenario import Scenario
from emulator.scheduler.policy import PolicyError


@dataclass(frozen=True)
class Ran:
    """A run that reached its end: its summary, its metrics, and ``metrics.started_ratios``."""

    summary: dict[str, Any]
    metrics: Metrics
    started_ratios: list[float]


@dataclass(frozen=True)
class Failed:
    """A run that did not, and why."""

    error: str


def one_run(cell: Cell, opened: Callable[[Session], None] | None = None) -> Ran | Failed:
    """Run ``cell`` to its end. ``opened`` is told the session, to interrupt it. An error of the run is returned, not raised."""
    cpu_seconds = usage.cpu_seconds()
    try:
        with closing(open_session(Scenario.model_validate(cell.scenario), to_end_of_work=cell.to_end_of_work)) as session:
            if opened is not None:
                opened(session)
            outcome = session.run_to_end()
            if outcome.interrupted:
                return Failed("interrupted")
            # The process may have run others before.
            outcome = replace(outcome, cpu_seconds=usage.cpu_seconds() - cpu_seconds)
            values = summary(outcome)
            named = {"scenario": cell.label, "policy": cell.variant.policy}
            return Ran(values | named, plain(metrics(outcome, values)), started_ratios(outcome.jobs))
    except (PolicyError, ShardsLost, ControlError, ValueError, OSError) as error:
        words = str(error)
    except Exception as error:  # noqa: BLE001 - a run that fails is not to take the others with it
        words = f"{type(error).__name__}: {error}"
    return Failed(words.replace(str(cell.scenario["scheduler"]["policy"]), cell.variant.policy))
