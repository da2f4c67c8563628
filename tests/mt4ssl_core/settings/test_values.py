import pytest

from mt4ssl_core.settings import values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12), ("1e-3", 1e-3), ("-0.5", -0.5), ("True", True), ("true", True),
        ("null", None), ("'7'", "7"), ("[dev, test]", ["dev", "test"]), ("[1, 2]", [1, 2]),
        ("{nice: 5}", {"nice": 5}), ("", ""),
    ],
)  # fmt: skip
def test_a_word_is_what_it_looks_like(text, value):
    found = values.of_word(text)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "text",
    ["dict", "a: b", "010", "1:30", "on", "no", "2024-01-01", "a100:4", "[1", "{a: b: c}", "~",
     "__import__('os')", "(" * 100_000, "[" * 100_000],
)  # fmt: skip
def test_all_else_stays_text(text):
    assert values.of_word(text) == text
