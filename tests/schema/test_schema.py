"""A schema is the same after a journey through JSON, and what a newer version adds to it does no harm."""

from __future__ import annotations

import json

import pytest

from wdtui.problems.addition.config import RunConfig
from wdtui.schema.schema import Schema


def test_a_schema_round_trips_through_json() -> None:
    schema = RunConfig.schema()
    assert Schema.from_json(schema.to_json()) == schema
    assert Schema.from_json(schema.to_json()).to_json() == schema.to_json()


def test_a_schema_has_the_declarations_for_lists_and_charts() -> None:
    schema = Schema.from_json(RunConfig.schema().to_json())
    assert schema.problem == "addition"
    assert schema.fields["weight_decay"].symbol == "λ" and schema.fields["weight_decay"].steerable
    assert schema.fields["train_digits"].default == (2, 4)
    assert schema.fields["normalized_weight_decay"].default is None and schema.fields["batch_norm"].default is True
    assert schema.metrics["weight_norm"].log and schema.metrics["steps_per_second"].unit == "steps/s"
    assert schema.defaults == {name: field.default for name, field in RunConfig.fields().items()}


def test_unknown_properties_of_a_newer_version_are_ignored() -> None:
    data = json.loads(RunConfig.schema().to_json())
    data["fields"][0]["colour"] = "red"
    data["metrics"][0]["axis"] = 2
    assert Schema.from_json(json.dumps(data)) == RunConfig.schema()


def test_a_chart_of_one_metric_of_several_layers_names_the_layers_once() -> None:
    schema = RunConfig.schema()
    chart = schema.chart(["weight_norm/input", "weight_norm/output", "weight_norm/block1.linear1"])
    assert chart.title == "weight norm" and [trace.label for trace in chart.traces] == [
        "input",
        "output",
        "block1.linear1",
    ]
    chart = schema.chart(["weight_norm", "weight_norm/output"])
    assert chart.title == "weight norm, weight norm of output"


@pytest.mark.parametrize("role", ["generalize", "blow_up"])
def test_a_role_that_this_version_does_not_know_counts_as_none(role: str) -> None:
    data = json.loads(RunConfig.schema().to_json())
    metric = next(metric for metric in data["metrics"] if metric.get("role") == "generalise")
    metric["role"] = role
    judged = RunConfig.schema().judged
    assert Schema.from_json(json.dumps(data)).judged == judged._replace(generalise="")
