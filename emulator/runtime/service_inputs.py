"""What is asked of services while the emulation runs: how many replicas they are to have, and the requests of clients."""

from typing import Any

from emulator.engine.commands import Ask, GoAway, ScaleService
from emulator.engine.engine import Engine
from emulator.engine.errors import InvalidRequest
from emulator.engine.service_views import service_number
from emulator.workload.jobs import SECOND
from emulator.workload.requests import MOST_PRIORITY
from emulator.workload.requests.columns import MAX_TOKENS


def scale_command(engine: Engine, name: str, replicas: int) -> ScaleService:
    """Raises NotFound for an unknown service, and InvalidRequest for what it may not have."""
    number = service_number(engine, name)
    assert engine.services is not None, "it has that service"
    scaling = engine.services.settings.services[number].scaling
    if not scaling.least <= replicas <= scaling.most:
        raise InvalidRequest(
            f"{replicas} replicas of {name}", field="replicas", allowed=f"{scaling.least} to {scaling.most}, its scaling.min and max"
        )
    return ScaleService(number, replicas)


def told(name: str, command: ScaleService, stamp_ns: int, *, scales: bool) -> str:
    """What was done, as a sentence."""
    goes_on = "; scaling goes on from there" if scales else ""
    return f"{name} is to have {command.replicas} replicas from {stamp_ns / SECOND:g} s on{goes_on}"


def ask_command(engine: Engine, name: str, number: int, arrival_ns: int, prompt_tokens: int, output_tokens: int, priority: int) -> Ask:
    """Raises NotFound for an unknown service, and InvalidRequest for tokens that are none, or another priority than there are."""
    service = service_number(engine, name)
    for field, tokens in (("prompt_tokens", prompt_tokens), ("output_tokens", output_tokens)):
        if not 1 <= tokens <= MAX_TOKENS:
            raise InvalidRequest(f"{field} is {tokens}", field=field, allowed=f"1 to {MAX_TOKENS:,}")
    if abs(priority) > MOST_PRIORITY:
        raise InvalidRequest(f"priority is {priority}", field="priority", allowed=f"{-MOST_PRIORITY} to {MOST_PRIORITY}")
    return Ask(service, number, arrival_ns, prompt_tokens, output_tokens, priority)


def take_up(kind: str, given: dict[str, Any]) -> ScaleService | Ask | GoAway:
    """What a journal has of such an input."""
    commands: dict[str, type[ScaleService | Ask | GoAway]] = {"scale": ScaleService, "ask": Ask, "go away": GoAway}
    return commands[kind](**given)
