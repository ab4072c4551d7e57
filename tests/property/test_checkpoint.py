import pytest
from hypothesis import given
from hypothesis import strategies as st

from platemark.errors import DataError, VerificationError
from platemark.protocol.checkpoint import Checkpoint, Note, NoteKey, NoteSigner, open_checkpoint, sign_checkpoint
from platemark.protocol.units import Digest32

LINE = st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cs"]), min_size=1, max_size=40)
NAME = st.from_regex(r"[a-zA-Z0-9./:-]{1,40}", fullmatch=True)
CHECKPOINT = st.builds(
    Checkpoint,
    NAME,
    st.integers(0, 2**63 - 1),
    st.binary(min_size=32, max_size=32).map(Digest32),
    st.lists(LINE, max_size=3).map(tuple),
)


@given(CHECKPOINT, st.binary(min_size=32, max_size=32))
def test_signed_checkpoints_open_under_their_key_only(checkpoint: Checkpoint, seed: bytes) -> None:
    signer = NoteSigner.from_seed(checkpoint.origin, seed)
    signed = sign_checkpoint(checkpoint, signer)
    assert open_checkpoint(signed, signer.key) == checkpoint
    other = NoteSigner.from_seed(checkpoint.origin, bytes([seed[0] ^ 1]) + seed[1:])
    with pytest.raises(VerificationError):
        open_checkpoint(signed, other.key)


@given(CHECKPOINT, st.data())
def test_an_altered_byte_never_gives_another_checkpoint(checkpoint: Checkpoint, data: st.DataObject) -> None:
    signer = NoteSigner.from_seed(checkpoint.origin, bytes(32))
    altered = bytearray(sign_checkpoint(checkpoint, signer))
    altered[data.draw(st.integers(0, len(altered) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = open_checkpoint(bytes(altered), signer.key)
    except DataError:
        found = checkpoint
    assert found == checkpoint


@given(st.lists(LINE, min_size=1, max_size=5), NAME)
def test_notes_survive_their_bytes(lines: list[str], name: str) -> None:
    text = "\n".join(lines) + "\n"
    signer = NoteSigner.from_seed(name, bytes(32))
    note = Note(text, (signer.sign(text),))
    assert Note.parse(note.to_bytes()) == note
    signer.key.verify(note)


@given(NAME, st.binary(min_size=32, max_size=32))
def test_keys_survive_their_text(name: str, public: bytes) -> None:
    key = NoteKey(name, public)
    assert NoteKey.parse(key.text) == key


@given(st.text(max_size=200))
def test_any_text_is_the_one_form_of_a_note_or_refused(text: str) -> None:
    try:
        again = Note.parse(text.encode(errors="replace")).to_bytes()
    except DataError:
        again = text.encode(errors="replace")
    assert again == text.encode(errors="replace")
