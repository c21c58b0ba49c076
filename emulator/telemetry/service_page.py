"""The services on the head's page: a table, as of the last publication."""

import html
from collections.abc import Sequence

from emulator.engine.service_control import ServiceView

_HEADINGS = (
    *("service", "model", "replicas up", "wanted", "running", "waiting", "requests/s", "tokens/s", "TTFT p50", "TTFT p99", "TPOT p50"),
    *("TPOT p99", "within objectives", "J/token", "J/request"),
)


def services_html(services: Sequence[ServiceView]) -> str:
    """A heading and a table with a row for each service; nothing where there are none."""
    if not services:
        return ""
    head = "".join(f"<th>{heading}</th>" for heading in _HEADINGS)
    body = "".join(f"<tr>{_row(view)}</tr>" for view in services)
    looked = max(view.looked_seconds for view in services)
    return (
        f"<h2>Services</h2><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"<p>As of {looked:,.0f} s of emulated time; per second, TTFT and TPOT: over the last interval.</p>"
    )


def _row(view: ServiceView) -> str:
    ratio = view.slo_attainment_ratio
    cells = [
        html.escape(view.name),
        html.escape(view.model),
        f"{view.up_replicas:,}",
        f"{view.wanted_replicas:,}",
        f"{view.running_requests:,}",
        f"{view.waiting_requests:,}",
        f"{view.requests_per_second:,.1f}",
        f"{view.output_tokens_per_second:,.0f}",
        *(_milliseconds(times[name]) for times in (view.recent_ttft_seconds, view.recent_tpot_seconds) for name in ("p50", "p99")),
        "–" if ratio is None else f"{ratio:.2%}",
        _number(view.joules_per_token),
        _number(view.joules_per_request),
    ]
    return "".join(f"<td>{text}</td>" for text in cells)


def _milliseconds(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds * 1e3:,.0f} ms"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
