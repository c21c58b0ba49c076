"""Pages of a list: how many, from where, and a token for the next that holds only for the same list."""

import base64
import binascii
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from emulator.engine.errors import InvalidRequest

DEFAULT_PAGE = 100
MAX_PAGE = 1000

Row = TypeVar("Row")


@dataclass(frozen=True)
class Page:
    """``size`` rows after ``after`` (-1: from the first) of the list that ``scope`` names, filters included."""

    scope: str
    after: int
    size: int

    def cut(self, rows: Sequence[Row], last: int) -> tuple[Sequence[Row], str]:
        """The page's own rows out of ``size + 1`` asked for, and the token of the next page, which comes after ``last``."""
        if len(rows) <= self.size:
            return rows, ""
        return rows[: self.size], base64.urlsafe_b64encode(f"{_mark(self.scope)}:{last}".encode()).decode()

    def total(self, rows: Sequence[Row]) -> int:
        """Rows of all pages, where the first one holds them all; 0 where it does not say."""
        return len(rows) if self.after < 0 and len(rows) <= self.size else 0

    def last(self, rows: Sequence[Row]) -> Row | None:
        """The row that a next page would come after; None for an empty page."""
        return rows[min(len(rows), self.size) - 1] if rows else None


def page_of(scope: str, page_size: int, page_token: str) -> Page:
    """The page that a request asks for. Raises InvalidRequest where its size or token is none."""
    if not 0 <= page_size <= MAX_PAGE:
        raise InvalidRequest(f"page_size is {page_size}", field="page_size", allowed=f"0 (means {DEFAULT_PAGE}) to {MAX_PAGE:,}")
    after = -1
    if page_token:
        try:
            mark, _, number = base64.urlsafe_b64decode(page_token.encode()).decode().partition(":")
            after = int(number)
        except (binascii.Error, ValueError):
            mark = ""
        if mark != _mark(scope) or not 0 <= after < 2**63:
            raise InvalidRequest(
                "page_token does not belong to this list", field="page_token", allowed="next_page_token of the page before, same filters"
            )
    return Page(scope, after, page_size or DEFAULT_PAGE)


def _mark(scope: str) -> str:
    return f"{zlib.crc32(scope.encode()):08x}"
