"""`platemark audit`: establish who made a part, under which licence, how many exist, and whether anybody lied.

Reads a chain endpoint, blocks and a log's static files; asks no gateway.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from platemark.cli import audit_witness, values
from platemark.cli.config import EVERYWHERE, Invocation
from platemark.cli.exit_codes import ExitCode
from platemark.cli.ui import plural
from platemark.errors import LocalError, MalformedError, UsageError

if TYPE_CHECKING:
    from platemark.auditor.deployment import Claim
    from platemark.auditor.evidence import Evidence
    from platemark.auditor.signers import Signers
    from platemark.protocol.canonical import JsonValue
    from platemark.protocol.passport import Passport
    from platemark.protocol.units import Address
    from platemark.sdk.chain import ChainClient
    from platemark.verify.policy import Policy
    from platemark.verify.report import Report

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Check files, parts, designs and whole logs against the chain.",
    epilog=EVERYWHERE,
)

app.add_typer(audit_witness.app, name="witness")

Blocks = Annotated[
    str | None,
    typer.Option("--blocks", help="Folder of IPFS blocks, or address of an IPFS gateway; else those beside the log."),
]
Tiles = Annotated[
    str,
    typer.Option("--tiles", help="Folder or address of the print log's static files, or ipfs://CID beside --blocks."),
]
Html = Annotated[Path | None, typer.Option("--html", help="Also write the report as a page to this file.")]
Sign = Annotated[
    Path | None, typer.Option("--sign", help="Also write the report, signed by your account, to this file.")
]
Csv = Annotated[Path | None, typer.Option("--csv", help="Also write the list to this file, for a spreadsheet.")]
OtherRpc = Annotated[
    list[str] | None, typer.Option("--also-rpc", help="Another chain endpoint that must agree; may be repeated.")
]
Ledger = Annotated[
    str | None, typer.Option("--ledger", help="Address of the PrintLedger; else taken from the log's checkpoint.")
]
Gateways = Annotated[
    list[str] | None, typer.Option("--accept-gateway", help="Only these gateways' words count; may be repeated.")
]
Processes = Annotated[
    int | None, typer.Option(min=1, help="How many processes check signatures; one a processor by default.")
]


@app.command("log")
def log(
    context: typer.Context,
    tiles: Tiles,
    blocks: Blocks = None,
    html: Html = None,
    sign: Sign = None,
    also_rpc: OtherRpc = None,
    accept_gateway: Gateways = None,
    witness: Annotated[
        list[str] | None, typer.Option("--witness", help="Key (vkey) of a witness of the log; may be repeated.")
    ] = None,
    witnesses_wanted: Annotated[
        int | None, typer.Option(min=0, help="How many of these must have cosigned; all by default.")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state", help="Keep in this file how far the replay came; a later audit of the log goes on from there."
        ),
    ] = None,
    processes: Processes = None,
    *,
    afresh: Annotated[
        bool, typer.Option("--afresh", help="Replay from the first entry, whatever an earlier audit left.")
    ] = False,
) -> int:
    """Replay a gateway's whole print log against the chain and name every discrepancy.

    An audit that was interrupted goes on where it stopped.
    """
    from platemark.auditor.replay import audit_log
    from platemark.protocol.checkpoint import NoteKey
    from platemark.sdk.files import disk_errors

    invocation = _begun(context, html, sign=sign)
    witnesses = tuple(NoteKey.parse(text) for text in witness or [])
    evidence = evidence_of(invocation, blocks, tiles, also_rpc, accept_gateway)
    evidence.policy = replace(
        evidence.policy,
        witnesses=witnesses,
        witnesses_wanted=len(witnesses) if witnesses_wanted is None else witnesses_wanted,
    )
    path = state or invocation.settings.home.audit(evidence.origin().text)
    if afresh:
        with disk_errors(path):
            path.unlink(missing_ok=True)
    invocation.unfinished.hint = "the same command goes on where this one stopped"
    signers = _signers(invocation, evidence, processes)
    return _finish(invocation, audit_log(evidence, path, keep=state is not None, unsigned=signers), html, sign)


@app.command("archive")
def archive(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="A new folder, or an earlier archive of the same log.")],
    tiles: Tiles,
    blocks: Blocks = None,
    html: Html = None,
    sign: Sign = None,
    also_rpc: OtherRpc = None,
    accept_gateway: Gateways = None,
    processes: Processes = None,
) -> int:
    """Audit a whole log and keep a copy of all that was read but the chain: audits go on when the gateway is gone."""
    from shlex import quote

    from platemark.auditor.archive import BLOCKS, LOG
    from platemark.auditor.archive import archive as make_archive

    invocation = _begun(context, html, sign=sign)
    evidence = evidence_of(invocation, blocks, tiles, also_rpc, accept_gateway)
    report = make_archive(evidence, folder, unsigned=_signers(invocation, evidence, processes))
    code = _finish(invocation, report, html, sign)
    chain = "" if invocation.options.rpc is None else f" --rpc {quote(invocation.options.rpc)}"
    places = f"--tiles {quote(str(folder / LOG))} --blocks {quote(str(folder / BLOCKS))}"
    invocation.ui.tell(f"audit it again: platemark audit log {places}{chain}")
    return code


@app.command("part")
def part(
    context: typer.Context,
    serial: Annotated[str, typer.Argument(help="The serial on the part's label.")],
    tiles: Tiles,
    blocks: Blocks = None,
    html: Html = None,
    sign: Sign = None,
    also_rpc: OtherRpc = None,
    accept_gateway: Gateways = None,
) -> int:
    """Establish where a part comes from, from nothing but its serial, the log and the chain."""
    from platemark.auditor.part import audit_part

    number = values.serial(serial)
    invocation = _begun(context, html, sign=sign)
    evidence = evidence_of(invocation, blocks, tiles, also_rpc, accept_gateway)
    return _finish(invocation, audit_part(evidence, number), html, sign)


@app.command("parts")
def parts(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Serials, one a line; - reads them from standard input.")],
    tiles: Tiles,
    blocks: Blocks = None,
    csv: Csv = None,
    sign: Sign = None,
    also_rpc: OtherRpc = None,
    accept_gateway: Gateways = None,
) -> int:
    """Audit many parts at once: what each serial stands for, and every discrepancy."""
    from platemark.auditor.part import audit_parts, in_one_report
    from platemark.auditor.render import PART_COLUMNS, part_rows

    serials = values.serials(file)
    invocation = _begun(context, csv, sign=sign)
    evidence = evidence_of(invocation, blocks, tiles, also_rpc, accept_gateway)
    common, found = audit_parts(evidence, serials)
    _write_signed(invocation, in_one_report(common, found), sign)
    rows = part_rows(found)
    _write_csv(csv, PART_COLUMNS, rows)
    if invocation.options.as_json:
        invocation.ui.result({"common": common.to_json(), "parts": [each.to_json() for each in found]})
    else:
        shown = (0, 1, 2, len(PART_COLUMNS) - 1)
        table = [[row[column] for column in shown] for row in rows]
        invocation.ui.table("parts", [], [PART_COLUMNS[column] for column in shown], table)
        failed = sum(not each.holds for each in found)
        invocation.ui.tell(f"{plural(len(found), 'part')}, {failed} with discrepancies; trusted: {common.trusted[0]}")
        for finding in common.failures:
            invocation.ui.tell(f"{finding.step.label}: {finding.detail}")
    return ExitCode.OK if all(each.holds for each in (common, *found)) else ExitCode.VERIFICATION


@app.command("related")
def related(
    context: typer.Context,
    serial: Annotated[str, typer.Argument(help="The serial on the part's label.")],
    tiles: Tiles,
    blocks: Blocks = None,
    passports: Annotated[
        Path | None, typer.Option("--passports", help="Folder of passports, which tell printers and material lots.")
    ] = None,
    csv: Csv = None,
    sign: Sign = None,
    also_rpc: OtherRpc = None,
    accept_gateway: Gateways = None,
) -> int:
    """List the parts that have something in common with one: lot, printer, reservation, holder, revision."""
    from platemark.auditor.related import find_related
    from platemark.auditor.render import RELATED_COLUMNS, headline, related_rows
    from platemark.verify.report import Verdict

    number = values.serial(serial)
    invocation = _begun(context, csv, sign=sign)
    evidence = evidence_of(invocation, blocks, tiles, also_rpc, accept_gateway)
    skipped: list[JsonValue] = []
    report, found = find_related(evidence, number, _passports(invocation, passports, skipped))
    report.facts |= {} if passports is None else {"skippedFiles": skipped}
    parts: list[JsonValue] = [each.to_json() for each in found]
    _write_signed(invocation, replace(report, facts={**report.facts, "parts": parts}), sign)
    rows = related_rows(found)
    _write_csv(csv, RELATED_COLUMNS, rows)
    if invocation.options.as_json:
        invocation.ui.result({**report.to_json(), "parts": parts})
    else:
        invocation.ui.table("parts", [], RELATED_COLUMNS, rows)
        for finding in report.findings:
            if finding.verdict is not Verdict.HOLDS:
                invocation.ui.tell(f"{finding.step.label}: {finding.detail}")
        invocation.ui.tell(f"{headline(report)}; trusted: {report.trusted[0]}")
    return ExitCode.OK if report.holds else ExitCode.VERIFICATION


@app.command("passport")
def passport(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The passport, a JSON file.")],
    tiles: Annotated[
        str | None, typer.Option("--tiles", help="The print log, to look up the outcome and count the token's prints.")
    ] = None,
    blocks: Blocks = None,
    html: Html = None,
    sign: Sign = None,
    also_rpc: OtherRpc = None,
    accept_gateway: Gateways = None,
    *,
    offline: Annotated[bool, typer.Option("--offline", help="Read nothing but the file.")] = False,
    block: Annotated[
        str | None,
        typer.Option(metavar="HASH", help="Offline, and check the storage proofs against the block of this hash."),
    ] = None,
) -> int:
    """Verify a part passport: by itself, and against the chain unless --offline."""
    from platemark.auditor.part import audit_passport
    from platemark.protocol.passport import PassportPartError
    from platemark.verify.passport import refused_passport

    invocation = _begun(context, html, sign=sign)
    known_block = None if block is None else values.block_hash(block)
    is_online = not offline and known_block is None and invocation.settings.rpc is not None
    if not is_online and not offline and known_block is None:
        invocation.ui.tell("no chain endpoint was named: checked as with --offline; give --rpc URL for the rest")
    if tiles is not None and not is_online:
        raise UsageError("the log is nothing without the chain", hint="give --rpc URL, or leave --tiles out")
    try:
        found = _passport(file)
    except PassportPartError as error:
        return _finish(invocation, refused_passport(error), html, sign)
    evidence = evidence_of(invocation, blocks, tiles, also_rpc, accept_gateway) if is_online else None
    report = audit_passport(
        found, evidence, policy=_policy(accept_gateway), with_log=tiles is not None, known_block=known_block
    )
    return _finish(invocation, report, html, sign)


@app.command("file")
def file(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="The file whose origin is asked for.")],
    blocks: Blocks = None,
    ledger: Ledger = None,
    tiles: Annotated[str | None, typer.Option("--tiles", help="Where the ledger's address is taken from.")] = None,
    html: Html = None,
    sign: Sign = None,
    also_rpc: OtherRpc = None,
) -> int:
    """Find out whose design a file is, and who else says so."""
    from platemark.auditor.design import audit_file

    _check_blocks(blocks, tiles)
    invocation = _begun(context, html, sign=sign)
    evidence = evidence_of(invocation, blocks, tiles, also_rpc, None)
    return _finish(invocation, audit_file(evidence, *_ledger(evidence, ledger, tiles), path), html, sign)


@app.command("design")
def design(
    context: typer.Context,
    design_id: Annotated[str, typer.Argument(help="The design's id, or the beginning of one on the chain.")],
    blocks: Blocks = None,
    ledger: Ledger = None,
    tiles: Annotated[
        str | None,
        typer.Option("--tiles", help="The print log: what was printed in which month; names the ledger too."),
    ] = None,
    html: Html = None,
    sign: Sign = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Also write months and holders to this file, for a spreadsheet.")
    ] = None,
    also_rpc: OtherRpc = None,
) -> int:
    """Show a design's whole life: revisions, licences, prints minted, sold, reserved, printed and settled, by month."""
    from platemark.auditor.design import audit_design
    from platemark.auditor.render import MONTH_COLUMNS, month_rows
    from platemark.protocol.units import DesignId

    def choose(registered: Iterable[DesignId]) -> DesignId:
        found = values.begun(
            design_id, "design", lambda: registered, where="that are registered on this chain", code="design-unknown",
            hint="its whole id finds out why",
        )  # fmt: skip
        return DesignId(found)

    values.id_text_of(design_id, "design")
    _check_blocks(blocks, tiles)
    invocation = _begun(context, html, csv, sign=sign)
    evidence = evidence_of(invocation, blocks, tiles, also_rpc, None)
    report = audit_design(evidence, *_ledger(evidence, ledger, tiles), choose, with_log=tiles is not None)
    _write_csv(csv, MONTH_COLUMNS, month_rows(report))
    return _finish(invocation, report, html, sign)


@app.command("deployment")
def deployment(
    context: typer.Context,
    record: Annotated[
        Path | None, typer.Option("--deployment", help="Record of the deployment: deployments/CHAIN-ID.json.")
    ] = None,
    registry: Annotated[str | None, typer.Option("--registry", help="Address of the DesignRegistry.")] = None,
    print_license: Annotated[str | None, typer.Option("--license", help="Address of the PrintLicense.")] = None,
    ledger: Annotated[str | None, typer.Option("--ledger", help="Address of the PrintLedger.")] = None,
    deployer: Annotated[
        str | None, typer.Option("--deployer", help="Address of the deployer, where it is a copy of the usual one.")
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--source", help="Checkout of Platemark to compile, with contracts/node_modules.")
    ] = None,
    html: Html = None,
    sign: Sign = None,
    also_rpc: OtherRpc = None,
) -> int:
    """Verify the contracts on chain: code, immutable values, addresses, wiring, record; with --source also the build.

    Without a record or addresses, the addresses that this version has on every chain are audited.
    """
    from platemark.auditor.deployment import audit_deployment
    from platemark.sdk.chain import ChainClient

    invocation = _begun(context, html, sign=sign)
    chains = [invocation.required_chain, *(ChainClient(url) for url in also_rpc or [])]
    for chain in chains[1:]:
        invocation.opened.callback(chain.close)
    claim = _claim(chains[0], record, (registry, print_license, ledger), deployer)
    if source is not None and not invocation.options.as_json:
        invocation.ui.tell(f"compiling {source}")
    return _finish(invocation, audit_deployment(chains, claim, source=source), html, sign, of_prints=False)


@app.command("report")
def report(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A signed report: what --sign wrote.")],
    by: Annotated[
        list[str] | None, typer.Option("--by", help="Only reports of this auditor's account pass; may be repeated.")
    ] = None,
) -> int:
    """Show what an auditor signed, once the signature was found to be theirs; whether it is true is not checked."""
    from platemark.auditor.signed import MAX_BYTES, SignedReport
    from platemark.protocol.units import address_text
    from platemark.sdk.files import read_limited

    invocation = _begun(context)
    signed = SignedReport.parse(read_limited(file, max_bytes=MAX_BYTES))
    if by:
        signed.check_auditor([values.address(text) for text in by])
    else:
        invocation.ui.tell("whom you believe was not said, with --by: whoever signed it may be anybody")
    auditor, made_at = address_text(signed.auditor), values.moment_text(signed.made_at)
    invocation.ui.tell(f"signed by {auditor}, who says that it was made at {made_at}")
    _show(invocation, signed.report, of_prints=False, auditor=auditor, madeAt=signed.made_at)
    return ExitCode.OK if signed.report.holds else ExitCode.VERIFICATION


@app.command("settle")
def settle(
    context: typer.Context,
    tiles: Tiles,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what could be settled.")] = False,
) -> int:
    """Finish the settlement of a gateway that is gone or unwilling, with an account of your own."""
    from platemark.auditor.settle import open_unsigned, plan, send, settled_prints
    from platemark.protocol.units import id_text

    invocation = _begun(context)
    evidence = evidence_of(invocation, None, tiles, None, None)
    origin = evidence.origin()
    contracts = evidence.contracts(origin.chain_id, origin.ledger)
    facts = evidence.facts(contracts)
    found = plan(facts, origin, open_unsigned(evidence.log), now=invocation.clock.now())
    value: dict[str, JsonValue] = {
        "toSettle": found.count,
        "settledAlready": found.settled,
        "settled": settled_prints(facts, origin.gateway),
        "tooEarly": {id_text(token): moment for token, moment in found.too_early.items()},
        "returnedUnsettled": {id_text(token): prints for token, prints in found.returned.items()},
        "givenBackUnsettled": {id_text(token): prints for token, prints in found.given_back.items()},
        "transactions": [],
    }
    lines = [
        f"counted on chain  {plural(settled_prints(facts, origin.gateway), 'print')} of this gateway",
        f"nothing left      {plural(found.settled, 'token')}",
        f"to settle now     {plural(found.count, 'token')}",
        f"to settle later   {plural(len(found.too_early), 'token')}",
    ]
    lines += [
        f"token {id_text(token)[:14]} can be settled by anybody from {values.moment_text(moment)} on"
        for token, moment in found.too_early.items()
    ]
    lines += [
        f"token {id_text(token)}: {prints} printed, returned to the holder unsettled"
        for token, prints in found.returned.items()
    ]
    lines += [
        f"token {id_text(token)}: {prints} given back in the log, which only the gateway can settle: counted as printed"
        for token, prints in found.given_back.items()
    ]
    if found.count and not dry_run:
        sent = send(evidence, facts, origin, found, invocation.account)
        value["transactions"] = [f"0x{transaction.hash.hex()}" for transaction in sent]
        counted = settled_prints(evidence.facts(contracts), origin.gateway)
        value["settled"] = counted
        lines.append(
            f"settled in {plural(len(sent), 'transaction')}; "
            f"the chain now counts {plural(counted, 'print')} of this gateway"
        )
    invocation.ui.result(value, lines)
    return ExitCode.OK


def _claim(
    chain: "ChainClient",
    record: Path | None,
    addresses: tuple[str | None, str | None, str | None],
    deployer: str | None,
) -> "Claim":
    """Return what is to be audited: a record, three addresses, or the addresses that follow from the code."""
    from platemark.auditor.deployment import Claim
    from platemark.protocol.deployment import DEPLOYER, MAX_BYTES, Contracts, DeploymentRecord, contracts_of
    from platemark.protocol.units import parse_address
    from platemark.sdk.files import read_limited

    named = [parse_address(text) for text in addresses if text is not None]
    if record is not None:
        if named or deployer is not None:
            raise UsageError("the record names the contracts already", hint="give --deployment, or addresses")
        return Claim.of(DeploymentRecord.parse(read_limited(record, max_bytes=MAX_BYTES)))
    if len(named) not in {0, 3}:
        raise UsageError("name all three contracts, or none", hint="give --registry, --license and --ledger")
    creator = DEPLOYER if deployer is None else parse_address(deployer)
    return Claim(chain.chain_id(), Contracts(*named) if named else contracts_of(creator), creator)


def _begun(context: typer.Context, *outs: Path | None, sign: Path | None = None) -> Invocation:
    """Return what the command runs with, once its files could be written and the account that signs is unlocked.

    The files of an earlier report are replaced.
    """
    from platemark.sdk.files import check_output

    for out in (*outs, sign):
        if out is not None:
            check_output(out, replace=True)
    invocation = cast("Invocation", context.obj)
    if sign is not None:
        _ = invocation.account
    return invocation


def _write_csv(path: Path | None, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from platemark.auditor.render import csv_text
    from platemark.sdk.files import write_whole

    if path is not None:
        write_whole(path, csv_text(columns, rows).encode(), mode=0o644)


def _passports(invocation: Invocation, folder: Path | None, skipped: "list[JsonValue]") -> Iterator["Passport"]:
    """Yield the passports in a folder; what is none is told and its name appended to `skipped`.

    Errors: LocalError for a folder or file that cannot be read.
    """
    from platemark.sdk.files import disk_errors

    if folder is None:
        return
    with disk_errors(folder):
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".json" and path.is_file())
    for path in paths:
        try:
            yield _passport(path)
        except (MalformedError, LocalError) as error:
            if isinstance(error, LocalError) and error.code != "file-too-large":
                raise
            invocation.ui.tell(f"warning: {path.name} is skipped: {error.message}")
            skipped.append(path.name)


def _passport(file: Path) -> "Passport":
    """Return the passport in a file; errors: PassportPartError, MalformedError that names the file, LocalError."""
    from platemark.protocol.passport import MAX_BYTES, Passport, PassportPartError
    from platemark.sdk.files import read_limited

    try:
        return Passport.parse(read_limited(file, max_bytes=MAX_BYTES))
    except PassportPartError:
        raise
    except MalformedError as error:
        raise MalformedError(
            f"{file} is no passport: {error.message}",
            code=error.code,
            hint=error.hint or "a passport is the JSON file that platemark passport writes",
        ) from error


def evidence_of(
    invocation: Invocation,
    blocks: str | None,
    tiles: str | None,
    also_rpc: list[str] | None,
    accept_gateway: list[str] | None,
) -> "Evidence":
    """Return what an audit reads, from the places that were named; it is closed when the command ends."""
    from platemark.auditor.evidence import Evidence, block_source, blocks_beside, log_files
    from platemark.sdk.chain import ChainClient
    from platemark.sdk.ipfs import SeveralSources

    others = [ChainClient(url) for url in also_rpc or []]
    log = log_files(tiles or "", blocks)
    if blocks is not None:
        source = block_source(blocks)
    else:
        source = SeveralSources(()) if tiles is None else blocks_beside(tiles)
    evidence = Evidence(
        chains=[invocation.required_chain, *others],
        blocks=source,
        log=log,
        policy=_policy(accept_gateway),
        on_progress=_progress(invocation),
    )
    invocation.opened.callback(evidence.close)
    return evidence


def _signers(invocation: Invocation, evidence: "Evidence", processes: int | None) -> "Signers":
    """Return what checks the signatures of a log; its processes are ended when the command ends."""
    from platemark.auditor.signers import Signers, usable_processors

    signers = Signers(processes or usable_processors(), on_progress=evidence.on_progress)
    return invocation.opened.enter_context(signers)


def _check_blocks(blocks: str | None, tiles: str | None) -> None:
    if blocks is None and tiles is None:
        raise UsageError("name where blocks are read", hint="--blocks, or --tiles of a log that has them beside it")


def _policy(accept_gateway: list[str] | None) -> "Policy":
    from platemark.verify.policy import Policy

    return Policy(gateways=frozenset(values.address(text) for text in accept_gateway or []))


def _progress(invocation: Invocation) -> Callable[[str], None]:
    def on_progress(what: str) -> None:
        if not invocation.options.as_json:
            invocation.ui.tell(f"reading {what}")

    return on_progress


def _ledger(evidence: "Evidence", ledger: str | None, tiles: str | None) -> "tuple[int, Address]":
    """Return the chain and the ledger that the audit is of."""
    if ledger is not None:
        address = values.address(ledger)
        return evidence.chain.chain_id(), address
    if tiles is None:
        raise UsageError("name the ledger", hint="give --ledger ADDRESS, or --tiles with a log of it")
    origin = evidence.origin()
    return origin.chain_id, origin.ledger


def _write_signed(invocation: Invocation, report: "Report", sign: Path | None) -> None:
    """Write the report under the account's signature, if that was asked for."""
    from platemark.auditor.signed import sign_report
    from platemark.protocol.units import address_text
    from platemark.sdk.files import write_whole

    if sign is not None:
        write_whole(sign, sign_report(report, invocation.account, invocation.clock.now()) + b"\n", mode=0o644)
        invocation.ui.tell(f"{sign} is signed by {address_text(invocation.account.address)}")


def _finish(
    invocation: Invocation, report: "Report", html: Path | None, sign: Path | None, *, of_prints: bool = True
) -> int:
    """Write the page and the signed report, show the report, and return 0 when everything holds, else 3."""
    from platemark.auditor.render import page
    from platemark.sdk.files import write_whole

    _write_signed(invocation, report, sign)
    if html is not None:
        write_whole(html, page(report).encode(), mode=0o644)
    _show(invocation, report, of_prints=of_prints)
    return ExitCode.OK if report.holds else ExitCode.VERIFICATION


def _listed(value: "JsonValue") -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) and value else "nothing"


def _recall_line(report: "Report") -> str:
    reason = report.facts.get("recallReason")
    if reason is None:
        digest = report.facts["recallReasonDigest"]
        return f"reason of the recall: its text is not at hand (--blocks), its SHA-256 is {digest}"
    return f"reason of the recall, in the owner's words: “{reason}”" if reason else "the recall has no reason to read"


def _show(invocation: Invocation, report: "Report", *, of_prints: bool = True, **more: "JsonValue") -> None:
    from platemark.auditor.render import NOT_CLAIMED, headline, hint_line, rows, status_line

    if invocation.options.as_json:
        invocation.ui.result({**report.to_json(), **more})
    else:
        table = rows(report)
        widths = [max((len(row[column]) for row in table), default=0) for column in (0, 1)]
        lines = [
            f"{step.ljust(widths[0])}  {mark.ljust(widths[1])}  {detail}  [{source}]"
            for step, mark, detail, source in table
        ]
        lines.append(headline(report))
        lines += [line for line in (status_line(report), hint_line(report)) if line is not None]
        if "recallReasonDigest" in report.facts:
            lines.append(_recall_line(report))
        if "disclosed" in report.facts:
            opened, closed = (_listed(report.facts[name]) for name in ("disclosed", "notDisclosed"))
            lines.append(f"disclosed: {opened}; not disclosed: {closed}")
        lines.append(f"trusted: {'; '.join(report.trusted) or 'nobody'}")
        invocation.ui.result({}, lines)
        if of_prints:
            invocation.ui.tell(NOT_CLAIMED)
