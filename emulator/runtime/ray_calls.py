"""Calls of a function as tasks of Ray, some at a time: ``Calls`` is the head's side, ``Caller`` the process that drives Ray."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from emulator.runtime import ray_actor
from emulator.runtime.driver_process import GLANCE_SECONDS, DriverProcess, RayGone
from emulator.runtime.link_messages import Lost, Opened
from emulator.runtime.ray_address import UnusableRay, given_cluster
from emulator.runtime.ray_driver import end_session, main, refused, words
from emulator.runtime.ray_join import join_ray
from emulator.runtime.ray_start import RaySession, start_ray

#: How often a task is begun again whose process or node was lost.
RETRIES = 2


class Calls(DriverProcess):
    """A Ray of our own with ``at_once`` CPUs (None: those of this machine), or the cluster that ``address`` or RAY_ADDRESS means.

    So many tasks run at once there, each on one CPU. Raises RayStartError where Ray cannot be had.
    """

    def __init__(self, address: str | None, at_once: int | None) -> None:
        self._answers: deque[tuple[int, Any]] = deque()
        super().__init__("emulator.runtime.ray_calls", address, at_once)

    def all(self, function: str, arguments: Mapping[int, Any], stopped: Callable[[], bool]) -> Iterator[tuple[int, Any]]:
        """(number, answer) of ``function`` (``package.module:name``) of each argument, as they come; until ``stopped()``.

        The answer is ``Lost`` where Ray lost the task too often, or the function raised an error.

        Raises RayGone when Ray is lost, UnusableRay where a node has other code.
        """
        self._call("begin", function, arguments)
        left = len(arguments)
        while left and not stopped():
            if not self._answers:
                self._wait()
                continue
            left -= 1
            number, answer = self._answers.popleft()
            if isinstance(answer, UnusableRay):
                raise answer
            yield number, answer

    def _wait(self) -> None:
        try:
            if self._connection.poll(GLANCE_SECONDS):
                self._hear()
        except (EOFError, OSError) as error:
            raise RayGone(self._last_words()) from error

    def _told(self, kind: str, value: Any) -> None:
        if kind == "answer":
            self._answers.append(value)


class Caller:
    """The verbs of ``Calls``, each in one method."""

    look_seconds = 0.05

    def __init__(self, tell: Callable[[str, object], None]) -> None:
        self._tell = tell
        self._session: RaySession | None = None
        self._waiting: deque[tuple[int, Any]] = deque()
        self._numbers: dict[Any, int] = {}  # of the tasks that run, by Ray's reference

    def open(self, address: str | None, at_once: int | None) -> Opened:
        """Join the cluster that ``address`` or RAY_ADDRESS means, or start a Ray of our own."""
        given = given_cluster(address)
        session = self._session = join_ray(given) if given else start_ray(cpus=at_once)
        import ray

        self._ray = ray
        self._at_once = at_once or max(1, session.cpus)
        ray.cloudpickle.register_pickle_by_value(ray_actor)
        self._code = ray_actor.installed_code()
        self._task = ray.remote(num_cpus=1, max_retries=RETRIES)(ray_actor.call)
        return Opened(session.ours, self._at_once, 0, str(session.temp_dir or ""))

    def begin(self, function: str, arguments: Mapping[int, Any]) -> None:
        """Begin to call ``function`` of each argument."""
        self._function = function
        self._waiting.extend(arguments.items())
        self.look()

    def look(self) -> None:
        """Tell the head what has been answered, and begin as many others."""
        running = list(self._numbers)
        ended, _ = self._ray.wait(running, num_returns=len(running), timeout=0) if running else ([], [])
        for reference in ended:
            self._tell("answer", (self._numbers.pop(reference), self._answer(reference)))
        while self._waiting and len(self._numbers) < self._at_once:
            number, argument = self._waiting.popleft()
            self._numbers[self._task.remote(self._code, self._function, argument)] = number

    def _answer(self, reference: Any) -> Any:
        try:
            code, answer = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            return Lost(words(error))
        return answer if code == self._code else UnusableRay(refused("of the Ray cluster", code, self._code))

    def close(self) -> None:
        """End the tasks, and Ray if we started it."""
        if self._session is not None and not self._session.ours:
            for reference in self._numbers:
                self._ray.cancel(reference, force=True)
        end_session(self._session)


if __name__ == "__main__":
    main(Caller)
