"""The table of services on the head's page."""

import re
from dataclasses import replace

from emulator.telemetry import MetricsServer, Page
from emulator.telemetry.service_page import services_html
from tests.service.plausible_services import services
from tests.telemetry.test_server import ask


def cells(page: str) -> list[list[str]]:
    return [re.findall(r"<t[dh]>(.*?)</t[dh]>", row) for row in re.findall(r"<tr>(.*?)</tr>", page)]


def test_a_row_for_each_service() -> None:
    heading, chat, batch = cells(services_html(services()))
    assert len(heading) == len(chat) == len(batch)
    assert dict(zip(heading, chat, strict=True)) == {
        "service": "chat", "model": "llama3-70b", "replicas up": "9", "wanted": "12", "running": "310", "waiting": "12",
        "requests/s": "16.5", "tokens/s": "3,300", "TTFT p50": "125 ms", "TTFT p99": "1,250 ms", "TPOT p50": "21 ms", "TPOT p99": "51 ms",
        "within objectives": "92.50%", "J/token": "125", "J/request": "25,000",
    }  # fmt: skip
    assert batch[8:] == ["–"] * 7


def test_names_are_no_markup() -> None:
    (one, _) = services()
    assert cells(services_html([replace(one, name="<b>&", model="<i>")]))[1][:2] == ["&lt;b&gt;&amp;", "&lt;i&gt;"]


def test_no_services_no_table() -> None:
    assert services_html([]) == ""


def test_the_page_shows_them_as_they_are_when_it_is_asked_for() -> None:
    shown = [services(0)]
    with MetricsServer(Page(), title="Gigawatt", more=lambda: services_html(shown[0])) as running:
        assert cells(ask(running, "/")[1].decode())[1][0] == "chat"
        shown[0] = ()
        assert b"<table>" not in ask(running, "/")[1]
