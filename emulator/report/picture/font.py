"""The font that the pictures are laid out with and PNGs are drawn with: DejaVu Sans, shipped in ``fonts/``.

The tables and their fields are those of the OpenType specification (https://learn.microsoft.com/typography/opentype/spec).
"""

import struct
from functools import cache
from pathlib import Path

REGULAR, BOLD = (Path(__file__).parent / "fonts" / name for name in ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf"))
FAMILY = "DejaVu Sans"
#: Fonts for an SVG, which contains none. The layout is for the first; a line of text is not wider in any of the others.
FAMILIES = f"'{FAMILY}',Helvetica,Arial,'Liberation Sans',sans-serif"


@cache
def advance_widths(font: Path) -> dict[str, float]:
    """How far each character of a TrueType font moves the pen, as parts of the font size. Characters that are missing in the result are not
    in the font.
    """
    data = font.read_bytes()
    (table_count,) = struct.unpack_from(">4xH", data)
    entries = (struct.unpack_from(">4s4xI", data, 12 + 16 * entry) for entry in range(table_count))
    offsets = {tag.decode("ascii"): offset for tag, offset in entries}
    (units_per_em,) = struct.unpack_from(">18xH", data, offsets["head"])
    (metric_count,) = struct.unpack_from(">34xH", data, offsets["hhea"])
    advances = [advance for advance, _ in struct.iter_unpack(">Hh", data[offsets["hmtx"] : offsets["hmtx"] + 4 * metric_count])]
    return {
        chr(code): advances[min(first_glyph + code - first, metric_count - 1)] / units_per_em
        for first, last, first_glyph in _character_groups(data, offsets["cmap"])
        for code in range(first, last + 1)
    }


def _character_groups(data: bytes, cmap: int) -> list[tuple[int, int, int]]:
    """First code, last code and glyph of the first code, from the table of all of Unicode (platform 3, encoding 10, format 12)."""
    (count,) = struct.unpack_from(">2xH", data, cmap)
    tables = (struct.unpack_from(">HHI", data, cmap + 4 + 8 * table) for table in range(count))
    start = next(cmap + offset for platform, encoding, offset in tables if (platform, encoding) == (3, 10))
    (group_count,) = struct.unpack_from(">12xI", data, start)
    return list(struct.iter_unpack(">III", data[start + 16 : start + 16 + 12 * group_count]))


def covers(content: str) -> bool:
    """Whether the shipped font has every character of a text."""
    return all(character in advance_widths(REGULAR) for character in set(content) if not character.isspace())
