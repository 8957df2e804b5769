"""RunConfig: which values are taken, how they are read and written, and with which sentence they are refused."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.decay import normalized_decay
from wdtui.problems.addition.fields import GROUPS
from wdtui.schema.hyperparameters import ConfigError, Hyperparameter, format_value, nearest

NUMBERS = [field for field in RunConfig.fields().values() if field.kind in ("int", "float", "ints", "floats")]
WHOLE = [field for field in NUMBERS if field.kind in ("int", "ints")]


def number_of(field: Hyperparameter) -> st.SearchStrategy[Any]:
    if field.kind in ("int", "ints"):
        return st.integers(int(field.ge or 0), int(field.le or 0))
    low, high = field.ge if field.gt is None else field.gt, field.le if field.lt is None else field.lt
    return st.floats(low, high, exclude_min=field.gt is not None, exclude_max=field.lt is not None)


def value_of(field: Hyperparameter) -> st.SearchStrategy[Any]:
    if field.kind == "bool":
        values: st.SearchStrategy[Any] = st.booleans()
    elif field.choices:
        values = st.sampled_from(field.choices)
    elif field.kind in ("ints", "floats"):
        values = st.lists(number_of(field), min_size=1, max_size=4).map(tuple)
    else:
        values = number_of(field)
    return values | st.none() if field.optional else values


@st.composite
def mappings(draw: st.DrawFn) -> dict[str, Any]:
    """Mappings of some fields whose values are fine together."""
    digits = st.lists(st.sampled_from((3, 4, 5)), min_size=1, unique=True)
    sized = {
        "train_digits": draw(digits),
        "test_digits": draw(digits),
        "bits": draw(st.integers(40, 62)),
        "train_size": draw(st.integers(64, 400)),
        "validation_size": draw(st.integers(1, 100)),
        "test_size": draw(st.integers(1, 400)),
        "batch_size": draw(st.integers(2, 64)),
        "betas": draw(st.lists(number_of(RunConfig.fields()["betas"]), min_size=2, max_size=2)),
    } | draw(
        st.sampled_from(
            (
                {"architecture": "residual", "heads": 1, "engine": "alone"},
                {"architecture": "residual", "heads": 1, "engine": "ensemble", "width": 32, "sharpness_every": 0},
                {"architecture": "transformer", "heads": 3, "width": 12, "batch_norm": True}
                | {"engine": "auto", "sharpness_every": 0},
            )
        )
    )
    if sized["engine"] == "ensemble":
        sized["bits"] = 48
    decay = draw(st.sampled_from(("weight_decay", "normalized_weight_decay")))
    others = RunConfig.fields().keys() - sized.keys() - {"weight_decay", "normalized_weight_decay"}
    names = [decay, *draw(st.lists(st.sampled_from(sorted(others)), unique=True))]
    values = sized | {name: draw(value_of(RunConfig.fields()[name])) for name in names}
    if values.get("normalized_weight_decay") is not None:  # with extreme learning rates the rule leaves λ's bounds
        values |= {"normalized_weight_decay": draw(st.floats(0, 10)), "learning_rate": draw(st.floats(1e-4, 1))}
    return values


def in_shape_of(field: Hyperparameter, value: Any) -> Any:
    return [value] if field.kind in ("ints", "floats") else value


def assert_refused(field: Hyperparameter, value: Any, shown: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        RunConfig(**{field.name: value})
    assert refusal.value.fields == (field.name,)
    assert str(refusal.value) == f"{field.name}: {shown} is not allowed; give {field.allowed}."


@pytest.mark.parametrize("field", NUMBERS, ids=lambda field: field.name)
def test_numbers_cannot_be_nan_infinite_or_boolean(field: Hyperparameter) -> None:
    for value in (math.nan, math.inf, -math.inf, True, False, 10**400):
        assert_refused(field, in_shape_of(field, value), format_value(value))


@pytest.mark.parametrize("field", WHOLE, ids=lambda field: field.name)
def test_a_float_is_not_accepted_as_a_whole_number(field: Hyperparameter) -> None:
    assert_refused(field, in_shape_of(field, 2.5), "2.5")
    with pytest.raises(ConfigError, match="whole number"):
        RunConfig(**{field.name: in_shape_of(field, 2.0)})


@pytest.mark.parametrize("field", NUMBERS, ids=lambda field: field.name)
def test_a_number_beyond_its_bounds_is_refused_with_the_bounds(field: Hyperparameter) -> None:
    beyond: list[Any] = []
    if field.ge is not None:
        beyond.append(field.ge - 1)
    if field.gt is not None:
        beyond += [field.gt, -1e-9]
    if field.le is not None:
        beyond.append(field.le + 1)
    if field.lt is not None:
        beyond += [field.lt, 1.5]
    assert len(beyond) >= 2
    for value in beyond:
        value = value if field.kind.startswith("int") else float(value)
        shown = repr(value) if field.kind == "float" else format_value(value)
        assert_refused(field, in_shape_of(field, value), shown)


@pytest.mark.parametrize("field", RunConfig.fields().values(), ids=lambda field: field.name)
def test_other_types_are_refused_by_name(field: Hyperparameter) -> None:
    for value in (object(), b"1", {"a": 1}, [], [[1]], [None]):
        with pytest.raises(ConfigError, match=f"^{field.name}: .* is not allowed; give "):
            field.check(value)


@pytest.mark.parametrize("value", [0, 1, "true", None])
def test_a_boolean_is_only_true_or_false(value: Any) -> None:
    assert_refused(RunConfig.fields()["batch_norm"], value, format_value(value))


def test_a_whole_number_longer_than_python_prints_is_refused_like_any_other() -> None:
    with pytest.raises(ConfigError, match=r"^width: .* is not allowed"):
        RunConfig(width=10**5000)


@pytest.mark.parametrize("field", RunConfig.fields().values(), ids=lambda field: field.name)
def test_every_field_can_be_shown(field: Hyperparameter) -> None:
    assert field.group in GROUPS and field.label and field.help.endswith(".")
    assert field.flag == "--" + field.name.replace("_", "-")
    assert field.check(field.default) == field.default
    assert field.sweep in ("", "linear", "log")


@pytest.mark.parametrize("field", RunConfig.fields().values(), ids=lambda field: field.name)
@settings(max_examples=40)  # for each of the fields
@given(data=st.data())
def test_written_values_are_read_back_exactly(field: Hyperparameter, data: st.DataObject) -> None:
    value = data.draw(value_of(field))
    assert field.parse(format_value(value)) == value


@pytest.mark.parametrize("field", NUMBERS, ids=lambda field: field.name)
def test_text_that_is_not_a_number_is_refused(field: Hyperparameter) -> None:
    for text in ("1_000", "inf", "-inf", "nan", "١", "１", "0x10", "1e", "--1", "1 0", "1,", "1;2", "ten"):
        with pytest.raises(ConfigError) as refusal:
            field.parse(text)
        assert str(refusal.value) == f"{field.name}: {text} is not allowed; give {field.allowed}."


@pytest.mark.parametrize("field", RunConfig.fields().values(), ids=lambda field: field.name)
def test_only_optional_fields_accept_none(field: Hyperparameter) -> None:
    for text in ("", " ", "\t"):
        if field.optional:
            assert field.parse(text) is None
        else:
            with pytest.raises(ConfigError, match=f"^{field.name}: nothing is not allowed; give "):
                field.parse(text)


@pytest.mark.parametrize("field", WHOLE, ids=lambda field: field.name)
def test_a_fraction_is_not_read_as_a_whole_number(field: Hyperparameter) -> None:
    for text in ("2.0", "1e3"):
        with pytest.raises(ConfigError, match="whole number"):
            field.parse(text)


@given(
    st.text(max_size=8) | st.text("0123456789.,-+eE_xXnaif[] ", max_size=8),
    st.sampled_from(list(RunConfig.fields().values())),
)
def test_any_text_is_either_read_or_refused_with_a_sentence(text: str, field: Hyperparameter) -> None:
    try:
        value = field.parse(text)
    except ConfigError as error:
        assert str(error).startswith(f"{field.name}: ") and error.fields == (field.name,)
    else:
        assert field.check(value) == value


def test_values_are_parsed_in_common_notations() -> None:
    assert RunConfig.fields()["weight_decay"].parse(" 1e-5 ") == 1e-5
    assert (
        RunConfig.fields()["train_digits"].parse("2, 4") == RunConfig.fields()["train_digits"].parse("[2,4]") == (2, 4)
    )
    assert RunConfig.fields()["batch_norm"].parse("No") is False and RunConfig.fields()["shuffle"].parse("on") is True
    assert RunConfig.fields()["optimizer"].parse("AdamW") == "adamw"
    assert RunConfig.fields()["normalized_weight_decay"].parse("None") is None
    assert [format_value(value) for value in (1e-2, 1e-4, 1e-5)] == ["0.01", "1e-4", "1e-5"]
    assert format_value((2, 4)) == "2,4" and format_value(True) == "true"


@given(mappings())
@example({})
@example({"normalized_weight_decay": 0.05, "epochs": 7})
def test_a_config_round_trips_through_json(mapping: dict[str, Any]) -> None:
    config = RunConfig.from_mapping(mapping)
    again = RunConfig.from_mapping(json.loads(json.dumps(config.to_mapping())))
    assert again == config and hash(again) == hash(config)
    assert again.weight_decay == config.weight_decay


@given(mappings(), mappings())
def test_configs_are_equal_when_all_their_values_are(one: dict[str, Any], other: dict[str, Any]) -> None:
    one_config, other_config = RunConfig.from_mapping(one), RunConfig.from_mapping(other)
    assert (one_config == other_config) == (one_config.to_mapping() == other_config.to_mapping())
    assert len({one_config, RunConfig.from_mapping(one)}) == 1


def test_values_take_the_type_of_their_field() -> None:
    config = RunConfig(weight_decay=1, train_digits=[2, 4], betas=[0, 0.5])  # type: ignore[arg-type]
    assert isinstance(config.weight_decay, float) and all(isinstance(beta, float) for beta in config.betas)
    assert config.train_digits == (2, 4) and hash(config)


def test_flags_override_presets_and_presets_override_defaults() -> None:
    preset, flags = {"width": 32, "epochs": 10}, {"epochs": 20}
    config = RunConfig.from_mapping(preset, flags)
    assert (config.seed, config.width, config.epochs) == (0, 32, 20)
    assert RunConfig.from_mapping() == RunConfig()


def test_the_later_layer_decides_between_the_two_weight_decays() -> None:
    plain, normalized = {"weight_decay": 0.3}, {"normalized_weight_decay": 0.05}
    by_rule = RunConfig.from_mapping(plain, normalized)
    assert by_rule.weight_decay == normalized_decay(RunConfig(), 0.05)["pytorch"]
    by_hand = RunConfig.from_mapping(normalized, plain)
    assert by_hand.weight_decay == 0.3 and by_hand.normalized_weight_decay is None
    assert RunConfig.from_mapping(normalized, {"weight_decay": 0.1}).normalized_weight_decay is None
    assert RunConfig.from_mapping(plain, {"normalized_weight_decay": None}).weight_decay == 0.3
    assert RunConfig.from_mapping(normalized, {"epochs": 10}).normalized_weight_decay == 0.05


@pytest.mark.parametrize("weight_decay", [0.1, 0.3])
def test_both_weight_decays_in_one_layer_clash(weight_decay: float) -> None:
    with pytest.raises(ConfigError, match="clash") as clash:
        RunConfig.from_mapping({}, {"weight_decay": weight_decay, "normalized_weight_decay": 0.05})
    assert set(clash.value.fields) == {"weight_decay", "normalized_weight_decay"}
    with pytest.raises(ConfigError, match="clash"):
        RunConfig(weight_decay=0.3, normalized_weight_decay=0.05)


def test_replace_validates_the_copy_and_keeps_the_original() -> None:
    config = RunConfig(normalized_weight_decay=0.05)
    longer = config.replace(epochs=4 * 385)
    assert longer.weight_decay == pytest.approx(config.weight_decay / 2) and config.epochs == 385
    assert config.replace(weight_decay=0.1).normalized_weight_decay is None
    assert RunConfig(weight_decay=0.3).replace(normalized_weight_decay=0.05).normalized_weight_decay == 0.05
    with pytest.raises(ConfigError, match="train_size 5000 and batch_size 6000"):
        config.replace(batch_size=6000)


def test_a_derived_weight_decay_must_be_within_its_bounds() -> None:
    with pytest.raises(ConfigError, match="weight_decay"):
        RunConfig(normalized_weight_decay=1e6, learning_rate=1e-12)


@pytest.mark.parametrize(
    ("name", "ending"),
    [("weigth_decay", "; did you mean weight_decay?"), ("epoch", "; did you mean epochs?"), ("zzz", ".")],
)
def test_an_unknown_field_is_refused_with_the_nearest_name(name: str, ending: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        RunConfig.from_mapping({"width": 8}, {name: 1})
    assert str(refusal.value) == f"{name} is not a field of a run{ending}"
    assert refusal.value.fields == (name,)
    assert nearest(name, RunConfig.fields()) == ending


TOGETHER: list[tuple[dict[str, Any], set[str], str]] = [
    ({"bits": 14}, {"train_digits", "bits"}, "the sum of 4-digit numbers needs 15 bits"),
    ({"test_digits": (5,), "bits": 17}, {"test_digits", "bits"}, "the sum of 5-digit numbers needs 18 bits"),
    ({"task": "multiply", "bits": 26}, {"train_digits", "bits"}, "the product of 4-digit numbers needs 27 bits"),
    (
        {"task": "multiply", "test_digits": (5,)},
        {"test_digits", "bits"},
        "the product of 5-digit numbers needs 34 bits",
    ),
    ({"train_size": 9000}, {"train_digits", "train_size", "validation_size"}, "more than the numbers with"),
    (
        {"train_size": 8700, "validation_size": 300},
        {"train_digits", "train_size", "validation_size"},
        "90 such numbers",
    ),
    ({"test_size": 901}, {"test_digits", "test_size"}, "more than the numbers with"),
    ({"train_size": 63}, {"train_size", "batch_size"}, "at least one full batch"),
    ({"batch_size": 1}, {"batch_size", "batch_norm"}, "BatchNorm needs a batch of 2 or more"),
    ({"betas": (0.9,)}, {"betas"}, "two numbers, not 1"),
    ({"betas": (0.9, 0.98, 0.99)}, {"betas"}, "two numbers, not 3"),
    ({"train_digits": (2, 2, 4)}, {"train_digits"}, "twice"),
]


@pytest.mark.parametrize(("values", "fields", "reason"), TOGETHER, ids=map(str, range(len(TOGETHER))))
def test_values_that_clash_are_refused_by_name(values: dict[str, Any], fields: set[str], reason: str) -> None:
    with pytest.raises(ConfigError) as clash:
        RunConfig(**values)
    assert set(clash.value.fields) == fields
    assert reason in str(clash.value) and all(field in str(clash.value) for field in fields)


@pytest.mark.parametrize(
    "values",
    [
        {"bits": 15},
        {"task": "multiply", "bits": 27},
        {"test_size": 900},
        {"train_digits": (4,), "train_size": 8500},
        {"train_size": 64},
        {"batch_size": 1, "batch_norm": False},
        {"train_digits": (18,), "test_digits": (17,), "bits": 61},
    ],
    ids=str,
)
def test_values_at_the_edge_of_a_clash_are_accepted(values: dict[str, Any]) -> None:
    RunConfig(**values)


def test_the_check_for_enough_numbers_uses_the_draw_of_the_run() -> None:
    """9 one-digit numbers, of which 55 pairs need 5 on average: enough for most data seeds, not for all."""
    taken = 0
    for data_seed in range(100):
        try:
            RunConfig(test_digits=(1, 2), test_size=55, data_seed=data_seed)
            taken += 1
        except ConfigError as error:
            assert "of 1 digits are requested, but only 9 such numbers exist" in str(error)
    assert 80 <= taken < 100


@pytest.mark.parametrize(("normalized", "pytorch", "paper"), [(0.025, 0.14, 1.4e-4), (0.05, 0.29, 2.9e-4)])
def test_the_normalised_decay_has_the_articles_numbers_in_both_conventions(
    normalized: float, pytorch: float, paper: float
) -> None:
    decay = normalized_decay(RunConfig(), normalized)
    assert decay == pytest.approx({"pytorch": pytorch, "paper": paper}, rel=0.03)
    assert RunConfig(normalized_weight_decay=normalized).weight_decay == decay["pytorch"]


@given(st.integers(64, 2000), st.integers(2, 64), st.integers(1, 10**6), st.floats(0, 1e3), st.floats(1e-6, 1e3))
def test_the_normalised_decay_is_the_formula(
    pairs: int, batch: int, epochs: int, normalized: float, learning_rate: float
) -> None:
    config = RunConfig(train_size=pairs, batch_size=batch, epochs=epochs, learning_rate=learning_rate)
    decay = normalized_decay(config, normalized)
    assert decay["paper"] ** 2 * pairs * epochs == pytest.approx(normalized**2 * batch)
    assert decay["pytorch"] * learning_rate == pytest.approx(decay["paper"])


def test_the_default_run_is_the_articles() -> None:
    config = RunConfig()
    assert (config.parameters, config.steps_per_epoch, config.steps) == (290_080, 78, 30_030)
    assert (config.inputs, config.norm_layers, config.decoupled) == (64, 4, True)


@pytest.mark.parametrize(
    ("optimizer", "decay", "decoupled"),
    [
        ("adamw", "auto", True),
        ("adam", "auto", False),
        ("sgd", "auto", False),
        ("adamw", "l2", False),
        ("sgd", "decoupled", True),
    ],
)
def test_decay_is_decoupled_by_default_only_for_adamw(optimizer: str, decay: str, decoupled: bool) -> None:
    assert RunConfig(optimizer=optimizer, decay=decay).decoupled is decoupled


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"heads": 2}, "heads 2 and architecture residual clash: only the transformer has attention heads"),
        ({"architecture": "transformer", "heads": 3}, "heads 3 and width 256 clash: each head takes an equal share"),
        ({"architecture": "transformer", "batch_norm": False}, "the transformer has no BatchNorm, so leave batch_norm"),
        ({"architecture": "transformer", "sharpness_every": 5}, "sharpness is measured for residual networks only"),
        ({"architecture": "trasformer"}, "architecture: trasformer is not allowed; give residual or transformer"),
    ],
    ids=str,
)
def test_fields_of_another_architecture_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        RunConfig(**changes)


def test_a_transformer_may_train_on_one_pair_at_a_time() -> None:
    assert RunConfig(architecture="transformer", batch_size=1).norm_layers == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"architecture": "transformer"}, "a batch trains residual networks only."),
        ({"sharpness_every": 5}, "sharpness is not measured in a batch."),
        ({"width": 24}, "engine ensemble and width 24 clash: it must be a multiple of 16"),
        ({"bits": 24}, "engine ensemble and bits 24 clash: it must be a multiple of 16"),
    ],
)
def test_configs_that_cannot_be_batched_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        RunConfig(engine="ensemble", **changes)
