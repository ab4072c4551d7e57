// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IStatements} from "./interfaces/IStatements.sol";
import {Signatures} from "./libraries/Signatures.sol";

/// @title Statements
/// @dev The specification is IStatements.
abstract contract Statements is IStatements {
    /// @dev No digest: nobody finds the preimage.
    bytes32 private constant CANCELLED = bytes32(uint256(1));

    /// @inheritdoc IStatements
    mapping(address signer => mapping(uint256 nonce => bytes32 digest)) public statementOf;

    /// @inheritdoc IStatements
    function cancelStatement(uint256 nonce) external {
        if (_isKnown(msg.sender, nonce, CANCELLED)) return;
        statementOf[msg.sender][nonce] = CANCELLED;
        emit StatementCancelled(msg.sender, nonce);
    }

    /// @dev Returns false for a statement that was brought before, true for one that counts from now on; reverts
    /// NonceUsed, DeadlinePassed, SignatureInvalid.
    function _isNew(address signer, uint256 nonce, uint40 deadline, bytes32 digest, bytes calldata signature)
        internal
        returns (bool)
    {
        if (_isKnown(signer, nonce, digest)) return false;
        Signatures.requireInTime(deadline);
        Signatures.requireSigned(signer, digest, signature);
        statementOf[signer][nonce] = digest;
        return true;
    }

    function _isKnown(address signer, uint256 nonce, bytes32 digest) private view returns (bool) {
        bytes32 known = statementOf[signer][nonce];
        if (known != 0 && known != digest) revert NonceUsed(signer, nonce);
        return known != 0;
    }
}
