"""The experiments as a gallery: what is asked, where that comes from, what to look for, and what would be trained."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import Screen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from wdtui import experiments
from wdtui.config import FIELDS, ConfigError
from wdtui.hyperparameters import format_value
from wdtui.text import clean, number
from wdtui.tui.keys import Key, bindings
from wdtui.tui.widgets.lines import HeaderLine, KeyLine

_KEYS = (
    Key("enter", "choose(False)", "take into the form", "", shown="⏎"),
    Key("r", "choose(True)", "run it", ""),
    Key("up,down", "", "look around", "", shown="↑↓"),
    Key("escape,E", "back", "back", "", shown="esc"),
)


class Gallery(Screen[tuple[str, bool] | None]):
    """Answers with the name of an experiment and whether to run it at once."""

    CSS_PATH = "experiments.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings(key for key in _KEYS if key.action)

    def compose(self) -> ComposeResult:
        yield HeaderLine("experiments")
        with Horizontal():
            names = OptionList(*(Option(name, id=name) for name in experiments.names()), id="names", markup=False)
            names.border_title = "questions"
            yield names
            with VerticalScroll(id="pages", can_focus=False):
                yield Static(id="page", markup=False)
        yield KeyLine(_KEYS)

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        name = event.option.id or ""
        self.query_one("#pages").border_title = name
        self.query_one("#page", Static).update(page(name))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss((event.option.id or "", False))

    def action_choose(self, run: bool) -> None:
        names = self.query_one(OptionList)
        if names.highlighted is not None:
            self.dismiss((names.get_option_at_index(names.highlighted).id or "", run))

    def action_back(self) -> None:
        self.dismiss(None)


def page(name: str) -> Text:
    """All about one experiment."""
    try:
        experiment = experiments.load(name)
        cells = experiment.cells()
    except (experiments.ExperimentError, ConfigError) as error:
        return Text(str(error))
    text = Text()
    text.append(f"{clean(experiment.question)}\n\n", "bold")
    text.append(f"{clean(experiment.look_for.strip())}\n\n")
    text.append(f"{clean(experiment.article)}\n\n", "italic")
    for field, value in experiment.config.items():
        text.append(f"{_label(field):<28}{format_value(value)}\n")
    for field, values in experiment.axes.items():
        text.append(f"{_label(field):<28}{' · '.join(map(format_value, values))}\n")
    runs = f"{len(cells)} runs" if len(cells) > 1 else "1 run"
    text.append(f"\n{runs} of {number(cells[0].steps)} steps\n")
    return text


def _label(name: str) -> str:
    field = FIELDS[name]
    return f"{field.symbol}  {field.label}" if field.symbol else f"   {field.label}"
