"""What an agent can open of a part that it made: the request's detail and the receipt, with their salts."""

from platemark.agent.machine import Use
from platemark.agent.receipts import SentReport
from platemark.errors import Kind, RefusedError
from platemark.protocol import canonical
from platemark.protocol.passport import Detail, ReceiptPart
from platemark.protocol.receipt import Envelope
from platemark.protocol.units import Address
from platemark.protocol.voucher import IntendedPrint


def detail_of(use: Use) -> Detail:
    """Return what opens a request's detail; errors: RefusedError `not-kept` once it was erased."""
    if use.request.detail is None:
        raise not_kept("detail")
    return Detail(use.request.detail_salt, IntendedPrint.from_json(use.request.detail))


def receipt_of(use: Use, agent: Address) -> ReceiptPart:
    """Return the receipt that both signed, and its salt.

    Errors: RefusedError `not-kept` when there is none yet, or no more.
    """
    if use.report is None or use.acknowledgement is None or not use.report.body:
        raise not_kept("receipt")
    envelope = Envelope.from_json(canonical.decode(use.acknowledgement.receipt))
    return ReceiptPart(envelope, SentReport.parse(use.report, agent).salt)


def not_kept(statement: str) -> RefusedError:
    """Return: this machine cannot open that."""
    return RefusedError(
        f"this machine cannot open the part's {statement}",
        kind=Kind.NOT_FOUND,
        code="not-kept",
        hint="the centre opens receipt and detail, the designer content; what was erased is opened by nobody",
    )
