// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISigned} from "./ISigned.sol";

/// @title Signed statements that carry a number, because their digest is no id
/// @notice The number is any that the signer has not used in this contract, in any order. What is kept under it is the
/// digest of the statement, not a bit: the same statement again is known and changes nothing, whoever brings it and
/// when, and only another one under the same number is refused.
///
/// Each statement names its signer, whose row of numbers it stands in: no later owner of a design, and no other wallet of
/// the same key, can bring it anew. One that is accepted uses its number up, also when it finds things as it says: kept
/// good, it could undo what is decided later. One that is refused keeps its number, to be brought when it fits.
///
/// Numbers order nothing: of two statements that are out, the one brought last stands, and who brings them decides. Whoever
/// signs the contrary of one that may still be out (a sale, a move, an operator, a profile) cancels its number first, or
/// lets its deadline pass.
interface IStatements is ISigned {
    event StatementCancelled(address indexed signer, uint256 indexed nonce);

    /// @notice The signer used the number for another statement, or cancelled it.
    error NonceUsed(address signer, uint256 nonce);

    /// @notice Use a number up, so that what the sender signed with it counts no more. Again changes nothing.
    /// @dev Reverts: NonceUsed.
    function cancelStatement(uint256 nonce) external;

    /// @notice The digest that a signer's number was used for, 1 when it was cancelled, 0 when it is free.
    function statementOf(address signer, uint256 nonce) external view returns (bytes32 digest);
}
