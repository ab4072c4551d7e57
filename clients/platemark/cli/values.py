"""What people type: ids, addresses, amounts of coin, times, quantities."""

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Final

from platemark.errors import MalformedError, UsageError
from platemark.protocol.serial import parse_serial
from platemark.protocol.units import (
    UINT256_MAX,
    Address,
    DesignId,
    Digest32,
    LicenseId,
    TokenId,
    UnixSeconds,
    Wei,
    digest_text,
    id_text,
    parse_address,
    parse_digest,
    parse_id,
)

if TYPE_CHECKING:
    from platemark.cli.config import Connection, Invocation
    from platemark.sdk.answers import TransactionState

_UNITS: Final = {"": 18, "coin": 18, "eth": 18, "gwei": 9, "wei": 0}
_AMOUNT: Final = re.compile(r"([0-9]{1,30}(?:\.[0-9]{1,18})?) ?([a-z]*)")
_SPAN: Final = re.compile(r"\+([0-9]{1,9})([smhdw])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_MAX_LIST_BYTES: Final = 16 * 1024 * 1024
_PREFIX: Final = re.compile(r"0x[0-9a-f]{8,63}")


def design_id(invocation: "Invocation", text: str) -> DesignId:
    """Return the design that a person means: its id, or the beginning of one that this machine knows.

    Errors: UsageError `design-unknown`.
    """
    return DesignId(
        begun(
            text, "design", lambda: (record.design_id for record in invocation.designs.all()),
            where="that are known here", code="design-unknown", hint="platemark design list shows them",
        )
    )  # fmt: skip


def id_text_of(text: str, what: str) -> str:
    """Return an argument that is an id or the beginning of one, before anybody is asked for it.

    Errors: UsageError `digest-length` for anything else.
    """
    typed = text.strip().lower()
    if not _PREFIX.fullmatch(typed):
        _id(typed, what)
    return typed


def license_id(text: str, connection: "Connection") -> LicenseId:
    """Return the licence that a person means: its id, or the beginning of one that the gateway lists.

    Errors: UsageError `license-unknown`.
    """
    return LicenseId(
        begun(
            text, "licence", lambda: (state.license_id for state in connection.client.licenses()),
            where="that this gateway lists", code="license-unknown", hint="platemark license list shows them",
        )
    )  # fmt: skip


def token_id(invocation: "Invocation", text: str) -> TokenId:
    """Return the print token that a person means: its id, or the beginning of one that the agent holds.

    Errors: UsageError `token-unknown`.
    """

    def held() -> Iterator[TokenId]:
        with invocation.spool() as spool:
            yield from [item.token_id for item in spool.tokens()]

    return TokenId(
        begun(
            text, "print token", held, where="that this agent holds", code="token-unknown",
            hint="platemark token list shows them",
        )
    )  # fmt: skip


def begun(text: str, what: str, known: Callable[[], Iterable[int]], *, where: str, code: str, hint: str) -> int:
    """Return an id that was typed whole, or as the beginning (0x and 8 digits at least) of one of those known.

    Args:
        text: What was typed.
        what: The noun, for messages.
        known: Gives the ids that a beginning may stand for; asked only when one was typed.
        where: Whose ids these are, such as "that are known here".
        code: Of the error when a beginning is nobody's, or several ones'.
        hint: Where the ids are listed.

    Errors: UsageError `digest-length` for what is no id at all, or `code`.
    """
    typed = text.strip().lower()
    if not _PREFIX.fullmatch(typed):
        return _id(typed, what)
    found = sorted({number for number in known() if id_text(number).startswith(typed)})
    if len(found) != 1:
        raise UsageError(
            f"{text[:80]!r} begins the id of {len(found) or 'no'} {what}{'s' if len(found) != 1 else ''} {where}",
            code=code,
            hint=hint if not found else "type more of it",
        )
    return found[0]


def block_hash(text: str) -> Digest32:
    """Return a block's hash; UsageError unless it is one."""
    try:
        return parse_digest(text.strip().lower())
    except MalformedError as error:
        raise UsageError(f"{text[:80]!r} is no block's hash: {error.message}", code=error.code) from error


def serial(text: str) -> str:
    """Return a part's serial, forgiving small letters, spaces and dashes; UsageError unless it is one."""
    try:
        return parse_serial(text)
    except MalformedError as error:
        raise UsageError(
            f"{text[:40]!r} is no serial", code=error.code, hint="it has 16 letters and digits, A to Z and 2 to 7"
        ) from error


def serials(file: Path) -> list[str]:
    """Return the serials in a file, one a line, or from standard input for `-`; empty lines are passed over.

    Errors: UsageError for a line that is no serial, with its number; LocalError.
    """
    from platemark.sdk.files import read_limited

    if str(file) == "-":
        text = sys.stdin.read(_MAX_LIST_BYTES)
    else:
        text = read_limited(file, max_bytes=_MAX_LIST_BYTES).decode("utf-8", errors="replace")
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                found.append(serial(line))
            except UsageError as error:
                raise UsageError(f"line {number}: {error.message}", code=error.code, hint=error.hint) from error
    if not found:
        raise UsageError("no serial was given", code="serial", hint="one serial a line")
    return found


def address(text: str) -> Address:
    """Return an account's address; UsageError unless it is one."""
    try:
        return parse_address(text.strip())
    except MalformedError as error:
        raise UsageError(
            f"{text[:80]!r} is no account's address: {error.message}",
            code=error.code,
            hint=error.hint or "an address is 0x and 40 hexadecimal digits; platemark keys show gives yours",
        ) from error


def coin(text: str) -> Wei:
    """Return an amount of the chain's coin: `0.01`, `5 gwei`, `1000 wei`; UsageError unless it is one."""
    match = _AMOUNT.fullmatch(text.strip().lower())
    if match is None or match[2] not in _UNITS:
        raise UsageError(f"{text[:40]!r} is no amount", hint="such as 0.01, 5gwei or 1000wei of the chain's coin")
    try:
        amount = Decimal(match[1]).scaleb(_UNITS[match[2]])
    except InvalidOperation as error:  # pragma: no cover (the pattern has said so already)
        raise UsageError(f"{text[:40]!r} is no amount") from error
    if amount != amount.to_integral_value() or amount > UINT256_MAX:
        raise UsageError(f"{text[:40]!r} is finer than the coin's smallest unit")
    return Wei(int(amount))


def coin_text(amount: Wei) -> str:
    """Return an amount of coin as people read it, with all its digits."""
    whole, part = divmod(amount, 10**18)
    return f"{whole}.{part:018d}".rstrip("0").rstrip(".")


def amount(text: str, decimals: Callable[[], int]) -> int:
    """Return an amount of a token in its smallest unit: `12.50` by the token's decimals, or `1250 units`; UsageError.

    `decimals` is asked only when they are needed.
    """
    match = _AMOUNT.fullmatch(text.strip().lower())
    if match is None or match[2] not in {"", "units"}:
        raise UsageError(f"{text[:40]!r} is no amount of a token", hint="such as 12.50, or 1250 units of the smallest")
    found = Decimal(match[1]).scaleb(0 if match[2] else decimals())
    if found != found.to_integral_value() or found > UINT256_MAX:
        raise UsageError(f"{text[:40]!r} is finer than the token's smallest unit")
    return int(found)


def amount_text(amount: int, decimals: int) -> str:
    """Return an amount of a token as people read it, with all its digits."""
    if not decimals:
        return str(amount)
    whole, part = divmod(amount, 10**decimals)
    return f"{whole}.{part:0{decimals}d}".rstrip("0").rstrip(".")


def percent(text: str) -> int:
    """Return a share in basis points: `2.5` or `2.5%` is 250; UsageError unless it is 0 to 100 with two decimals."""
    typed = text.strip().removesuffix("%").rstrip()
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,2})?", typed) or Decimal(typed) > 100:
        raise UsageError(f"{text[:20]!r} is no percentage", hint="0 to 100, at most two decimals, such as 2.5")
    return int(Decimal(typed) * 100)


def percent_text(basis_points: int) -> str:
    """Return a share as people read it: 250 basis points are `2.5 %`."""
    return f"{amount_text(basis_points, 2)} %"


def receiver(text: str, prints: int | None) -> tuple[Address, int]:
    """Return who gets how many prints: `ADDRESS=N`, or `ADDRESS` for `prints`; UsageError."""
    name, equals, number = text.partition("=")
    if not equals:
        if prints is None:
            raise UsageError(f"how many prints for {text[:60]!r}?", hint="--prints N, or --to ADDRESS=N")
        return address(text), prints
    if not number.isascii() or not number.isdigit() or not 1 <= int(number[:13]) < 1 << 40 or len(number) > 13:
        raise UsageError(f"{text[:80]!r} is no account with a number of prints", hint="--to ADDRESS=N")
    return address(name), int(number)


def moment(text: str, now: UnixSeconds) -> UnixSeconds:
    """Return a time: `2031-12-31`, `2031-12-31T18:00:00Z`, Unix seconds, or `+30d` from now.

    A date alone means its last second (UTC). UsageError unless it is one of these.
    """
    typed = text.strip()
    if typed.isascii() and typed.isdigit() and len(typed) <= 12:
        return UnixSeconds(int(typed))
    if span := _SPAN.fullmatch(typed.lower()):
        return UnixSeconds(now + int(span[1]) * _SECONDS[span[2]])
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", typed):
            day = datetime.strptime(typed, "%Y-%m-%d").replace(tzinfo=UTC)
            return UnixSeconds(int(day.timestamp()) + 86_399)
        found = datetime.fromisoformat(typed)
    except ValueError as error:
        raise UsageError(
            f"{typed[:40]!r} is no time", hint="such as 2031-12-31, 2031-12-31T18:00:00Z or +30d"
        ) from error
    if found.tzinfo is None:
        raise UsageError(f"{typed[:40]!r} has no time zone", hint="end it with Z for UTC")
    return UnixSeconds(int(found.timestamp()))


def moment_text(seconds: UnixSeconds | int) -> str:
    """Return a time as people read it, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def by_name(items: Sequence[str], what: str) -> dict[str, str]:
    """Return `NAME=VALUE` items as a mapping; UsageError for another form or a name twice."""
    found: dict[str, str] = {}
    for item in items:
        name, equals, value = item.rpartition("=")
        if not equals or not name or name in found:
            raise UsageError(f"{item[:80]!r} is no {what}", hint="write NAME=VALUE, each name once")
        found[name] = value
    return found


def quantity(text: str) -> int:
    """Return a number of bodies, 1 and up; UsageError."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= 10_000 or len(text) > 5:
        raise UsageError(f"{text[:20]!r} is no quantity", hint="a number from 1 to 10,000")
    return int(text)


def turn(text: str) -> tuple[int, int, int]:
    """Return whole degrees about x, y and z (0 to 359); UsageError."""
    parts = text.split(",")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and int(part[:4]) < 360 for part in parts):
        raise UsageError(f"{text[:40]!r} is no turn", hint="whole degrees about x, y and z, such as 90,0,0")
    x, y, z = (int(part) for part in parts)
    return x, y, z


def decimal(text: str) -> Decimal:
    """Return a decimal number, not negative; UsageError."""
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text):
        raise UsageError(f"{text[:40]!r} is no number", hint="such as 0.2")
    return Decimal(text)


def check_outputs(*paths: Path | None) -> None:
    """Pass when each file that a command is to write could be written now, before anything else is done.

    A file that is there already passes: it may have the very content that will be written. Errors: those of
    `check_output`; UsageError for one file that is named twice.
    """
    from platemark.sdk.files import check_output

    named = [path for path in paths if path is not None]
    for path in named:
        check_output(path, replace=True)
    if len({path.resolve() for path in named}) != len(named):
        raise UsageError("one file is named for two things", hint="give each a file of its own")


def write_all(files: Sequence[tuple[Path | None, bytes | None]]) -> None:
    """Write each file that has a place and a content, or none of them where one would replace another content.

    Errors: LocalError `file-exists` and those of the disk.
    """
    from platemark.sdk.files import check_new, write_new

    wanted = [(path, data) for path, data in files if path is not None and data is not None]
    for path, data in wanted:
        check_new(path, data)
    for path, data in wanted:
        write_new(path, data, mode=0o644)


def write_out(path: Path | None, data: bytes) -> bool:
    """Write data to `-o`'s file, whole or not at all; return False when there is none to write to.

    Errors: LocalError `file-exists` for a file with another content, which is never replaced, and those of the disk.
    """
    if path is None:
        return False
    from platemark.sdk.files import write_new

    write_new(path, data)
    return True


def _id(text: str, what: str) -> int:
    try:
        return parse_id(text.strip().lower())
    except MalformedError as error:
        raise UsageError(
            f"{text[:80]!r} is no {what}'s id",
            code=error.code,
            hint="an id is 0x and 64 hexadecimal digits; the first 8 or more of them do",
        ) from error


def transaction_hash(state: "TransactionState | None") -> str | None:
    """Return the hash of a transaction that a gateway sent, None when there was none to send."""
    return None if state is None or state.hash is None else digest_text(state.hash)
