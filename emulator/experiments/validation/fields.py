"""Files of published rows as CSV: read, bounded, each field checked, and where it is wrong."""

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from topology.catalog import GPUS, HOSTS, HostType

MOST_BYTES, MOST_ROWS, MOST = 4 << 20, 10_000, 10**7
NOTHING = {"", "-", "n/a", "na", "none"}
_BOARD = re.compile(r"(SXM\d?-?)?(\d{2,3}GB)?", re.ASCII)


class RowsError(ValueError):
    """A file of rows that cannot be used; the message says where, what, and what is allowed."""


def read_text(path: Path) -> str:
    """What is in a file of rows. Raises RowsError."""
    try:
        if path.exists() and not path.is_file():
            raise RowsError(f"{path}: is no file; allowed: a CSV file of rows")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise RowsError(f"{path}: {error.strerror or error}") from error
    if len(content) > MOST_BYTES:
        raise RowsError(f"{path}: has more than {MOST_BYTES >> 20} MiB; allowed: up to {MOST_BYTES >> 20} MiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise RowsError(f"{path}:{line}: is no UTF-8; allowed: a CSV file of rows") from error


def header_of(text: str) -> list[str]:
    """The names of the columns; none where the file is no CSV."""
    try:
        return [column.strip().lower() for column in next(csv.reader(io.StringIO(text, newline="")), [])]
    except csv.Error:
        return []


def records(text: str, name: str, needed: Sequence[str], optional: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Each record that is not blank, with the line that it ends on; at least one. Raises RowsError."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [column.strip().lower() for column in next(reader, [])]
        _check_header(header, name, needed, optional)
        count = 0
        for record in reader:
            if not any(field.strip() for field in record):
                continue
            if len(record) != len(header):
                raise RowsError(f"{name}:{reader.line_num}: has {len(record)} fields; allowed: {len(header)}, as many as the header")
            count += 1
            if count > MOST_ROWS:
                raise RowsError(f"{name}:{reader.line_num}: is row {count:,}; allowed: up to {MOST_ROWS:,} rows")
            yield reader.line_num, {column: field.strip() for column, field in zip(header, record, strict=True)}
    except csv.Error as error:
        raise RowsError(f"{name}:{reader.line_num}: is no CSV: {error}") from error
    if not count:
        raise RowsError(f"{name}: has no rows; allowed: at least one below the header")


def _check_header(header: list[str], name: str, needed: Sequence[str], optional: Sequence[str]) -> None:
    allowed = ", ".join((*needed, *optional))
    for column in needed:
        if column not in header:
            raise RowsError(f"{name}:1: {column}: missing in the header; allowed: {allowed}")
    for column in header:
        if column not in (*needed, *optional):
            raise RowsError(f"{name}:1: {column!r:.60}: unknown in the header; allowed: {allowed}")
        if header.count(column) > 1:
            raise RowsError(f"{name}:1: {column}: is there twice in the header; allowed: every column once")


def host_of(gpu: str) -> HostType:
    """The first of the hosts that we know which have this GPU."""
    return next(host for host in HOSTS.values() if host.gpu.name == gpu)


@dataclass(frozen=True)
class Fields:
    """The fields of one record, and where it is."""

    given: Mapping[str, str]
    place: str

    def wrong(self, field: str, problem: str, allowed: str) -> RowsError:
        """The error that names place, field, value and what is allowed."""
        return RowsError(f"{self.place}: {field}: {self.given.get(field, '')!r:.60} {problem}; allowed: {allowed}")

    def whole(self, name: str, default: int | None = None) -> int:
        """A count."""
        text = self.given.get(name, "").lower()
        if text in NOTHING and default is not None:
            return default
        plain = text.replace(",", "")
        if not (plain.isascii() and plain.isdecimal() and len(plain) < 12 and 1 <= int(plain) <= MOST):
            raise self.wrong(name, "is no whole number in range", f"1 to {MOST:,}")
        return int(plain)

    def positive(self, name: str) -> float | None:
        """A number above 0, or None for an empty field."""
        text = self.given.get(name, "")
        if text.lower() in NOTHING:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 1e-6 <= value <= 1e12:
            raise self.wrong(name, "is no number in range", "empty, or 0.000001 to 1e12")
        return value

    def gpu(self, field: str = "gpu") -> str:
        """The name of a GPU of a host that we know."""
        family, _, rest = self.given[field].upper().replace("_", "-").partition("-")
        hosted = {host.gpu.name for host in HOSTS.values()}
        plain = not rest or _BOARD.fullmatch(rest)  # tables differ in the memory that they print
        found = [gpu for gpu in GPUS if gpu.upper().partition("-")[0] == family and plain and gpu in hosted]
        if not found:
            raise self.wrong(field, "is unknown", ", ".join(gpu for gpu in GPUS if gpu in hosted))
        return found[0]
