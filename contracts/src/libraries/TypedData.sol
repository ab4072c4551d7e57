// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IDesignRegistry} from "../interfaces/IDesignRegistry.sol";
import {IPrintLedger} from "../interfaces/IPrintLedger.sol";
import {IPrintLicense} from "../interfaces/IPrintLicense.sol";

/// @title EIP-712 struct hashes of everything that is signed for the three contracts
/// @dev The type strings are those of clients/platemark/protocol/typed_data.py; tests/vectors/typed_data.json binds
/// both. Structs of static members are hashed as their ABI encoding behind the type hash.
library TypedData {
    bytes32 internal constant REGISTRATION = keccak256(
        "Registration(address registrant,bytes32 commitment,bytes32 manifestDigest,bool isPrivate,uint256 parentId,uint16 resaleShare,uint16 derivativeShare,uint40 edition)"
    );
    bytes32 internal constant REGISTRATION_BATCH = keccak256(
        "RegistrationBatch(Registration[] registrations)Registration(address registrant,bytes32 commitment,bytes32 manifestDigest,bool isPrivate,uint256 parentId,uint16 resaleShare,uint16 derivativeShare,uint40 edition)"
    );
    bytes32 internal constant PUBLICATION = keccak256(
        "Publication(uint256 designId,uint16 revision,bytes32 commitment,bytes32 manifestDigest,uint40 deadline)"
    );
    bytes32 internal constant RECALL =
        keccak256("Recall(uint256 designId,uint16 revision,bytes32 reasonDigest,uint40 deadline)");
    bytes32 internal constant EDITION_LIMIT =
        keccak256("EditionLimit(uint256 designId,uint40 edition,uint40 deadline)");
    bytes32 internal constant TERMS = keccak256(
        "Terms(uint256 designId,bytes32 termsDigest,address currency,uint96 price,address gateway,uint40 cap,uint40 notBefore,uint40 notAfter,uint16 sparesFlat,uint16 sparesPerHundred,uint16 smallestReservation,bool transferable,uint8 payout,bytes32 salt)"
    );
    bytes32 internal constant ACCEPTANCE = keccak256(
        "Acceptance(address gateway,uint256 designId,uint16 revision,bytes32 keyCommitment,bytes32 termsDigest,uint40 deadline)"
    );
    bytes32 internal constant OFFER = keccak256(
        "Offer(Terms terms,bool onSale,uint40 deadline)Terms(uint256 designId,bytes32 termsDigest,address currency,uint96 price,address gateway,uint40 cap,uint40 notBefore,uint40 notAfter,uint16 sparesFlat,uint16 sparesPerHundred,uint16 smallestReservation,bool transferable,uint8 payout,bytes32 salt)"
    );
    bytes32 internal constant MINT =
        keccak256("Mint(address owner,uint256 licenseId,address to,uint40 prints,uint256 nonce,uint40 deadline)");
    bytes32 internal constant GRANT = keccak256("Grant(uint256 licenseId,address to,uint40 prints)");
    bytes32 internal constant MINT_BATCH = keccak256(
        "MintBatch(address owner,Grant[] grants,uint256 nonce,uint40 deadline)Grant(uint256 licenseId,address to,uint40 prints)"
    );
    bytes32 internal constant SALE =
        keccak256("Sale(address owner,uint256 licenseId,bool onSale,uint256 nonce,uint40 deadline)");
    bytes32 internal constant MOVE =
        keccak256("Move(address owner,uint256 licenseId,address gateway,uint256 nonce,uint40 deadline)");
    bytes32 internal constant RETURN =
        keccak256("Return(address holder,uint256 licenseId,uint40 prints,uint256 nonce,uint40 deadline)");
    bytes32 internal constant WITHDRAWAL = keccak256(
        "Withdrawal(address payee,address currency,address to,uint256 atLeast,uint256 nonce,uint40 deadline)"
    );
    bytes32 internal constant RESERVATION = keccak256(
        "Reservation(address holder,address gateway,address agent,uint256 licenseId,uint16 revision,uint16 prints,uint40 expiresAt,uint40 deadline,bytes32 salt)"
    );
    bytes32 internal constant REDEMPTION =
        keccak256("Redemption(uint256 tokenId,uint32 sequence,bytes32 requestDigest)");
    bytes32 internal constant DECLARATION =
        keccak256("Declaration(address gateway,bytes32 profileDigest,bool newEpoch,uint256 nonce,uint40 deadline)");
    bytes32 internal constant APPOINTMENT =
        keccak256("Appointment(address gateway,address operator,bool allowed,uint256 nonce,uint40 deadline)");
    bytes32 internal constant CLOSE = keccak256("Close(uint256 tokenId,uint32 released,uint32 voided,uint40 deadline)");

    function hash(IDesignRegistry.Registration calldata registration) internal pure returns (bytes32) {
        return keccak256(abi.encode(REGISTRATION, registration));
    }

    /// @dev Takes the struct hashes of the registrations: an array of structs is hashed as their hashes in a row.
    function hashRegistrationBatch(bytes32[] memory registrationHashes) internal pure returns (bytes32) {
        return keccak256(abi.encode(REGISTRATION_BATCH, keccak256(abi.encodePacked(registrationHashes))));
    }

    function hash(IDesignRegistry.EditionLimit calldata limit) internal pure returns (bytes32) {
        return keccak256(abi.encode(EDITION_LIMIT, limit));
    }

    function hash(IDesignRegistry.Publication calldata publication) internal pure returns (bytes32) {
        return keccak256(abi.encode(PUBLICATION, publication));
    }

    function hash(IDesignRegistry.Recall calldata recalled) internal pure returns (bytes32) {
        return keccak256(abi.encode(RECALL, recalled));
    }

    function hash(IPrintLicense.Terms calldata terms) internal pure returns (bytes32) {
        return keccak256(abi.encode(TERMS, terms));
    }

    function hash(IPrintLicense.Acceptance calldata acceptance) internal pure returns (bytes32) {
        return keccak256(abi.encode(ACCEPTANCE, acceptance));
    }

    function hashOffer(bytes32 termsHash, bool onSale, uint40 deadline) internal pure returns (bytes32) {
        return keccak256(abi.encode(OFFER, termsHash, onSale, deadline));
    }

    function hash(IPrintLicense.Mint calldata minting) internal pure returns (bytes32) {
        return keccak256(abi.encode(MINT, minting));
    }

    function hash(IPrintLicense.Grant calldata grant) internal pure returns (bytes32) {
        return keccak256(abi.encode(GRANT, grant));
    }

    function hash(IPrintLicense.MintBatch calldata minting) internal pure returns (bytes32) {
        uint256 count = minting.grants.length;
        bytes32[] memory grants = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            grants[i] = hash(minting.grants[i]);
        }
        return keccak256(
            abi.encode(MINT_BATCH, minting.owner, keccak256(abi.encodePacked(grants)), minting.nonce, minting.deadline)
        );
    }

    function hash(IPrintLicense.Sale calldata sale) internal pure returns (bytes32) {
        return keccak256(abi.encode(SALE, sale));
    }

    function hash(IPrintLicense.Move calldata move) internal pure returns (bytes32) {
        return keccak256(abi.encode(MOVE, move));
    }

    function hash(IPrintLicense.Return calldata returned) internal pure returns (bytes32) {
        return keccak256(abi.encode(RETURN, returned));
    }

    function hash(IPrintLicense.Withdrawal calldata withdrawal) internal pure returns (bytes32) {
        return keccak256(abi.encode(WITHDRAWAL, withdrawal));
    }

    function hash(IPrintLedger.Declaration calldata declaration) internal pure returns (bytes32) {
        return keccak256(abi.encode(DECLARATION, declaration));
    }

    function hash(IPrintLedger.Appointment calldata appointment) internal pure returns (bytes32) {
        return keccak256(abi.encode(APPOINTMENT, appointment));
    }

    function hash(IPrintLedger.Reservation calldata reservation) internal pure returns (bytes32) {
        return keccak256(abi.encode(RESERVATION, reservation));
    }

    function hashRedemption(uint256 tokenId, uint32 sequence, bytes32 requestDigest) internal pure returns (bytes32) {
        return keccak256(abi.encode(REDEMPTION, tokenId, sequence, requestDigest));
    }

    function hash(IPrintLedger.Close calldata closing) internal pure returns (bytes32) {
        return keccak256(abi.encode(CLOSE, closing));
    }
}
