"""What a terminal shows is the same with fewer colour codes."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from wdtui.tui.colour_codes import without_needless_codes

CODES = ["", "0", "1", "3;4", "22", "31", "97", "39", "44", "49", "38;2;1;2;3", "38;5;31", "48;2;20;22;26", "48;5;0"]
CODES += ["1;38;2;1;2;3;48;2;20;22;26", "38;2;9;9;9;48;2;20;22;26", "0;1;31"]
PIECES = st.one_of(
    st.sampled_from(CODES).map(lambda codes: f"\x1b[{codes}m"),
    st.sampled_from(["a", "λ ", "│", "\n\x1b[3;7H", "\x1b[12;1H", "\n", "\x1b[2J", "\x1b[?2026h"]),
)


def shown(text: str) -> list[tuple[str, frozenset[tuple[str, str]]]]:
    """Each character with the state of the terminal in which it arrives, and that after the last one.

    Line feeds that go before a position, and positions, do not depend on the state.
    """
    state: dict[str, str] = {}
    drawn = []
    for token in re.finditer(r"\x1b\[([\d;]*m)|(\x1b\[\d+;\d+H)|\x1b\[\??\d+[a-zA-Z]|.|\n", text):
        codes, move = token.groups()
        if not codes:
            move = move or (token[0] == "\n" and re.match(r"(\x1b\[[\d;]*m)*\x1b\[\d+;\d+H", text[token.end() :]))
            drawn.append((token[0], frozenset() if move else frozenset(state.items())))
            continue
        numbers = codes[:-1].split(";")
        while numbers:
            number = int(numbers[0] or 0)
            length = {"2": 5, "5": 3}[numbers[1]] if number in (38, 48) else 1
            code = ";".join(numbers[:length])
            if number == 0:
                state.clear()
            elif number in (39, 49):
                state.pop("text" if number == 39 else "ground", None)
            elif number == 22:
                state.pop("bold", None)
            elif number in (1, 3, 4):
                state[{1: "bold", 3: "italic", 4: "underlined"}[number]] = code
            else:
                state["ground" if number in range(40, 49) or number > 97 else "text"] = code
            numbers = numbers[length:]
    return [*drawn, ("", frozenset(state.items()))]


@given(st.lists(PIECES).map("".join))
@example("\n\x1b[m\x1b[12;1H")
@example("\x1b[1mbold\x1b[0m plain \x1b[31;44mred\x1b[0m\x1b[32;44mgreen\x1b[0m")
def test_a_terminal_shows_the_same(text: str) -> None:
    assert shown(without_needless_codes(text)) == shown(f"{text}\x1b[0m")


def test_pieces_with_the_same_background_send_it_once() -> None:
    piece = "\x1b[38;2;{0};0;0;48;2;20;22;26mx\x1b[0m"
    text = "".join(piece.format(red) for red in range(3))
    assert without_needless_codes(text) == ("\x1b[38;2;0;0;0;48;2;20;22;26mx\x1b[38;2;1;0;0mx\x1b[38;2;2;0;0mx\x1b[0m")


def test_colours_go_on_from_line_to_line() -> None:
    line = "\x1b[{};1H\x1b[38;2;1;1;1mx\x1b[0m"
    assert without_needless_codes(line.format(1) + "\n" + line.format(2)) == (
        "\x1b[1;1H\x1b[38;2;1;1;1mx\n\x1b[2;1Hx\x1b[0m"
    )
