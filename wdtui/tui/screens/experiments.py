"""The experiments as a gallery: the question, its source, what to expect, and the runs."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import Screen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option
from textual.worker import get_current_worker

from wdtui.runs.estimates import expected_seconds
from wdtui.runs.evidence import Evidence, Standing
from wdtui.schema.config import Config
from wdtui.schema.hyperparameters import Hyperparameter, format_value
from wdtui.store.records import RunRecord
from wdtui.store.store import Store
from wdtui.studies import experiments
from wdtui.studies.branches import in_words
from wdtui.studies.verdicts import State
from wdtui.support.errors import WdtuiError
from wdtui.support.text import clean, duration, number
from wdtui.tui.keys import Key, bindings
from wdtui.tui.widgets.lines import HeaderLine, KeyLine

_KEYS = (
    Key("enter", "choose(False)", "use in the form", "", shown="⏎"),
    Key("r", "choose(True)", "run it", ""),
    Key("up,down", "", "move", "", shown="↑↓"),
    Key("escape,E", "back", "back", "", shown="esc"),
)


_SIGNS = {State.HOLDS: "✓", State.FAILS: "✗", State.NOT_RUN: "·"}


class Gallery(Screen[tuple[str, bool] | None]):
    """Answers with the name of an experiment and whether to run it at once."""

    CSS_PATH = "experiments.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings(key for key in _KEYS if key.action)

    def __init__(self, store: Store) -> None:
        """The runs in the store decide the verdicts of claims."""
        super().__init__()
        self._store = store
        self._standings: dict[str, Standing] = {}
        self._runs = store.runs()

    def compose(self) -> ComposeResult:
        yield HeaderLine("experiments")
        with Horizontal():
            names = OptionList(*(Option(name, id=name) for name in experiments.names()), id="names", markup=False)
            names.border_title = "questions"
            yield names
            with VerticalScroll(id="pages", can_focus=False):
                yield Static(id="page", markup=False)
        yield KeyLine(_KEYS)

    def on_mount(self) -> None:
        self._read_standings()

    @work(thread=True, exit_on_error=False)
    def _read_standings(self) -> None:
        """Check the claims in a thread, as many runs take longer than opening the screen."""
        evidence = Evidence(self._store)
        for name in experiments.names():
            if get_current_worker().is_cancelled:
                return
            with contextlib.suppress(WdtuiError):  # the experiment's page shows the error
                standing = evidence.standing(experiments.load(name))
                self.app.call_from_thread(self._take_standing, name, standing)

    def _take_standing(self, name: str, standing: Standing) -> None:
        if not self.is_attached:
            return
        self._standings[name] = standing
        names = self.query_one("#names", OptionList)
        names.replace_option_prompt(name, entry(name, standing))
        if names.highlighted is not None and names.get_option_at_index(names.highlighted).id == name:
            self._show_page(name)

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        self._show_page(event.option.id or "")

    def _show_page(self, name: str) -> None:
        self.query_one("#pages").border_title = name
        self.query_one("#page", Static).update(page(name, self._standings.get(name), self._runs))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss((event.option.id or "", False))

    def action_choose(self, run: bool) -> None:
        names = self.query_one(OptionList)
        if names.highlighted is not None:
            self.dismiss((names.get_option_at_index(names.highlighted).id or "", run))

    def action_back(self) -> None:
        self.dismiss(None)


def entry(name: str, standing: Standing) -> Text:
    """An experiment in the list, with the verdicts of its claims below it."""
    return Text(name).append(f"\n  {standing.words}", "dim") if standing.words else Text(name)


def page(name: str, standing: Standing | None = None, runs: Sequence[RunRecord] = ()) -> Text:
    """The page of one experiment. Without a standing the claims have no verdicts.

    `runs`, newest first, show how fast this machine is.
    """
    try:
        experiment = experiments.load(name)
        cells = experiment.cells()
    except WdtuiError as error:
        return Text(str(error))
    text, fields = Text(), experiment.schema.fields
    text.append(f"{clean(experiment.question)}\n\n", "bold")
    text.append(f"{clean(experiment.expected.strip())}\n\n")
    text.append(f"{clean(experiment.article)}\n\n", "italic")
    for field, value in experiment.config.items():
        if field in experiment.axes:
            continue
        text.append(f"{_label(fields[field]):<28}{format_value(value)}\n")
    for field, values in experiment.axes.items():
        text.append(f"{_label(fields[field]):<28}{' · '.join(map(format_value, values))}\n")
    text.append(f"\n{_amount(cells, runs)}\n")
    if experiment.fork:
        trained = ", by the command below" if experiment.fork.before_blow_up else ""
        text.append(f"each forked {experiment.fork.place(experiment.schema.length)}{trained}: ")
        text.append(f"{'; '.join(in_words(experiment.schema, branch) for branch in experiment.fork.branches)}\n")
    if experiment.quick:
        text.append(f"{_amount(experiment.quick.cells(), runs)} in the quick variant, which r trains\n")
    if experiment.claims:
        text.append(f"\nclaims{' of the quick variant' if standing and standing.quick else ''}\n", "bold")
    for verdict in standing.verdicts if standing else ():
        text.append(f"{_SIGNS[verdict.state]} {verdict.claim.says}\n")
        if verdict.state != State.NOT_RUN:
            text.append(f"  {verdict.state}: {verdict.measured}\n", "dim")
    for claim in experiment.claims if standing is None else ():
        text.append(f"{_SIGNS[State.NOT_RUN]} {claim.says}\n")
    if experiment.claims:
        text.append(f"\nwdtui experiments verify {name}{' --quick' if experiment.quick else ''}\n", "dim")
    return text


def _amount(cells: list[Config], runs: Sequence[RunRecord]) -> str:
    seconds = expected_seconds([(cell, cell.steps) for cell in cells], runs, workers=None, threads=None)
    about = f", about {duration(seconds)}" if math.isfinite(seconds) else ""
    steps = sorted({cell.steps for cell in cells})
    most = number(steps[0]) if len(steps) == 1 else f"{number(steps[0])} to {number(steps[-1])}"
    return f"{len(cells)} run{'s' if len(cells) > 1 else ''} of {most} steps{about}"


def _label(field: Hyperparameter) -> str:
    return f"{field.symbol}  {field.label}" if field.symbol else f"   {field.label}"
