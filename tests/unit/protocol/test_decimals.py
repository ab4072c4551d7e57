from decimal import Decimal

import pytest

from platemark.errors import MalformedError
from platemark.protocol.decimals import decimal_text, parse_decimal, rounded


@pytest.mark.parametrize(
    "value, text",
    [
        ("0", "0"),
        ("0.0", "0"),
        ("-0", "0"),
        ("100", "100"),
        ("1E+2", "100"),
        ("12.380", "12.38"),
        ("0.000001", "0.000001"),
        ("999999999999.999999", "999999999999.999999"),
    ],
)
def test_a_number_has_one_text(value: str, text: str) -> None:
    assert decimal_text(Decimal(value)) == text
    assert parse_decimal(text) == Decimal(value)


@pytest.mark.parametrize("value", ["-1", "0.0000001", "1000000000000", "NaN", "Infinity", "1e999999"])
def test_a_number_that_does_not_fit_is_refused(value: str) -> None:
    with pytest.raises(MalformedError) as caught:
        decimal_text(Decimal(value))
    assert caught.value.code == "decimal"


@pytest.mark.parametrize(
    "text", ["", "+1", "-0", "01", "1.", ".5", "1.50", "0.0", "1e3", "1,5", "1 ", "٣", "1_0", 1, None], ids=repr
)
def test_another_text_is_refused(text: object) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_decimal(text)
    assert caught.value.code == "decimal"


def test_measured_numbers_are_rounded_half_to_even() -> None:
    assert rounded(Decimal("1.0005")) == Decimal("1.000")
    assert rounded(Decimal("1.0015")) == Decimal("1.002")
    assert rounded(Decimal("2.5"), places=0) == Decimal(2)
