"""A picture into a file: SVG as it is, PNG by resvg (https://github.com/linebender/resvg: 1.4 MB, no system library, 15 ms to import)."""

from pathlib import Path

from emulator.report.picture.font import BOLD, FAMILY, REGULAR, covers
from emulator.report.picture.load import read_load
from emulator.report.picture.page import picture
from emulator.scenario import Scenario
from topology.cluster import Cluster

SUFFIXES = (".svg", ".png")
#: Pixels of the PNG for each of the SVG.
_ZOOM = 2.0


class PictureError(ValueError):
    """A picture that cannot be written; the message says why and what is allowed."""


def check_options(path: Path | None, run: Path | None) -> None:
    """Raises PictureError unless a picture can be written to ``path`` (None: none is asked for), with the load of a run (None: without)."""
    if path is None:
        if run is not None:
            raise PictureError("--load: it colours a picture, but no picture is asked for; allowed: together with --picture FILE")
    elif path.suffix.lower() not in SUFFIXES:
        raise PictureError(f"--picture: {path} does not end in .svg or .png; allowed: a file that does")
    elif path.is_dir() or not path.parent.is_dir():
        raise PictureError(f"--picture: cannot write to {path}; allowed: a file in an existing directory")


def draw(path: Path, cluster: Cluster, scenario: Scenario, run: Path | None = None) -> None:
    """Draw a scenario's cluster into a file, coloured by the load of its links in a run's directory where one is given.

    Raises PictureError where it cannot be written, LoadError where the directory is not of a run of this cluster.
    """
    load = None if run is None else read_load(run, cluster)
    svg = picture(cluster, scenario, load, loaded_from="" if run is None else str(run))
    content = svg.encode() if path.suffix.lower() == ".svg" else png(svg)
    try:
        path.write_bytes(content)
    except OSError as error:
        raise PictureError(f"--picture: cannot write to {path}: {error.strerror or error}") from error


def png(svg: str) -> bytes:
    """The SVG as pixels, its text in the shipped font: the same bytes on every machine.

    The machine's own fonts are looked at only for a text with characters that DejaVu Sans lacks (Chinese, emoji).
    """
    import resvg_py

    return bytes(
        resvg_py.svg_to_bytes(
            svg_string=svg,
            zoom=_ZOOM,
            skip_system_fonts=covers(svg),
            font_files=[str(REGULAR), str(BOLD)],
            font_family=FAMILY,
            sans_serif_family=FAMILY,
        )
    )
