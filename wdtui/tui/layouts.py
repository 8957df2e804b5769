"""What a person put into which chart and into the table, by problem, in a small file beside the store.

No Textual here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wdtui.schema.chart import Chart
from wdtui.schema.schema import Schema
from wdtui.support.store_files import LAYOUT_NAME
from wdtui.tui.kept_file import KeptFile


@dataclasses.dataclass(frozen=True)
class Picked:
    """What a person put into a chart: columns of a run's points, over the steps or over another column."""

    columns: tuple[str, ...] = ()
    x: str = ""
    chart: str = ""
    """The name of a chart of the problem, in place of columns."""


_TABLE = "table"


class Layouts:
    """The picked contents of charts by problem and place, and of the table, kept in `layouts.json` in a folder."""

    def __init__(self, folder: Path) -> None:
        self._file = KeptFile(folder / LAYOUT_NAME)
        content = self._file.read()
        self._layouts: dict[str, dict[int, Picked]] = _checked(content)
        self._tables: dict[str, tuple[str, ...]] = _checked_tables(content)

    def columns(self, problem: str) -> tuple[str, ...]:
        """The keys of the columns in the table for a problem; empty for the usual ones."""
        return self._tables.get(problem, ())

    def put_columns(self, problem: str, keys: Sequence[str]) -> None:
        """Set the columns in the table for a problem; none for the usual ones."""
        self._tables[problem] = tuple(keys)
        self._save()

    def charts(self, schema: Schema, charts: Sequence[Chart]) -> tuple[Chart, ...]:
        """The charts of a problem, where picked ones replace its own."""
        layout, named = self._layouts.get(schema.problem, {}), {chart.name: chart for chart in charts}

        def at(place: int, chart: Chart) -> Chart:
            picked = layout.get(place)
            if picked is None or (picked.chart and picked.chart not in named):
                return chart
            return named[picked.chart] if picked.chart else schema.chart(picked.columns, picked.x)

        return tuple(at(place, chart) for place, chart in enumerate(charts))

    def put(self, schema: Schema, place: int, picked: Picked | None) -> None:
        """Set what the chart at a place shows; None for the problem's own."""
        layout = dict(self._layouts.get(schema.problem, {}))
        layout.pop(place, None)
        if picked:
            layout[place] = picked
        self._layouts[schema.problem] = layout
        self._save()

    def swap(self, schema: Schema, charts: Sequence[Chart], place: int, other: int) -> None:
        """Exchange the charts at two places, which now show `charts`."""
        layout = dict(self._layouts.get(schema.problem, {}))
        for here, there in ((place, other), (other, place)):
            layout[here] = self.at(schema, there) or Picked(chart=charts[there].name)
        self._layouts[schema.problem] = layout
        self._save()

    def at(self, schema: Schema, place: int) -> Picked | None:
        """What was picked for the chart at a place."""
        return self._layouts.get(schema.problem, {}).get(place)

    def _save(self) -> None:
        content: dict[str, dict[str, Any]] = {}
        for name, layout in self._layouts.items():
            for place, picked in layout.items():
                content.setdefault(name, {})[str(place)] = dataclasses.asdict(picked)
        for name, keys in self._tables.items():
            if keys:
                content.setdefault(name, {})[_TABLE] = [*keys]
        self._file.write(content)


def _checked_tables(content: Any) -> dict[str, tuple[str, ...]]:
    tables: dict[str, tuple[str, ...]] = {}
    for name, places in content.items() if isinstance(content, Mapping) else ():
        match places:
            case {"table": list(keys)}:
                tables[name] = tuple(key for key in keys if isinstance(key, str))
    return tables


def _checked(content: Any) -> dict[str, dict[int, Picked]]:
    """What can be read of a file that another version may have written."""
    layouts: dict[str, dict[int, Picked]] = {}
    for name, places in content.items() if isinstance(content, Mapping) else ():
        for place, picked in places.items() if isinstance(places, Mapping) else ():
            match picked:
                case {"columns": list(columns), "x": str(x), "chart": str(chart)} if place.isdigit():
                    names = tuple(column for column in columns if isinstance(column, str))
                    if names or chart:
                        layouts.setdefault(name, {})[int(place)] = Picked(names, x, chart)
    return layouts
