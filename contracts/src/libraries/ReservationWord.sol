// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev A reservation in one storage word, read and written whole: agent 160 bits (lowest), expiresAt 32, prints 16,
/// burned 16, voided 16, spares 16 (highest). Zero is no reservation, since an agent is never zero; `expiresAt` is
/// zero once the token has ended. An auditor's storage proof reads this layout.
type ReservationWord is uint256;

using ReservationWords for ReservationWord global;

/// @title Reading and writing a reservation's word
library ReservationWords {
    uint256 private constant EXPIRES_AT = 160;
    uint256 private constant PRINTS = 192;
    uint256 private constant BURNED = 208;
    uint256 private constant VOIDED = 224;
    uint256 private constant SPARES = 240;

    /// @dev Returns the word of a new reservation: nothing burned, nothing voided.
    function made(address agent_, uint32 expiresAt_, uint16 prints_, uint16 spares_)
        internal
        pure
        returns (ReservationWord)
    {
        return ReservationWord.wrap(
            uint160(agent_) | (uint256(expiresAt_) << EXPIRES_AT) | (uint256(prints_) << PRINTS)
                | (uint256(spares_) << SPARES)
        );
    }

    /// @dev Returns the word with other counts.
    function counted(ReservationWord word, uint16 burned_, uint16 voided_) internal pure returns (ReservationWord) {
        uint256 kept = ReservationWord.unwrap(word) & ~((uint256(type(uint32).max)) << BURNED);
        return ReservationWord.wrap(kept | (uint256(burned_) << BURNED) | (uint256(voided_) << VOIDED));
    }

    /// @dev Returns the word of the token when it has ended.
    function ended(ReservationWord word) internal pure returns (ReservationWord) {
        return ReservationWord.wrap(ReservationWord.unwrap(word) & ~(uint256(type(uint32).max) << EXPIRES_AT));
    }

    // The readers below cut their member out of the word: they truncate on purpose.
    // forge-lint: disable-start(unsafe-typecast)

    function agent(ReservationWord word) internal pure returns (address) {
        return address(uint160(ReservationWord.unwrap(word)));
    }

    function expiresAt(ReservationWord word) internal pure returns (uint32) {
        return uint32(ReservationWord.unwrap(word) >> EXPIRES_AT);
    }

    function prints(ReservationWord word) internal pure returns (uint16) {
        return uint16(ReservationWord.unwrap(word) >> PRINTS);
    }

    function burned(ReservationWord word) internal pure returns (uint16) {
        return uint16(ReservationWord.unwrap(word) >> BURNED);
    }

    function voided(ReservationWord word) internal pure returns (uint16) {
        return uint16(ReservationWord.unwrap(word) >> VOIDED);
    }

    function spares(ReservationWord word) internal pure returns (uint16) {
        return uint16(ReservationWord.unwrap(word) >> SPARES);
    }

    // forge-lint: disable-end(unsafe-typecast)

    /// @dev Returns the most requests that are counted: prints and spares.
    function limit(ReservationWord word) internal pure returns (uint32) {
        return uint32(prints(word)) + spares(word);
    }

    function isNone(ReservationWord word) internal pure returns (bool) {
        return ReservationWord.unwrap(word) == 0;
    }

    function hasEnded(ReservationWord word) internal pure returns (bool) {
        return expiresAt(word) == 0;
    }
}
