// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Base64} from "@openzeppelin/contracts/utils/Base64.sol";
import {Strings} from "@openzeppelin/contracts/utils/Strings.sol";

/// @title JSON that wallets and markets show, written by the contracts themselves: no server has to answer
/// @dev A document that stands on IPFS as one raw block is named by its CIDv1 in base 16: f, 01 (version 1), 55 (raw),
/// 1220 (SHA-256, 32 bytes), digest.
library Metadata {
    /// @dev Returns the ERC-721 metadata of a design as a data URI. Revision 1's manifest digest stands in the design's
    /// id and its event, not in storage, so `manifestDigest` zero leaves it out.
    function ofDesign(
        uint256 designId,
        address registrant,
        uint40 edition,
        uint16 latestRevision,
        bytes32 manifestDigest
    ) internal pure returns (string memory) {
        // JSON is full of double quotes.
        // solhint-disable quotes
        bytes memory json = abi.encodePacked(
            '{"name":"Platemark design ',
            Strings.toHexString(designId, 32),
            '","description":"A design for 3D printing. Whoever owns this token may license it.","properties":{',
            '"registrant":"',
            Strings.toChecksumHexString(registrant),
            '","edition":',
            Strings.toString(edition),
            ',"revision":',
            Strings.toString(latestRevision),
            manifestDigest == 0 ? "" : string.concat(',"manifest":"', ipfs(manifestDigest), '"'),
            "}}"
        );
        // solhint-enable quotes
        return string.concat("data:application/json;base64,", Base64.encode(json));
    }

    /// @dev Returns the ERC-1155 metadata of a licence as a data URI in which clients replace `{id}`; everything else
    /// is percent-encoded as RFC 3986 asks.
    function ofLicense(bytes32 termsDigest) internal pure returns (string memory) {
        return string.concat(
            "data:application/json,%7B%22name%22:%22Prints%20of%20licence%200x{id}%22,%22description%22:",
            "%22One%20unit%20is%20one%20print%22,%22decimals%22:0,%22properties%22:%7B%22terms%22:%22",
            ipfs(termsDigest),
            "%22%7D%7D"
        );
    }

    /// @dev Returns the IPFS address of a raw block by its SHA-256.
    function ipfs(bytes32 digest) internal pure returns (string memory) {
        bytes memory hex_ = bytes(Strings.toHexString(uint256(digest), 32));
        (hex_[0], hex_[1]) = ("2", "0"); // where 0x stood, the end of 01551220
        return string.concat("ipfs://f015512", string(hex_));
    }
}
