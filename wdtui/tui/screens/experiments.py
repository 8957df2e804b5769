"""The experiments as a gallery: the effects, and of each experiment its question, its picture and what to expect."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import time
from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import events, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.geometry import Size
from textual.screen import Screen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option
from textual.worker import get_current_worker

from wdtui.plots.terminal.thumbnails import thumbnail
from wdtui.runs import thumbnails
from wdtui.runs.estimates import expected_seconds
from wdtui.runs.evidence import Evidence, Standing
from wdtui.schema.hyperparameters import Hyperparameter, format_value
from wdtui.store.records import RunRecord
from wdtui.store.store import Store
from wdtui.studies import experiments
from wdtui.studies.branches import config_of, forked_at, in_words
from wdtui.studies.experiments import Experiment
from wdtui.studies.pictures import Thumbnail
from wdtui.studies.verdicts import State
from wdtui.support.errors import WdtuiError
from wdtui.support.text import clean, duration, number
from wdtui.tui.figures import Figure
from wdtui.tui.keys import Key, bindings
from wdtui.tui.theme import style_of
from wdtui.tui.widgets.chart import ChartPanel
from wdtui.tui.widgets.lines import HeaderLine, KeyLine

_KEYS = (
    Key("enter", "choose(False)", "use in the form", "", shown="⏎", footer=1),
    Key("r", "choose(True)", "run it", "", footer=1),
    Key("space", "scroll_page", "scroll", "", footer=2),
    Key("up,down", "", "move", "", shown="↑↓", footer=3),
    Key("escape,E", "back", "back", "", shown="esc", footer=1),
)

_SIGNS = {State.HOLDS: "✓", State.FAILS: "✗", State.NOT_RUN: "·"}
_BEGUN = "◐"
_WORDS = {"✓": "holds", "✗": "fails", _BEGUN: "begun", "·": "not run"}
_TONES = {"✓": "success", "✗": "error", _BEGUN: "running"}
_NARROW, _LARGE = 100, Size(160, 50)
"""Below which width there is less room for the list, and from which size on there is more for the picture."""
_LIST_SECONDS = 0.2
"""How often what was found is listed. The list is drawn anew each time, and there are dozens of experiments."""


class Gallery(Screen[tuple[str, bool] | None]):
    """Answers with the name of an experiment and whether to run it at once."""

    CSS_PATH = "experiments.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings(key for key in _KEYS if key.action)

    def __init__(self, store: Store, runs: Sequence[RunRecord]) -> None:
        """The runs in the store decide the verdicts of claims. `runs`, newest first, show how fast this machine is."""
        super().__init__()
        self._store = store
        self._found: dict[str, _Found] = {}
        self._runs = runs
        self._groups = experiments.by_effect()
        self._loaded = functools.cache(experiments.load)

    def compose(self) -> ComposeResult:
        yield HeaderLine("experiments")
        with Horizontal():
            options: list[Option] = []
            for effect, group in self._groups.items():
                options.append(Option(Text(effect, "bold"), disabled=True))
                options += [Option(Text(f"  {name}"), id=name) for name in group]
            names = OptionList(*options, id="names", markup=False)
            names.border_title = "experiments by effect"
            yield names
            with VerticalScroll(id="pages", can_focus=False):
                yield Static(id="asked", markup=False)
                picture = ChartPanel(Figure("", "", ()), id="picture")
                picture.can_focus = False
                yield picture
                yield Static(id="page", markup=False)
        yield KeyLine(_KEYS)

    def on_mount(self) -> None:
        self.query_one(HeaderLine).show("  ".join(f"{sign} {word}" for sign, word in _WORDS.items()))
        self._read_standings()

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(event.size.width < _NARROW, "-narrow")
        self.set_class(event.size.width >= _LARGE.width and event.size.height >= _LARGE.height, "-large")
        for name, found in self._found.items():
            self._list(name, found)

    @work(thread=True, exit_on_error=False)
    def _read_standings(self) -> None:
        """Check the claims in a thread, as many runs take longer than opening the screen."""
        try:
            evidence = Evidence(self._store)
        except WdtuiError as error:
            self.app.call_from_thread(self.notify, str(error), severity="error", markup=False)
            return
        found, listed = dict[str, _Found](), time.monotonic()
        for name in [name for group in self._groups.values() for name in group]:
            if get_current_worker().is_cancelled:
                return
            with contextlib.suppress(WdtuiError):  # the experiment's page shows the error
                experiment = self._loaded(name)
                standing = evidence.standing(experiment)
                quick = experiment.variant(quick=True)
                own = thumbnails.thumbnail(self._store, evidence, quick) if standing.trained else None
                seconds = _seconds(quick, self._runs)
                found[name] = _Found(standing, own, seconds)
            if time.monotonic() - listed > _LIST_SECONDS:
                self.app.call_from_thread(self._take, found)
                found, listed = {}, time.monotonic()
        self.app.call_from_thread(self._take, found)

    def _take(self, found: dict[str, _Found]) -> None:
        if not self.is_attached:
            return
        self._found |= found
        for name, one in found.items():
            self._list(name, one)
        if self._highlighted in found:
            self._show_page(self._highlighted)

    def _list(self, name: str, found: _Found) -> None:
        """Show an experiment in the list: how it stands, its name, and how long it takes if there is room."""
        names = self.query_one("#names", OptionList)
        sign = found.sign
        line = Text.assemble((sign, style_of(self.app, _TONES[sign]) if sign in _TONES else "dim"), f" {name}")
        room = names.scrollable_content_region.width - names.show_vertical_scrollbar
        if room - line.cell_len - len(found.duration) > 1:
            line.append(found.duration.rjust(room - line.cell_len), "dim")
        names.replace_option_prompt(name, line)

    @property
    def _highlighted(self) -> str:
        names = self.query_one("#names", OptionList)
        return "" if names.highlighted is None else names.get_option_at_index(names.highlighted).id or ""

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        self._show_page(event.option.id or "")

    def _show_page(self, name: str) -> None:
        pages, found = self.query_one("#pages", VerticalScroll), self._found.get(name)
        question, picture, page = (
            self.query_one("#asked", Static),
            self.query_one(ChartPanel),
            self.query_one("#page", Static),
        )
        if pages.border_title != name:
            pages.border_title = name
            pages.scroll_home(animate=False)
        try:
            experiment = self._loaded(name)
            figure = drawn(experiment, found.own if found else None)
            question.update(Text(clean(experiment.question), "bold"))
            page.update(
                described(experiment, found.standing if found else None, self._runs, pictured=figure is not None)
            )
        except WdtuiError as error:
            figure = None
            question.update(Text())
            page.update(Text(str(error)))
        picture.display = figure is not None
        if figure:
            picture.show(figure)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss((event.option.id or "", False))

    def action_choose(self, run: bool) -> None:
        if self._highlighted:
            self.dismiss((self._highlighted, run))

    def action_scroll_page(self) -> None:
        """Show the next part of the page, or the first one at its end."""
        pages = self.query_one("#pages", VerticalScroll)
        if pages.scroll_offset.y < pages.max_scroll_y:
            pages.scroll_page_down(animate=False)
        else:
            pages.scroll_home(animate=False)

    def action_back(self) -> None:
        self.dismiss(None)


@dataclasses.dataclass(frozen=True)
class _Found:
    """What is known of an experiment once the store was read."""

    standing: Standing
    own: Thumbnail | None
    """The picture of the user's own runs."""
    seconds: float
    """How long the runs that `r` trains will take; NaN if nothing is known."""

    @property
    def sign(self) -> str:
        state, trained = self.standing.state, self.standing.trained
        return _BEGUN if state == State.NOT_RUN and trained else _SIGNS[state]

    @property
    def duration(self) -> str:
        return duration(self.seconds) if math.isfinite(self.seconds) else ""


def drawn(experiment: Experiment, own: Thumbnail | None = None) -> Figure | None:
    """The picture of an experiment, of the user's own runs or as it was recorded; None without either."""
    recorded = own or experiments.thumbnail(experiment)
    if recorded is None:
        return None
    whose = "your runs" if own else "recorded"
    shown = experiment.variant(quick=True)
    along = shown.picture.along
    chart = functools.partial(thumbnail, recorded, shown)
    return Figure(
        recorded.title,
        "",
        tuple(Text(text, "dim") for text in (f"{whose}, seed {recorded.seed}", whose)),
        y_log=recorded.log,
        x_log=shown.picture.log,
        x_name=experiment.schema.symbol(along) if along else "",
        drawing=lambda width, height: chart(width=width, height=height).copy(),  # without x values: the wheel scrolls
    )


def described(experiment: Experiment, standing: Standing | None, runs: Sequence[RunRecord], *, pictured: bool) -> Text:
    """What to expect of an experiment, its runs and its claims. Without a standing the claims have no verdicts.

    `runs`, newest first, show how fast this machine is. It says so if the experiment is not `pictured`.
    """
    text, fields = Text(), experiment.schema.fields
    text.append(f"{clean(experiment.expected.strip())}\n\n")
    if not pictured:
        text.append("There is no picture, because no runs of it were recorded.\n\n", "dim")
    text.append(f"{clean(experiment.article.strip())}\n\n", "italic")
    for field, value in experiment.config.items():
        if field in experiment.axes:
            continue
        text.append(f"{_label(fields[field]):<28}{format_value(value)}\n")
    for field, values in experiment.axes.items():
        text.append(f"{_label(fields[field]):<28}{' · '.join(map(format_value, values))}\n")
    text.append(f"\n{_amount(experiment, runs)}\n")
    if experiment.fork:
        trained = ", by the command below" if experiment.fork.before_blow_up else ""
        text.append(f"each forked {experiment.fork.place(experiment.schema.length)}{trained}: ")
        text.append(f"{'; '.join(in_words(experiment.schema, branch) for branch in experiment.fork.branches)}\n")
    if experiment.quick:
        text.append(f"{_amount(experiment.quick, runs)} in the quick variant, which r trains\n")
    if experiment.claims:
        text.append("\nclaims  ", "bold")
    if standing:
        text.append(f"{standing.words}\n", "dim")
    for verdict in standing.verdicts if standing else ():
        text.append(f"{_SIGNS[verdict.state]} {verdict.claim.says}\n")
        if verdict.state != State.NOT_RUN:
            text.append(f"  {verdict.state}: {verdict.measured}\n", "dim")
    for claim in experiment.claims if standing is None else ():
        text.append(f"{_SIGNS[State.NOT_RUN]} {claim.says}\n")
    if experiment.claims:
        quick = " --quick" if experiment.quick else ""
        text.append(f"\nwdtui experiments verify {experiment.name}{quick}\n", "dim")
    return text


def _amount(experiment: Experiment, runs: Sequence[RunRecord]) -> str:
    cells, seconds = experiment.cells(), _seconds(experiment, runs)
    about = f", about {duration(seconds)}" if math.isfinite(seconds) else ""
    steps = sorted({cell.steps for cell in cells})
    most = number(steps[0]) if len(steps) == 1 else f"{number(steps[0])} to {number(steps[-1])}"
    return f"{len(cells)} run{'s' if len(cells) > 1 else ''} of {most} steps{about}"


def _seconds(experiment: Experiment, runs: Sequence[RunRecord]) -> float:
    """How long all runs and forks of this variant take; without evidence as fast as when its picture was recorded."""
    work = [(config_of(case), config_of(case).steps - forked_at(case)) for case in experiment.cases()]
    recorded = experiments.thumbnail(experiment)
    speed = recorded.speed if recorded else math.nan
    return expected_seconds(work, runs, workers=None, threads=None, otherwise=speed)


def _label(field: Hyperparameter) -> str:
    return f"{field.symbol}  {field.label}" if field.symbol else f"   {field.label}"
