"""Forks and replays: runs that are defined by another run's config and plan. No torch.

A fork's plan is its parent's up to the fork and another from there, so that it is a run like any other, which can be
trained from its beginning without its parent. The parent's checkpoints and points only save the time for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from wdtui.schema.config import Config
from wdtui.schema.hyperparameters import ConfigError, format_value
from wdtui.schema.steering import Plan, Steering, planned, steering_to, values_at
from wdtui.store.checkpoints import Checkpoint
from wdtui.store.records import FINISHED, NewRun, RunRecord, StoreError
from wdtui.studies.branches import Branch, Branching, in_words
from wdtui.support.text import number

if TYPE_CHECKING:
    from wdtui.store.store import Store


def fork(store: Store, parent: RunRecord, at: int, changes: Mapping[str, Any], *, name: str = "") -> int:
    """Queue a run that is as its parent up to a step and goes on with changes from there; return its number.

    A change is a value, or a number and over how many epochs to get there. The fork is at the last beginning of an
    epoch up to `at`. What the parent was steered to later is kept, but for fields that are changed here. With nothing
    changed the fork equals its parent bit for bit. Raises ConfigError.
    """
    return store.add_runs([_fork(store, parent, at, changes, name=name, experiment="", ahead=False)])[0]


def _fork(
    store: Store, parent: RunRecord, at: int, changes: Mapping[str, Any], *, name: str, experiment: str, ahead: bool
) -> NewRun:
    """`ahead` allows steps that the parent has not reached yet."""
    check_trained_here(store, parent)
    step = _boundary(parent, at, ahead)
    config, plan = forked(parent.config, parent.plan, step, changes)
    return NewRun(config, name, experiment, plan, (parent.id, step))


def check_trained_here(store: Store, run: RunRecord) -> None:
    """Raise ConfigError for a run that cannot be forked as another program trained it."""
    if any(event.kind == "imported" for event in store.events(run.id)):
        raise ConfigError(
            f"Run {run.id} was trained by another program, so it has no checkpoint here. "
            f"`wdtui replay {run.id}` trains its config here."
        )


def branches(parent: RunRecord, branching: Branching) -> list[Branch]:
    """The branches of a run of an experiment, each with its step; raises ConfigError as `placed` does."""
    return [placed(one, parent) for one in branching.of(parent.config)]


def queue(store: Store, branches: Iterable[tuple[RunRecord, Branch]], *, experiment: str | None = None) -> list[int]:
    """Queue branches of runs, all or none, also where a run has not come so far; return their numbers.

    They are of the same experiment as the run that they leave, unless another is given.
    """
    forks = []
    for parent, branch in branches:
        changes, of = dict(branch.changes), parent.experiment if experiment is None else experiment
        name = in_words(parent.schema, changes)
        forks.append(_fork(store, parent, branch.step, changes, name=name, experiment=of, ahead=True))
    return store.add_runs(forks)


def placed(branch: Branch, parent: RunRecord) -> Branch:
    """A branch of a run with its step. Raises ConfigError if that depends on a blow-up that the run does not have."""
    if not branch.before_blow_up:
        return branch
    if parent.status in FINISHED and (steps := parent.milestones.get("blowups", {}).get("steps")):
        return branch.placed(steps[0])
    why = "has no blow-up" if parent.status in FINISHED else "has not ended yet"
    raise ConfigError(f"Run {parent.id} {why}, and its forks begin before its first blow-up.")


def replay(store: Store, run: RunRecord, *, name: str = "") -> int:
    """Queue a run that repeats another from its beginning, with all that was steered; return its number."""
    return store.add_run(run.config, name=name, experiment=run.experiment, plan=run.plan)


def begun_from(data: Mapping[str, Any]) -> str:
    """What the event "forked" says: whose checkpoint training began from, at or before the step of the fork."""
    return f"begun from a checkpoint of run {data['parent']}"


def forked(config: Config, plan: Plan, step: int, changes: Mapping[str, Any]) -> tuple[Config, Plan]:
    """Config and plan of a fork. The config has the values that are in force once all changes are made."""
    now = in_force(config, plan, step - config.steps_per_epoch)  # what a change at this step starts from
    steerings = tuple(_steerings(config, now, step, changes))
    plan = planned(plan, *steerings)
    book = {
        name: config.schema().field(name).check(value)
        for name, value in changes.items()
        if _is_bookkeeping(config, name)
    }
    after = {steering.field: steering.new for steering in plan if steering.step <= step}
    fork_config = config.steered(after | book)
    if fork_config.steps <= step:
        length = config.schema().length
        end = f"{length} {format_value(fork_config.epochs)} ends at step {number(fork_config.steps)}"
        raise ConfigError(f"{end}, and the fork starts at step {number(step)}: give more {length}.", length)
    return fork_config, plan


def in_force(config: Config, plan: Plan, step: int) -> dict[str, Any]:
    """The values of all fields in the epoch that a step is in, or begins."""
    values = {name: getattr(config, name) for name in config.fields()}
    return values | values_at(plan, step, config.steps_per_epoch)


def inherited(store: Store, run: RunRecord) -> tuple[Checkpoint | None, RunRecord | None]:
    """The newest checkpoint of a run's ancestors from which it can go on, and whose it is; None where there is none."""
    limit, own = float("inf"), run
    while run.parent is not None and run.parent_step is not None:
        limit = min(limit, run.parent_step)
        try:
            run = store.run(run.parent)
            lost = store.curves(run.id).lost  # what the fork would inherit
            limit = min((limit, *(step - 1 for step in lost)))
            checkpoint = store.checkpoints(run).newest(limit)
        except StoreError:  # deleted, or of another version
            return None, None
        if checkpoint and before(run.plan, checkpoint.step) == before(own.plan, checkpoint.step):
            return checkpoint, run
    return None, None


def before(plan: Plan, step: int) -> Plan:
    """What a plan says of the steps before one."""
    return tuple(steering for steering in plan if steering.step < step)


def _boundary(parent: RunRecord, at: int, ahead: bool) -> int:
    config = parent.config
    step = at - at % config.steps_per_epoch
    reached = config.steps if ahead else parent.step
    if not 0 <= at <= reached:
        raise ConfigError(f"step {number(at)}: run {parent.id} can be forked from step 0 to {number(reached)}.")
    return step


def _steerings(config: Config, now: Mapping[str, Any], step: int, changes: Mapping[str, Any]) -> Iterator[Steering]:
    for name, change in changes.items():
        check_forkable(config, name, change)
        if _is_bookkeeping(config, name):
            continue
        if name in config.derived:
            name, change = config.derived[name], getattr(config.replace(**{name: change}), config.derived[name])
        yield steering_to(config.schema().field(name), change, step, now[name])


def check_forkable(config: Config, name: str, change: Any) -> None:
    """Raise ConfigError for a field that a fork takes over as it is."""
    if why := config.why_not_forked(name, change):
        raise ConfigError(f"{name} {why}, so a fork cannot change it. Start a new run instead.", name)


def _is_bookkeeping(config: Config, name: str) -> bool:
    """Whether a field, as epochs, leaves the steps of a run as they are, and so needs no place in the plan."""
    return config.schema().field(name).affects == "bookkeeping"
