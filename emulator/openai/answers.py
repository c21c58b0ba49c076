"""Bodies of answers, whole and in chunks (platform.openai.com/docs/api-reference: chat, completions, models). Each token is a word."""

import json
from dataclasses import dataclass
from typing import Any

from emulator.openai.asked import ApiError

#: Short words, each of which is one token for the usual tokenizers.
WORDS = ("the", "sum", "of", "all", "that", "is", "known", "and", "more", "to", "come", "in", "time", "for", "us", "here")
#: How a request ended that got no answer: status, code, and what to say.
_FAILURES = {
    "rejected": (503, "overloaded", "Every replica has as many requests waiting as it may have. Try again later."),
    "timed_out": (504, "timeout", "The first token was not there within the time that requests wait for it."),
    "lost": (503, "replica_lost", "The replica was lost, as often as the request may be tried."),
    "too_long": (400, "context_length_exceeded", "No replica can hold a request of this length."),
    "cancelled": (503, "cancelled", "The request was cancelled."),
}
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Answer:
    """One answer's names; it has ``prompt_tokens`` before it."""

    number: int
    model: str
    created: int  # in seconds since 1970
    prompt_tokens: int
    chat: bool
    include_usage: bool = False

    def _body(self, kind: str, choices: list[dict[str, Any]], usage: dict[str, int] | None) -> dict[str, Any]:
        name = f"{'chatcmpl' if self.chat else 'cmpl'}-{self.number}"
        body = {"id": name, "object": kind, "created": self.created, "model": self.model, "choices": choices}
        return body if usage is None else body | {"usage": usage}

    def usage(self, generated: int) -> dict[str, int]:
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": generated, "total_tokens": self.prompt_tokens + generated}

    def whole(self, generated: int) -> dict[str, Any]:
        """The answer in one."""
        text = " ".join(word(place) for place in range(generated))
        said: dict[str, Any] = {"message": {"role": "assistant", "content": text, "refusal": None}} if self.chat else {"text": text}
        kind = "chat.completion" if self.chat else "text_completion"
        return self._body(kind, [{"index": 0, **said, "logprobs": None, "finish_reason": "length"}], self.usage(generated))

    def _chunk(self, said: dict[str, Any], finish_reason: str | None = None) -> bytes:
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        return event(self._body(kind, [{"index": 0, **said, "logprobs": None, "finish_reason": finish_reason}], None))

    def begin(self) -> bytes:
        """What comes before the first token."""
        return self._chunk({"delta": {"role": "assistant", "content": ""}}) if self.chat else b""

    def token(self, place: int) -> bytes:
        """Token ``place``, counted from 0."""
        text = word(place) if place == 0 else f" {word(place)}"
        return self._chunk({"delta": {"content": text}} if self.chat else {"text": text})

    def end(self, generated: int) -> bytes:
        """What comes behind the last token."""
        usage = event(self._body("chat.completion.chunk" if self.chat else "text_completion", [], self.usage(generated)))
        return self._chunk({"delta": {}} if self.chat else {"text": ""}, "length") + (usage if self.include_usage else b"") + DONE


def word(place: int) -> str:
    """What token ``place`` of an answer says."""
    return WORDS[place % len(WORDS)]


def event(body: dict[str, Any]) -> bytes:
    """A server-sent event."""
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


def models_body(models: list[str], created: int) -> dict[str, Any]:
    """The list of models."""
    return {"object": "list", "data": [model_body(model, created) for model in models]}


def model_body(model: str, created: int) -> dict[str, Any]:
    """One model."""
    return {"id": model, "object": "model", "created": created, "owned_by": "gigawatt"}


def failure(how: str) -> ApiError:
    """What a request that ended so is told."""
    status, code, message = _FAILURES[how]
    return ApiError(status, message, code=code)
