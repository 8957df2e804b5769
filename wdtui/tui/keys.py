"""Every key of the app, once: bindings, footer, help, palette and the README's table all come from this list."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from textual.binding import Binding, BindingType


@dataclasses.dataclass(frozen=True, slots=True)
class Key:
    """One thing that can be done, and how."""

    key: str
    """As Textual names it; several with commas between them."""
    action: str
    label: str
    """A word or two, for the footer."""
    help: str
    shown: str = ""
    """How the key is written, where that is not its name."""
    twin: str = ""
    """The command line that does the same."""
    footer: bool = False

    @property
    def title(self) -> str:
        return self.shown or self.key.split(",")[0]

    @property
    def name(self) -> str:
        """What settings call it: its action, or where that takes arguments its label; nothing for arrows."""
        return (self.label.replace(" ", "_") if "(" in self.action else self.action).removeprefix("app.")

    @property
    def binding(self) -> Binding:
        return Binding(self.key, self.action, self.label, show=self.footer, key_display=self.title, id=self.name)


RUNS = (
    Key("r", "launch", "run", "Train what the form says.", twin="wdtui run", footer=True),
    Key(
        "R",
        "launch_all",
        "run all",
        "Train every run of the form's experiment, in its quick variant where there is one.",
        twin="wdtui experiments run NAME --quick",
    ),
    Key("W", "sweep", "sweep", "Sweep axes over the form's config.", twin="wdtui sweep --axis FIELD=VALUES"),
    Key("S", "sweeps", "sweeps", "Open one of the sweeps.", twin="wdtui sweeps show SWEEP"),
    Key("enter", "open", "open", "Everything about the selected run.", shown="⏎", twin="wdtui runs show RUN"),
    Key("s", "steer", "steer", "Change λ, ε or the learning rate of a live run.", twin="wdtui steer RUN", footer=True),
    Key("f", "fork", "fork", "Train on from a step of the run with something changed, as a new run.",
        twin="wdtui fork RUN", footer=True),
    Key(
        "space", "pause", "pause", "Pause a live run; go on with one that is paused, stopped or interrupted.",
        twin="wdtui pause RUN · wdtui resume RUN", footer=True,
    ),
    Key("x", "stop", "stop", "Stop a run with a checkpoint.", twin="wdtui stop RUN", footer=True),
    Key("m", "mark", "mark", "Mark a run: all marked runs are overlaid.", twin="wdtui runs compare RUN…", footer=True),
    Key("M", "unmark", "unmark all", "Take away all marks."),
    Key("e", "rename", "rename", "Give the run a name.", twin="wdtui runs rename RUN NAME"),
    Key("n", "note", "note", "Write a note on the run.", twin="wdtui runs note RUN TEXT"),
    Key("d,delete", "delete", "delete", "Delete the run, after asking.", twin="wdtui runs delete RUN"),
)  # fmt: skip
TABLE = (
    Key("slash", "filter", "filter", "Show some runs only: words and conditions, as λ>=0.1 test>0.9 done.",
        shown="/", footer=True),
    Key("o", "sort", "sort", "Sort by the next column."),
    Key("O", "reverse", "reverse", "Sort the other way round."),
)  # fmt: skip
CHARTS = (
    Key("l", "chart('change_time_scale')", "log time", "Time axis linear or logarithmic.", footer=True),
    Key("L", "chart('change_value_scale')", "log value", "Value axis of the current chart linear or logarithmic."),
    Key("v", "chart('next')", "next chart", "Make the next chart the current one."),
    Key("z", "chart('maximise')", "zoom", "Give the current chart all the room, or take it back.", footer=True),
    Key("left", "chart('move_cursor', -1)", "cursor left", "Read out the values one step to the left.", shown="←"),
    Key("right", "chart('move_cursor', 1)", "cursor right", "Read out the values one step to the right.", shown="→"),
    Key("plus,equals_sign", "chart('zoom', 0.5)", "closer",
        "Half as much of the time axis, around the cursor, or without one around the newest steps.", shown="+"),
    Key("minus", "chart('zoom', 2.0)", "farther", "Twice as much of the time axis.", shown="-"),
    Key("shift+left,less_than_sign", "chart('pan', -0.25)", "pan left",
        "Move to earlier steps; the cursor stays in view.", shown="⇧←"),
    Key("shift+right,greater_than_sign", "chart('pan', 0.25)", "pan right",
        "Move to later steps; the cursor stays in view.", shown="⇧→"),
    Key("0", "chart('reset')", "reset",
        "Take back all of these but z: the whole time axis, each axis on its own scale, no cursor, no layers."),
    Key("b", "chart('change_layers')", "layers", "BatchNorm variance of the whole network or of each layer."),
)  # fmt: skip
SWEEP = (
    Key("up", "move(-1, 0)", "", "The cell above.", shown="↑"),
    Key("down", "move(1, 0)", "", "The cell below.", shown="↓"),
    Key("left", "move(0, -1)", "", "The cell to the left.", shown="←"),
    Key("right", "move(0, 1)", "", "The cell to the right.", shown="→"),
    Key(
        "enter",
        "open_cell",
        "open",
        "Everything about the run of the cell.",
        shown="⏎",
        twin="wdtui runs show RUN",
        footer=True,
    ),
    Key("v", "next_metric", "metric", "Another metric or milestone.", footer=True),
    Key("n", "next_seed", "seed", "The run of another seed.", footer=True),
    Key("a", "next_layer", "further axes", "Another value of the axes beyond the second."),
    Key(
        "g",
        "go_on",
        "go on",
        "Train what is missing, interrupted, stopped or failed.",
        twin="wdtui resume SWEEP",
        footer=True,
    ),
    Key(
        "x",
        "stop_sweep",
        "stop",
        "Stop all runs of the sweep with a checkpoint.",
        twin="wdtui stop SWEEP",
        footer=True,
    ),
)
APP = (
    Key("c", "form", "form", "Go to the form; Escape leaves it.", footer=True),
    Key("E", "app.experiments", "experiments", "The experiments as a gallery.", twin="wdtui experiments list"),
    Key(
        "u",
        "machine",
        "machine",
        "Show how busy this machine was in the last minutes, or hide it.",
        twin="wdtui doctor",
    ),
    Key("w", "app.slots", "at once", "How many runs train at once."),
    Key("t", "app.change_theme", "theme", "Dark or light."),
    Key("question_mark", "app.help", "help", "This page.", shown="?", footer=True),
    Key("ctrl+p", "app.command_palette", "palette", "Find any action by its name.", shown="^p", footer=True),
    Key("q,ctrl+q,ctrl+c", "app.quit", "quit", "Leave; asks when runs are live.", twin="wdtui stop RUN", footer=True),
)
ROWS = (
    Key("up,k", "move(-1)", "run above", ""),
    Key("down,j", "move(1)", "run below", ""),
    Key("pageup", "page(-1)", "page up", ""),
    Key("pagedown", "page(1)", "page down", ""),
    Key("home", "move(-10000000)", "first run", ""),
    Key("end,G", "move(10000000)", "last run", ""),
)
"""What moves the cursor of the run table: as in any list, so that no page says it and no setting changes it."""
FORM = (
    Key("enter", "launch", "run", "", shown="⏎"),
    Key("", "", "field", "", shown="↑↓"),
    Key("", "", "choose", "", shown="←→"),
    Key("escape", "leave_form", "runs and charts", "", shown="esc"),
    Key("", "", "next", "", shown="tab"),
)
HEADING = (Key("enter", "", "unfold or fold", "", shown="⏎"), FORM[1], *FORM[3:])
FILTER = (
    Key("enter", "", "keep the filter", "", shown="⏎"),
    Key("escape", "", "show all runs", "", shown="esc"),
    Key("", "", "λ ε H train test step, any field or metric, done, running, words", "", shown="< > = !="),
)
"""What the footer says in the form, on a heading in it, and in the filter."""
GROUPS: dict[str, tuple[Key, ...]] = {"Runs": RUNS, "Table": TABLE, "Charts": CHARTS, "A sweep": SWEEP, "App": APP}


def bindings(*groups: Iterable[Key]) -> list[BindingType]:
    """The bindings of a screen."""
    return [key.binding for group in groups for key in group]
