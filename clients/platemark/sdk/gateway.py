"""A gateway's HTTP interface: one method per endpoint, typed.

Every POST carries an idempotency key, so that it may be sent again when an answer was lost. Calls that need a
signed-in person sign in with the client's account (ERC-4361) when the gateway asks for it, once per client.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Self, TypeVar

import httpx

from platemark.errors import Kind, MalformedError, RefusedError, UpstreamError, VerificationError
from platemark.protocol.accounts import AccountKey
from platemark.protocol.byte_text import base64url, hex_text, signature_text
from platemark.protocol.canonical import JsonValue
from platemark.protocol.cid import MAX_BLOCK_BYTES, Cid, Codec
from platemark.protocol.typed_data import (
    Acceptance,
    Deposit,
    EditionLimit,
    Mint,
    MintBatch,
    Move,
    Publication,
    Recall,
    Registration,
    Reservation,
    Return,
    Sale,
    Stop,
    Terms,
    TokenRequest,
    Withdrawal,
)
from platemark.protocol.units import (
    Address,
    DesignId,
    Digest32,
    LicenseId,
    TokenId,
    UnixSeconds,
    address_text,
    digest_text,
    id_text,
)
from platemark.sdk.answers import (
    Affected,
    ApiKey,
    Blob,
    CloseOffer,
    DesignState,
    Earnings,
    GatewayInfo,
    LicenseState,
    Members,
    OutcomeAnswer,
    Page,
    PartState,
    PrintAnswer,
    ReservationState,
    SealedToken,
    SignedAcceptance,
    SignInChallenge,
    TransactionState,
    integer,
    text,
)
from platemark.sdk.transport import Answer, Deadlines, Retries, Transport

T = TypeVar("T")

_SIGN_IN_CODES: Final = frozenset({"sign-in", "sign-in-needed", "credential-invalid", "http-401"})
_UPLOAD_BYTES_PER_SECOND: Final = 1 << 20
"""The slowest upload that is waited for."""


class GatewayClient:
    """One gateway, spoken to as one account (or none); a context manager that closes its connections."""

    def __init__(
        self,
        url: str,
        *,
        account: AccountKey | None = None,
        api_key: str | None = None,
        deadlines: Deadlines | None = None,
        retries: Retries | None = None,
        transport: httpx.BaseTransport | None = None,
        randomness: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """Errors: UsageError `gateway-url`."""
        self._transport = Transport(url, deadlines=deadlines, retries=retries, transport=transport)
        self._deadlines = deadlines or Deadlines()
        self.url = self._transport.base_url
        self.account = account
        self._bearer = api_key
        self._may_sign_in = account is not None and api_key is None
        self._randomness = randomness
        self._info: GatewayInfo | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"GatewayClient({self.url})"

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    # --- gateway, sign-in ------------------------------------------------------------------------------

    def info(self, *, refresh: bool = False) -> GatewayInfo:
        """Return what the gateway says it is, asked once per client unless `refresh`."""
        if self._info is None or refresh:
            self._info = self._get("/v1/gateway", GatewayInfo.parse)
        return self._info

    def challenge(self, address: Address) -> SignInChallenge:
        """Return what an account is asked to sign in order to sign in."""
        return self._post("/v1/sign-in/challenges", {"address": address_text(address)}, SignInChallenge.parse)

    def sign_in(self) -> UnixSeconds:
        """Sign in with the client's account and return when the session ends.

        The message is rebuilt from its fields and compared, and its domain must be the gateway's own address, so
        that a gateway cannot have a sign-in for somebody else signed.

        Errors: RefusedError `sign-in` without an account; VerificationError `sign-in` for a foreign message.
        """
        if self.account is None:
            raise RefusedError(
                "this needs somebody who is signed in",
                kind=Kind.UNAUTHENTICATED,
                code="sign-in",
                hint="name a key: --key NAME",
            )
        from platemark.sdk.sign_in import signed_message

        message, signature = signed_message(self.challenge(self.account.address), self.account, self.url)
        answer = self._post("/v1/sign-in", {"message": message, "signature": signature_text(signature)}, _session)
        self._bearer, expires_at = answer
        return expires_at

    def create_api_key(self, name: str, scopes: Sequence[str]) -> ApiKey:
        """Return a new API key; its secret is shown this once."""
        return self._post("/v1/api-keys", {"name": name, "scopes": list(scopes)}, ApiKey.parse)

    def api_keys(self) -> list[ApiKey]:
        """Return the signed-in account's API keys, without their secrets."""
        return [ApiKey.parse(item) for item in self._pages("/v1/api-keys", {})]

    def delete_api_key(self, key_id: str) -> None:
        """End an API key."""
        self._send("DELETE", f"/v1/api-keys/{_segment(key_id)}")

    # --- blobs -----------------------------------------------------------------------------------------

    def upload(self, content: Callable[[], Iterator[bytes]], length_bytes: int) -> Blob:
        """Store a file on IPFS through the gateway and return what it became.

        Args:
            content: Begins the file's bytes anew; called again when an attempt fails.
            length_bytes: How many bytes there are.
        """
        return self._post_bytes(
            "/v1/blobs",
            content,
            Blob.parse,
            headers={"Content-Length": str(length_bytes), "Content-Type": "application/octet-stream"},
            total_seconds=self._deadlines.total_seconds + length_bytes / _UPLOAD_BYTES_PER_SECOND,
        )

    def block(self, cid: Cid) -> bytes:
        """Return an IPFS block, checked against its identifier; errors of `Cid.check` otherwise."""
        answer = self._transport.call(
            "GET",
            f"/ipfs/{cid.text}",
            params={"format": "raw"},
            headers={"Accept": "application/vnd.ipld.raw"},
            max_bytes=MAX_BLOCK_BYTES,
        )
        cid.check(answer.body)
        return answer.body

    # --- designs ---------------------------------------------------------------------------------------

    def register(self, registration: Registration, signature: bytes) -> DesignState:
        """Have a registration sent to the chain."""
        return self._post("/v1/designs", _signed("registration", registration.to_json(), signature), DesignState.parse)

    def designs(self, owner: Address | None = None) -> list[DesignState]:
        """Return the designs of an owner (or all), every page."""
        params = {} if owner is None else {"owner": address_text(owner)}
        return [DesignState.parse(item) for item in self._pages("/v1/designs", params)]

    def design(self, design_id: DesignId) -> DesignState:
        """Return a design."""
        return self._get(f"/v1/designs/{id_text(design_id)}", DesignState.parse)

    def publish_revision(self, publication: Publication, signature: bytes) -> None:
        """Have a later revision sent to the chain."""
        path = f"/v1/designs/{id_text(publication.design_id)}/revisions"
        self._send("POST", path, _signed("publication", publication.to_json(), signature))

    def publish_manifest(self, design_id: DesignId, revision: int, manifest: bytes) -> Cid:
        """Publish the manifest of a final revision and return its identifier."""
        return self._post_bytes(
            f"{_revision(design_id, revision)}/manifest",
            manifest,
            lambda value: Members(value, "manifest").read("manifestCid", Cid.parse),
            headers={"Content-Type": "application/json"},
        )

    def reveal(self, design_id: DesignId, revision: int, salt: bytes, files_root: Digest32) -> None:
        """Have a public design's content revealed on chain."""
        body = {"salt": digest_text(salt), "filesRoot": digest_text(files_root)}
        self._send("POST", f"{_revision(design_id, revision)}/reveal", body)

    def deposit(self, deposit: Deposit, signature: bytes, sealed: bytes) -> Digest32:
        """Deposit a content key and return the key commitment that the gateway computed after it compared all."""
        body = _signed("deposit", deposit.to_json(), signature) | {"sealed": base64url(sealed)}
        return self._post(
            f"{_revision(deposit.design_id, deposit.revision)}/deposit",
            body,
            lambda value: Members(value, "deposit").read("keyCommitment", _digest),
            total_seconds=max(600.0, self._deadlines.total_seconds),
        )

    def recall(self, recall: Recall, signature: bytes) -> None:
        """Have a recall sent to the chain."""
        path = f"{_revision(recall.design_id, recall.revision)}/recall"
        self._send("POST", path, _signed("recall", recall.to_json(), signature))

    def affected(self, design_id: DesignId, revision: int) -> Iterator[Affected]:
        """Yield the reservations and prints of a revision and what its recall owes, to the design's owner."""
        return map(Affected.parse, self._each_page(f"{_revision(design_id, revision)}/affected", {}))

    def lower_edition(self, limit: EditionLimit, signature: bytes) -> None:
        """Have a lower edition sent to the chain."""
        path = f"/v1/designs/{id_text(limit.design_id)}/edition"
        self._send("POST", path, _signed("limit", limit.to_json(), signature))

    # --- licences --------------------------------------------------------------------------------------

    def acceptance(
        self, design_id: DesignId, revision: int, terms: Terms, document: Mapping[str, JsonValue]
    ) -> SignedAcceptance:
        """Return the gateway's acceptance of terms for a revision that it holds."""
        body: dict[str, JsonValue] = {
            "designId": id_text(design_id),
            "revision": revision,
            "terms": terms.to_json(),
            "termsDocument": document,
        }
        return self._post("/v1/licenses/acceptances", body, SignedAcceptance.parse)

    def offer(
        self,
        terms: Terms,
        *,
        on_sale: bool,
        deadline: UnixSeconds,
        signature: bytes,
        acceptance: Acceptance,
        acceptance_signature: bytes,
        document: Mapping[str, JsonValue],
    ) -> LicenseState:
        """Have an offer sent to the chain."""
        body: dict[str, JsonValue] = {
            "terms": terms.to_json(),
            "onSale": on_sale,
            "deadline": deadline,
            "signature": signature_text(signature),
            "acceptance": acceptance.to_json(),
            "acceptanceSignature": signature_text(acceptance_signature),
            "termsDocument": document,
        }
        return self._post("/v1/licenses", body, LicenseState.parse)

    def licenses(self, design_id: DesignId | None = None) -> list[LicenseState]:
        """Return the licences of a design (or all), every page."""
        params = {} if design_id is None else {"designId": id_text(design_id)}
        return [LicenseState.parse(item) for item in self._pages("/v1/licenses", params)]

    def license(self, license_id: LicenseId) -> LicenseState:
        """Return a licence."""
        return self._get(f"/v1/licenses/{id_text(license_id)}", LicenseState.parse)

    def mint(self, mint: Mint, signature: bytes) -> str | None:
        """Have a mint sent to the chain and return the transaction's number at the gateway, if it sends one."""
        return self._post(
            f"/v1/licenses/{id_text(mint.license_id)}/mints", _signed("mint", mint.to_json(), signature), _transaction
        )

    def mint_batch(self, minting: MintBatch, signature: bytes) -> str | None:
        """Have several mints sent to the chain, all or none; returns as `mint`."""
        return self._post("/v1/licenses/mints", _signed("mintBatch", minting.to_json(), signature), _transaction)

    def set_sale(self, sale: Sale, signature: bytes) -> str | None:
        """Have a sale opened or ended; returns as `mint`."""
        path = f"/v1/licenses/{id_text(sale.license_id)}/sale"
        return self._post(path, _signed("sale", sale.to_json(), signature), _transaction)

    def raise_revision(self, license_id: LicenseId, acceptance: Acceptance, signature: bytes) -> str | None:
        """Have a licence raised to a later revision that the gateway accepted; returns as `mint`."""
        body: dict[str, JsonValue] = {
            "acceptance": acceptance.to_json(),
            "acceptanceSignature": signature_text(signature),
        }
        return self._post(f"/v1/licenses/{id_text(license_id)}/revision", body, _transaction)

    def move(
        self,
        move: Move,
        signature: bytes,
        *,
        acceptance: Acceptance,
        acceptance_signature: bytes,
        document: Mapping[str, JsonValue],
    ) -> str | None:
        """Have a licence moved to this gateway; returns as `mint`."""
        body: dict[str, JsonValue] = _signed("move", move.to_json(), signature) | {
            "acceptance": acceptance.to_json(),
            "acceptanceSignature": signature_text(acceptance_signature),
            "termsDocument": document,
        }
        return self._post(f"/v1/licenses/{id_text(move.license_id)}/moves", body, _transaction)

    def return_prints(self, returned: Return, signature: bytes) -> str | None:
        """Have unreserved prints returned for their price; returns as `mint`."""
        path = f"/v1/licenses/{id_text(returned.license_id)}/returns"
        return self._post(path, _signed("return", returned.to_json(), signature), _transaction)

    def earnings(self, payee: Address) -> Earnings:
        """Return what the licence contract owes an account, as the gateway reads it from the chain."""
        return self._get(f"/v1/payees/{address_text(payee)}/earnings", Earnings.parse)

    def withdraw(self, withdrawal: Withdrawal, signature: bytes) -> str | None:
        """Have what is owed to a payee paid out; returns as `mint`."""
        path = f"/v1/payees/{address_text(withdrawal.payee)}/withdrawals"
        return self._post(path, _signed("withdrawal", withdrawal.to_json(), signature), _transaction)

    def balance(self, license_id: LicenseId, holder: Address) -> int:
        """Return how many prints of a licence an account holds and has not reserved."""
        return self._get(
            f"/v1/licenses/{id_text(license_id)}/balances/{address_text(holder)}",
            lambda value: Members(value, "balance").read("prints", integer),
        )

    # --- tokens ----------------------------------------------------------------------------------------

    def reserve(self, reservation: Reservation, signature: bytes) -> ReservationState:
        """Have a permission sent to the chain."""
        body = _signed("reservation", reservation.to_json(), signature)
        return self._post("/v1/reservations", body, ReservationState.parse)

    def reservation(self, token_id: TokenId) -> ReservationState:
        """Return the counts of a print token."""
        return self._get(f"/v1/reservations/{id_text(token_id)}", ReservationState.parse)

    def reservations(self, holder: Address) -> list[ReservationState]:
        """Return the reservations of a holder, every page."""
        return [
            ReservationState.parse(item) for item in self._pages("/v1/reservations", {"holder": address_text(holder)})
        ]

    def token(self, request: TokenRequest, recipient_key: bytes, signature: bytes) -> SealedToken:
        """Return a print token, sealed to the recipient key; TryLaterError `awaiting-finality` until it is final."""
        body: dict[str, JsonValue] = {
            "request": request.to_json(),
            "recipientKey": base64url(recipient_key),
            "signature": signature_text(signature),
        }
        return self._post("/v1/tokens", body, SealedToken.parse)

    def stop(self, stop: Stop, signature: bytes) -> None:
        """End the releases of a print token at once."""
        self._send("POST", f"/v1/tokens/{id_text(stop.token_id)}/stop", _signed("stop", stop.to_json(), signature))

    def close_offer(self, token_id: TokenId, deadline: UnixSeconds) -> CloseOffer:
        """Return the gateway's signed count of a print token, for the holder to sign."""
        return self._post(f"/v1/tokens/{id_text(token_id)}/close", {"deadline": deadline}, CloseOffer.parse)

    def close_token(self, token_id: TokenId, deadline: UnixSeconds, holder_signature: bytes) -> None:
        """Have a close that both signed sent to the chain."""
        body: dict[str, JsonValue] = {"deadline": deadline, "holderSignature": signature_text(holder_signature)}
        self._send("POST", f"/v1/tokens/{id_text(token_id)}/close", body)

    # --- prints ----------------------------------------------------------------------------------------

    def redeem(self, request: bytes) -> PrintAnswer:
        """Return the release and sealed key of a print.

        Args:
            request: The JSON body exactly as the agent stored it; the same bytes have the same answer, so it is
                sent again when an answer was lost.
        """
        headers = {"Content-Type": "application/json"}
        return self._post_bytes("/v1/prints", request, PrintAnswer.parse, headers=headers, keyed=False)

    def redeem_plate(self, requests: Sequence[bytes]) -> list[PrintAnswer]:
        """Return the releases of prints that are made on one plate, in order: all are counted, or none is.

        Args:
            requests: JSON bodies as in `redeem`, of different tokens, 1 to 64.

        Errors: as `redeem`; the details of a refusal have the `place` of the first that is refused, from 0.
            UpstreamError `answer-malformed` also for more or fewer releases than were asked for.
        """

        def parse(value: JsonValue) -> list[PrintAnswer]:
            answers = PrintAnswer.parse_plate(value)
            if len(answers) != len(requests):
                raise UpstreamError("the gateway answered another plate", code="answer-malformed")
            return answers

        body = b'{"redemptions":[' + b",".join(requests) + b"]}"
        headers = {"Content-Type": "application/json"}
        return self._post_bytes("/v1/prints/plate", body, parse, headers=headers, keyed=False)

    def outcome(self, token_id: TokenId, sequence: int, report: bytes) -> OutcomeAnswer:
        """Return the promise and countersigned receipt for an outcome; `report` is the JSON body as stored."""
        path = f"/v1/prints/{id_text(token_id)}/{sequence}/outcome"
        headers = {"Content-Type": "application/json"}
        return self._post_bytes(path, report, OutcomeAnswer.parse, headers=headers, keyed=False)

    def part(self, serial: str) -> PartState:
        """Return the status of a serial."""
        return self._get(f"/v1/parts/{_segment(serial)}", PartState.parse)

    def passport(self, serial: str) -> bytes:
        """Return a part's public passport, the bytes of its JSON."""
        return self._transport.call("GET", f"/v1/parts/{_segment(serial)}/passport").body

    # --- print log, settlement, transactions -----------------------------------------------------------

    def checkpoint(self) -> bytes:
        """Return the log's signed checkpoint."""
        return self._transport.call("GET", "/log/checkpoint", max_bytes=64 << 10).body

    def tile(self, path: str) -> bytes:
        """Return a tile of the log by its path below `/log/`, such as `tile/0/000`."""
        return self._transport.call("GET", f"/log/{path}", max_bytes=MAX_BLOCK_BYTES).body

    def settle(self, license_id: LicenseId | None = None) -> None:
        """Have the gateway settle now what it would settle later."""
        self._send("POST", "/v1/settlements", {} if license_id is None else {"licenseId": id_text(license_id)})

    def settlements(self) -> list[Mapping[str, JsonValue]]:
        """Return the gateway's settlements, every page."""
        return self._pages("/v1/settlements", {})

    def anchor(self) -> None:
        """Have the gateway anchor its log now."""
        self._send("POST", "/v1/log/anchor", {})

    def transaction(self, transaction_id: str) -> TransactionState:
        """Return how far a transaction has come that the gateway sends."""
        return self._get(f"/v1/transactions/{_segment(transaction_id)}", TransactionState.parse)

    # --- inside ----------------------------------------------------------------------------------------

    def _get(self, path: str, parse: Callable[[JsonValue], T]) -> T:
        return parse(self._signed_in(lambda headers: self._transport.call("GET", path, headers=headers)).json())

    def _post(
        self,
        path: str,
        body: Mapping[str, JsonValue],
        parse: Callable[[JsonValue], T],
        *,
        total_seconds: float | None = None,
    ) -> T:
        return parse(self._send("POST", path, body, total_seconds=total_seconds).json())

    def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, JsonValue] | None = None,
        *,
        total_seconds: float | None = None,
    ) -> Answer:
        key = self._idempotency_key()
        return self._signed_in(
            lambda headers: self._transport.call(
                method, path, json=body, headers=headers | key, total_seconds=total_seconds
            )
        )

    def _post_bytes(
        self,
        path: str,
        content: Callable[[], Iterator[bytes]] | bytes,
        parse: Callable[[JsonValue], T],
        *,
        headers: Mapping[str, str],
        keyed: bool = True,
        total_seconds: float | None = None,
    ) -> T:
        fixed = dict(headers) | (self._idempotency_key() if keyed else {})
        answer = self._signed_in(
            lambda bearer: self._transport.call(
                "POST", path, content=content, headers=fixed | bearer, idempotent=True, total_seconds=total_seconds
            )
        )
        return parse(answer.json())

    def _pages(self, path: str, params: Mapping[str, str]) -> list[Mapping[str, JsonValue]]:
        return list(self._each_page(path, params))

    def _each_page(self, path: str, params: Mapping[str, str]) -> Iterator[Mapping[str, JsonValue]]:
        """Yield the items of a list while its pages come; one page is in memory."""
        found = 0
        cursor: str | None = None
        while True:
            query = dict(params) | ({"cursor": cursor} if cursor else {})
            answer = self._signed_in(
                lambda headers, query=query: self._transport.call("GET", path, params=query, headers=headers)  # type: ignore[misc]
            )
            page = Page.parse(answer.json())
            yield from page.items
            found += len(page.items)
            if page.cursor is None:
                return
            if page.cursor == cursor or found > 1_000_000:
                raise UpstreamError("the gateway's list never ends", code="answer-malformed")
            cursor = page.cursor

    def _signed_in(self, call: Callable[[dict[str, str]], Answer]) -> Answer:
        """Make a call, signing in once when the gateway asks who is calling."""
        try:
            return call(self._authorization())
        except RefusedError as error:
            if error.code not in _SIGN_IN_CODES or not self._may_sign_in:
                raise
        self._may_sign_in = False
        try:
            self.sign_in()
        finally:
            self._may_sign_in = True
        return call(self._authorization())

    def _authorization(self) -> dict[str, str]:
        return {} if self._bearer is None else {"Authorization": f"Bearer {self._bearer}"}

    def _idempotency_key(self) -> dict[str, str]:
        return {"Idempotency-Key": hex_text(self._randomness(16))[2:]}


def check_uploaded(blob: Blob, cid: Cid, sha256: Digest32, length_bytes: int) -> None:
    """Raise unless a gateway stored the very bytes that were sent.

    Errors: VerificationError `upload-mismatch`.
    """
    if (blob.cid, blob.sha256, blob.length_bytes) != (cid, sha256, length_bytes):
        raise VerificationError(
            "the gateway stored something else than what was sent",
            step="upload",
            code="upload-mismatch",
            expected=f"{cid.text}, {length_bytes} bytes",
            found=f"{blob.cid.text}, {blob.length_bytes} bytes",
            hint="send it again; if it happens twice, use another gateway",
        )


def single_block(digest: Digest32) -> Cid:
    """Return the identifier of the raw block with this SHA-256: manifests, terms, reasons and profiles are such."""
    return Cid(Codec.RAW, digest)


def _signed(name: str, struct: JsonValue, signature: bytes) -> dict[str, JsonValue]:
    return {name: struct, "signature": signature_text(signature)}


def _revision(design_id: DesignId, revision: int) -> str:
    return f"/v1/designs/{id_text(design_id)}/revisions/{revision}"


def _segment(text_: str) -> str:
    """Return one segment of a path.

    Errors: MalformedError `path-segment` for anything else than letters, digits, dots, dashes and underscores.
    """
    if not text_ or len(text_) > 128 or not all(c.isascii() and (c.isalnum() or c in "-_.") for c in text_):
        raise MalformedError("this cannot stand in an address", code="path-segment")
    return text_


def _session(value: JsonValue) -> tuple[str, UnixSeconds]:
    members = Members(value, "session")
    return members.read("session", text), UnixSeconds(members.read("expiresAt", integer))


def _transaction(value: JsonValue) -> str | None:
    return Members(value, "transaction").maybe("transaction", text)


def _digest(value: JsonValue) -> Digest32:
    from platemark.protocol.units import parse_digest

    return parse_digest(value)
