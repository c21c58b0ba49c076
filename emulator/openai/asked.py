"""What clients ask: bodies of requests, checked.

An emulated model reads no text, so a prompt is as many tokens as its characters make: one for every four, rounded up, the usual rule for
English (help.openai.com, "What are tokens and how to count them?"). Who wants to say it exactly gives token ids. Every answer has as many
tokens as were asked for (``max_completion_tokens`` or ``max_tokens``, or 256), as with ``ignore_eos``.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emulator.workload.requests import MOST_PRIORITY

CHARACTERS_PER_TOKEN = 4
DEFAULT_OUTPUT_TOKENS = 256
_MOST_TOKENS = 10**9


class ApiError(Exception):
    """An answer that is an error, in the form that OpenAI's clients know."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None, kind: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.kind = kind or ("invalid_request_error" if status < 500 else "server_error")

    def body(self) -> dict[str, Any]:
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


@dataclass(frozen=True)
class Asked:
    """A request. ``output_tokens`` is None where it does not say. Higher ``priority`` goes first."""

    model: str
    prompt_tokens: int
    output_tokens: int | None
    stream: bool
    include_usage: bool
    priority: int


def asked_of(body: bytes, *, chat: bool) -> Asked:
    """Raises ApiError, with the field."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"The body is not valid JSON: {error}.") from error
    if not isinstance(given, dict):
        raise ApiError(400, "The body is not a JSON object.")
    model = given.get("model")
    if not isinstance(model, str) or not model:
        raise ApiError(400, "You must provide a model parameter.", param="model")
    for name in ("n", "best_of"):
        if given.get(name) not in (None, 1):
            raise ApiError(400, f"{name} is {given[name]!r:.40}; allowed: 1, each request has one answer.", param=name)
    stream = _flag(given, "stream")
    options = given.get("stream_options")
    if options is not None and not isinstance(options, Mapping):
        raise ApiError(400, "stream_options is no object.", param="stream_options")
    if options is not None and not stream:
        raise ApiError(400, "stream_options are only allowed when stream is true.", param="stream_options")
    ids = given.get("prompt_token_ids")
    prompt = (
        _ids(ids, "prompt_token_ids") if ids is not None else _messages(given.get("messages")) if chat else _prompt(given.get("prompt"))
    )
    return Asked(model, max(1, prompt), _output(given), stream, _flag(options or {}, "include_usage"), _priority(given))


def _flag(given: Mapping[str, Any], name: str) -> bool:
    value = given.get(name)
    if value not in (None, True, False):
        raise ApiError(400, f"{name} is {value!r:.40}; allowed: true or false.", param=name)
    return bool(value)


def _output(given: Mapping[str, Any]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        value = given.get(name)
        if value is not None:
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST_TOKENS:
                raise ApiError(400, f"{name} is {value!r:.40}; allowed: a whole number from 1 on.", param=name)
            return value
    return None


def _priority(given: Mapping[str, Any]) -> int:
    """Of vLLM's ``priority`` the lower goes first (docs.vllm.ai, "OpenAI-Compatible Server"), of ours the higher."""
    value = given.get("priority")
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > MOST_PRIORITY:
        message = f"priority is {value!r:.40}; allowed: a whole number from {-MOST_PRIORITY} to {MOST_PRIORITY}, lower goes first."
        raise ApiError(400, message, param="priority")
    return -value


def _ids(ids: Any, param: str) -> int:
    if not isinstance(ids, list) or not ids or not all(isinstance(one, int) and not isinstance(one, bool) for one in ids):
        raise ApiError(400, f"{param} is no list of token ids.", param=param)
    return len(ids)


def _tokens(characters: int) -> int:
    return -(-characters // CHARACTERS_PER_TOKEN)


def _prompt(prompt: Any) -> int:
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str | list):
        prompt = prompt[0]
    if isinstance(prompt, str):
        return _tokens(len(prompt))
    if isinstance(prompt, list) and len(prompt) > 1 and isinstance(prompt[0], str | list):
        raise ApiError(400, f"prompt has {len(prompt)} prompts; allowed: one a request.", param="prompt")
    if prompt is None:
        raise ApiError(400, "Missing required parameter: 'prompt'.", param="prompt", code="missing_required_parameter")
    return _ids(prompt, "prompt")


def _messages(messages: Any) -> int:
    if not isinstance(messages, list) or not messages:
        raise ApiError(400, "Missing required parameter: 'messages'.", param="messages", code="missing_required_parameter")
    return _tokens(sum(_characters(message, f"messages[{place}]") for place, message in enumerate(messages)))


def _characters(message: Any, param: str) -> int:
    """Of what it says. Of a message without content, which calls tools, nothing counts."""
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        raise ApiError(400, f"{param} is no message with a role.", param=param)
    content = message.get("content")
    if content is None:
        return 0
    if isinstance(content, str):
        return len(content)
    if not isinstance(content, Sequence):
        raise ApiError(400, f"{param}.content is neither text nor a list of parts.", param=f"{param}.content")
    characters = 0
    for place, part in enumerate(content):
        if not isinstance(part, Mapping) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise ApiError(400, f"{param}.content[{place}] is no part with text; allowed: text alone.", param=f"{param}.content")
        characters += len(part["text"])
    return characters


def limited(asked: Asked, context_tokens: int) -> int:
    """Tokens of the answer: no more than the context has room for. Raises ApiError where the prompt alone fills it."""
    room = context_tokens - asked.prompt_tokens
    if room < 1:
        raise ApiError(
            400,
            f"This model's maximum context length is {context_tokens} tokens. However, your prompt has {asked.prompt_tokens} tokens.",
            param="messages",
            code="context_length_exceeded",
        )
    return min(room, asked.output_tokens or DEFAULT_OUTPUT_TOKENS)
