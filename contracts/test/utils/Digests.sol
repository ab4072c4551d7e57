// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IDesignRegistry} from "../../src/interfaces/IDesignRegistry.sol";
import {IPrintLedger} from "../../src/interfaces/IPrintLedger.sol";
import {IPrintLicense} from "../../src/interfaces/IPrintLicense.sol";
import {TypedData} from "../../src/libraries/TypedData.sol";

/// @title TypedData's hashes, callable
contract Digests {
    function registration(IDesignRegistry.Registration calldata value) external pure returns (bytes32) {
        return TypedData.hash(value);
    }

    function publication(IDesignRegistry.Publication calldata value) external pure returns (bytes32) {
        return TypedData.hash(value);
    }

    function recalled(IDesignRegistry.Recall calldata value) external pure returns (bytes32) {
        return TypedData.hash(value);
    }

    function terms(IPrintLicense.Terms calldata value) external pure returns (bytes32) {
        return TypedData.hash(value);
    }

    function offer(IPrintLicense.Terms calldata value, bool onSale, uint40 deadline) external pure returns (bytes32) {
        return TypedData.hashOffer(TypedData.hash(value), onSale, deadline);
    }

    function acceptance(IPrintLicense.Acceptance calldata value) external pure returns (bytes32) {
        return TypedData.hash(value);
    }

    function minting(IPrintLicense.Mint calldata value) external pure returns (bytes32) {
        return TypedData.hash(value);
    }

    function reservation(IPrintLedger.Reservation calldata value) external pure returns (bytes32) {
        return TypedData.hash(value);
    }

    function redemption(uint256 tokenId, uint32 sequence, bytes32 requestDigest) external pure returns (bytes32) {
        return TypedData.hashRedemption(tokenId, sequence, requestDigest);
    }

    function closing(IPrintLedger.Close calldata value) external pure returns (bytes32) {
        return TypedData.hash(value);
    }

    function registrationBatch(IDesignRegistry.Registration[] calldata value) external pure returns (bytes32) {
        bytes32[] memory hashes = new bytes32[](value.length);
        for (uint256 i = 0; i < value.length; ++i) {
            hashes[i] = TypedData.hash(value[i]);
        }
        return TypedData.hashRegistrationBatch(hashes);
    }

    function editionLimit(IDesignRegistry.EditionLimit calldata value) external pure returns (bytes32) {
        return TypedData.hash(value);
    }

    function grant(IPrintLicense.Grant calldata value) external pure returns (bytes32) {
        return TypedData.hash(value);
    }

    function mintBatch(IPrintLicense.MintBatch calldata value) external pure returns (bytes32) {
        return TypedData.hash(value);
    }

    function sale(IPrintLicense.Sale calldata value) external pure returns (bytes32) {
        return TypedData.hash(value);
    }

    function move(IPrintLicense.Move calldata value) external pure returns (bytes32) {
        return TypedData.hash(value);
    }

    function returned(IPrintLicense.Return calldata value) external pure returns (bytes32) {
        return TypedData.hash(value);
    }

    function withdrawal(IPrintLicense.Withdrawal calldata value) external pure returns (bytes32) {
        return TypedData.hash(value);
    }

    function declaration(IPrintLedger.Declaration calldata value) external pure returns (bytes32) {
        return TypedData.hash(value);
    }

    function appointment(IPrintLedger.Appointment calldata value) external pure returns (bytes32) {
        return TypedData.hash(value);
    }
}
