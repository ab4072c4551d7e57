"""Choices of a designer, drawn by Hypothesis: sound terms, small enough to be bought and broken on an EVM."""

from hypothesis import strategies as st

import sample_documents as sample
from platemark.protocol.license_terms import OPEN_END, Protection
from platemark.protocol.terms_document import TermsDocument
from platemark.protocol.units import ZERO_ADDRESS, Address, DesignId, UnixSeconds, Wei

DAY = 86_400
words = st.text("abcdefg ", min_size=1, max_size=20).map(str.strip).filter(bool)


@st.composite
def documents(
    draw: st.DrawFn,
    *,
    now: int = sample.NOW,
    design_id: DesignId = sample.DESIGN_ID,
    gateway: Address = sample.GATEWAY.address,
    currencies: tuple[Address, ...] = (ZERO_ADDRESS, sample.LEDGER),
) -> TermsDocument:
    """Draw a terms document that a contract takes at `now`; whatever is open may be open."""
    cap = draw(st.integers(1, 300))
    smallest = draw(st.integers(1, cap))
    per_hundred = draw(st.integers(0, 50))
    opens = draw(st.just(0) | st.integers(now + DAY, now + 30 * DAY))
    price = draw(st.just(0) | st.integers(1, 10**12))
    return TermsDocument(
        title=draw(words),
        design_id=design_id,
        gateway=gateway,
        protection=draw(st.sampled_from(Protection)),
        cap=cap,
        price=Wei(price),
        currency=draw(st.sampled_from(currencies)),
        not_before=UnixSeconds(opens),
        not_after=UnixSeconds(draw(st.just(int(OPEN_END)) | st.integers(now + 31 * DAY, now + 60 * DAY))),
        spares_flat=draw(st.integers(0, smallest // 2 - smallest * per_hundred // 100)),
        spares_per_hundred=per_hundred,
        smallest_reservation=smallest,
        transferable=draw(st.booleans()),
        payout=draw(st.integers(0, 1)) if price else 0,
        materials=tuple(draw(st.lists(words, max_size=3, unique_by=str.casefold))),
        commercial=draw(st.booleans()),
        attribution=draw(st.booleans()),
        clauses=tuple(draw(st.lists(words, max_size=3, unique=True))),
    )
