"""Lists in pages: one form of limit, offset, filters and sort for all that an `Engine` lists."""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from streams_engine.config.documents import Selection
from streams_engine.config.validation import validate
from streams_engine.errors import ConfigError
from streams_engine.model import Filter, Sort
from streams_engine.model.conditions import passes
from streams_engine.model.pages import DataPage, FilePage, Page
from streams_engine.target_layout import selected_of

__all__ = ["Conditions", "DataPage", "FilePage", "ListRequest", "Page", "list_request"]

Document = dict[str, Any]
Conditions = Sequence[Mapping[str, Any]]
"""Filters ``{"column", "operator", "value"}``, or sort keys ``{"column", "direction"}``."""


@dataclass(frozen=True, slots=True)
class ListRequest:
    """What is wanted of a list."""

    limit: int | None = None
    offset: int = 0
    filters: tuple[Filter, ...] = ()
    sorts: tuple[Sort, ...] = ()

    def page(self, documents: Iterable[Document], columns: Iterable[str]) -> Page:
        """Return the page of documents; all are counted.

        ``columns``: the names that filters and sort may use; a dot leads into an object. Raises
        `ConfigError` by the path of a fault.
        """
        items, counted = self._cut(documents, tuple(columns), ordered=True)
        return {
            "items": items,
            "total": counted.rest(),
            "limit": self.limit,
            "offset": self.offset,
        }

    def file_page(
        self,
        documents: Iterable[Document],
        columns: Iterable[str],
        *,
        ordered: bool,
        total: bool,
    ) -> FilePage:
        """Return the page of files, as `page`; only those up to its end are kept.

        ``ordered``: they come in the order of their first column. ``total`` False: none are
        counted, and no more are read than the page needs.
        """
        items, counted = self._cut(documents, tuple(columns), ordered=ordered)
        return {
            "items": items,
            "total": counted.rest() if total else None,
            "limit": self.limit,
            "offset": self.offset,
        }

    def _cut(
        self, documents: Iterable[Document], columns: Sequence[str], *, ordered: bool
    ) -> tuple[list[Document], _Counted]:
        """Return the page's documents, and the rest of them on its way."""
        self._demand_columns(columns)
        sorts = self.sorts or (() if ordered else (Sort(columns[0]),))
        counted = _Counted(one for one in documents if self._passes(one))
        end = None if self.limit is None else self.offset + self.limit
        if not sorts:
            items = list(islice(counted, self.offset, end))
        elif end is None:
            items = sorted(counted, key=_order(sorts))[self.offset :]
        else:
            items = heapq.nsmallest(end, counted, key=_order(sorts))[self.offset :]
        return items, counted

    def ends_with(self, items: int) -> bool:
        """Return whether a page of so many items shows how many there are on all pages."""
        whole = self.limit is None or items < self.limit
        return whole and (items > 0 or self.offset == 0)

    def _demand_columns(self, known: Sequence[str]) -> None:
        named = [("filters", [one.column for one in self.filters])]
        named.append(("sorts", [one.column for one in self.sorts]))
        for key, columns in named:
            for number, column in enumerate(columns):
                if column.split(".")[0] not in known:
                    path = f"$.{key}[{number}].column"
                    near = difflib.get_close_matches(column, known, 1)
                    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}."
                    raise ConfigError(f"{path}: unknown column '{column}'; {hint}", path=path)

    def _passes(self, document: Document) -> bool:
        for number, chosen in enumerate(self.filters):
            try:
                if not passes(chosen, value_at(document, chosen.column)):
                    return False
            except (TypeError, ValueError, ArithmeticError, AttributeError):
                path = f"$.filters[{number}].value"
                raise ConfigError(
                    f"{path}: it cannot be compared with {chosen.column} by {chosen.operator}.",
                    path=path,
                    remedy="Give a value of the column's type.",
                ) from None
        return True


def list_request(
    limit: int | None, offset: int, filters: Conditions = (), sort: Conditions = ()
) -> ListRequest:
    """Check what is wanted of a list. Raises `ConfigError` with the path of a fault."""
    if not isinstance(offset, int) or isinstance(offset, bool) or offset < 0:
        raise ConfigError("$.offset: expected a whole number, 0 or more.", path="$.offset")
    document = {"filters": _plain(filters, "filters"), "sorts": _plain(sort, "sorts")}
    selected = selected_of(validate(Selection, document | {"limit": limit}), "$")
    return ListRequest(limit, offset, selected.filters, selected.sorts)


def _plain(conditions: Conditions, key: str) -> list[Any]:
    if isinstance(conditions, str | Mapping) or not isinstance(conditions, Iterable):
        raise ConfigError(f"$.{key}: expected a list of objects.", path=f"$.{key}")
    return [dict(one) if isinstance(one, Mapping) else one for one in conditions]


def value_at(document: Document, column: str) -> Any:
    """Return the value at a dotted path; None where there is none."""
    if column in document:
        return document[column]
    value: Any = document
    for step in column.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


class _Counted:
    """Documents on their way, counted."""

    def __init__(self, documents: Iterator[Document]) -> None:
        self.count = 0
        self._documents = documents

    def __iter__(self) -> Iterator[Document]:
        return self

    def __next__(self) -> Document:
        document = next(self._documents)
        self.count += 1
        return document

    def rest(self) -> int:
        """Count those behind the page too; return how many there are."""
        for _ in self:
            pass
        return self.count


def _order(sorts: Sequence[Sort]) -> Callable[[Document], Any]:
    """Return the key of an order: tuples compare fastest, but only upwards."""
    if any(one.descending for one in sorts):
        return lambda document: _Rank(document, sorts)
    return lambda document: [_key(value_at(document, one.column)) for one in sorts]


class _Rank:
    """A document's place in an order: by several keys, each up or down, None behind the others."""

    __slots__ = ("_keys",)

    def __init__(self, document: Document, sorts: Sequence[Sort]) -> None:
        self._keys = [(_key(value_at(document, one.column)), one.descending) for one in sorts]

    def __lt__(self, other: _Rank) -> bool:
        for (mine, descending), (others, _) in zip(self._keys, other._keys, strict=True):
            if mine != others:
                return (mine < others) != descending
        return False


def _key(value: Any) -> tuple[bool, str, Any]:
    """Return a key by which values of different types compare too."""
    if value is None:
        return True, "", 0
    if isinstance(value, int | float):
        return False, "", value
    return False, type(value).__name__, value if isinstance(value, str) else str(value)
