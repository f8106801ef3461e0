"""Times, marks, texts."""

from datetime import timedelta

import pytest

from flowy_cli.pictures.ruler import marks
from flowy_cli.pictures.words import columns, one_line, shortened, visible
from flowy_cli.tables import took


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 ms"),
        (-1, "0 ms"),
        (0.04, "40 ms"),
        (0.094, "94 ms"),
        (0.096, "0.1 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (3 * 86_400 + 4 * 3600, "3 d 4 h"),
    ],
)
def test_took(seconds: float, expected: str) -> None:
    assert took(timedelta(seconds=seconds)) == expected


@pytest.mark.parametrize("seconds", [0.001, 0.3, 1, 7, 59, 61, 599, 3601, 86_399, 86_401, 40 * 86_400, 10_000 * 86_400])
@pytest.mark.parametrize("most", [2, 8])
def test_marks_are_few_and_begin_at_zero(seconds: float, most: int) -> None:
    found = marks(seconds, most)
    begin, label = found[0]
    assert begin == 0
    assert label == "0 s"
    assert 1 <= len(found) <= most
    assert all(at <= seconds + 1e-6 for at, _ in found)
    assert len({label for _, label in found}) == len(found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("a\nb\tc", "a\nb\tc"),
        ("\x1b[31mred\x00\x7f", "\ufffd[31mred\ufffd\ufffd"),
        ("\ud800", "\ufffd"),
        ("\u202egnp.exe", "\ufffdgnp.exe"),
        ("日本 é 😀", "日本 é 😀"),
    ],
)
def test_what_steers_is_replaced(text: str, expected: str) -> None:
    assert visible(text) == expected


def test_one_line() -> None:
    assert one_line(" a \n\n b\r\n\x00") == "a b \ufffd"


@pytest.mark.parametrize(
    ("text", "most", "expected"), [("abcdef", 6, "abcdef"), ("abcdefg", 6, "abcde…"), ("日本語", 5, "日本…")]
)
def test_shortened(text: str, most: int, expected: str) -> None:
    assert shortened(text, most) == expected
    assert columns(shortened(text, most)) <= most
