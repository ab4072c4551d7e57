"""A running gateway, whose log litewitness cosigns and the checker of others' implementations reads over HTTP."""

import json
from pathlib import Path

import pytest

from log_programs import check, running_litewitness
from platemark.protocol.byte_text import parse_base64url
from platemark.protocol.checkpoint import KeyType, NoteKey, NoteSigner
from stack import Stack, command, get, licensed_cube, running_stack, wait_for

pytestmark = [pytest.mark.interop, pytest.mark.slow]


def log_key(stack: Stack) -> NoteKey:
    return NoteKey(str(stack.ready["logOrigin"]), parse_base64url(str(stack.ready["logKey"]), max_bytes=32))


def test_others_accept_the_log_of_a_running_gateway_with_the_cosignature_of_litewitness(tmp_path: Path) -> None:
    with running_litewitness(tmp_path / "witness", {}) as witness:
        witnesses = json.dumps([f"{witness.key.text} {witness.url}"])
        with running_stack(tmp_path / "stack", WITNESSES=witnesses) as stack:
            key, log = log_key(stack), f"{stack.url}/log/"

            def state() -> str:
                return str(get(stack.url + "/readyz").json()["parts"][f"witness-{witness.key.name}"])

            wait_for("the witness to be asked", lambda: state() == "witness-unknown-log")
            assert check(log, key) is None, "the empty log"
            assert check(log, key, [witness.key]) is not None
            witness.trust(key.name, key)
            wait_for("the cosignature", lambda: check(log, key, [witness.key]) is None)
            designer, centre = stack.person("designer"), stack.person("centre", coins=True)
            licence = licensed_cube(tmp_path / "stack", designer, centre)
            token = str(centre.run("token", "request", licence, "--prints", "2")["tokenId"])
            centre.make_print(token, "--printer", "ada")

            def size() -> int:
                return int(get(log + "checkpoint").text.split("\n")[1])

            wait_for("request and outcome in the log", lambda: size() == 2)
            assert check(log, key, [witness.key]) is None
            assert state() == "ok"
            of_log = ("audit", "log", "--tiles", log, "--blocks", stack.url, "--witness", witness.key.text)
            assert list(centre.run(*of_log)["facts"]["cosigned"]) == [witness.key.name]
            ours = NoteSigner.from_seed("witness.example.test/ours", b"\x01" * 32, KeyType.COSIGNATURE).key
            wanting = centre.attempt(*of_log, "--witness", ours.text)
            assert wanting.exit_code == 3
            assert [each["code"] for each in wanting.value["findings"] if "code" in each] == ["witnesses-missing"]
            assert centre.attempt(*of_log, "--witness", ours.text, "--witnesses-wanted", "1").exit_code == 0
            assert centre.attempt(*of_log, "--witnesses-wanted", "2").exit_code == 2
            command("audit", "witness", "new", "witness.example.test/ours", f"--home={centre.home}")
            added = centre.run("audit", "witness", "add", "--tiles", log, "--blocks", stack.url)
            assert added["key"] == key.text
