"""Which of a gateway's keys may have spoken: a statement without an anchor is held against what the chain declares."""

from dataclasses import dataclass

from platemark.protocol.jws import header_key_id
from platemark.protocol.profile import GatewayProfile
from platemark.verify.facts import DeclarationFact, GatewayFact
from platemark.verify.inclusion import GetProfile, declarations_since
from platemark.verify.steps import Step, fail, require


@dataclass(frozen=True, slots=True)
class KeyHistory:
    """What a gateway declared over time, and where the profiles are read that it declared."""

    gateway: GatewayFact
    get_profile: GetProfile

    def profiles_of(self, statement: str, *, since: int) -> list[GatewayProfile]:
        """Return the profiles whose release key a JWS names, newest first: a key may outlast a profile.

        The statement was made after block `since`, which the agent's request names. So its key was declared then or
        later; one that had given way before, or was withdrawn, may have leaked, and says nothing any more.

        Errors: VerificationError `release-key` for a key that was never declared, `profile-replaced` for one that was
            not declared any more; MalformedError `jws`; those of `get_profile`.
        """
        key_id = header_key_id(statement)
        found = {fact: profile for fact in self.gateway.declarations if (profile := self._profile(fact, key_id))}
        if not found:
            fail(
                Step.RELEASE,
                "the statement is signed by a key that the gateway never declared",
                code="release-key",
                expected="a key of a profile that was declared on chain",
                found=key_id,
                hint="a profile that no source of blocks has is not known either: name another with --ipfs",
            )
        require(
            any(fact in found for fact in declarations_since(self.gateway, since)),
            Step.RELEASE,
            f"the statement is under a key that was not declared any more in block {since}, when it was asked for",
            code="profile-replaced",
            expected=f"a key that was declared in block {since} or later",
            found=key_id,
            hint="keep this agent's files, and ask the gateway's operator whether that key leaked",
        )
        return list(reversed(found.values()))

    def _profile(self, fact: DeclarationFact, key_id: str) -> GatewayProfile | None:
        """Return the profile that was declared, if it is at hand and its release key has this id."""
        found = self.get_profile(fact.profile_digest) if any(fact.profile_digest) else None
        if found is None or found.release_key_id != key_id:
            return None
        return found if (found.gateway, found.epoch) == (self.gateway.gateway, fact.epoch) else None
