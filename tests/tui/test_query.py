"""The filter: which runs it lets through, and what it says of a condition that makes no sense."""

from __future__ import annotations

import pytest
from store_tools import in_python
from tui_tools import Recorded

from wdtui.problems.addition.config import RunConfig
from wdtui.runs.query import QueryError, as_typed, parse
from wdtui.store.records import Status

SCHEMA = RunConfig.schema()


@pytest.fixture
def filled(recorded: Recorded) -> Recorded:
    recorded.add("demo", name="First try", experiment="demo")
    recorded.add("epsilon-1e-5")
    recorded.add("decay-1", points=40, status=Status.RUNNING)
    recorded.store.set_note(1, "#too-good to be true")
    recorded.store.set_note(2, "look again, #Good")
    return recorded


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [1, 2, 3]),
        ("done", [1, 2]),
        ("live", [3]),
        ("λ>=0.3", [1, 3]),
        ("λ >= 0.3 done", [1]),
        ("lambda=0.1", [2]),
        ("wd<0.3", [2]),
        ("ε<1e-3", [2]),
        ("eps=1e-5", [2]),
        ("H=256", [1, 2, 3]),
        ("test>0.9", [1, 2]),
        ("test>90%", [1, 2]),
        ("train<=0.5", [3]),
        ("val>0.9 blowups>2", [2]),
        ("fit<6k", [2]),
        ("generalise>1", [1, 2]),
        ("step=3,120", [3]),
        ("weight_norm<40", [2, 3]),
        ("weight-norm<40", [2, 3]),
        ("first", [1]),
        ("AGAIN", [2]),
        ("name=try", [1]),
        ("experiment!=demo", [2, 3]),
        ("status=running", [3]),
        ("optimizer=adamw", [1, 2, 3]),
        ("batch_norm=false", []),
        ("#2", [2]),
        ("#good", [2]),
        ("#too-good", [1]),
        ("#too", []),
        ("note!=#good", [1, 3]),
        ("#²", []),
        ("parent>0", []),
        ("seed≠1", [1, 2, 3]),
    ],
)
def test_filters_select_the_matching_runs(query: str, found: list[int], filled: Recorded) -> None:
    keep = parse(query, [SCHEMA])
    assert sorted(run.id for run in filled.store.runs() if keep(run)) == found


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (">3", "has no name"),
        ("λ>", "needs a value"),
        ("λ>many", "many is not a number"),
        ("λ>inf", "inf is not a number"),
        ("tset>0.9", "did you mean test?"),
        ("name>3", "name is text"),
        ("optimizer>sgd", "has no order"),
        ("zzzz=1", "neither a hyperparameter nor a metric"),
    ],
)
def test_invalid_filters_are_refused(query: str, said: str) -> None:
    with pytest.raises(QueryError, match=said.replace("?", r"\?")):
        parse(query, [SCHEMA])


def test_orphans_are_found_by_their_shown_state(recorded: Recorded) -> None:
    with in_python("store.add_run(RunConfig())", recorded.store.folder) as process:
        assert process.wait(60) == 0
    recorded.store.add_run(RunConfig())
    found = {
        word: [run.id for run in recorded.store.runs() if parse(word, [SCHEMA])(run)] for word in ("orphaned", "queued")
    }
    assert found == {"orphaned": [1], "queued": [2, 1]}


@pytest.mark.parametrize(
    ("typed", "found", "said"),
    [
        ("", [1, 2, 3], ""),
        ("f", [1], ""),
        ("foo", [1, 2, 3], "foo"),
        ("foo<", [1, 2, 3], "foo< needs a value"),
        ("foo<1", [1, 2, 3], "foo is neither"),
        ("test", [1, 2, 3], "test"),
        ("test>", [1, 2, 3], "test> needs a value"),
        ("test>0.", [1, 2], ""),
        ("test>0.9", [1, 2], ""),
        ("done tes", [1, 2], "tes"),
        ("done λ>=", [1, 2], "λ>= needs a value"),
        ("done λ >= ", [1, 2], "λ>= needs a value"),
        ("zebra ", [], ""),
        ("test>2", [], ""),
    ],
)
def test_an_unfinished_last_part_of_a_filter_is_ignored(
    typed: str, found: list[int], said: str, filled: Recorded
) -> None:
    runs = sorted(filled.store.runs(), key=lambda run: run.id)
    keep, unfinished = as_typed(typed, runs)
    assert [run.id for run in runs if keep(run)] == found
    assert said in unfinished and bool(said) == bool(unfinished)


def test_an_invalid_earlier_part_of_a_filter_is_refused(filled: Recorded) -> None:
    with pytest.raises(QueryError, match="foo is neither"):
        as_typed("foo<1 tes", filled.store.runs())


def test_an_empty_filter_has_no_message() -> None:
    assert as_typed("", [])[1] == ""
