"""The services of an engine, as the API shows them."""

from emulator.engine.engine import Engine
from emulator.engine.errors import NotFound
from emulator.engine.service_accounts import MILLI, ServiceAccount
from emulator.engine.service_control import ServiceView
from emulator.engine.services import Services
from emulator.racks.latencies import PS_PER_SECOND, quantiles
from emulator.racks.power import idle_milliwatts
from emulator.racks.serving_messages import Int64, Latency, Tally
from emulator.scheduler.table import State
from emulator.workload.jobs import SECOND


def service_views(engine: Engine) -> list[ServiceView]:
    """As of the last look at them, in the order of the scenario."""
    services = engine.services
    return [] if services is None else [_view(engine, services, number) for number in range(len(services.accounts))]


def service_number(engine: Engine, name: str) -> int:
    """Raises NotFound."""
    names = [] if engine.services is None else [service.name for service in engine.services.settings.services]
    if name not in names:
        raise NotFound(f"there is no service {name!r:.80}", field="name", allowed=", ".join(names) or "none: the scenario has no services")
    return names.index(name)


def tally_names(tallies: Int64) -> dict[str, float]:
    """Counts in thousandths by name."""
    return {one.name.lower(): int(tallies[one]) / MILLI for one in Tally}


def _view(engine: Engine, services: Services, number: int) -> ServiceView:
    service, account = services.settings.services[number], services.accounts[number]
    of, table = services.replicas.services[number], engine.table
    leaving = [slot for slot in of.slots if services.replicas.of[slot].leaving]
    starting = [slot for slot in of.slots if table.state[slot] == State.RUNNING and slot not in of.up]
    seconds = services.settings.interval_ns / SECOND
    return ServiceView(
        name=service.name,
        model=service.model,
        engine=service.engine,
        gpus_per_replica=service.gpus,
        wanted_replicas=services.scalers[number].count,
        up_replicas=len(of.up),
        starting_replicas=len(starting) - len(leaving),
        pending_replicas=len(of.slots) - len(of.up) - len(starting),
        leaving_replicas=len(leaving),
        least_replicas=service.scaling.least,
        most_replicas=service.scaling.most,
        pools=len(set(of.up.values())),
        run_one_in=service.run_one_in,
        run_ratio=account.run_ratio,
        looked_seconds=services.served_ns / SECOND,
        running_requests=account.running,
        waiting_requests=account.waiting,
        kv_usage_ratio=account.kv_ratio,
        requests=tally_names(account.tallies),
        requests_per_second=int(account.last_tallies[Tally.ARRIVED]) / MILLI / seconds,
        output_tokens_per_second=int(account.last_tallies[Tally.OUTPUT_TOKENS]) / MILLI / seconds,
        ttft_seconds=quantiles(account.counts[Latency.TTFT]),
        tpot_seconds=quantiles(account.counts[Latency.TPOT]),
        recent_ttft_seconds=quantiles(account.last_counts[Latency.TTFT]),
        recent_tpot_seconds=quantiles(account.last_counts[Latency.TPOT]),
        ttft_objective_seconds=service.served.first_token_ps / PS_PER_SECOND,
        tpot_objective_seconds=service.served.per_token_ps / PS_PER_SECOND,
        slo_attainment_ratio=account.attainment_ratio,
        energy_joules=_joules(engine, services, number, account),
    )


def _joules(engine: Engine, services: Services, number: int, account: ServiceAccount) -> float:
    """Of the replicas that there are and were, up to now."""
    table, lives = engine.table, engine.table.lives
    dynamic, held = account.ended_dynamic, account.ended_held
    for slot in services.replicas.services[number].slots:
        dynamic += lives.dynamic_energy[slot]
        held += lives.run_ns[slot] * table.size_gpus[slot]
        if table.state[slot] == State.RUNNING:
            dynamic += engine.runs.draw[slot] * table.size_gpus[slot] * (engine.now_ns - lives.since_ns[slot])
            held += (engine.now_ns - table.start_ns[slot]) * table.size_gpus[slot]
    host_type = engine.cluster.host_types[services.settings.services[number].host_type]
    return (dynamic + held * idle_milliwatts(host_type) // host_type.gpus) / 1e12
