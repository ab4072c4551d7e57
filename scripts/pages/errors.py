"""Writes docs/errors.md: every public code with its kind, title and hint."""

import sys

from writing import write

from platemark.errors import Kind
from platemark.protocol.codes import CODES

STATUS = {
    Kind.MALFORMED: "400, or 413, 422",
    Kind.UNAUTHENTICATED: "401",
    Kind.FORBIDDEN: "403",
    Kind.NOT_FOUND: "404",
    Kind.CONFLICT: "409",
    Kind.LIMITED: "429 with Retry-After",
    Kind.UNCONFIRMED: "409 with Retry-After",
    Kind.UPSTREAM: "502 with Retry-After",
    Kind.UNAVAILABLE: "503 with Retry-After",
    Kind.INTERNAL: "500",
}
MEANING = {
    Kind.MALFORMED: "bytes or a call break their form",
    Kind.UNAUTHENTICATED: "nobody proved to be somebody",
    Kind.FORBIDDEN: "somebody, but not the right one",
    Kind.NOT_FOUND: "not there, or not yours: the answer does not say which",
    Kind.CONFLICT: "the state, the terms or a check says no; asking again changes nothing",
    Kind.LIMITED: "too much; ask again later",
    Kind.UNCONFIRMED: "the chain has not settled it yet; ask again in a moment",
    Kind.UPSTREAM: "a server that was asked failed",
    Kind.UNAVAILABLE: "something that is needed is away, on this machine or elsewhere",
    Kind.INTERNAL: "a fault of the program; the answer has a correlation id and nothing else",
}
HEAD = """# Errors

Every error has a public code: in the gateway's problem documents (RFC 9457, `type` is `/problems/<code>`), in brackets
at the end of the line in which `platemark` and `platemark-gateway` say what went wrong (with `--json` also on standard
output), and as `code` of the Python exception. Codes are never reused for something else. The kind is the usual one; a
program decides by the code, a person reads the message.

`platemark` ends with

| exit code | when |
| --- | --- |
| 0 | all went well |
| 1 | something failed; also when `platemark print` reported a print as failed: its data is on standard output |
| 2 | it was called wrongly: an option, an id, a serial, the beginning of an id that several have |
| 3 | a verification failed |
| 4 | licence or policy refuse |
| 75 | asking again later may help: a gateway or an endpoint cannot be reached, or something is not final yet |
| 130 | Ctrl-C; the hint says how to go on with what was begun |

This page is written by `scripts/generate_errors_page` from `platemark/protocol/codes.py`.
"""


def page() -> str:
    """Return the page's text."""
    kinds = [f"| `{kind}` | {MEANING[kind]} | {STATUS[kind]} |" for kind in Kind]
    codes = [
        f'| <a id="{code}"></a>`{code}` | {info.kind} | {info.title} | {info.hint or ""} |'
        for code, info in sorted(CODES.items())
    ]
    parts = [
        HEAD,
        "| kind | means | HTTP |\n| --- | --- | --- |\n" + "\n".join(kinds) + "\n",
        "| code | kind | says | what to do |\n| --- | --- | --- | --- |\n" + "\n".join(codes) + "\n",
    ]
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(write("errors", page()))
