"""Licences as a gateway tells them, believed only after their ids and documents were recomputed."""

from dataclasses import dataclass

from platemark.errors import VerificationError
from platemark.protocol.terms_document import TermsDocument, check_digest
from platemark.protocol.typed_data import Terms
from platemark.protocol.units import LicenseId, id_text
from platemark.sdk.answers import LicenseState
from platemark.sdk.gateway import GatewayClient, single_block
from platemark.sdk.trust import TrustedGateway


@dataclass(frozen=True, slots=True)
class License:
    """A licence whose terms have its id, and whose document is the one that the terms name."""

    state: LicenseState
    document: TermsDocument

    @property
    def terms(self) -> Terms:
        """The terms on chain."""
        return self.state.terms


def fetch_license(client: GatewayClient, gateway: TrustedGateway, license_id: LicenseId) -> License:
    """Return a licence, checked.

    Errors: VerificationError `license-differs`, `terms-differ`; errors of the gateway.
    """
    state = client.license(license_id)
    check_license_id(state, license_id, gateway)
    return License(state, check_digest(state.terms, client.block(single_block(state.terms.terms_digest))))


def check_license_id(state: LicenseState, license_id: LicenseId, gateway: TrustedGateway) -> None:
    """Pass when a gateway's terms have the licence's id; errors: VerificationError `license-differs`."""
    found = state.terms.license_id(gateway.deployment.license_domain)
    if found != license_id or state.license_id != license_id or state.design_id != state.terms.design_id:
        raise VerificationError(
            "the gateway's terms are another licence's",
            step="license",
            code="license-differs",
            expected=id_text(license_id),
            found=id_text(found),
        )
