// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title How many failed prints a reservation gives back at most
library Spares {
    /// @dev Returns the flat number and a share of the prints, the share rounded down so that splitting gains nothing of it.
    function most(uint256 prints, uint256 flat, uint256 perHundred) internal pure returns (uint256) {
        return flat + prints * perHundred / 100;
    }
}
