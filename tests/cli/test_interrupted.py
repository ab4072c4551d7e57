"""A command that dies halfway is finished by the next one; nothing is paid, reserved or counted twice."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from platemark.sdk.gateway import GatewayClient
from stack import Person, Stack, cube_stl

pytestmark = pytest.mark.slow


def _die_once(monkeypatch: pytest.MonkeyPatch, method: str, *, before: bool) -> list[str]:
    """Let the process end around a call of the gateway, once."""
    original = getattr(GatewayClient, method)
    died: list[str] = []

    def dying(self: GatewayClient, *args: object, **kwargs: object) -> object:
        if before and not died:
            died.append(method)
            raise KeyboardInterrupt
        answer = original(self, *args, **kwargs)
        if not died:
            died.append(method)
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(GatewayClient, method, dying)
    return died


def _licensed(stack: Stack, folder: Path, name: str) -> tuple[Person, str, str]:
    folder.mkdir(exist_ok=True)
    person = stack.person(name)
    (folder / "cube.stl").write_bytes(cube_stl())
    design = person.run("design", "register", str(folder / "cube.stl"), "--title", "A cube", "--no-previews")
    offer = person.run(
        "license", "offer", design["designId"], "--cap", "10", "--protection", "file", "--smallest", "2",
        "--spares-flat", "1",
    )  # fmt: skip
    address = person.run("keys", "show")["address"]
    person.run("license", "mint", offer["licenseId"], "--to", address, "--prints", "4")
    return person, offer["licenseId"], address


@pytest.mark.parametrize(
    "method,before", [("reserve", True), ("reserve", False), ("reservation", True), ("token", True), ("token", False)]
)
def test_a_token_is_obtained_by_resuming(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, before: bool
) -> None:
    person, license_id, address = _licensed(stack, tmp_path, f"{method}-{before}".lower())
    died = _die_once(monkeypatch, method, before=before)
    ended = person.attempt("token", "request", license_id, "--prints", "3")
    assert (ended.exit_code, died) == (130, [method])
    assert person.run("token", "list")["tokens"] == []
    (token,) = person.run("token", "resume")["tokens"]
    assert (token["prints"], token["spares"]) == (3, 1)
    assert person.run("token", "resume")["tokens"] == []
    assert person.run("license", "show", license_id, "--holder", address)["balance"] == 1


@pytest.mark.parametrize(
    "method,before",
    [("close_offer", False), ("close_token", False), ("reserve", True), ("reserve", False), ("token", False)],
)
def test_a_token_is_renewed_once_however_often_it_is_interrupted(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, before: bool
) -> None:
    person, license_id, address = _licensed(stack, tmp_path, f"renew-{method}-{before}".lower())
    old = person.run("token", "request", license_id, "--prints", "3")
    died = _die_once(monkeypatch, method, before=before)
    assert (person.attempt("token", "renew", old["tokenId"]).exit_code, died) == (130, [method])
    (new,) = person.run("token", "renew", old["tokenId"])["renewed"]
    assert (new["replaces"], new["prints"], new["expiresAt"]) == (old["tokenId"], 3, old["expiresAt"])
    assert person.run("token", "show", old["tokenId"])["closed"]
    assert person.run("token", "renew", old["tokenId"])["renewed"] == [new]
    assert person.run("token", "resume")["tokens"] in ([], [{k: v for k, v in new.items() if k != "replaces"}])
    assert person.run("license", "show", license_id, "--holder", address)["balance"] == 1


def test_two_who_renew_a_token_at_once_get_one(stack: Stack, tmp_path: Path) -> None:
    person, license_id, address = _licensed(stack, tmp_path, "renew-twice")
    old = person.run("token", "request", license_id, "--prints", "3")["tokenId"]
    where = [f"--home={person.home}", f"--passphrase-file={person.passphrase_file}", f"--rpc={person.rpc}"]
    argv = [
        sys.executable,
        "-m",
        "platemark.cli",
        *where,
        f"--gateway={person.gateway}",
        "--json",
        "token",
        "renew",
        old,
    ]
    both = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate(timeout=180)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    first, second = (json.loads(each)["renewed"] for each in told)
    assert first == second
    assert len(person.run("token", "list")["tokens"]) == 2
    assert person.run("license", "show", license_id, "--holder", address)["balance"] == 1


@pytest.mark.parametrize("method", ["redeem", "outcome"])
def test_a_print_that_was_interrupted_is_finished_with_the_same_number(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    person, license_id, _ = _licensed(stack, tmp_path, f"print-{method}")
    token = person.run("token", "request", license_id, "--prints", "2")["tokenId"]
    _die_once(monkeypatch, method, before=False)
    assert person.attempt("print", token, "--printer", "ada", "--slicer", "basic").exit_code == 130
    if method == "outcome":
        (sent,) = person.run("outcome", token, "--resend")["sent"]
        assert sent["result"] == "completed"
    else:
        assert person.make_print(token, "--printer", "ada")["sequence"] == 1
    state = person.run("token", "show", token)
    assert (state["released"], state["printsLeft"]) == (1, 1)
