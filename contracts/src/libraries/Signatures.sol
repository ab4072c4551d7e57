// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISigned} from "../interfaces/ISigned.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

/// @title Signatures of accounts: ECDSA first, then ERC-1271
/// @dev OpenZeppelin's checker sends every account with code to ERC-1271 and so refuses a valid ECDSA signature of an
/// account delegated by EIP-7702.
library Signatures {
    /// @dev Returns who made an ECDSA signature of 65 bytes, zero when it is malformed or malleable.
    function recovered(bytes32 digest, bytes calldata signature) internal pure returns (address signer) {
        ECDSA.RecoverError problem;
        (signer, problem,) = ECDSA.tryRecoverCalldata(digest, signature);
        if (problem != ECDSA.RecoverError.NoError) signer = address(0);
    }

    /// @dev Returns whether a contract says by ERC-1271 that the signature is its own.
    function acceptedBy(address signer, bytes32 digest, bytes calldata signature) internal view returns (bool) {
        return signer.code.length != 0 && SignatureChecker.isValidERC1271SignatureNowCalldata(signer, digest, signature);
    }

    /// @dev Reverts SignatureInvalid unless `signer` signed `digest`.
    function requireSigned(address signer, bytes32 digest, bytes calldata signature) internal view {
        address found = recovered(digest, signature);
        if (found != address(0) && found == signer) return;
        if (!acceptedBy(signer, digest, signature)) revert ISigned.SignatureInvalid(signer);
    }

    /// @dev Reverts DeadlinePassed once `deadline` is over; the second of the deadline itself is in time.
    function requireInTime(uint40 deadline) internal view {
        if (block.timestamp > deadline) revert ISigned.DeadlinePassed(deadline);
    }
}
