// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IDesignRegistry} from "../../src/interfaces/IDesignRegistry.sol";
import {IPrintLicense} from "../../src/interfaces/IPrintLicense.sol";
import {BaseTest} from "../utils/BaseTest.sol";
import {Wallet} from "../utils/Wallets.sol";

/// @title Many designs with one signature
contract DesignRegistryBatchTest is BaseTest {
    function _some(uint256 count) private view returns (IDesignRegistry.Registration[] memory registrations) {
        registrations = new IDesignRegistry.Registration[](count);
        for (uint256 i = 0; i < count; ++i) {
            registrations[i] = aRegistration();
            registrations[i].manifestDigest = keccak256(abi.encode(i));
        }
    }

    function testFuzz_registerBatchBySig_registers_all_with_one_signature(uint256 count, address sender) external {
        IDesignRegistry.Registration[] memory registrations = _some(bound(count, 1, 8));
        bytes memory signature = signedBy(DESIGNER_KEY, registrations);
        vm.prank(sender);
        uint256[] memory designIds = registry.registerBatchBySig(registrations, signature);
        vm.assertEq(designIds.length, registrations.length);
        for (uint256 i = 0; i < designIds.length; ++i) {
            vm.assertEq(designIds[i], registry.designIdOf(registrations[i]));
            vm.assertEq(registry.ownerOf(designIds[i]), designer);
        }
        vm.assertEq(registry.balanceOf(designer), designIds.length);
        vm.recordLogs();
        registry.registerBatchBySig(registrations, "");
        assertNoEvents();
    }

    function test_registerBatchBySig_skips_what_is_known_and_counts_a_twin_once() external {
        IDesignRegistry.Registration[] memory registrations = _some(3);
        registered(registrations[1]);
        registrations[2] = registrations[0];
        uint256[] memory designIds = registry.registerBatchBySig(registrations, signedBy(DESIGNER_KEY, registrations));
        vm.assertEq(designIds[0], designIds[2]);
        vm.assertEq(registry.balanceOf(designer), 2);
    }

    function test_registerBatchBySig_of_nothing_does_nothing() external {
        vm.assertEq(registry.registerBatchBySig(_some(0), "").length, 0);
    }

    function testFuzz_registerBatchBySig_refuses_another_key(uint256 key) external {
        key = bound(key, 1, ORDER - 1);
        vm.assume(vm.addr(key) != designer);
        IDesignRegistry.Registration[] memory registrations = _some(2);
        bytes memory signature = signedBy(key, registrations);
        expectSignatureInvalid(designer);
        registry.registerBatchBySig(registrations, signature);
    }

    function test_registerBatchBySig_refuses_one_more_one_less_and_another_order() external {
        IDesignRegistry.Registration[] memory registrations = _some(2);
        bytes memory signature = signedBy(DESIGNER_KEY, registrations);
        IDesignRegistry.Registration[] memory others = _some(3);
        expectSignatureInvalid(designer);
        registry.registerBatchBySig(others, signature);
        others = _some(1);
        expectSignatureInvalid(designer);
        registry.registerBatchBySig(others, signature);
        (registrations[0], registrations[1]) = (registrations[1], registrations[0]);
        expectSignatureInvalid(designer);
        registry.registerBatchBySig(registrations, signature);
    }

    function testFuzz_registerBatchBySig_refuses_two_registrants(address other) external {
        vm.assume(other != designer);
        IDesignRegistry.Registration[] memory registrations = _some(2);
        registrations[1].registrant = other;
        bytes memory signature = signedBy(DESIGNER_KEY, registrations);
        vm.expectRevert(abi.encodeWithSelector(IDesignRegistry.RegistrantMismatch.selector, designer, other));
        registry.registerBatchBySig(registrations, signature);
    }

    function test_registerBatchBySig_takes_contract_wallets_and_delegated_accounts() external {
        IDesignRegistry.Registration[] memory registrations = _some(2);
        address wallet = address(new Wallet(stranger));
        (registrations[0].registrant, registrations[1].registrant) = (wallet, wallet);
        registry.registerBatchBySig(registrations, signedBy(STRANGER_KEY, registrations));
        vm.assertEq(registry.balanceOf(wallet), 2);
        vm.etch(designer, abi.encodePacked(hex"ef0100", wallet));
        registrations = _some(2);
        registry.registerBatchBySig(registrations, signedBy(DESIGNER_KEY, registrations));
        vm.assertEq(registry.balanceOf(designer), 2);
    }

    function test_registerBatch_is_the_registrants_and_all_or_nothing() external {
        IDesignRegistry.Registration[] memory registrations = _some(2);
        vm.prank(designer);
        vm.assertEq(registry.registerBatch(registrations).length, 2);
        vm.assertEq(registry.balanceOf(designer), 2);
        registrations = _some(4);
        vm.expectRevert(abi.encodeWithSelector(IDesignRegistry.NotRegistrant.selector, designer, stranger));
        vm.prank(stranger);
        registry.registerBatch(registrations);
        registrations[3].commitment = 0;
        vm.expectRevert(abi.encodeWithSelector(IDesignRegistry.CommitmentZero.selector));
        vm.prank(designer);
        registry.registerBatch(registrations);
        vm.assertEq(registry.balanceOf(designer), 2);
    }
}

/// @title An edition that is only lowered
contract DesignRegistryEditionTest is BaseTest {
    uint256 private _designId;

    function setUp() public override {
        super.setUp();
        IDesignRegistry.Registration memory registration = aRegistration();
        registration.edition = 100;
        _designId = registered(registration);
    }

    function testFuzz_lowerEdition_lowers_and_repeats_change_nothing(uint40 edition) external {
        edition = uint40(bound(edition, 1, 99));
        vm.expectEmit();
        emit IDesignRegistry.EditionLowered(_designId, edition);
        vm.prank(designer);
        registry.lowerEdition(anEditionLimit(_designId, edition));
        vm.assertEq(registry.editionOf(_designId), edition);
        vm.assertEq(registry.designOf(_designId).edition, edition);
        vm.recordLogs();
        vm.prank(stranger);
        registry.lowerEdition(anEditionLimit(_designId, edition));
        assertNoEvents();
    }

    function testFuzz_lowerEdition_never_raises(uint40 edition) external {
        edition = edition <= 100 ? 0 : edition;
        vm.expectRevert(
            abi.encodeWithSelector(IDesignRegistry.EditionNotLowered.selector, _designId, uint40(100), edition)
        );
        vm.prank(designer);
        registry.lowerEdition(anEditionLimit(_designId, edition));
    }

    function testFuzz_lowerEdition_leaves_an_open_design_open(uint40 edition) external {
        edition = uint40(bound(edition, 1, type(uint40).max));
        uint256 open = registered();
        vm.expectRevert(abi.encodeWithSelector(IDesignRegistry.EditionOpen.selector, open));
        vm.prank(designer);
        registry.lowerEdition(anEditionLimit(open, edition));
    }

    function testFuzz_lowerEdition_refuses_who_does_not_own_the_design(address sender) external {
        vm.assume(sender != designer);
        vm.expectRevert(abi.encodeWithSelector(IDesignRegistry.NotOwner.selector, _designId, sender));
        vm.prank(sender);
        registry.lowerEdition(anEditionLimit(_designId, 50));
    }

    function test_lowerEdition_refuses_late_and_unknown() external {
        IDesignRegistry.EditionLimit memory limit = anEditionLimit(_designId, 50);
        limit.deadline = START - 1;
        expectDeadlinePassed(START - 1);
        vm.prank(designer);
        registry.lowerEdition(limit);
        limit = anEditionLimit(1, 50);
        vm.expectRevert(abi.encodeWithSelector(IDesignRegistry.DesignUnknown.selector, uint256(1)));
        registry.lowerEdition(limit);
    }

    function testFuzz_lowerEditionBySig_lowers_whoever_sends_and_does_not_come_back(address sender) external {
        IDesignRegistry.EditionLimit memory fifty = anEditionLimit(_designId, 50);
        IDesignRegistry.EditionLimit memory forty = anEditionLimit(_designId, 40);
        vm.prank(sender);
        registry.lowerEditionBySig(fifty, signedBy(DESIGNER_KEY, fifty));
        registry.lowerEditionBySig(forty, signedBy(DESIGNER_KEY, forty));
        vm.assertEq(registry.editionOf(_designId), 40);
        bytes memory signature = signedBy(DESIGNER_KEY, fifty);
        vm.expectRevert(
            abi.encodeWithSelector(IDesignRegistry.EditionNotLowered.selector, _designId, uint40(40), uint40(50))
        );
        registry.lowerEditionBySig(fifty, signature);
    }

    function testFuzz_lowerEditionBySig_refuses_another_key(uint256 key) external {
        key = bound(key, 1, ORDER - 1);
        vm.assume(vm.addr(key) != designer);
        IDesignRegistry.EditionLimit memory limit = anEditionLimit(_designId, 50);
        bytes memory signature = signedBy(key, limit);
        expectSignatureInvalid(designer);
        registry.lowerEditionBySig(limit, signature);
        registry.lowerEditionBySig(anEditionLimit(_designId, 100), ""); // stands already
    }

    function testFuzz_minting_stops_at_the_lowered_edition(uint40 before, uint40 edition) external {
        before = uint40(bound(before, 1, 100));
        edition = uint40(bound(edition, 1, 99));
        IPrintLicense.Terms memory terms = someTerms(_designId);
        terms.cap = 100;
        uint256 licenseId = offered(terms, true);
        vm.prank(designer);
        license.mint(licenseId, holder, before);
        vm.prank(designer);
        registry.lowerEdition(anEditionLimit(_designId, edition));
        uint40 left = edition < before ? 0 : edition - before;
        if (left != 0) {
            vm.prank(designer);
            license.mint(licenseId, holder, left);
        }
        if (before + left < 100) {
            vm.expectRevert(
                abi.encodeWithSelector(IPrintLicense.EditionExceeded.selector, _designId, uint40(1), uint40(0))
            );
            vm.prank(designer);
            license.mint(licenseId, holder, 1);
        }
        vm.assertEq(license.balanceOf(holder, licenseId), before + left); // nothing was taken back
        terms.salt = "another";
        terms.cap = edition + 1;
        IPrintLicense.Acceptance memory acceptance = anAcceptance(_designId, 1);
        bytes memory accepted = signedBy(GATEWAY_KEY, acceptance);
        terms.smallestReservation = 1;
        terms.sparesFlat = 0;
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.CapAboveEdition.selector, terms.cap, edition));
        vm.prank(designer);
        license.offer(terms, true, acceptance, accepted);
    }
}

/// @title Who is paid of what a design earns
contract DesignRegistryPayeesTest is BaseTest {
    function _child(uint256 parentId, uint16 derivativeShare) private returns (uint256) {
        IDesignRegistry.Registration memory registration = aRegistration();
        (registration.parentId, registration.derivativeShare) = (parentId, derivativeShare);
        registration.manifestDigest = bytes32(parentId);
        return registered(registration);
    }

    function testFuzz_a_design_without_a_parent_keeps_everything(uint256 amount) external {
        (address[] memory payees, uint256[] memory amounts) = registry.payeesOf(registered(), amount);
        vm.assertEq(payees.length, 1);
        vm.assertEq(payees[0], designer);
        vm.assertEq(amounts[0], amount);
    }

    function testFuzz_shares_add_up_and_the_line_gets_half_at_most(uint256 amount, uint16[4] memory shares) external {
        uint256 designId = 0;
        for (uint256 i = 0; i < 4; ++i) {
            shares[i] = uint16(bound(shares[i], 0, 5000));
            designId = _child(designId, shares[i]);
        }
        designId = _child(designId, 5000);
        (address[] memory payees, uint256[] memory amounts) = registry.payeesOf(designId, amount);
        vm.assertEq(payees.length, 5);
        uint256 left = amount;
        for (uint256 i = 0; i < 5; ++i) {
            vm.assertLe(amounts[i], left);
            left -= amounts[i];
        }
        vm.assertEq(left, 0);
        vm.assertGe(amounts[0], amount / 2);
    }

    function testFuzz_a_share_is_the_parents_and_rounded_down(uint64 amount, uint16 share) external {
        share = uint16(bound(share, 0, 5000));
        uint256 childId = _child(_child(0, share), 4999);
        (, uint256[] memory amounts) = registry.payeesOf(childId, amount);
        vm.assertEq(amounts[1], uint256(amount) * share / 10_000);
        vm.assertEq(amounts[0], amount - amounts[1]);
    }

    function testFuzz_payeesOf_refuses_an_unknown_design(uint256 designId) external {
        vm.expectRevert(abi.encodeWithSelector(IDesignRegistry.DesignUnknown.selector, designId));
        registry.payeesOf(designId, 1);
    }

    function testFuzz_there_is_no_revision_zero_and_none_above_the_latest(uint16 revision) external {
        uint256 designId = registered();
        registry.reveal(aRegistration(), SALT, FILES_ROOT);
        vm.assertEq(registry.isRevealed(designId, revision), revision == 1);
        vm.assertEq(registry.isPrintable(designId, revision), revision == 1);
        vm.assertFalse(registry.isRevealed(designId, 0));
        vm.assertFalse(registry.isPrintable(designId, 0));
    }

    // --- metadata -----------------------------------------------------------------------------------------------

    function test_tokenURI_is_json_that_names_the_latest_manifest_once_it_is_stored() external {
        uint256 designId = registered();
        string memory json = _decoded(registry.tokenURI(designId));
        vm.assertEq(
            vm.parseJsonString(json, ".name"), string.concat("Platemark design ", vm.toString(bytes32(designId)))
        );
        vm.assertEq(vm.parseJsonAddress(json, ".properties.registrant"), designer);
        vm.assertEq(vm.parseJsonUint(json, ".properties.edition"), 0);
        vm.assertEq(vm.parseJsonUint(json, ".properties.revision"), 1);
        vm.assertFalse(vm.keyExistsJson(json, ".properties.manifest"));
        IDesignRegistry.Publication memory publication = aPublication(designId, 2);
        vm.prank(designer);
        registry.publish(publication);
        json = _decoded(registry.tokenURI(designId));
        vm.assertEq(vm.parseJsonUint(json, ".properties.revision"), 2);
        bytes memory expected = bytes(vm.toString(publication.manifestDigest));
        (expected[0], expected[1]) = ("2", "0");
        vm.assertEq(vm.parseJsonString(json, ".properties.manifest"), string.concat("ipfs://f015512", string(expected)));
    }

    function testFuzz_tokenURI_refuses_an_unknown_design(uint256 designId) external {
        vm.expectRevert(abi.encodeWithSelector(IDesignRegistry.DesignUnknown.selector, designId));
        registry.tokenURI(designId);
    }

    function test_interfaces_are_named() external view {
        vm.assertTrue(registry.supportsInterface(0x01ffc9a7)); // ERC-165
        vm.assertTrue(registry.supportsInterface(0x80ac58cd)); // ERC-721
        vm.assertTrue(registry.supportsInterface(0x5b5e139f)); // ERC-721 metadata
        vm.assertTrue(registry.supportsInterface(0x2a55205a)); // ERC-2981
        vm.assertFalse(registry.supportsInterface(0xffffffff));
    }

    /// @dev The bytes behind `data:application/json;base64,`.
    function _decoded(string memory uri) private pure returns (string memory) {
        bytes memory text = bytes(uri);
        bytes memory head = "data:application/json;base64,";
        for (uint256 i = 0; i < head.length; ++i) {
            vm.assertEq(uint8(text[i]), uint8(head[i]));
        }
        bytes memory made = new bytes((text.length - head.length) / 4 * 3);
        uint256 size = 0;
        for (uint256 i = head.length; i < text.length; i += 4) {
            uint256 group = 0;
            for (uint256 j = 0; j < 4; ++j) {
                group = group << 6 | _sextet(text[i + j]);
            }
            for (uint256 j = 0; j < 3; ++j) {
                made[size++] = bytes1(uint8(group >> (16 - 8 * j)));
            }
        }
        uint256 padding = text[text.length - 1] != "=" ? 0 : text[text.length - 2] != "=" ? 1 : 2;
        bytes memory json = new bytes(size - padding);
        for (uint256 i = 0; i < json.length; ++i) {
            json[i] = made[i];
        }
        return string(json);
    }

    function _sextet(bytes1 letter) private pure returns (uint256) {
        uint8 code = uint8(letter);
        if (letter >= "A" && letter <= "Z") return code - 65;
        if (letter >= "a" && letter <= "z") return code - 71;
        if (letter >= "0" && letter <= "9") return code + 4;
        return letter == "+" ? 62 : letter == "/" ? 63 : 0;
    }
}
