"""What the command `erase` of `platemark-gateway` does; heavy imports happen inside."""

import asyncio
import json
import sys
from typing import Annotated

import typer

from platemark_gateway.commands import Data, DatabaseUrl, PassphraseFile, settings_of


def erase(
    subject: Annotated[str, typer.Argument(help="an account's address, or a part's serial")],
    yes: Annotated[bool, typer.Option("--yes", help="it cannot be undone, but by a backup")] = False,
    data: Data = None,
    database_url: DatabaseUrl = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Erase what the gateway keeps of an account, or of a part's making, beyond what counts. It may be running.

    Of an account: sign-in, API keys, quotas, kept answers, receipts of its tokens with their salts, statements that
    never came to the chain, and its name in the audit table. Of a part: its receipt and the receipt's salt. Counts, log
    and chain stay, and every proof holds. Killed or given again, it finishes. Backups are not touched.
    """
    settings = settings_of(data=data, database_url=database_url, passphrase_file=passphrase_file)
    from platemark.errors import UsageError
    from platemark_gateway import erasing

    erasing.subject_of(subject)
    if not yes:
        raise UsageError("nothing was erased: it cannot be undone", hint="the same command with --yes")
    found = asyncio.run(erasing.run(settings, subject))
    told = {"erased": found.rows, "stays": found.stays, "openTokens": found.open_tokens}
    sys.stdout.write(json.dumps(told, indent=1) + "\n")
    sys.stderr.write("what stays is the count, and on chain or in the log anyway; backups hold what was erased\n")
    if found.open_tokens:
        sys.stderr.write("tokens are open: what their agents report from now on is kept; erase again when they ended\n")
