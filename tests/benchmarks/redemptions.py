"""Redemptions over HTTP, counted in PostgreSQL, beside `pgbench` with the same statements on tables of the same form.

Two gateway processes, each with a load generator (wrk) of its own, PostgreSQL, and all of them on the same cores. Every
request is a signed voucher of another print; everything is on: signatures, limits, metrics, sealing, durable commits.
The baseline does no HTTP and no cryptography: BEGIN, lock the token, look for the print, raise the count, insert print
and entry, COMMIT, with as many sessions as there are clients.
"""

import asyncio
import contextlib
import functools
import json
import os
import re
import secrets
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
from sqlalchemy import insert, make_url, select, text

from benchmarks import steady
from benchmarks.paired import HEAD, alternate
from platemark.protocol.accounts import AccountKey
from platemark.protocol.digests import token_digest
from platemark.protocol.token import PrintToken
from platemark.protocol.typed_data import Reservation
from platemark.protocol.units import Digest32, TokenId
from platemark.protocol.voucher import RedemptionRequest
from platemark_gateway import profiles
from platemark_gateway.models.token import Token
from platemark_gateway.printlog.service import open_log
from platemark_gateway.tokens import service as tokens
from simulators.agent import Agent
from simulators.chain import DEPLOYMENT
from simulators.counting import running
from simulators.databases import database_of
from simulators.gateway import SimulatedGateway, simulated_gateway
from simulators.people import Designer

TOKENS: Final = 1024
PRINTS: Final = 60_000
PROCESSES: Final = 2
WARM_CLIENTS: Final = 8
BAR: Final = 0.6
BAR_CLIENTS: Final = 64
HALF_LOAD_BAR_MS: Final = 25
GROWTH_BAR: Final = 0.9
FEW: Final = 10_000
"""Prints of the database that a grown one is compared with."""
FILLED_TOKEN: Final = 50_000
"""Prints of each token that stands for the past."""
MOST_PER_SECOND: Final = 2500
LIMITS: Final = {"PLATEMARK_GATEWAY_REQUESTS_PER_MINUTE": "1000000000"}
_JSON: Final = {"Content-Type": "application/json"}
_SCRIPT: Final = """
local bodies = {}
for line in io.lines(os.getenv("PLATEMARK_BODIES")) do bodies[#bodies + 1] = line end
local headers = {["Content-Type"] = "application/json"}
local sent = 0
function request()
  sent = sent + 1
  if sent > #bodies then error("more requests than bodies were made") end
  return wrk.format("POST", "/v1/prints", headers, bodies[sent])
end
function response(status, headers, body)
  if status ~= 200 then io.stderr:write("status ", status, " ", body, "\\n") end
end
"""
_TOKEN: Final = "decode(lpad(to_hex(:number::bigint), 64, '0'), 'hex')"
_RANDOM: Final = "uuid_send(gen_random_uuid())"
# The numbers of a test's own database, no word of anybody's.
_PGBENCH: Final = f"""
\\set number random(1, {TOKENS})
BEGIN;
SELECT released FROM bench_tokens WHERE token_id = {_TOKEN} FOR NO KEY UPDATE;
UPDATE bench_tokens SET released = released + 1
  WHERE token_id = {_TOKEN} AND released - voided < prints AND released < prints + spares
  RETURNING released AS sequence \\gset
SELECT print_id FROM bench_prints WHERE token_id = {_TOKEN} AND sequence = :sequence::int;
INSERT INTO bench_prints SELECT {_TOKEN}, :sequence::int, {_RANDOM}, serial, request_digest, token_digest,
  recipient_digest, seen_block, seen_hash, detail, signature, sha256({_RANDOM}), epoch, profile_digest,
  manifest_digest, key_commitment, merge_by, created_at FROM bench_sample;
INSERT INTO bench_entries (kind, token_id, entry, leaf_hash, created_at)
  VALUES (1, {_TOKEN}, decode(repeat('ab', 320), 'hex'), sha256({_RANDOM}), 0);
COMMIT;
"""  # noqa: S608
_TABLES: Final = (
    "DROP TABLE IF EXISTS bench_prints, bench_tokens, bench_entries, bench_sample",
    "CREATE TABLE bench_tokens (LIKE tokens INCLUDING ALL) WITH (fillfactor = 50)",
    "CREATE TABLE bench_prints (LIKE prints INCLUDING ALL)",
    "ALTER TABLE bench_prints ADD FOREIGN KEY (token_id) REFERENCES bench_tokens (token_id)",
    "CREATE TABLE bench_entries (LIKE log_entries INCLUDING ALL)",
    "CREATE SEQUENCE bench_entries_id OWNED BY bench_entries.id",
    "ALTER TABLE bench_entries ALTER id SET DEFAULT nextval('bench_entries_id')",
    f"INSERT INTO bench_tokens SELECT * FROM tokens LIMIT {TOKENS}",  # noqa: S608
    (
        "UPDATE bench_tokens SET token_id = decode(lpad(to_hex(numbered.place), 64, '0'), 'hex'), "  # noqa: S608
        f"released = 0, voided = 0, prints = {PRINTS} FROM "
        "(SELECT token_id AS known, row_number() OVER () AS place FROM bench_tokens) AS numbered "
        "WHERE token_id = numbered.known"
    ),
    (
        "CREATE TABLE bench_sample AS SELECT serial, request_digest, token_digest, recipient_digest, seen_block, "
        "seen_hash, detail, signature, epoch, profile_digest, manifest_digest, key_commitment, merge_by, created_at "
        "FROM prints LIMIT 1"
    ),
    "ANALYZE",
)
_GROWING: Final = "'prints', 'log_entries', 'audit_entries', 'bench_prints', 'bench_entries'"
_FILL: Final = (
    # Constraints first, since they own indexes; no key of another table is looked up for each row.
    f"""
    SET session_replication_role = replica;
    CREATE TEMPORARY TABLE set_aside (restore text);
    DO $$ DECLARE each record; BEGIN
      FOR each IN SELECT conrelid::regclass AS place, conname, pg_get_constraintdef(oid) AS made FROM pg_constraint
        WHERE contype = 'u' AND conrelid::regclass::text IN ({_GROWING}) LOOP
        INSERT INTO set_aside
          VALUES (format('ALTER TABLE %s ADD CONSTRAINT %I %s', each.place, each.conname, each.made));
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', each.place, each.conname);
      END LOOP;
      FOR each IN SELECT indexrelid::regclass AS place, pg_get_indexdef(indexrelid) AS made FROM pg_index
        WHERE NOT indisprimary AND indrelid::regclass::text IN ({_GROWING}) LOOP
        INSERT INTO set_aside VALUES (each.made);
        EXECUTE format('DROP INDEX %s', each.place);
      END LOOP;
    END $$
    """,  # noqa: S608 (names of our own tables)
    # Tokens of the past, numbered after those that are there; each has `each` prints, the last one fewer.
    """
    CREATE TEMPORARY TABLE past ON COMMIT PRESERVE ROWS AS
      SELECT sha256({random}) AS token_id,
        least({each}, missing - (number - 1) * {each})::int AS prints
      FROM (SELECT greatest({prints} - count(*), 0) AS missing FROM prints) AS known,
        generate_series(1, ceil(missing / {each}.0)::bigint) AS number
    """,
    """
    CREATE TEMPORARY TABLE token_of_the_past AS SELECT * FROM tokens LIMIT 1;
    UPDATE token_of_the_past SET salt = sha256(salt), voided = 0;
    INSERT INTO tokens SELECT (populated).* FROM (
      SELECT populate_record.populated FROM past, LATERAL (
        SELECT jsonb_populate_record(sample, jsonb_build_object('released', past.prints, 'prints', {each},
          'token_id', '\\x' || encode(past.token_id, 'hex'))) AS populated
        FROM token_of_the_past AS sample) AS populate_record) AS rows
    """,
    """
    INSERT INTO prints SELECT past.token_id, sequence, {random}, encode(substr({random}, 1, 8), 'hex'), request_digest,
      token_digest, recipient_digest, seen_block, seen_hash, detail, signature, sha256({random}), epoch,
      profile_digest, manifest_digest, key_commitment, merge_by, created_at
    FROM past, generate_series(1, past.prints) AS sequence, bench_sample
    """,
    """
    INSERT INTO log_entries (kind, token_id, entry, leaf_hash, created_at)
    SELECT 1, past.token_id, decode(repeat('ab', 320), 'hex'), sha256({random}), created_at
    FROM past, generate_series(1, past.prints) AS sequence, bench_sample
    """,
    """
    INSERT INTO audit_entries (at, actor, action, subject, detail)
    SELECT created_at, 'agent', 'print.release', '0x' || encode(past.token_id, 'hex'), '{{}}'
    FROM past, generate_series(1, past.prints) AS sequence, bench_sample
    """,
    """
    INSERT INTO bench_tokens SELECT tokens.* FROM tokens JOIN past USING (token_id)
    """,
    """
    INSERT INTO bench_prints SELECT prints.* FROM prints JOIN past USING (token_id)
    """,
    """
    INSERT INTO bench_entries (kind, token_id, entry, leaf_hash, created_at)
    SELECT kind, token_id, entry, leaf_hash, created_at FROM log_entries JOIN past USING (token_id)
    """,
    "DO $$ DECLARE each text; BEGIN FOR each IN SELECT restore FROM set_aside LOOP EXECUTE each; END LOOP; END $$",
    "VACUUM ANALYZE",
    "CHECKPOINT",
)
"""Makes the past of a gateway, and the same for the baseline; each index is built at once when its rows are there."""


@dataclass
class Bench:
    """A gateway with many issued tokens, and the vouchers that were not sent yet."""

    gateway: SimulatedGateway
    agent: Agent
    folder: Path
    database_url: str
    issued: list[tuple[TokenId, AccountKey, str]] = field(default_factory=list)

    async def issue(self) -> None:
        """Give the agent so many more tokens, as if each had been reserved and fetched."""
        container = self.gateway.container
        async with container.database.begin() as session:
            row = (await session.scalars(select(Token).where(Token.token_id == self.agent.token_id))).one()
            values = {column.key: getattr(row, column.key) for column in Token.__table__.columns}
            claims = PrintToken.verify(tokens.issued_text(container, row), container.profile.release_key)
            signer = profiles.signer_of(container, container.profile)
            rows = []
            for number in range(TOKENS):
                key = AccountKey((1_000_000 + number).to_bytes(32, "big"))
                salt = Digest32(number.to_bytes(32, "big"))
                permission = Reservation(
                    row.holder,
                    row.gateway,
                    key.address,
                    row.license_id,
                    row.revision,
                    PRINTS,
                    row.expires_at,
                    row.deadline,
                    salt,
                )
                token_id = permission.token_id(DEPLOYMENT.ledger_domain())
                made = {name: getattr(claims, name) for name in PrintToken.__dataclass_fields__}
                signed = PrintToken(**(made | {"token_id": token_id, "agent": key.address, "prints": PRINTS})).sign(
                    signer
                )
                wrapped = container.vault.wrap(signed.encode(), tokens.wrapping_context(container, token_id))
                rows.append(
                    values
                    | {
                        "token_id": token_id,
                        "agent": key.address,
                        "prints": PRINTS,
                        "salt": salt,
                        "wrapped_token": wrapped,
                        "released": 0,
                        "voided": 0,
                    }
                )
                self.issued.append((token_id, key, signed))
            connection = await session.connection()
            for at in range(0, len(rows), 512):
                await connection.execute(insert(Token), rows[at : at + 512])

    async def bodies(self, part: int, parts: int, count: int) -> list[bytes]:
        """Return so many vouchers that the gateway expects next, of every `parts`-th token from `part` on."""
        block = self.gateway.chain.blocks[self.gateway.chain.final_number]
        public = self.agent.recipient.public_bytes
        mine = self.issued[part::parts]
        async with self.gateway.container.database.read() as session:
            released = dict((await session.execute(select(Token.token_id, Token.released))).tuples().all())
        found = []
        for number in range(count):
            token_id, key, token_text = mine[number % len(mine)]
            request = RedemptionRequest(
                token_id=token_id,
                sequence=released[token_id] + number // len(mine) + 1,
                token_digest=token_digest(token_text),
                print_id=secrets.token_bytes(16),
                recipient_digest=self.agent.recipient.digest,
                seen_block=block.number,
                seen_hash=block.hash,
                detail=Digest32(number.to_bytes(32, "big")),
            )
            signed = request.sign(key, DEPLOYMENT.ledger_domain())
            found.append(json.dumps(signed.to_body(public)).encode())
        return found


@contextlib.asynccontextmanager
async def bench(folder: Path, name: str = "") -> AsyncIterator[Bench]:
    """Run a simulated gateway on an empty PostgreSQL database, with many issued tokens; `name` tells several apart."""
    database_url = await database_of("postgresql", folder, name)
    async with simulated_gateway(folder, database_url=database_url) as gateway:
        if await open_log(gateway.container) is not None:
            raise AssertionError("an empty log is in quarantine")
        agent = Agent(gateway, Designer(gateway))
        await agent.designer.licensed(agent.holder.address, prints=50)
        await agent.reserved(prints=10)
        made = Bench(gateway, agent, folder, database_url)
        await made.issue()
        yield made


def load(url: str, bodies: list[bytes], *, clients: int, seconds: float, folder: Path) -> subprocess.Popen[str]:
    """Start sending bodies to a gateway, one after the other on each of so many connections."""
    listed = folder / f"bodies-{url.rsplit(':', 1)[1]}"
    # wrk asks for one request that it never sends; the same redemption again has the same answer.
    listed.write_bytes(b"\n".join([bodies[0], *bodies]) + b"\n")
    script = listed.with_suffix(".lua")  # of its own: another load may be reading its script right now
    script.write_text(_SCRIPT)
    return subprocess.Popen(
        ["wrk", "-t1", f"-c{clients}", f"-d{seconds:g}s", "--latency", "-s", str(script), url],
        env=os.environ | {"PLATEMARK_BODIES": str(listed)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def measured(process: subprocess.Popen[str]) -> tuple[float, dict[str, float]]:
    """Return requests per second and latencies in milliseconds by percentile of a load that ended."""
    out, error = process.communicate(timeout=120)
    if process.returncode != 0 or error or "Non-2xx" in out:
        raise AssertionError(out + error[:2000])
    rate = re.search(r"Requests/sec:\s+([0-9.]+)", out)
    if rate is None:
        raise AssertionError(out)
    units = {"us": 0.001, "ms": 1.0, "s": 1000.0}
    latency = {
        found[1]: float(found[2]) * units[found[3]]
        for found in re.finditer(r"^\s+(50|75|90|99)%\s+([0-9.]+)(us|ms|s)\s*$", out, re.MULTILINE)
    }
    return float(rate[1]), latency


class Pgbench:
    """The baseline: the same statements, by PostgreSQL's own load generator."""

    def __init__(self, database_url: str, folder: Path) -> None:
        self._url = make_url(database_url)
        self._script = folder / "pgbench.sql"
        self._script.write_text(_PGBENCH)

    def prepare(self) -> None:
        """Make tables of the same form, with the same constraints and indexes, and as many tokens."""
        self._sql(*_TABLES)

    def fill(self, prints: int) -> None:
        """Add what is missing to so many prints: tokens that are used up, their prints, entries and audit rows."""
        sys.stderr.write(f"filling up to {prints:,} prints\n")
        self._sql("\\timing", *(each.format(prints=prints, each=FILLED_TOKEN, random=_RANDOM) for each in _FILL))

    def run(self, *, clients: int, seconds: int) -> float:
        """Return transactions per second."""
        argv = ["pgbench", "--no-vacuum", f"--client={clients}", "--jobs=1", f"--time={seconds}", "--protocol=prepared"]
        done = subprocess.run(
            [*argv, f"--file={self._script}", *self._where(), self._url.database or ""],
            capture_output=True,
            text=True,
            check=False,
        )
        rate = re.search(r"tps = ([0-9.]+) \(without initial connection time\)", done.stdout)
        if done.returncode != 0 or rate is None:
            raise AssertionError(done.stdout + done.stderr)
        return float(rate[1])

    def _sql(self, *statements: str) -> None:
        commands = [f"--command={statement}" for statement in statements]
        argv = [
            "psql",
            "--quiet",
            "--set=client_min_messages=warning",
            "--set=ON_ERROR_STOP=1",
            *commands,
            *self._where(),
            self._url.database or "",
        ]
        subprocess.run(argv, check=True, stdout=sys.stderr)

    def _where(self) -> list[str]:
        return [f"--host={self._url.host}", f"--port={self._url.port}", f"--username={self._url.username}"]


@contextlib.contextmanager
def served(gateway: SimulatedGateway) -> Iterator[list[str]]:
    """Run the gateway's processes and give their addresses."""
    with contextlib.ExitStack() as stack:
        os.environ.update(LIMITS)
        folder = gateway.container.settings.data
        yield [stack.enter_context(running(gateway, log=folder / f"{number}.log")) for number in range(PROCESSES)]


async def run(*, pairs: int, seconds: int, clients: tuple[int, ...], grow: tuple[int, ...]) -> list[str]:
    """Return the lines of the tables; every rate of the gateway is checked against what the database counted."""
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        async with _up(folder) as (made, baseline, urls):
            lines = [HEAD]
            lines += [
                await _pairs(made, baseline, urls, pairs=pairs, clients=number, seconds=seconds) for number in clients
            ]
            rates = [await rate_of(made, urls, seconds=seconds) for _ in range(pairs)]
            lines += ["", await _half_load(made, urls, rate=statistics.median(rates) / 2, times=pairs, seconds=seconds)]
        if grow:
            lines += await _growth(folder, grow, pairs=pairs, seconds=seconds)
    return lines


@contextlib.asynccontextmanager
async def _up(folder: Path, name: str = "") -> AsyncIterator[tuple[Bench, Pgbench, list[str]]]:
    """Run a gateway that has been up for a while, with its baseline, and count what it did at the end."""
    async with bench(folder, name) as made:
        baseline = Pgbench(made.database_url, folder)
        with served(made.gateway) as urls:
            await warm(made, urls)
            baseline.prepare()
            yield made, baseline, urls
        await _reconcile(made)


async def _half_load(made: Bench, urls: list[str], *, rate: float, times: int, seconds: int) -> str:
    """Return a line about latencies when requests come at a fixed rate, so many times."""
    found = [await _steady(made, urls, rate=rate, seconds=seconds) for _ in range(times)]
    p99 = sorted(each["99"] for each in found)
    return (
        f"At half of that load, {rate:,.0f} a second at a fixed rate, {times} times: "
        f"median {statistics.median(each['50'] for each in found):.1f} ms, "
        f"p99 {statistics.median(p99):.1f} ms ({p99[0]:.1f} to {p99[-1]:.1f}), "
        f"worst {max(each['100'] for each in found):.0f} ms of {sum(each['sent'] for each in found):,.0f} "
        f"(bar: p99 ≤ {HALF_LOAD_BAR_MS} ms)."
    )


async def _steady(made: Bench, urls: list[str], *, rate: float, seconds: int) -> dict[str, float]:
    each = int(rate * (steady.WARM_SECONDS + seconds)) // len(urls) + 1
    bodies = [await made.bodies(number, len(urls), each) for number in range(len(urls))]
    file = made.folder / "steady"
    file.write_bytes(b"\n".join(body for turn in zip(*bodies, strict=True) for body in turn))
    argv = [sys.executable, "-m", "benchmarks.steady", str(file), f"{rate:g}", str(seconds), *urls]
    done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


async def _growth(folder: Path, sizes: tuple[int, ...], *, pairs: int, seconds: int) -> list[str]:
    """Return the lines of a table: rates with so many prints beside those of a database with few, by turns."""
    lines = [
        "",
        f"| prints | rate with {FEW:,} | rate | ratio, median (range) | bar |\n| --- | --- | --- | --- | --- |",
    ]
    small, large = folder / "few", folder / "grown"
    small.mkdir()
    large.mkdir()
    async with _up(small, "few") as (few, few_baseline, few_urls), _up(large, "grown") as (grown, baseline, urls):
        few_baseline.fill(FEW)
        for size in sizes:
            baseline.fill(size)
            await rate_of(few, few_urls, seconds=seconds)  # what follows a checkpoint
            await rate_of(grown, urls, seconds=seconds)
            ours = await alternate(
                pairs,
                functools.partial(rate_of, few, few_urls, seconds=seconds),
                functools.partial(rate_of, grown, urls, seconds=seconds),
            )
            lines.append(ours.row(f"{size:,}", "/s", GROWTH_BAR))
            theirs = await alternate(
                pairs,
                *(
                    functools.partial(asyncio.to_thread, each.run, clients=BAR_CLIENTS, seconds=seconds)
                    for each in (few_baseline, baseline)
                ),
            )
            lines.append(theirs.row(f"{size:,}, pgbench", "/s", None))
            sys.stderr.write("\n".join(lines[-2:]) + "\n")
    return lines


async def warm(made: Bench, urls: list[str]) -> None:
    """Redeem one print of each token, as a gateway that has been up for a while did; the baseline's sample is one."""
    parts = [await made.bodies(number, len(urls), TOKENS // len(urls)) for number in range(len(urls))]

    async def post(url: str, bodies: Iterator[bytes]) -> None:
        async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
            for body in bodies:
                answer = await client.post(f"{url}/v1/prints", content=body, headers=_JSON)
                answer.raise_for_status()

    jobs = [(url, iter(part)) for url, part in zip(urls, parts, strict=True)]
    await asyncio.gather(*(post(url, bodies) for url, bodies in jobs for _ in range(WARM_CLIENTS)))


async def _pairs(made: Bench, baseline: Pgbench, urls: list[str], *, pairs: int, clients: int, seconds: int) -> str:
    latencies: list[float] = []

    async def gateway() -> float:
        rate, latency = await send(made, urls, clients=clients, seconds=seconds)
        latencies.append(latency["99"])
        return rate

    async def pgbench() -> float:
        return await asyncio.to_thread(baseline.run, clients=clients, seconds=seconds)

    ratio = await alternate(pairs, pgbench, gateway)
    name = f"redemptions, {clients} clients (p99 {sorted(latencies)[pairs // 2]:.0f} ms under full load)"
    return ratio.row(name, "/s", BAR if clients == BAR_CLIENTS else None)


async def send(made: Bench, urls: list[str], *, clients: int, seconds: float) -> tuple[float, dict[str, float]]:
    """Return the rate of all processes together, and the slower one's latencies in milliseconds by percentile."""
    used = urls[: min(len(urls), clients)]
    room = int(MOST_PER_SECOND * seconds / len(used))
    parts = [await made.bodies(number, len(used), room) for number in range(len(used))]
    loads = [
        load(url, part, clients=clients // len(used), seconds=seconds, folder=made.folder)
        for url, part in zip(used, parts, strict=True)
    ]
    found = [await asyncio.to_thread(measured, each) for each in loads]
    await asyncio.sleep(1)  # what was under way when the load ended is counted by then
    return sum(rate for rate, _ in found), max((latency for _, latency in found), key=lambda each: each["99"])


async def rate_of(made: Bench, urls: list[str], *, seconds: float) -> float:
    """Return the rate of all processes together under full load."""
    return (await send(made, urls, clients=BAR_CLIENTS, seconds=seconds))[0]


async def _reconcile(made: Bench) -> None:
    """Pass when counts, prints and entries agree after everything."""
    async with made.gateway.container.database.read() as session:
        released = int(await session.scalar(text("SELECT sum(released) FROM tokens")) or 0)
        prints = int(await session.scalar(text("SELECT count(*) FROM prints")) or 0)
        entries = int(await session.scalar(text("SELECT count(*) FROM log_entries WHERE kind = 1")) or 0)
    if not released == prints == entries:
        raise AssertionError(f"{released} released, {prints} prints, {entries} entries")
