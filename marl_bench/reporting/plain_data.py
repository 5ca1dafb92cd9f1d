"""A report as plain data, for programs: every number in full."""

import dataclasses
import math
from collections.abc import Collection, Mapping, Set
from typing import Any

from marl_bench.reporting.contents import Contents
from marl_bench.reporting.reading import read

SCHEMA_VERSION = 1
"""Of `report.json`; grows when a field changes its meaning or goes."""

_CLOCK_OR_MEMORY = ("second", "mib")


def as_data(contents: Contents, formats: Collection[str] = ()) -> dict[str, Any]:
    """Returns the comparison, the reading, the tables as shown, the sweeps, and which plots there are and are not.

    `formats` says which files of the plots are written. Numbers that are not finite are None.
    Times and memory stand in the arms' `costs` and in the table of costs only.
    """
    comparison = plain(contents.comparison)
    comparison["setting"]["shared"] = _without_clock(comparison["setting"]["shared"])
    return {
        "schema_version": SCHEMA_VERSION,
        "comparison": comparison,
        "reading": read(contents.comparison),
        "sampling": plain(list(contents.sampling)),
        "tables": [{"name": named.name, **plain(named.table)} for named in contents.tables()],
        "plots": [
            {
                "name": plot.name,
                "title": plot.title,
                "caption": plot.caption,
                "alt": plot.alt,
                "files": list(plot.files(formats)),
            }
            for plot in contents.gallery.plots
        ],
        "plots_left_out": plain(list(contents.gallery.left_out)),
    }


def plain(value: Any) -> Any:
    """Returns records, mappings, sets and sequences as what JSON knows; sets are sorted."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, Set):
        return sorted(plain(item) for item in value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _without_clock(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {
        name: _without_clock(item) for name, item in value.items() if not any(word in name for word in _CLOCK_OR_MEMORY)
    }
