"""The client that OpenAI ships, which nobody here wrote, against the endpoint."""

from typing import Any

import pytest

from emulator.openai import OpenAiServer, Progress
from emulator.openai.answers import WORDS
from tests.openai.conftest import FakeServing

openai = pytest.importorskip("openai", reason="openai is not installed (pip install openai)")
MESSAGES = [{"role": "user", "content": "Hello there"}]


@pytest.fixture
def client(server: OpenAiServer) -> Any:
    return openai.OpenAI(base_url=server.url, api_key="none", max_retries=0)


def test_models(client: Any) -> None:
    assert [model.id for model in client.models.list()] == ["chat", "code"]
    assert client.models.retrieve("code").id == "code"


def test_chat(client: Any) -> None:
    whole = client.chat.completions.create(model="chat", messages=MESSAGES, max_completion_tokens=5, extra_body={"ignore_eos": True})
    assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == (" ".join(WORDS[:5]), "length")
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (3, 5)


def test_streams(client: Any) -> None:
    stream = client.chat.completions.create(
        model="chat", messages=MESSAGES, max_tokens=20, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    said = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert len(said) == 20
    assert chunks[-1].usage.completion_tokens == 20
    text = client.completions.create(model="code", prompt="x = ", max_tokens=3, stream=True)
    assert "".join(chunk.choices[0].text for chunk in text) == " ".join(WORDS[:3])


def test_errors_are_its_own(client: Any, serving: FakeServing) -> None:
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        client.chat.completions.create(model="gpt", messages=MESSAGES)
    with pytest.raises(openai.BadRequestError, match="n is 2"):
        client.chat.completions.create(model="chat", messages=MESSAGES, n=2)
    serving.at_once = lambda _: Progress(0, None, 1.0, "rejected")
    with pytest.raises(openai.InternalServerError, match="Try again later"):
        client.chat.completions.create(model="chat", messages=MESSAGES)


def test_a_stream_that_is_closed_cancels(client: Any, serving: FakeServing) -> None:
    serving.at_once = lambda output: Progress(1, 0.1)
    stream = client.chat.completions.create(model="chat", messages=MESSAGES, stream=True)
    assert next(iter(stream)).choices[0].delta.role == "assistant"
    assert serving.cancelled == []
    stream.close()
    serving.until(lambda: serving.cancelled == [0])


def test_a_stream_that_fails_raises(client: Any, serving: FakeServing) -> None:
    serving.at_once = lambda output: Progress(1, 0.1)
    stream = client.chat.completions.create(model="chat", messages=MESSAGES, stream=True)
    chunks = iter(stream)
    next(chunks)
    serving.tell(0, Progress(1, 0.1, 0.2, "lost"))
    with pytest.raises(openai.APIError, match="replica was lost"):
        list(chunks)
