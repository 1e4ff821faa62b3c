"""The routes and the places that every entry is played on."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PLACES", "ROUTES", "Route"]

PLACES = ("load", "live", "backlog", "between", "within")
"""Where an entry's statements stand.

``load``: before the stream began; ``live``: while it follows; ``backlog``: while it was stopped;
``between``: so too, among changes of rows of the same and of other tables, in a transaction each;
``within``: so too, all in one transaction, as far as the server lets DDL be in one.
"""


@dataclass(frozen=True)
class Route:
    """A source and a target."""

    source: str
    target: str

    @property
    def name(self) -> str:
        return f"{self.source}-{self.target}"

    @property
    def postgres(self) -> bool:
        """Whether the source is a PostgreSQL."""
        return self.source.startswith("pg")

    @property
    def bare(self) -> bool:
        """A PostgreSQL source without the event trigger: 15 stands for it, 18 has the trigger."""
        return self.source == "pg15"


ROUTES = {
    route.name: route
    for route in (
        Route("mysql9", "pg18"),
        Route("mysql9", "mysql9"),
        Route("mariadb", "pg18"),
        Route("mariadb", "mariadb"),
        Route("pg18", "pg18"),
        Route("pg18", "mysql9"),
        Route("pg15", "pg18"),
        Route("mysql9", "files"),
        Route("pg18", "files"),
    )
}
