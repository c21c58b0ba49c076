"""Requests to draw less for a while: of the grid, in the scenario or live, each with what it asked for and what it cost."""

from dataclasses import dataclass

from emulator.engine.power_settings import FACILITY, Reduction
from emulator.power.series import NEVER


@dataclass
class Response:
    """One request. Power is in milliwatts at the meter, energy in millionths of picojoules there, lost GPU time in milli-GPU
    nanoseconds.
    """

    asked: Reduction
    begin_ns: int
    end_ns: int
    before_milliwatts: int  # drawn when it began
    cap_milliwatts: int
    energy: int  # so far at its begin; when it is over, during it
    lost: int  # the same
    most_milliwatts: int = 0  # drawn at the end of a cycle during it


@dataclass(frozen=True)
class Books:
    """At the meter of a place so far, and now."""

    energy: int
    milliwatts: int
    lost: int


class DemandResponse:
    """The requests to come, and in ``responses`` those that have begun. ``turn`` begins and ends those that are due."""

    def __init__(self, asked: tuple[Reduction, ...]) -> None:
        self._to_come = sorted(asked, key=lambda one: -one.at_ns)  # the next one last; of several at once the last one given first
        self.responses: list[Response] = []
        self.in_force: list[Response] = []

    def add(self, asked: Reduction) -> None:
        """One more, for which its time is still to come, or now."""
        self._to_come = sorted([*self._to_come, asked], key=lambda one: -one.at_ns)

    def next_ns(self) -> int:
        """When a request begins or ends next; NEVER if none does."""
        due = self._to_come[-1].at_ns if self._to_come else NEVER
        for response in self.in_force:
            due = min(due, response.end_ns)
        return due

    def places(self, at_ns: int) -> set[int]:
        """Of the requests that ``turn`` will begin or end."""
        due = {asked.place for asked in self._to_come if asked.at_ns <= at_ns}
        return due | {response.asked.place for response in self.in_force}

    def turn(self, at_ns: int, books: dict[int, Books]) -> None:
        """Begin and end what is due. ``books`` are those of ``places``."""
        for response in list(self.in_force):
            if response.end_ns <= at_ns:
                self._end(response, at_ns, books[response.asked.place])
        while self._to_come and self._to_come[-1].at_ns <= at_ns:
            asked = self._to_come.pop()
            now = books[asked.place]
            if asked.part is None and asked.to_milliwatts is None:  # lifts what was asked for before
                for response in list(self.in_force):
                    if response.asked.place == asked.place:
                        self._end(response, at_ns, now)
                continue
            cap = asked.to_milliwatts if asked.part is None else now.milliwatts - int(now.milliwatts * asked.part)
            assert cap is not None, "either is given"
            end_ns = NEVER if asked.duration_ns is None else at_ns + asked.duration_ns
            response = Response(asked, at_ns, end_ns, now.milliwatts, cap, now.energy, now.lost)
            self.responses.append(response)
            self.in_force.append(response)

    def note(self, place: int, milliwatts: int) -> None:
        """What a place draws at the end of a cycle."""
        for response in self.in_force:
            if response.asked.place == place:
                response.most_milliwatts = max(response.most_milliwatts, milliwatts)

    def finish(self, at_ns: int, books: dict[int, Books]) -> None:
        """The emulation ends."""
        for response in list(self.in_force):
            self._end(response, at_ns, books[response.asked.place])

    def _end(self, response: Response, at_ns: int, now: Books) -> None:
        self.in_force.remove(response)
        response.end_ns = at_ns
        response.energy, response.lost = now.energy - response.energy, now.lost - response.lost


def told_place(place: int, names: tuple[str, ...]) -> str:
    """The site's name, or that of the whole."""
    return "facility" if place == FACILITY else names[place]
