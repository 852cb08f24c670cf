"""The templates of the pages, filled."""

from __future__ import annotations

from typing import Any

__all__ = ["filled"]


def filled(template: str, **values: Any) -> str:
    """Return a page: what comes from files is escaped, and a name that is missing is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    places = Environment(
        loader=PackageLoader("genomic_ulmfit"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return places.get_template(template).render(**values)
