"""The emulation's side of ``PolicyService``: one stream a run, on which a policy outside is told of cycles and answers."""

import queue
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any, cast

import grpc

from emulator.scheduler.outside import Gone, View
from emulator.scheduler.outside_actions import Decisions
from emulator.scheduler.policy import PolicyUnreachable
from emulator.service.policy_messages import PROTOCOL_VERSION, CycleMessages, decisions
from emulator.v1.policy_service_pb2 import PlanRequest, PlanResponse

#: Bytes of one answer.
_MOST_BYTES = 64 * 2**20
#: Looks at the deadline are at most so many wall seconds apart.
_LOOK_SECONDS = 1.0


#: For so many wall seconds an answer is waited for where the run has been interrupted.
INTERRUPTED_SECONDS = 2.0


class PolicyClient:
    """``deadline_seconds`` of wall time may pass before an answer. One thread asks; any may close.

    Raises PolicyUnreachable where no policy answers the opening.
    """

    def __init__(self, address: str, opening: PlanRequest, first_host: Sequence[int], deadline_seconds: float) -> None:
        self._address, self._deadline_seconds = address, deadline_seconds
        self._messages = CycleMessages(first_host)
        self._sequence = 0
        self._due = float("inf")  # when the answer has to be there; infinity: none is waited for
        self._end = float("inf")  # when none is waited for any longer
        self._why = ""  # the call was cancelled
        self._closed = threading.Event()
        limits = [("grpc.max_receive_message_length", _MOST_BYTES), ("grpc.max_send_message_length", -1)]
        self._channel = grpc.insecure_channel(address, options=limits)
        self._to_send: queue.SimpleQueue[PlanRequest | None] = queue.SimpleQueue()
        self._call: Any = self._channel.stream_stream(
            "/emulator.v1.PolicyService/Plan",
            request_serializer=PlanRequest.SerializeToString,
            response_deserializer=PlanResponse.FromString,
        )(iter(self._to_send.get, None))
        threading.Thread(target=self._watch, name="policy-deadline", daemon=True).start()
        try:
            answer = self._answer([opening])
            if answer.WhichOneof("message") != "opened":
                raise Gone("it does not answer the opening with opened")
            if answer.opened.protocol_version != PROTOCOL_VERSION:
                raise Gone(f"it speaks version {answer.opened.protocol_version} of the protocol; allowed: {PROTOCOL_VERSION}")
        except BaseException as error:
            self.close()
            if isinstance(error, Gone):
                raise PolicyUnreachable(f"policy grpc://{address}: {error}") from error
            raise

    def ask(self, view: View) -> Decisions:
        """What the policy answers to the view. Raises Gone."""
        self._sequence += 1
        answer = self._answer(self._messages.of(view, self._sequence))
        if answer.WhichOneof("message") != "decisions":
            raise Gone("it does not answer a cycle with decisions")
        if answer.decisions.sequence != self._sequence:
            raise Gone(f"it answers cycle {answer.decisions.sequence} where it was told of cycle {self._sequence}")
        return decisions(answer.decisions)

    def interrupt(self) -> None:
        """The run is to end: an answer is waited for a little longer at most. Takes no lock, so that a handler of signals may call it."""
        self._end = min(self._end, time.monotonic() + INTERRUPTED_SECONDS)

    def close(self) -> None:
        """End the stream. May be called again."""
        if not self._closed.is_set():
            self._closed.set()
            self._to_send.put(None)
            self._channel.close()

    def _answer(self, messages: Iterable[PlanRequest]) -> PlanResponse:
        for message in messages:
            self._to_send.put(message)
        self._due = time.monotonic() + self._deadline_seconds
        try:
            return cast(PlanResponse, next(self._call))
        except StopIteration:
            raise Gone("it has ended the stream") from None
        except grpc.RpcError as error:
            raise Gone(self._words(error)) from error
        except ValueError as error:  # of a channel that was closed
            raise Gone("the run has let go of it") from error
        finally:
            self._due = float("inf")

    def _words(self, error: grpc.RpcError) -> str:
        if self._why:
            return self._why
        status = self._call.code()
        details = " ".join(str(self._call.details() or "").split())
        if status == grpc.StatusCode.UNAVAILABLE:
            if self._sequence:
                return f"it is gone ({details:.200})"
            why = "the connection is refused" if "refused" in details else f"{details:.200}"
            return f"nothing answers at {self._address}: {why}; allowed: a program that serves emulator.v1.PolicyService there"
        if status == grpc.StatusCode.UNIMPLEMENTED:
            return f"what answers at {self._address} is no emulator.v1.PolicyService ({details:.200})"
        return f"it failed with {status.name}: {details:.200}"

    def _watch(self) -> None:
        """Cancel the call when an answer is late: waiting for it has no deadline of its own."""
        while not self._closed.wait(min(_LOOK_SECONDS, self._deadline_seconds / 10)):
            now, due = time.monotonic(), self._due
            if due < float("inf") and now > min(due, self._end):
                late = f"it has not answered for {self._deadline_seconds:g} s"
                self._why = late if now > due else "it had not answered when the run was interrupted"
                self._call.cancel()
                return
