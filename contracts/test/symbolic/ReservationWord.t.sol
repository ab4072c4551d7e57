// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ReservationWord, ReservationWords} from "../../src/libraries/ReservationWord.sol";

/// @title For every word: what is put in comes out, and no member touches another
contract ReservationWordProof {
    function check_made_holds_its_members(address agent, uint32 expiresAt, uint16 prints, uint16 spares) external pure {
        ReservationWord word = ReservationWords.made(agent, expiresAt, prints, spares);
        assert(word.agent() == agent && word.expiresAt() == expiresAt);
        assert(word.prints() == prints && word.spares() == spares);
        assert(word.burned() == 0 && word.voided() == 0);
    }

    function check_counted_changes_the_counts_alone(ReservationWord word, uint16 burned, uint16 voided) external pure {
        ReservationWord next = word.counted(burned, voided);
        assert(next.burned() == burned && next.voided() == voided);
        assert(next.agent() == word.agent() && next.expiresAt() == word.expiresAt());
        assert(next.prints() == word.prints() && next.spares() == word.spares());
    }

    function check_ended_changes_the_expiry_alone(ReservationWord word) external pure {
        ReservationWord next = word.ended();
        assert(next.hasEnded());
        assert(next.agent() == word.agent() && next.prints() == word.prints() && next.spares() == word.spares());
        assert(next.burned() == word.burned() && next.voided() == word.voided());
    }

    function check_members_are_the_whole_word(ReservationWord word) external pure {
        ReservationWord built = ReservationWords.made(word.agent(), word.expiresAt(), word.prints(), word.spares())
            .counted(word.burned(), word.voided());
        assert(ReservationWord.unwrap(built) == ReservationWord.unwrap(word));
    }

    function check_a_reservation_is_never_none(address agent, uint32 expiresAt, uint16 prints, uint16 spares)
        external
        pure
    {
        if (agent == address(0)) return;
        ReservationWord word = ReservationWords.made(agent, expiresAt, prints, spares);
        assert(!word.isNone() && !word.ended().isNone());
    }

    function check_limit_does_not_wrap(ReservationWord word) external pure {
        assert(word.limit() == uint256(word.prints()) + word.spares());
    }
}
