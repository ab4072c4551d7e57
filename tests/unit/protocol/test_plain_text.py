import pytest

from platemark.errors import MalformedError
from platemark.protocol.plain_text import items_of, line_of, lines_of, name_of_file, readable, reason_of, refuse_count


@pytest.mark.parametrize("text", ["Box", "Grüße, 東京 👩‍🔧", "a" * 200])
def test_a_line_is_visible_text(text: str) -> None:
    assert line_of(text) == text


@pytest.mark.parametrize(
    "text",
    ["", " a", "a ", "a\nb", "a\tb", "a\x00", "\x1b[2J", "a\u2028b", "a\u202eb", "\u2066a", "a" * 201, "\ud800", 5],
    ids=repr,
)
def test_other_text_is_refused(text: object) -> None:
    with pytest.raises(MalformedError) as caught:
        line_of(text)  # type: ignore[arg-type]
    assert caught.value.code == "plain-text"


@pytest.mark.parametrize(
    "text, line",
    [
        ("the hook breaks", "the hook breaks"),
        (" two\r\nlines\t and\u2028more ", "two lines and more"),
        ("\x1b[2Jturned\u202e\u2066round", "[2Jturned round"),
        ("東京 👩‍🔧", "東京 👩‍🔧"),
        ("é" * 200, "é" * 200),
        ("é" * 201, "é" * 200 + "…"),
        ("\x00 \n", None),
        ("", None),
    ],
    ids=repr,
)
def test_any_text_has_a_line_that_can_be_read_or_none(text: str, line: str | None) -> None:
    assert readable(text, max_length=200) == line


def test_an_empty_line_is_allowed_where_it_says_so() -> None:
    assert line_of("", may_be_empty=True) == ""


def test_lists_are_counted_before_they_are_read() -> None:
    assert lines_of(["a", "b"], max_items=2) == ("a", "b")
    with pytest.raises(MalformedError) as caught:
        lines_of([object()] * 3, max_items=2)  # type: ignore[list-item]
    assert caught.value.code == "count-limit"
    for value in ("ab", {"0": "a"}, 5, None):
        with pytest.raises(MalformedError) as caught:
            items_of(value, max_items=2, what="letters")
        assert caught.value.code == "canonical-form"


def test_counts_have_both_limits() -> None:
    refuse_count(1, min_items=1, max_items=1, what="files")
    for count in (0, 2, 10**6):
        with pytest.raises(MalformedError, match="1 to 1"):
            refuse_count(count, min_items=1, max_items=1, what="files")


@pytest.mark.parametrize("name", ["body.stl", ".hidden", "Gehäuse v2 (final).3mf"])
def test_a_files_name_is_bare(name: str) -> None:
    assert name_of_file(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "c:", "a*", "a\n", "x" * 121, 7], ids=repr)
def test_a_files_name_with_a_path_is_refused(name: object) -> None:
    with pytest.raises(MalformedError) as caught:
        name_of_file(name)  # type: ignore[arg-type]
    assert caught.value.code == "file-name"


def test_of_a_recalls_reason_500_characters_are_shown_whatever_bytes_it_is() -> None:
    assert reason_of(b"the hook\n\xffbreaks") == "the hook \ufffdbreaks"
    assert reason_of(b"a" * 500) == "a" * 500
    assert reason_of(b"a" * 501) == "a" * 500 + "…"
    assert reason_of(b" \n") is None
