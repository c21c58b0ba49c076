"""SVG shapes, and text that fits its space. Standalone: no style sheet, no script, no font inside."""

import math
import re
from html import escape

from emulator.report.picture.font import BOLD, FAMILIES, REGULAR, advance_widths

INK, DIM, RULE, PAPER, SHADE, BOX = "#1c2024", "#565d64", "#c9ced3", "#ffffff", "#f1f3f5", "#fbfcfd"
#: How wide a character may be that the shipped font does not have, as parts of the size: Chinese is 1.0 wide, an emoji up to 1.25.
_WIDEST = 1.25
#: Smaller text cannot be read.
SMALLEST = 10.0
#: What XML 1.0 cannot hold.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def text_width(content: str, size: float, *, bold: bool = False) -> float:
    """How wide a line is in the shipped font, in pixels; in the others that an SVG names it is at most that."""
    widths = advance_widths(BOLD if bold else REGULAR)
    return math.fsum(widths.get(character, _WIDEST) for character in content) * size


def fitted(content: str, size: float, room: float, *, bold: bool = False) -> tuple[str, float]:
    """The text and its size so that it is at most ``room`` wide: smaller down to what can be read, then cut off."""
    wide = text_width(content, size, bold=bold)
    if wide <= room:
        return content, size
    size = max(SMALLEST, size * room / wide)
    if text_width(content, size, bold=bold) <= room:
        return content, size
    while content and text_width(content + "…", size, bold=bold) > room:
        content = content[:-1]
    return (content.rstrip() + "…" if content else ""), size


def number(value: float) -> str:
    """A coordinate: tenths of a pixel, no more digits than needed."""
    return f"{round(value, 1) + 0.0:g}"


class Sheet:
    """What has been drawn so far, in order: later covers earlier."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def rect(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        fill: str,
        *,
        stroke: str = "",
        weight: float = 1.0,
        radius: float = 3.0,
        title: str = "",
    ) -> None:
        edge = f' stroke="{stroke}"' if stroke else ""
        edge += f' stroke-width="{number(weight)}"' if weight != 1.0 else ""
        corner = f' rx="{number(radius)}"' if radius else ""
        shape = f'<rect x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}"{corner} fill="{fill}"{edge}'
        self._parts.append(f"{shape}><title>{_clean(title)}</title></rect>" if title else shape + "/>")

    def line(self, x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1.0, *, dashed: bool = False) -> None:
        dash = ' stroke-dasharray="4 3"' if dashed else ""
        self._parts.append(
            f'<line x1="{number(x1)}" y1="{number(y1)}" x2="{number(x2)}" y2="{number(y2)}" stroke="{colour}" '
            f'stroke-width="{number(width)}"{dash}/>'
        )

    def path(self, steps: str, colour: str, width: float = 1.0, *, fill: str = "none") -> None:
        self._parts.append(f'<path d="{steps}" fill="{fill}" stroke="{colour}" stroke-width="{number(width)}"/>')

    def circle(self, x: float, y: float, radius: float, fill: str, *, stroke: str = "", title: str = "") -> None:
        edge = f' stroke="{stroke}"' if stroke else ""
        shape = f'<circle cx="{number(x)}" cy="{number(y)}" r="{number(radius)}" fill="{fill}"{edge}'
        self._parts.append(f"{shape}><title>{_clean(title)}</title></circle>" if title else shape + "/>")

    def cross(self, x: float, y: float, reach: float) -> None:
        """The mark of a dead link: black on white, which differs from every colour for everyone."""
        steps = f"M{number(x - reach)} {number(y - reach)}L{number(x + reach)} {number(y + reach)}"
        steps += f"M{number(x - reach)} {number(y + reach)}L{number(x + reach)} {number(y - reach)}"
        self.path(steps, PAPER, 5.0)
        self.path(steps, "#000000", 2.0)

    def text(
        self, x: float, y: float, content: str, room: float, *, size: float = 12.0, colour: str = INK, bold: bool = False, anchor: str = ""
    ) -> None:
        """A line of text, its baseline at ``y``, at most ``room`` wide; ``anchor`` is middle or end, else it starts at ``x``."""
        content, size = fitted(_CONTROL.sub("?", content), size, room, bold=bold)
        if not content:
            return
        weight = ' font-weight="bold"' if bold else ""
        where = f' text-anchor="{anchor}"' if anchor else ""
        self._parts.append(
            f'<text x="{number(x)}" y="{number(y)}" font-size="{number(size)}" fill="{colour}"{weight}{where}>'
            f"{escape(content, quote=False)}</text>"
        )

    def document(self, width: float, height: float, title: str) -> str:
        """The whole drawing as a file."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {number(width)} {number(height)}" width="{number(width)}" '
            f'height="{number(height)}" font-family="{FAMILIES}" role="img"><title>{_clean(title)}</title>'
            f'<rect width="100%" height="100%" fill="{PAPER}"/>{"".join(self._parts)}</svg>\n'
        )


def _clean(content: str) -> str:
    return escape(_CONTROL.sub("?", content), quote=False)
