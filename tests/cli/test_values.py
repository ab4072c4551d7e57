from decimal import Decimal
from pathlib import Path

import pytest

from platemark.cli import values
from platemark.cli.config import GlobalOptions, Invocation
from platemark.errors import LocalError, UsageError
from platemark.protocol.units import UnixSeconds, Wei

NOW = UnixSeconds(1_800_000_000)


@pytest.mark.parametrize(
    "text,wei",
    [
        ("0", 0),
        ("1", 10**18),
        ("0.01", 10**16),
        ("0.000000000000000001", 1),
        ("5 gwei", 5 * 10**9),
        ("5gwei", 5 * 10**9),
        ("0.5gwei", 5 * 10**8),
        ("17wei", 17),
        ("2 ETH", 2 * 10**18),
    ],
)
def test_amounts_of_coin(text: str, wei: int) -> None:
    assert values.coin(text) == wei


@pytest.mark.parametrize("text", ["", "-1", "1e3", "0.5 wei", ".5", "1,5", "1 dollar", "0.0000000000000000001", "nan"])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(UsageError):
        values.coin(text)


@pytest.mark.parametrize("wei,text", [(0, "0"), (1, "0.000000000000000001"), (10**18, "1"), (15 * 10**17, "1.5")])
def test_amounts_are_written_with_all_their_digits(wei: int, text: str) -> None:
    assert values.coin_text(Wei(wei)) == text
    assert values.coin(text) == wei


@pytest.mark.parametrize(
    "text,seconds",
    [
        ("1900000000", 1_900_000_000),
        ("+90s", NOW + 90),
        ("+30d", NOW + 30 * 86_400),
        ("+2W", NOW + 14 * 86_400),
        ("2031-12-31", 1_956_527_999),
        ("2031-12-31T18:00:00Z", 1_956_506_400),
        ("2031-12-31T18:00:00+02:00", 1_956_499_200),
    ],
)
def test_times(text: str, seconds: int) -> None:
    assert values.moment(text, NOW) == seconds


@pytest.mark.parametrize("text", ["", "soon", "2031-13-01", "2031-02-30", "+5y", "2031-12-31T18:00:00", "31.12.2031"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(UsageError):
        values.moment(text, NOW)


def test_a_time_is_written_in_utc() -> None:
    assert values.moment_text(UnixSeconds(1_956_528_000)) == "2032-01-01 00:00 UTC"


@pytest.mark.parametrize("text", ["0", "-1", "10001", "1.5", "", "٣"])
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(UsageError):
        values.quantity(text)


def test_quantities_turns_and_decimals() -> None:
    assert values.quantity("10000") == 10_000
    assert values.turn("90,0,359") == (90, 0, 359)
    assert values.decimal("0.2") == Decimal("0.2")


@pytest.mark.parametrize("text", ["90", "360,0,0", "-1,0,0", "1,2,3,4", "a,b,c", ""])
def test_what_is_no_turn(text: str) -> None:
    with pytest.raises(UsageError):
        values.turn(text)


@pytest.mark.parametrize("text", ["", "x", "-1", "1e3", "0.0000001"])
def test_what_is_no_decimal(text: str) -> None:
    with pytest.raises(UsageError):
        values.decimal(text)


def test_names_may_contain_the_sign_and_stand_once() -> None:
    assert values.by_name(["a=b.stl=2"], "quantity") == {"a=b.stl": "2"}
    for wrong in (["a"], ["=2"], ["a=1", "a=2"]):
        with pytest.raises(UsageError):
            values.by_name(wrong, "quantity")


@pytest.mark.parametrize("text", ["", "0x12", "0x" + "g" * 64, "0x" + "1" * 65])
def test_what_is_no_id(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        values.id_text_of(text, "licence")
    assert caught.value.hint == "an id is 0x and 64 hexadecimal digits; the first 8 or more of them do"


def test_an_id_in_capitals_is_understood(tmp_path: Path) -> None:
    assert values.token_id(Invocation(GlobalOptions(home=str(tmp_path)), {}), "0X" + "AB" * 32) == int("ab" * 32, 16)


IDS = [int("ab" * 4 + "11" * 28, 16), int("ab" * 4 + "22" * 28, 16), int("cd" * 32, 16)]


def begun(text: str) -> int:
    return values.begun(text, "thing", lambda: IDS, where="that are here", code="thing-unknown", hint="list them")


def test_the_beginning_of_an_id_is_enough_when_it_is_one_ones() -> None:
    assert begun("0xcdcdcdcd") == IDS[2]
    assert begun(" 0xABABABAB2 ") == IDS[1]
    assert begun("0x" + "12" * 32) == int("12" * 32, 16)  # a whole id is nobody's beginning


@pytest.mark.parametrize(
    "text,message,hint",
    [
        ("0xabababab", "begins the id of 2 things that are here", "type more of it"),
        ("0xeeeeeeee", "begins the id of no things that are here", "list them"),
    ],
)
def test_a_beginning_of_several_or_none_is_refused(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        begun(text)
    assert (caught.value.code, caught.value.hint) == ("thing-unknown", hint)
    assert message in caught.value.message


def test_fewer_than_eight_digits_are_no_beginning() -> None:
    with pytest.raises(UsageError) as caught:
        begun("0xcdcdcdc")
    assert caught.value.code == "digest-length"


def test_outputs_are_checked_without_leaving_anything(tmp_path: Path) -> None:
    values.check_outputs(tmp_path / "a", None, tmp_path / "b")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(LocalError) as caught:
        values.check_outputs(tmp_path / "none" / "a")
    assert caught.value.code == "file-missing"
    with pytest.raises(UsageError):
        values.check_outputs(tmp_path / "a", tmp_path / "." / "a")


def test_a_file_is_written_again_with_the_same_content_only(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    values.write_all([(first, b"1"), (second, b"2"), (None, b"3"), (tmp_path / "c", None)])
    values.write_all([(first, b"1"), (second, b"2")])
    second.unlink()
    with pytest.raises(LocalError) as caught:
        values.write_all([(second, b"2"), (first, b"other")])
    assert caught.value.code == "file-exists"
    assert first.read_bytes() == b"1"
    assert not second.exists(), "none is written when one cannot be"


def test_an_address_with_a_wrong_checksum_is_refused() -> None:
    with pytest.raises(UsageError):
        values.address("0x5aaeb6053F3E94C9b9A09f33669435E7Ef1BeAed")


def test_the_beginning_of_an_unknown_design_is_refused(tmp_path: Path) -> None:
    run = Invocation(GlobalOptions(home=str(tmp_path)), {})
    with pytest.raises(UsageError) as caught:
        values.design_id(run, "0xabcdef12")
    assert caught.value.code == "design-unknown"
    assert values.design_id(run, "0x" + "01" * 32) == int("01" * 32, 16)


@pytest.mark.parametrize(
    "text,decimals,amount",
    [("12.50", 6, 12_500_000), ("1250 units", 6, 1250), ("1250units", 18, 1250), ("0", 0, 0), ("7", 0, 7)],
)
def test_amounts_of_a_token_follow_its_decimals(text: str, decimals: int, amount: int) -> None:
    assert values.amount(text, lambda: decimals) == amount


def test_decimals_are_not_asked_where_they_are_not_needed() -> None:
    def never() -> int:
        raise AssertionError

    assert values.amount("5 units", never) == 5


@pytest.mark.parametrize("text", ["0.5 units", "0.001", "5 gwei", "-1", "1e9", ""])
def test_what_is_no_amount_of_a_token(text: str) -> None:
    with pytest.raises(UsageError):
        values.amount(text, lambda: 2)


@pytest.mark.parametrize("amount,decimals,text", [(1250, 2, "12.5"), (5, 0, "5"), (1, 6, "0.000001"), (0, 6, "0")])
def test_amounts_of_a_token_are_written_with_all_their_digits(amount: int, decimals: int, text: str) -> None:
    assert values.amount_text(amount, decimals) == text


@pytest.mark.parametrize("text,points", [("0", 0), ("2.5", 250), ("2.5%", 250), ("10 %", 1000), ("100", 10_000)])
def test_percentages_are_basis_points(text: str, points: int) -> None:
    assert values.percent(text) == points


@pytest.mark.parametrize("text", ["", "-1", "2.555", "101", "ten", "100.01", "%"])
def test_what_is_no_percentage(text: str) -> None:
    with pytest.raises(UsageError):
        values.percent(text)


def test_a_receiver_names_prints_of_its_own_or_gets_the_common_number() -> None:
    someone = "0x" + "5a" * 20
    assert values.receiver(f"{someone}=7", 3) == (b"\x5a" * 20, 7)
    assert values.receiver(someone, 3) == (b"\x5a" * 20, 3)
    for text in (someone, f"{someone}=0", f"{someone}=x", f"{someone}=", "=5", f"{someone}=99999999999999"):
        with pytest.raises(UsageError):
            values.receiver(text, None)
