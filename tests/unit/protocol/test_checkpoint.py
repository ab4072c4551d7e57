from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from golden import cases, golden
from platemark.errors import MalformedError, VerificationError
from platemark.protocol import checkpoint
from platemark.protocol.checkpoint import (
    Checkpoint,
    KeyType,
    Note,
    NoteKey,
    NoteSigner,
    open_checkpoint,
    private_key_text,
    sign_checkpoint,
)
from platemark.protocol.units import Digest32, UnixSeconds

PUBLISHED: dict[str, Any] = golden("published_notes")
SEED = bytes.fromhex(PUBLISHED["seed"])
ROOT = Digest32(bytes.fromhex("26e7a908b11e0e0b5ac9dcb53010014cb5ef4af3976d5ea3595d48a4c0fb718b"))
SIGNER = NoteSigner.from_seed("example.test/platemark", SEED)
WITNESS = NoteSigner.from_seed("witness.example.test/w1", bytes.fromhex(PUBLISHED["witnessSeed"]), KeyType.COSIGNATURE)
TEXT = Checkpoint("example.test/platemark", 3, ROOT).text()


def test_the_published_note_is_reproduced_byte_for_byte() -> None:
    assert SIGNER.key.text == PUBLISHED["key"]
    signed = sign_checkpoint(Checkpoint("example.test/platemark", 3, ROOT), SIGNER)
    assert signed.decode() == PUBLISHED["note"]
    assert open_checkpoint(signed, NoteKey.parse(PUBLISHED["key"])) == Checkpoint("example.test/platemark", 3, ROOT)


def test_the_published_cosignature_is_reproduced_and_verified() -> None:
    assert WITNESS.key.text == PUBLISHED["witness"]
    line = WITNESS.cosign(TEXT, UnixSeconds(PUBLISHED["witnessTime"]))
    assert line.line() == PUBLISHED["cosignature"]
    note = Note.parse((PUBLISHED["note"] + PUBLISHED["cosignature"]).encode())
    assert NoteKey.parse(PUBLISHED["witness"]).verify(note) == PUBLISHED["witnessTime"]
    assert NoteKey.parse(PUBLISHED["key"]).verify(note) is None


def test_notes_are_as_they_were() -> None:
    vector = golden("tiles")["note"]
    key, witness = NoteKey.parse(vector["key"]), NoteKey.parse(vector["witness"])
    found = open_checkpoint(vector["cosigned"].encode(), key)
    assert (found.size, found.extensions) == (2**40 + 1, ("an extension",))
    assert open_checkpoint(vector["signed"].encode(), key) == found
    assert witness.verify(Note.parse(vector["cosigned"].encode())) == 1_800_000_000


@pytest.mark.parametrize("case", cases("published_notes", "invalidNotes"))
def test_other_notes_are_refused(case: dict[str, str]) -> None:
    with pytest.raises(MalformedError) as caught:
        Note.parse(case["note"].encode())
    assert caught.value.code == "note"


@pytest.mark.parametrize("case", cases("published_notes", "invalidCheckpoints"))
def test_other_checkpoints_are_refused(case: dict[str, str]) -> None:
    with pytest.raises(MalformedError) as caught:
        Checkpoint.parse(case["text"])
    assert caught.value.code == "checkpoint"


@pytest.mark.parametrize("case", cases("published_notes", "invalidKeys"))
def test_other_keys_are_refused(case: dict[str, str]) -> None:
    with pytest.raises(MalformedError) as caught:
        NoteKey.parse(case["key"])
    assert caught.value.code == "note-key"
    with pytest.raises(MalformedError):
        NoteSigner.parse("PRIVATE+KEY+" + case["key"])


def test_notes_that_are_too_large_or_no_text_are_refused() -> None:
    with pytest.raises(MalformedError) as caught:
        Note.parse(b"a" * (checkpoint.MAX_NOTE_BYTES + 1))
    assert caught.value.code == "too-large"
    with pytest.raises(MalformedError) as caught:
        Note.parse(b"\xff\n\n" + PUBLISHED["cosignature"].encode())
    assert caught.value.code == "note"


def test_a_note_is_split_at_its_last_empty_line() -> None:
    signature = SIGNER.sign("a\n\nb\n")
    note = Note.parse(Note("a\n\nb\n", (signature,)).to_bytes())
    assert note.text == "a\n\nb\n"
    SIGNER.key.verify(note)


def test_a_text_that_holds_a_signature_line_is_not_signed_by_it() -> None:
    inner = sign_checkpoint(Checkpoint("example.test/platemark", 3, ROOT), SIGNER).decode()
    other = NoteSigner.from_seed("other", bytes(32))
    outer = Note.parse(Note(inner, (other.sign(inner),)).to_bytes())
    assert outer.text == inner
    with pytest.raises(VerificationError):
        SIGNER.key.verify(outer)


@pytest.mark.parametrize("change", ["text", "signature", "name", "key id", "removed"])
def test_what_the_key_did_not_sign_is_refused(change: str) -> None:
    note = Note.parse(PUBLISHED["note"].encode())
    line = note.signatures[0]
    forged = {
        "text": Note(note.text.replace("3", "4", 1), note.signatures),
        "signature": Note(note.text, (checkpoint.NoteSignature(line.name, line.key_id, bytes(64)),)),
        "name": Note(note.text, (checkpoint.NoteSignature("other", line.key_id, line.signature),)),
        "key id": Note(note.text, (checkpoint.NoteSignature(line.name, bytes(4), line.signature),)),
        "removed": Note(note.text, ()),
    }[change]
    with pytest.raises(VerificationError) as caught:
        SIGNER.key.verify(forged)
    assert (caught.value.code, caught.value.expected) == ("note-signature", SIGNER.key.text)


def test_one_false_line_under_the_key_spoils_the_note() -> None:
    note = Note.parse(PUBLISHED["note"].encode())
    line = note.signatures[0]
    false = checkpoint.NoteSignature(line.name, line.key_id, bytes(64))
    with pytest.raises(VerificationError):
        SIGNER.key.verify(Note(note.text, (*note.signatures, false)))


def test_lines_of_unknown_keys_are_passed_over() -> None:
    note = Note.parse(PUBLISHED["note"].encode())
    unknown = checkpoint.NoteSignature("stranger", b"\1\2\3\4", b"anything")
    grown = Note.parse(note.with_signatures(unknown).to_bytes())
    assert len(grown.signatures) == 2
    SIGNER.key.verify(grown)


def test_a_cosignature_is_bound_to_its_time_and_length() -> None:
    good = WITNESS.cosign(TEXT, UnixSeconds(1000))
    for signature in (UnixSeconds(1001).to_bytes(8, "big") + good.signature[8:], good.signature[:-1], b"x"):
        note = Note(TEXT, (checkpoint.NoteSignature(good.name, good.key_id, signature),))
        with pytest.raises(VerificationError):
            WITNESS.key.verify(note)


def test_the_latest_of_several_cosignatures_counts() -> None:
    lines = tuple(WITNESS.cosign(TEXT, UnixSeconds(time)) for time in (2000, 3000, 1000))
    assert WITNESS.key.verify(Note(TEXT, lines)) == 3000


def test_keys_of_the_two_types_do_not_stand_in_for_each_other() -> None:
    same_key = NoteSigner.from_seed("witness.example.test/w1", bytes.fromhex(PUBLISHED["witnessSeed"]))
    assert same_key.key.key_id != WITNESS.key.key_id
    with pytest.raises(MalformedError):
        WITNESS.sign(TEXT)
    with pytest.raises(MalformedError):
        SIGNER.cosign(TEXT, UnixSeconds(1))
    with pytest.raises(MalformedError):
        open_checkpoint(PUBLISHED["note"].encode(), WITNESS.key)


def test_a_checkpoint_of_another_log_is_refused() -> None:
    text = Checkpoint("another.test/log", 3, ROOT).text()
    signed = Note(text, (SIGNER.sign(text),)).to_bytes()
    assert open_checkpoint(signed, SIGNER.key, origin="another.test/log").origin == "another.test/log"
    with pytest.raises(VerificationError) as caught:
        open_checkpoint(signed, SIGNER.key)
    assert (caught.value.code, caught.value.found) == ("checkpoint-origin", "another.test/log")


def test_a_log_signs_under_its_origin_only() -> None:
    with pytest.raises(MalformedError) as caught:
        sign_checkpoint(Checkpoint("another.test/log", 3, ROOT), SIGNER)
    assert caught.value.code == "checkpoint"


def test_what_is_no_checkpoint_is_refused_though_it_is_signed() -> None:
    signed = Note("hello\n", (SIGNER.sign("hello\n"),)).to_bytes()
    with pytest.raises(MalformedError):
        open_checkpoint(signed, SIGNER.key)


@pytest.mark.parametrize("text", ["", "\n", "no line feed", "tab\there\n", "return\r\n", "\nfirst line empty\n"])
def test_texts_that_no_note_has_are_not_signed(text: str) -> None:
    with pytest.raises(MalformedError):
        SIGNER.sign(text)
    with pytest.raises(MalformedError):
        WITNESS.cosign(text, UnixSeconds(1))


@pytest.mark.parametrize(
    "bad",
    [
        Checkpoint("", 3, ROOT),
        Checkpoint("a\nb", 3, ROOT),
        Checkpoint("a", -1, ROOT),
        Checkpoint("a", 1 << 63, ROOT),
        Checkpoint("a", 3, ROOT, ("",)),
        Checkpoint("a", 3, ROOT, ("b\nc",)),
    ],
)
def test_checkpoints_that_cannot_be_written_are_refused(bad: Checkpoint) -> None:
    with pytest.raises(MalformedError) as caught:
        bad.text()
    assert caught.value.code == "checkpoint"


def test_a_root_has_32_bytes() -> None:
    with pytest.raises(MalformedError):
        Checkpoint("a", 3, Digest32(b"short")).text()


def test_keys_survive_their_text() -> None:
    for key_type in KeyType:
        text = private_key_text("log.example/1", SEED, key_type)
        signer = NoteSigner.parse(text)
        assert signer.key == NoteSigner.from_seed("log.example/1", SEED, key_type).key
        assert NoteKey.parse(signer.key.text) == signer.key
    assert private_key_text("example.test/platemark", SEED).startswith("PRIVATE+KEY+example.test/platemark+d19b767f+A")


def test_private_keys_with_another_id_or_none_are_refused() -> None:
    text = private_key_text("log.example/1", SEED)
    for bad in (text[len("PRIVATE+KEY+") :], text.replace("log.example/1", "log.example/2")):
        with pytest.raises(MalformedError) as caught:
            NoteSigner.parse(bad)
        assert caught.value.code == "note-key"


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u2003b", "a\x00b"])
def test_names_that_no_key_has_are_refused(name: str) -> None:
    with pytest.raises(MalformedError):
        NoteKey(name, bytes(32))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_keys_and_seeds_of_other_lengths_are_refused(length: int) -> None:
    with pytest.raises(MalformedError):
        NoteKey("name", bytes(length))
    with pytest.raises(MalformedError):
        NoteSigner.from_seed("name", bytes(length))


def test_a_signer_needs_no_secret_of_its_own() -> None:
    private = Ed25519PrivateKey.from_private_bytes(SEED)
    asked: list[bytes] = []

    def in_hardware(message: bytes) -> bytes:
        asked.append(message)
        return private.sign(message)

    signer = NoteSigner(SIGNER.key, in_hardware)
    assert sign_checkpoint(Checkpoint("example.test/platemark", 3, ROOT), signer).decode() == PUBLISHED["note"]
    assert asked == [TEXT.encode()]


def test_a_signer_does_not_show_its_secret() -> None:
    assert SEED.hex() not in repr(SIGNER)
    assert SIGNER.key.text in repr(SIGNER)


def test_a_signature_takes_the_place_of_an_earlier_one_of_its_key() -> None:
    first, second = (WITNESS.cosign(TEXT, UnixSeconds(time)) for time in (1000, 2000))
    note = Note(TEXT, (SIGNER.sign(TEXT), first)).with_signatures(second)
    assert note == Note(TEXT, (SIGNER.sign(TEXT), second))
    assert note.with_signatures() == note
