"""Streams of bytes, cut anew: each byte is copied once at most."""

from collections.abc import Iterable, Iterator


def regrouped(chunks: Iterable[bytes], *, first: int, later: int) -> Iterator[tuple[bytes, bool]]:
    """Yield the same bytes in other pieces, and of each whether it is the last.

    All are full but the last one, which is empty only when there are no bytes at all. Memory: one piece and one chunk.

    Args:
        chunks: The bytes in pieces of any size.
        first: Length of the first piece, 1 and up.
        later: Length of the others, 1 and up.
    """
    held: list[memoryview] = []
    have = 0
    size = first
    for chunk in chunks:
        view = memoryview(chunk)
        while have + len(view) > size:  # more follows, so this one is not the last
            if size > have:
                held.append(view[: size - have])
                view = view[size - have :]
            yield _joined(held), False
            held.clear()
            have = 0
            size = later
        if view:
            held.append(view)
            have += len(view)
    yield _joined(held), True


def _joined(views: list[memoryview]) -> bytes:
    if len(views) == 1 and isinstance(whole := views[0].obj, bytes) and len(whole) == len(views[0]):
        return whole
    return b"".join(views)
