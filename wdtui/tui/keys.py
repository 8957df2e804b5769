"""All keys of the app. Bindings, footer, help, palette and docs/keys.md are made from this list."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from textual.binding import Binding, BindingType


@dataclasses.dataclass(frozen=True, slots=True)
class Key:
    """A key, its action, and the texts that describe it."""

    key: str
    """Textual's name of the key; several keys are separated by commas."""
    action: str
    label: str
    """A word or two, for the footer."""
    help: str
    shown: str = ""
    """How the key is shown, if not by its name."""
    twin: str = ""
    """The equivalent command line."""
    footer: int = 0
    """Its rank in the footer, which omits the largest first if there is no room for all; 0 for a key without one."""

    @property
    def title(self) -> str:
        return self.shown or self.key.split(",")[0]

    @property
    def name(self) -> str:
        """The name used in settings: the action, or the label if the action takes arguments. Empty for arrows."""
        return (self.label.replace(" ", "_") if "(" in self.action else self.action).removeprefix("app.")

    @property
    def binding(self) -> Binding:
        return Binding(self.key, self.action, self.label, show=bool(self.footer), key_display=self.title, id=self.name)


RUNS = (
    Key("r", "launch", "run", "Train the run described by the form.", twin="wdtui run", footer=1),
    Key(
        "R",
        "launch_all",
        "run all",
        "Train all runs of the form's experiment, in its quick variant if it has one.",
        twin="wdtui experiments run NAME --quick",
    ),
    Key(
        "W",
        "sweep",
        "sweep",
        "Sweep hyperparameters, starting from the form's config.",
        twin="wdtui sweep --axis FIELD=VALUES",
    ),
    Key("S", "sweeps", "sweeps", "Open a sweep.", twin="wdtui sweeps show SWEEP"),
    Key("enter", "open", "open", "Show all details of the selected run.", shown="⏎", twin="wdtui runs show RUN"),
    Key("s", "steer", "steer", "Change λ, ε or the learning rate of a live run.", twin="wdtui steer RUN", footer=4),
    Key(
        "f",
        "fork",
        "fork",
        "Continue from a step of the run with changed values, as a new run.",
        twin="wdtui fork RUN",
        footer=5,
    ),
    Key(
        "space",
        "pause",
        "pause",
        "Pause a live run; resume one that is paused, stopped or interrupted.",
        twin="wdtui pause RUN · wdtui resume RUN",
        footer=2,
    ),
    Key("x", "stop", "stop", "Stop a run and keep a checkpoint.", twin="wdtui stop RUN", footer=4),
    Key("m", "mark", "mark", "Mark a run; the charts show all marked runs.", twin="wdtui runs compare RUN…", footer=3),
    Key("C", "copy_config", "copy config", "Put the config of the run into the form, to change it and train it again."),
    Key("M", "unmark", "unmark all", "Remove all marks."),
    Key("e", "rename", "rename", "Give the run a name.", twin="wdtui runs rename RUN NAME"),
    Key(
        "n",
        "note",
        "note",
        "Write a note on the run; words that begin with # are tags.",
        twin="wdtui runs note RUN TEXT",
    ),
    Key("d,delete", "delete", "delete", "Delete the run, after confirmation.", twin="wdtui runs delete RUN"),
)
TABLE = (
    Key(
        "slash",
        "filter",
        "filter",
        "Filter the runs by words, tags and conditions, such as λ>=0.1 test>0.9 done #good.",
        shown="/",
        twin="wdtui runs list FILTER",
        footer=4,
    ),
    Key("o", "sort", "sort", "Sort by a column, or by the best or smoothed value of a metric."),
    Key("O", "reverse", "reverse", "Reverse the sort order."),
    Key("T", "columns", "columns", "Choose the columns of the table; the app keeps them per problem."),
    Key("h", "fold", "fold", "Fold the runs of a sweep into one row, or show them."),
    Key("H", "fold_all", "fold all", "Fold all sweeps, or show the runs of all."),
)
CHARTS = (
    Key(
        "l",
        "chart('change_time_scale')",
        "log time",
        "Switch the time axis between linear and logarithmic.",
    ),
    Key(
        "L",
        "chart('change_value_scale')",
        "log value",
        "Switch the value axis of the current chart between linear and logarithmic.",
    ),
    Key("v", "chart('next')", "next chart", "Select the next chart."),
    Key("V", "chart('swap')", "swap charts", "Exchange the current chart with the next one; the app keeps the order."),
    Key(
        "p",
        "pick",
        "metrics",
        "Show any metrics in the current chart, over the steps or over another metric; the app keeps them.",
        twin="wdtui plot RUN --metric NAME",
        footer=2,
    ),
    Key(
        "X",
        "chart('change_axis')",
        "x axis",
        "Use steps, epochs, seconds of training, or time constants of the weight decay as the horizontal axis.",
    ),
    Key("a", "chart('smooth')", "smooth", "Smooth the curves, more with each press, in front of what was measured."),
    Key("z", "chart('maximise')", "zoom", "Maximise the current chart, or restore all charts.", footer=2),
    Key(
        "left",
        "chart('move_cursor', -1)",
        "cursor left",
        "Move the cursor one step to the left and show the values there.",
        shown="←",
    ),
    Key(
        "right",
        "chart('move_cursor', 1)",
        "cursor right",
        "Move the cursor one step to the right and show the values there.",
        shown="→",
    ),
    Key(
        "full_stop",
        "chart('next_event', 1)",
        "next event",
        "Go to the next marked event, such as a blow-up.",
        shown=".",
    ),
    Key("comma", "chart('next_event', -1)", "previous event", "Go to the previous marked event.", shown=","),
    Key("g", "go_to", "go to", "Go to an exact step, or to where a condition such as test>0.9 first holds."),
    Key("B", "chart('change_bands')", "bands", "Draw seeds of one config as their median and range, or one by one."),
    Key(
        "plus,equals_sign",
        "chart('zoom', 0.5)",
        "closer",
        "Zoom in on the time axis, around the cursor, or around the newest steps if there is no cursor.",
        shown="+",
    ),
    Key("minus", "chart('zoom', 2.0)", "farther", "Zoom out on the time axis.", shown="-"),
    Key(
        "shift+left,less_than_sign",
        "chart('pan', -0.25)",
        "pan left",
        "Move to earlier steps; the cursor stays in view.",
        shown="⇧←",
    ),
    Key(
        "shift+right,greater_than_sign",
        "chart('pan', 0.25)",
        "pan right",
        "Move to later steps; the cursor stays in view.",
        shown="⇧→",
    ),
    Key(
        "right_square_bracket",
        "chart('zoom_values', 0.5)",
        "values closer",
        "Zoom in on the values of the current chart, around the value at the cursor or the newest one.",
        shown="]",
    ),
    Key(
        "left_square_bracket",
        "chart('zoom_values', 2.0)",
        "values farther",
        "Zoom out on the values of the current chart.",
        shown="[",
    ),
    Key(
        "0",
        "chart('reset')",
        "reset",
        "Reset the view of the charts: whole axes, default scales, no cursor, no smoothing, no layers.",
    ),
    Key("b", "chart('change_layers')", "layers", "Show the BatchNorm variance of the whole network or of each layer."),
)
DECAY = (
    Key(
        "y",
        "gauges",
        "decay",
        "Show what decay does to each layer, or one line for the whole network.",
        twin="wdtui runs decay RUN",
        footer=6,
    ),
    Key(
        "slash",
        "find_layer",
        "find layer",
        "Show the layers whose names contain a text, also in the charts of layers.",
        shown="/",
        twin="wdtui runs decay RUN --layer PATTERN",
    ),
    Key(
        "o",
        "order_layers",
        "order",
        "Order the layers by distance from equilibrium, by decay share, or as in the network.",
        twin="wdtui runs decay RUN --sort ORDER",
    ),
)
SWEEP = (
    Key("up", "move(-1, 0)", "", "Select the cell above.", shown="↑"),
    Key("down", "move(1, 0)", "", "Select the cell below.", shown="↓"),
    Key("left", "move(0, -1)", "", "Select the cell to the left.", shown="←"),
    Key("right", "move(0, 1)", "", "Select the cell to the right.", shown="→"),
    Key(
        "enter",
        "open_cell",
        "open",
        "Show all details of the cell's run.",
        shown="⏎",
        twin="wdtui runs show RUN",
        footer=1,
    ),
    Key("v", "next_metric", "metric", "Show the next metric or milestone.", footer=2),
    Key("n", "next_seed", "seed", "Select the run of the next seed.", footer=4),
    Key("a", "next_layer", "further axes", "Show the next value of the third and further axes."),
    Key(
        "g",
        "go_on",
        "go on",
        "Train the runs that are missing, interrupted, stopped or failed.",
        twin="wdtui resume SWEEP",
        footer=3,
    ),
    Key(
        "x",
        "stop_sweep",
        "stop",
        "Stop all runs of the sweep and keep checkpoints.",
        twin="wdtui stop SWEEP",
        footer=4,
    ),
)
APP = (
    Key("c", "form", "form", "Open the form; Escape leaves it.", footer=2),
    Key("E", "app.experiments", "experiments", "Browse the experiments.", twin="wdtui experiments list"),
    Key(
        "u",
        "machine",
        "machine",
        "Show or hide a line about the load: cores, memory, GPUs, and the process of each live run.",
        twin="wdtui doctor",
    ),
    Key("w", "app.slots", "at once", "Set how many runs train at once."),
    Key("t", "app.change_theme", "theme", "Switch between dark and light."),
    Key("question_mark", "app.help", "help", "Show this page.", shown="?", footer=1),
    Key("ctrl+p", "app.command_palette", "palette", "Find an action by name.", shown="^p", footer=5),
    Key(
        "q,ctrl+q,ctrl+c",
        "app.quit",
        "quit",
        "Quit; asks for confirmation if runs are live.",
        twin="wdtui stop RUN",
        footer=1,
    ),
)
ROWS = (
    Key("up,k", "move(-1)", "run above", ""),
    Key("down,j", "move(1)", "run below", ""),
    Key("pageup", "page(-1)", "page up", ""),
    Key("pagedown", "page(1)", "page down", ""),
    Key("home", "move(-10000000)", "first run", ""),
    Key("end,G", "move(10000000)", "last run", ""),
)
"""Keys that move the cursor of the run table. They are the usual keys of a list: not documented, not configurable."""
FORM = (
    Key("enter", "launch", "run", "", shown="⏎", footer=1),
    Key("", "", "field", "", shown="↑↓", footer=2),
    Key("", "", "choose", "", shown="←→", footer=2),
    Key("escape", "leave_form", "runs and charts", "", shown="esc", footer=1),
    Key("", "", "next", "", shown="tab", footer=3),
)
HEADING = (Key("enter", "", "unfold or fold", "", shown="⏎", footer=1), FORM[1], *FORM[3:])
FIND = (
    Key("enter", "", "keep the search", "", shown="⏎", footer=1),
    Key("escape", "", "show all layers", "", shown="esc", footer=1),
)
FILTER = (
    Key("enter", "", "keep the filter", "", shown="⏎", footer=1),
    Key("escape", "", "show all runs", "", shown="esc", footer=1),
    Key("", "", "λ ε H train test", "", shown="< > = !=", footer=2),
    Key("", "", "any field or metric, done, running, words", "", shown="or", footer=3),
)
"""The footer in the form, on a heading of the form, in the search for layers, and in the filter."""
GROUPS: dict[str, tuple[Key, ...]] = {
    "Runs": RUNS,
    "Table": TABLE,
    "Charts": CHARTS,
    "Decay": DECAY,
    "A sweep": SWEEP,
    "App": APP,
}


def bindings(*groups: Iterable[Key]) -> list[BindingType]:
    """The bindings of a screen."""
    return [key.binding for group in groups for key in group]
