// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title What the three contracts say about signatures and time limits
/// @notice A signature is checked as ECDSA first (65 bytes, v 27 or 28, s in the lower half of the order) and, when
/// that does not give the signer and the signer has code, by ERC-1271: an account delegated by EIP-7702 has code and
/// still signs with its key.
interface ISigned {
    /// @notice The signature is not `signer`'s for the digest that was to be signed.
    error SignatureInvalid(address signer);

    /// @notice The signed statement could be brought until `deadline` only (Unix seconds).
    error DeadlinePassed(uint40 deadline);
}
