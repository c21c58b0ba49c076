"""Make docs/comparison.md and its pictures: eight policies on a real trace, and eight on the workload of a preset.

``make comparison``; a policy costs about 20 s of CPU. The trace is read from the folder GIGAWATT_TRACES (../shared/traces).
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parent
TRACES = Path(os.environ.get("GIGAWATT_TRACES", DOCS.parent.parent / "shared/traces"))


@dataclass(frozen=True)
class Study:
    """One comparison: its heading, what to know of it, and what is given to ``gigawatt compare`` besides the policies.

    ``name`` is that of the scenario, which the tables and pictures have. The other policies are compared with the first.
    """

    name: str
    heading: str
    about: str
    arguments: str
    policies: str


STUDIES = (
    Study(
        "philly-2869ce",
        "Philly, one virtual cluster, week by week",
        "The jobs of virtual cluster 2869ce of Microsoft's Philly trace on 128 GPUs, October and November 2017, cut into eight weeks. Each "
        "week begins with an empty cluster and runs until its last job has ended. Weeks differ much from each other, so the intervals of "
        "the means are wide; those of the differences compare policies on the same week. There is one tenant, so policies that weigh "
        "tenants against each other have nothing to decide.",
        "laptop --set name=philly-2869ce --set cluster.gpus=128 --set clock.cycle=1s --set faults.enabled=false --placements consolidate "
        "--trace $TRACES/philly/philly.csv.gz --format philly --trace-option virtual_cluster=2869ce --trace-option from=2017-10-01 "
        "--trace-option until=2017-12-01 --windows 7d",
        "fifo,sjf,largest-first,easy,conservative,srtf,las,tiresias",
    ),
    Study(
        "colossus",
        "Colossus, a day",
        "A day of the preset's own workload on 100,000 GPUs with faults, with five seeds. The day begins with an empty cluster, and a job "
        "that has not started at its end has no *wait*; *wait so far* counts it.",
        "colossus --until 24h --seeds 5",
        "fifo,sjf,largest-first,easy,priority,fair-share,drf,srtf",
    ),
)


def main() -> None:
    """Run the studies, write the page."""
    parser = argparse.ArgumentParser(description="Make docs/comparison.md and its pictures.")
    parser.add_argument("--policies", default="", help="in place of those that the page compares")
    parser.add_argument("--actors", default="auto", help="as of gigawatt compare: how many runs at a time")
    given = parser.parse_args()
    parts = [
        "# Policies compared",
        "`make comparison` makes this page. What the columns mean and how the intervals are made: [compare.md](compare.md).",
    ]
    for study in STUDIES:
        command = f"gigawatt compare {study.arguments} --policies {given.policies or study.policies}"
        parts += [f"## {study.heading}", study.about, f"```sh\n{command}\n```", _result(study, command, given.actors)]
    (DOCS / "comparison.md").write_text("\n\n".join(part.strip() for part in parts) + "\n", encoding="utf-8")


def _result(study: Study, command: str, actors: str) -> str:
    """The tables of a study as Markdown; its pictures go to docs/images. Ends the program where a run fails."""
    words = shlex.split(command.replace("$TRACES", shlex.quote(str(TRACES))))[1:]
    with tempfile.TemporaryDirectory() as folder:
        made = [sys.executable, "-m", "emulator.cli", *words, "--actors", actors, "-o", folder]
        if (code := subprocess.run(made, stdout=subprocess.DEVNULL, check=False).returncode) != 0:
            sys.exit(code)
        for picture in sorted(Path(folder).glob("*.svg")):
            (DOCS / f"images/comparison-{picture.name}").write_bytes(picture.read_bytes())
        return (Path(folder) / "compare.md").read_text("utf-8").replace(f"]({study.name}-", f"](images/comparison-{study.name}-")


if __name__ == "__main__":
    main()
