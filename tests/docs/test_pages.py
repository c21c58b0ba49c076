"""Every command of the documentation runs as it is written, and prints what the page shows.

Blocks of commands are ``console``, and are run. What needs a cloud, a container or a second machine is ``sh``, and begins with a word of
``NOT_RUN``. The grammar of a command is ``text``.
"""

import re
from pathlib import Path

import pytest

from tests.docs.console import Step, differs, steps
from tests.docs.reader import ROOT, Reader

PAGES = (
    "docs/cli.md",
    "docs/topology.md",
    "docs/traces.md",
    "docs/deploy.md",
    "docs/policies.md",
    "docs/outside-policies.md",
    "docs/queues.md",
    "docs/jobs.md",
    "docs/sites.md",
    "docs/reservations.md",
    "docs/faults.md",
    "docs/whys.md",
    "docs/compare.md",
    "examples/README.md",
)
#: Commands that a page may show without their being run: what they start with, and why.
NOT_RUN = {
    "docker ": "needs Docker",
    "kubectl ": "needs Kubernetes",
    "ray ": "starts machines, or joins them to a cluster",
    "pip ": "installs into the reader's Python",
    "GIGAWATT_COMPILE=1 pip ": "the same, and compiles",
    "prometheus ": "never ends; tests/telemetry runs it",
    "promtool ": "tests/deploy runs it where it is installed",
    "sacct ": "needs Slurm",
    "node ": "needs Node.js; tests/session runs it where it is installed",
    "gigawatt run laptop --until 6h --policy grpc": "needs the program before it",
    "gigawatt run colossus --address auto": "needs a cluster; tests/integration starts some",
    "gigawatt up colossus --address auto": "needs a cluster; tests/integration starts some",
}
_FENCE = re.compile(r"```(\w*)")


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.timeout(900)
def test_a_page_does_what_it_says(page: str, tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    wrong = []
    try:
        wrong += [reader.type(step) for step in steps((ROOT / page).read_text())]
    finally:
        wrong.append(reader.leave())
    assert not any(wrong), f"{page}\n" + "\n\n".join(filter(None, wrong))


@pytest.mark.parametrize("page", PAGES)
def test_no_command_of_a_page_is_left_out(page: str) -> None:
    left_out = []
    language = None
    for number, line in enumerate((ROOT / page).read_text().splitlines(), start=1):
        fence = _FENCE.match(line.strip())
        if fence:
            language = fence[1] if language is None else None
        elif language == "sh" or (language is None and line.startswith("    ")):
            command = line.strip()
            if command and not command.startswith("#") and not command.startswith(tuple(NOT_RUN)):
                left_out.append(f"line {number}: {command}")
    assert not left_out, f"{page}: in a block that is not run:\n" + "\n".join(left_out)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_what_its_figures_mean_and_what_comes_next(page: str) -> None:
    text = (ROOT / page).read_text()
    assert re.findall(r"^## (What the figures mean|What next)$", text, re.MULTILINE) == ["What the figures mean", "What next"]


@pytest.mark.parametrize("page", PAGES)
def test_links_of_a_page_lead_somewhere(page: str) -> None:
    dead = []
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", (ROOT / page).read_text()):
        path, _, anchor = target.partition("#")
        place = (ROOT / page).parent / path if path else ROOT / page
        if not place.exists() or (anchor and anchor not in _anchors(place)):
            dead.append(target)
    assert not dead


def _anchors(page: Path) -> set[str]:
    """The headings of a page, as GitHub names them in links."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def step(shown: str, *, figures_vary: bool = False) -> Step:
    return Step(1, "command", tuple(shown.splitlines()), figures_vary)


def test_steps_have_their_output() -> None:
    page = "text\n\n```console figures=vary\n$ a \\\n    --b\nout\n  more\n$ c\n```\n\n```text\n$ d\n```\n"
    assert steps(page) == [Step(4, "a --b", ("out", "  more"), True), Step(8, "c", (), True)]


@pytest.mark.parametrize(
    ("shown", "output", "same"),
    [
        ("a\nb", "a\n b  \n", True),
        ("a\nb", "a\nc", False),
        ("a", "a\nb", False),
        ("a\n...", "a\nb\nc", True),
        ("...\nc", "a\nb\nc", True),
        ("...\nb", "a\nb\nc", False),
        ("a\n...\nc", "a\nc", True),
        ("a\n...\nc", "c\na", False),
        ("12 jobs", "13 jobs", False),
        ("1 h in 2 s of wall time (1,800x)", "1 h in 1 min 2 s of wall time (58x)", True),
    ],
)
def test_what_is_the_same(shown: str, output: str, same: bool) -> None:
    assert (not differs(step(shown), output)) == same


@pytest.mark.parametrize(
    ("shown", "output", "same"),
    [
        ("12 jobs", "1,300 jobs", True),
        ("12 jobs", "12 hosts", False),
        ("45.3 kW", "1.2 MW", True),
        ("waits 3 min 4 s now", "waits 20 s now", True),
        ("host r00012-h03 fails at 10 s", "host r00012-h03 fails at 1,250 s", True),
        ("host r00012-h03 fails at 10 s", "host r00012-h04 fails at 10 s", False),
        ("leaf-00003/spine-00000", "leaf-00004/spine-00000", False),
    ],
)
def test_figures_that_vary(shown: str, output: str, same: bool) -> None:
    assert (not differs(step(shown, figures_vary=True), output)) == same
