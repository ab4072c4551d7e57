// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IDesignRegistry} from "../../src/interfaces/IDesignRegistry.sol";
import {IPrintLedger} from "../../src/interfaces/IPrintLedger.sol";
import {IPrintLicense} from "../../src/interfaces/IPrintLicense.sol";
import {Signatures} from "../../src/libraries/Signatures.sol";
import {TypedData} from "../../src/libraries/TypedData.sol";
import {BaseTest} from "../utils/BaseTest.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @title tests/vectors/typed_data.json, which Python writes and checks, against TypedData
contract TypedDataVectorsTest is BaseTest {
    string private _json;
    uint256 private _compared;

    function test_each_struct_hashes_and_recovers_as_in_python() external {
        _json = vm.readFile("../tests/vectors/typed_data.json");
        for (uint256 i = 0; vm.keyExistsJson(_json, string.concat(".structs[", vm.toString(i), "]")); ++i) {
            _compare(string.concat(".structs[", vm.toString(i), "]"));
        }
        // Twenty structs are hashed on chain; each stands twice or more in the file.
        vm.assertGe(_compared, 40);
    }

    function test_domains_have_the_names_of_python() external {
        _json = vm.readFile("../tests/vectors/typed_data.json");
        _compareDomain("registry", address(registry));
        _compareDomain("license", address(license));
        _compareDomain("ledger", address(ledger));
    }

    /// @dev A vector's signature through the code that checks signatures; external, for calldata.
    function recovered(bytes32 digest, bytes calldata signature) external pure returns (address) {
        return Signatures.recovered(digest, signature);
    }

    function _compareDomain(string memory name, address ours) private view {
        string memory path = string.concat(".domains.", name);
        vm.assertEq(_name(ours), vm.parseJsonString(_json, string.concat(path, ".name")));
    }

    function _name(address contract_) private view returns (string memory name) {
        (, name,,,,,) = IDesignRegistry(contract_).eip712Domain();
    }

    function registryLike(address contract_) private pure returns (IDesignRegistry) {
        return IDesignRegistry(contract_);
    }

    function _compare(string memory path) private {
        (bool onChain, bytes32 typeHash, bytes32 structHash) = _hashed(path);
        if (!onChain) return;
        ++_compared;
        string memory name = vm.parseJsonString(_json, string.concat(path, ".name"));
        vm.assertEq(typeHash, _bytes32(path, ".typeHash"), name);
        vm.assertEq(structHash, _bytes32(path, ".structHash"), name);
        bytes32 separator = vm.parseJsonBytes32(
            _json, string.concat(".domains.", vm.parseJsonString(_json, string.concat(path, ".domain")), ".separator")
        );
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", separator, structHash));
        vm.assertEq(digest, _bytes32(path, ".digest"), name);
        address signer = vm.parseJsonAddress(_json, ".signer");
        vm.assertEq(this.recovered(digest, vm.parseJsonBytes(_json, string.concat(path, ".signature"))), signer);
        vm.assertEq(ECDSA.recover(digest, _bytes32(path, ".r"), _bytes32(path, ".vs")), signer);
    }

    function _hashed(string memory path) private view returns (bool onChain, bytes32 typeHash, bytes32 structHash) {
        bytes32 kind = keccak256(bytes(vm.parseJsonString(_json, string.concat(path, ".struct"))));
        string memory values = string.concat(path, ".values");
        if (kind == keccak256("Registration")) {
            return (true, TypedData.REGISTRATION, digests.registration(_registration(values)));
        }
        if (kind == keccak256("Publication")) {
            return (true, TypedData.PUBLICATION, digests.publication(_publication(values)));
        }
        if (kind == keccak256("Recall")) return (true, TypedData.RECALL, digests.recalled(_recall(values)));
        if (kind == keccak256("Terms")) return (true, TypedData.TERMS, digests.terms(_terms(values)));
        if (kind == keccak256("Acceptance")) {
            return (true, TypedData.ACCEPTANCE, digests.acceptance(_acceptance(values)));
        }
        if (kind == keccak256("Offer")) return (true, TypedData.OFFER, _offerHash(values));
        if (kind == keccak256("Mint")) return (true, TypedData.MINT, digests.minting(_mint(values)));
        if (kind == keccak256("Reservation")) {
            return (true, TypedData.RESERVATION, digests.reservation(_reservation(values)));
        }
        if (kind == keccak256("Redemption")) return (true, TypedData.REDEMPTION, _redemptionHash(values));
        if (kind == keccak256("Close")) return (true, TypedData.CLOSE, digests.closing(_close(values)));
        if (kind == keccak256("RegistrationBatch")) {
            return (true, TypedData.REGISTRATION_BATCH, digests.registrationBatch(_registrations(values)));
        }
        if (kind == keccak256("EditionLimit")) {
            return (true, TypedData.EDITION_LIMIT, digests.editionLimit(_editionLimit(values)));
        }
        if (kind == keccak256("Grant")) return (true, TypedData.GRANT, digests.grant(_grant(values)));
        if (kind == keccak256("MintBatch")) return (true, TypedData.MINT_BATCH, digests.mintBatch(_mintBatch(values)));
        if (kind == keccak256("Sale")) return (true, TypedData.SALE, digests.sale(_sale(values)));
        if (kind == keccak256("Move")) return (true, TypedData.MOVE, digests.move(_move(values)));
        if (kind == keccak256("Return")) return (true, TypedData.RETURN, digests.returned(_return(values)));
        if (kind == keccak256("Withdrawal")) {
            return (true, TypedData.WITHDRAWAL, digests.withdrawal(_withdrawal(values)));
        }
        if (kind == keccak256("Declaration")) {
            return (true, TypedData.DECLARATION, digests.declaration(_declaration(values)));
        }
        if (kind == keccak256("Appointment")) {
            return (true, TypedData.APPOINTMENT, digests.appointment(_appointment(values)));
        }
        return (false, 0, 0);
    }

    function _count(string memory path) private view returns (uint256 count) {
        while (vm.keyExistsJson(_json, string.concat(path, "[", vm.toString(count), "]"))) {
            ++count;
        }
    }

    function _registrations(string memory path) private view returns (IDesignRegistry.Registration[] memory made) {
        path = string.concat(path, ".registrations");
        made = new IDesignRegistry.Registration[](_count(path));
        for (uint256 i = 0; i < made.length; ++i) {
            made[i] = _registration(string.concat(path, "[", vm.toString(i), "]"));
        }
    }

    function _editionLimit(string memory path) private view returns (IDesignRegistry.EditionLimit memory) {
        return IDesignRegistry.EditionLimit({
            designId: uint256(_bytes32(path, ".designId")),
            edition: uint40(_uint(path, ".edition")),
            deadline: uint40(_uint(path, ".deadline"))
        });
    }

    function _grant(string memory path) private view returns (IPrintLicense.Grant memory) {
        return IPrintLicense.Grant({
            licenseId: uint256(_bytes32(path, ".licenseId")),
            to: _address(path, ".to"),
            prints: uint40(_uint(path, ".prints"))
        });
    }

    function _mintBatch(string memory path) private view returns (IPrintLicense.MintBatch memory made) {
        made.owner = _address(path, ".owner");
        made.nonce = uint256(_bytes32(path, ".nonce"));
        made.deadline = uint40(_uint(path, ".deadline"));
        path = string.concat(path, ".grants");
        made.grants = new IPrintLicense.Grant[](_count(path));
        for (uint256 i = 0; i < made.grants.length; ++i) {
            made.grants[i] = _grant(string.concat(path, "[", vm.toString(i), "]"));
        }
    }

    function _sale(string memory path) private view returns (IPrintLicense.Sale memory) {
        return IPrintLicense.Sale({
            owner: _address(path, ".owner"),
            licenseId: uint256(_bytes32(path, ".licenseId")),
            onSale: _bool(path, ".onSale"),
            nonce: uint256(_bytes32(path, ".nonce")),
            deadline: uint40(_uint(path, ".deadline"))
        });
    }

    function _move(string memory path) private view returns (IPrintLicense.Move memory) {
        return IPrintLicense.Move({
            owner: _address(path, ".owner"),
            licenseId: uint256(_bytes32(path, ".licenseId")),
            gateway: _address(path, ".gateway"),
            nonce: uint256(_bytes32(path, ".nonce")),
            deadline: uint40(_uint(path, ".deadline"))
        });
    }

    function _return(string memory path) private view returns (IPrintLicense.Return memory) {
        return IPrintLicense.Return({
            holder: _address(path, ".holder"),
            licenseId: uint256(_bytes32(path, ".licenseId")),
            prints: uint40(_uint(path, ".prints")),
            nonce: uint256(_bytes32(path, ".nonce")),
            deadline: uint40(_uint(path, ".deadline"))
        });
    }

    function _withdrawal(string memory path) private view returns (IPrintLicense.Withdrawal memory) {
        return IPrintLicense.Withdrawal({
            payee: _address(path, ".payee"),
            currency: _address(path, ".currency"),
            to: _address(path, ".to"),
            atLeast: uint256(_bytes32(path, ".atLeast")),
            nonce: uint256(_bytes32(path, ".nonce")),
            deadline: uint40(_uint(path, ".deadline"))
        });
    }

    function _declaration(string memory path) private view returns (IPrintLedger.Declaration memory) {
        return IPrintLedger.Declaration({
            gateway: _address(path, ".gateway"),
            profileDigest: _bytes32(path, ".profileDigest"),
            newEpoch: _bool(path, ".newEpoch"),
            nonce: uint256(_bytes32(path, ".nonce")),
            deadline: uint40(_uint(path, ".deadline"))
        });
    }

    function _appointment(string memory path) private view returns (IPrintLedger.Appointment memory) {
        return IPrintLedger.Appointment({
            gateway: _address(path, ".gateway"),
            operator: _address(path, ".operator"),
            allowed: _bool(path, ".allowed"),
            nonce: uint256(_bytes32(path, ".nonce")),
            deadline: uint40(_uint(path, ".deadline"))
        });
    }

    function _registration(string memory path) private view returns (IDesignRegistry.Registration memory) {
        return IDesignRegistry.Registration({
            registrant: _address(path, ".registrant"),
            commitment: _bytes32(path, ".commitment"),
            manifestDigest: _bytes32(path, ".manifestDigest"),
            isPrivate: _bool(path, ".isPrivate"),
            parentId: uint256(_bytes32(path, ".parentId")),
            resaleShare: uint16(_uint(path, ".resaleShare")),
            derivativeShare: uint16(_uint(path, ".derivativeShare")),
            edition: uint40(_uint(path, ".edition"))
        });
    }

    function _publication(string memory path) private view returns (IDesignRegistry.Publication memory) {
        return IDesignRegistry.Publication({
            designId: uint256(_bytes32(path, ".designId")),
            revision: uint16(_uint(path, ".revision")),
            commitment: _bytes32(path, ".commitment"),
            manifestDigest: _bytes32(path, ".manifestDigest"),
            deadline: uint40(_uint(path, ".deadline"))
        });
    }

    function _recall(string memory path) private view returns (IDesignRegistry.Recall memory) {
        return IDesignRegistry.Recall({
            designId: uint256(_bytes32(path, ".designId")),
            revision: uint16(_uint(path, ".revision")),
            reasonDigest: _bytes32(path, ".reasonDigest"),
            deadline: uint40(_uint(path, ".deadline"))
        });
    }

    function _terms(string memory path) private view returns (IPrintLicense.Terms memory) {
        return IPrintLicense.Terms({
            designId: uint256(_bytes32(path, ".designId")),
            termsDigest: _bytes32(path, ".termsDigest"),
            currency: _address(path, ".currency"),
            price: uint96(_uint(path, ".price")),
            gateway: _address(path, ".gateway"),
            cap: uint40(_uint(path, ".cap")),
            notBefore: uint40(_uint(path, ".notBefore")),
            notAfter: uint40(_uint(path, ".notAfter")),
            sparesFlat: uint16(_uint(path, ".sparesFlat")),
            sparesPerHundred: uint16(_uint(path, ".sparesPerHundred")),
            smallestReservation: uint16(_uint(path, ".smallestReservation")),
            transferable: _bool(path, ".transferable"),
            payout: uint8(_uint(path, ".payout")),
            salt: _bytes32(path, ".salt")
        });
    }

    function _acceptance(string memory path) private view returns (IPrintLicense.Acceptance memory) {
        return IPrintLicense.Acceptance({
            gateway: _address(path, ".gateway"),
            designId: uint256(_bytes32(path, ".designId")),
            revision: uint16(_uint(path, ".revision")),
            keyCommitment: _bytes32(path, ".keyCommitment"),
            termsDigest: _bytes32(path, ".termsDigest"),
            deadline: uint40(_uint(path, ".deadline"))
        });
    }

    function _offerHash(string memory path) private view returns (bytes32) {
        IPrintLicense.Terms memory terms = _terms(string.concat(path, ".terms"));
        return digests.offer(terms, _bool(path, ".onSale"), uint40(_uint(path, ".deadline")));
    }

    function _mint(string memory path) private view returns (IPrintLicense.Mint memory) {
        return IPrintLicense.Mint({
            owner: _address(path, ".owner"),
            licenseId: uint256(_bytes32(path, ".licenseId")),
            to: _address(path, ".to"),
            prints: uint40(_uint(path, ".prints")),
            nonce: uint256(_bytes32(path, ".nonce")),
            deadline: uint40(_uint(path, ".deadline"))
        });
    }

    function _reservation(string memory path) private view returns (IPrintLedger.Reservation memory) {
        return IPrintLedger.Reservation({
            holder: _address(path, ".holder"),
            gateway: _address(path, ".gateway"),
            agent: _address(path, ".agent"),
            licenseId: uint256(_bytes32(path, ".licenseId")),
            revision: uint16(_uint(path, ".revision")),
            prints: uint16(_uint(path, ".prints")),
            expiresAt: uint40(_uint(path, ".expiresAt")),
            deadline: uint40(_uint(path, ".deadline")),
            salt: _bytes32(path, ".salt")
        });
    }

    function _redemptionHash(string memory path) private view returns (bytes32) {
        return digests.redemption(
            uint256(_bytes32(path, ".tokenId")), uint32(_uint(path, ".sequence")), _bytes32(path, ".requestDigest")
        );
    }

    function _close(string memory path) private view returns (IPrintLedger.Close memory) {
        return IPrintLedger.Close({
            tokenId: uint256(_bytes32(path, ".tokenId")),
            released: uint32(_uint(path, ".released")),
            voided: uint32(_uint(path, ".voided")),
            deadline: uint40(_uint(path, ".deadline"))
        });
    }

    function _bytes32(string memory path, string memory key) private view returns (bytes32) {
        return vm.parseJsonBytes32(_json, string.concat(path, key));
    }

    function _uint(string memory path, string memory key) private view returns (uint256) {
        return vm.parseJsonUint(_json, string.concat(path, key));
    }

    function _address(string memory path, string memory key) private view returns (address) {
        return vm.parseJsonAddress(_json, string.concat(path, key));
    }

    function _bool(string memory path, string memory key) private view returns (bool) {
        return vm.parseJsonBool(_json, string.concat(path, key));
    }
}
