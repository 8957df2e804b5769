from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wdtui.support.text import clean, duration, exact, number, percent


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (30_030, "30,030"),
        (30_030.0, "30,030"),
        (290_080, "290,080"),
        (123_456_789, "123,456,789"),
        (1234.5, "1,234"),
        (999.96, "1,000"),
        (117.2, "117"),
        (56.3515, "56.4"),
        (0.954, "0.954"),
        (0.95, "0.95"),
        (0.1, "0.1"),
        (0.01, "0.01"),
        (0.00170838, "0.0017"),
        (1.397e-4, "1.4e-4"),
        (1e-5, "1e-5"),
        (1.5e9, "1.5e9"),
        (-0.25, "-0.25"),
        (0, "0"),
        (0.0, "0"),
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "∞"),
        (-math.inf, "-∞"),
    ],
)
def test_numbers_are_grouped_and_rounded(value: float | None, written: str) -> None:
    assert number(value) == written


def test_a_unit_follows_a_number_but_not_a_missing_one() -> None:
    assert number(795, "steps/s") == "795 steps/s"
    assert number(None, "steps/s") == "–"


@given(st.floats(-1e300, 1e300))
def test_a_written_number_is_short_and_close(value: float) -> None:
    written = number(value)
    assert len(written) <= 10
    assert math.isclose(float(written.replace(",", "")), value, rel_tol=0.051)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.1, "0.1"),
        (0.001, "0.001"),
        (1e-4, "1e-4"),
        (1e-5, "1e-5"),
        (0.00015, "1.5e-4"),
        (1000.0, "1000"),
        (1e7, "1e7"),
        (0.0, "0"),
        (-2.5e-9, "-2.5e-9"),
    ],
)
def test_an_exact_number_is_short_and_in_one_notation(value: float, written: str) -> None:
    assert exact(value) == written


@given(st.floats(allow_nan=False) | st.floats(1e-9, 1e-2))
def test_an_exact_number_reads_back_as_the_same(value: float) -> None:
    assert float(exact(value)) == value


@given(st.integers(1, 99), st.integers(-12, 12))
def test_exact_and_rounded_numbers_are_in_one_notation(digits: int, exponent: int) -> None:
    value = float(f"{digits}e{exponent}")
    assert exact(value) == number(value).replace(",", "")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.972, "97.2 %"),
        (1.0, "100 %"),
        (0.9996, "99.9 %"),
        (0.99999994, "100 %"),
        (0.0, "0 %"),
        (0.0002, "<0.1 %"),
        (0.5, "50.0 %"),
        (1.25, "125.0 %"),
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "∞ %"),
    ],
)
def test_only_one_is_a_hundred_percent_and_only_zero_is_none(value: float | None, written: str) -> None:
    assert percent(value) == written


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (38, "0:38"),
        (59.7, "1:00"),
        (3723, "1:02:03"),
        (3 * 86400 + 4 * 3600 + 59, "3 d 4 h"),
        (-1, "0:00"),
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "∞"),
    ],
)
def test_durations_are_clocks_then_days(seconds: float | None, written: str) -> None:
    assert duration(seconds) == written


@pytest.mark.parametrize(
    ("given_text", "shown"),
    [
        ("λ0.1 ε1e-2 [bold]", "λ0.1 ε1e-2 [bold]"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07name", "name"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b2Jname", "name"),
        ("two\r\nlines\tand a tab", "two lines and a tab"),
        ("a\x00b\x08c\x7f", "abc"),
        ("user\u202egnp.exe\u2066", "usergnp.exe"),
        ("zero\u200bwidth\ud800", "zerowidth"),
    ],
)
def test_clean_removes_control_sequences(given_text: str, shown: str) -> None:
    assert clean(given_text) == shown


@given(st.text())
def test_clean_text_is_printable_and_stays_clean(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in once)
