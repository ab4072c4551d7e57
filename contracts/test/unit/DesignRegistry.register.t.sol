// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IDesignRegistry} from "../../src/interfaces/IDesignRegistry.sol";
import {BaseTest} from "../utils/BaseTest.sol";
import {Wallet} from "../utils/Wallets.sol";

contract DesignRegistryRegisterTest is BaseTest {
    function testFuzz_register_keeps_what_is_yes_or_no_apart(bool isPrivate, bool derived) external {
        IDesignRegistry.Registration memory registration = aRegistration();
        uint256 parentId = registered(registration);
        registration.manifestDigest = keccak256("another");
        registration.isPrivate = isPrivate;
        registration.parentId = derived ? parentId : 0;
        uint256 designId = registered(registration);
        vm.assertEq(registry.isPrivate(designId), isPrivate);
        vm.assertFalse(registry.isRevealed(designId, 1));
        vm.assertTrue(registry.isPrintable(designId, 1));
        (,,, bool standsDerived) = registry.standingOf(designId, 1);
        vm.assertEq(standsDerived, derived);
    }

    function test_register_gives_the_design_to_its_registrant_under_its_digest() external {
        IDesignRegistry.Registration memory registration = aRegistration();
        uint256 expected = uint256(domained(address(registry), digests.registration(registration)));
        vm.expectEmit();
        emit IDesignRegistry.DesignRegistered(
            expected, designer, registration.commitment, MANIFEST, false, 0, 500, 1000, 0
        );
        vm.assertEq(registered(registration), expected);
        vm.assertEq(registry.ownerOf(expected), designer);
        vm.assertEq(registry.registrantOf(expected), designer);
        vm.assertEq(registry.latestRevision(expected), 1);
        vm.assertTrue(registry.isPrintable(expected, 1));
        vm.assertFalse(registry.isRevealed(expected, 1));
    }

    function testFuzz_register_keeps_every_member(
        address registrant,
        bytes32 commitment,
        bool isPrivate,
        uint16 resaleShare,
        uint16 derivativeShare,
        uint40 edition
    ) external {
        vm.assume(registrant != address(0) && commitment != 0);
        IDesignRegistry.Registration memory registration = aRegistration();
        registration.registrant = registrant;
        registration.commitment = commitment;
        registration.isPrivate = isPrivate;
        registration.resaleShare = uint16(bound(resaleShare, 0, 10_000));
        registration.derivativeShare = uint16(bound(derivativeShare, 0, 5000));
        registration.edition = edition;
        uint256 designId = registered(registration);
        IDesignRegistry.Design memory design = registry.designOf(designId);
        vm.assertEq(design.registrant, registrant);
        vm.assertEq(design.edition, edition);
        vm.assertEq(design.resaleShare, registration.resaleShare);
        vm.assertEq(design.derivativeShare, registration.derivativeShare);
        vm.assertEq(design.latestRevision, 1);
        vm.assertEq(design.isPrivate, isPrivate);
        vm.assertEq(design.parentId, 0);
        vm.assertEq(registry.isPrivate(designId), isPrivate);
        vm.assertEq(registry.editionOf(designId), edition);
    }

    function testFuzz_register_refuses_another_sender(address sender) external {
        vm.assume(sender != designer);
        vm.expectRevert(abi.encodeWithSelector(IDesignRegistry.NotRegistrant.selector, designer, sender));
        vm.prank(sender);
        registry.register(aRegistration());
    }

    function test_register_again_changes_nothing_for_anybody() external {
        uint256 designId = registered();
        vm.prank(designer);
        registry.transferFrom(designer, holder, designId);
        vm.recordLogs();
        vm.prank(stranger);
        vm.assertEq(registry.register(aRegistration()), designId);
        vm.assertEq(registry.registerBySig(aRegistration(), ""), designId);
        assertNoEvents();
        vm.assertEq(registry.ownerOf(designId), holder);
    }

    function test_register_refuses_an_empty_commitment() external {
        IDesignRegistry.Registration memory registration = aRegistration();
        registration.commitment = 0;
        vm.expectRevert(abi.encodeWithSelector(IDesignRegistry.CommitmentZero.selector));
        vm.prank(designer);
        registry.register(registration);
    }

    function testFuzz_register_refuses_shares_above_their_limits(uint16 share) external {
        IDesignRegistry.Registration memory registration = aRegistration();
        registration.resaleShare = uint16(bound(share, 10_001, type(uint16).max));
        vm.expectRevert(
            abi.encodeWithSelector(IDesignRegistry.ShareAbove.selector, registration.resaleShare, uint16(10_000))
        );
        vm.prank(designer);
        registry.register(registration);

        registration = aRegistration();
        registration.derivativeShare = uint16(bound(share, 5001, type(uint16).max));
        vm.expectRevert(
            abi.encodeWithSelector(IDesignRegistry.ShareAbove.selector, registration.derivativeShare, uint16(5000))
        );
        vm.prank(designer);
        registry.register(registration);
    }

    function testFuzz_register_refuses_an_unknown_parent(uint256 parentId) external {
        vm.assume(parentId != 0);
        IDesignRegistry.Registration memory registration = aRegistration();
        registration.parentId = parentId;
        vm.expectRevert(abi.encodeWithSelector(IDesignRegistry.DesignUnknown.selector, parentId));
        vm.prank(designer);
        registry.register(registration);
    }

    function test_register_takes_four_parents_above_and_no_more() external {
        IDesignRegistry.Registration memory registration = aRegistration();
        for (uint256 i = 0; i < 5; ++i) {
            uint256 designId = registered(registration);
            vm.assertEq(registry.designOf(designId).parentId, registration.parentId);
            registration.parentId = designId;
        }
        vm.expectRevert(
            abi.encodeWithSelector(IDesignRegistry.ParentTooDeep.selector, registration.parentId, uint256(4))
        );
        vm.prank(designer);
        registry.register(registration);
    }

    // --- by signature -------------------------------------------------------------------------------------------

    function testFuzz_registerBySig_gives_the_design_to_who_signed_whoever_sends(address sender) external {
        IDesignRegistry.Registration memory registration = aRegistration();
        bytes memory signature = signedBy(DESIGNER_KEY, registration);
        vm.prank(sender);
        uint256 designId = registry.registerBySig(registration, signature);
        vm.assertEq(registry.ownerOf(designId), designer);
        vm.assertEq(designId, registry.designIdOf(registration));
    }

    function testFuzz_registerBySig_refuses_another_key(uint256 key) external {
        key = bound(key, 1, ORDER - 1);
        vm.assume(vm.addr(key) != designer);
        IDesignRegistry.Registration memory registration = aRegistration();
        bytes memory signature = signedBy(key, registration);
        expectSignatureInvalid(designer);
        registry.registerBySig(registration, signature);
    }

    function test_registerBySig_refuses_the_signature_of_another_chain() external {
        IDesignRegistry.Registration memory registration = aRegistration();
        bytes memory signature = signedBy(DESIGNER_KEY, registration);
        vm.chainId(2);
        expectSignatureInvalid(designer);
        registry.registerBySig(registration, signature);
    }

    function test_registerBySig_refuses_a_malleable_signature() external {
        IDesignRegistry.Registration memory registration = aRegistration();
        bytes32 digest = bytes32(registry.designIdOf(registration));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(DESIGNER_KEY, digest);
        bytes memory twin = abi.encodePacked(r, bytes32(ORDER - uint256(s)), v == 27 ? uint8(28) : uint8(27));
        expectSignatureInvalid(designer);
        registry.registerBySig(registration, twin);
    }

    function testFuzz_registerBySig_refuses_other_lengths(bytes calldata signature) external {
        vm.assume(signature.length != 65);
        expectSignatureInvalid(designer);
        registry.registerBySig(aRegistration(), signature);
    }

    function test_registerBySig_refuses_the_zero_registrant() external {
        IDesignRegistry.Registration memory registration = aRegistration();
        registration.registrant = address(0);
        expectSignatureInvalid(address(0));
        registry.registerBySig(registration, new bytes(65));
    }

    function test_registerBySig_takes_a_contract_wallet() external {
        IDesignRegistry.Registration memory registration = aRegistration();
        registration.registrant = address(new Wallet(holder));
        uint256 designId = registry.registerBySig(registration, signedBy(HOLDER_KEY, registration));
        vm.assertEq(registry.ownerOf(designId), registration.registrant);
    }

    function test_registerBySig_refuses_what_a_contract_wallet_did_not_sign() external {
        IDesignRegistry.Registration memory registration = aRegistration();
        registration.registrant = address(new Wallet(holder));
        bytes memory signature = signedBy(STRANGER_KEY, registration);
        expectSignatureInvalid(registration.registrant);
        registry.registerBySig(registration, signature);
    }

    function test_registerBySig_takes_the_key_of_an_account_with_delegated_code() external {
        // EIP-7702: 0xef0100 and the delegate's address stand as the account's code.
        vm.etch(designer, abi.encodePacked(hex"ef0100", address(registry)));
        IDesignRegistry.Registration memory registration = aRegistration();
        uint256 designId = registry.registerBySig(registration, signedBy(DESIGNER_KEY, registration));
        vm.assertEq(registry.ownerOf(designId), designer);
    }

    // --- a copied registration ----------------------------------------------------------------------------------

    function test_copying_a_pending_registration_gains_nothing() external {
        IDesignRegistry.Registration memory mine = aRegistration();
        IDesignRegistry.Registration memory copy = aRegistration();
        copy.registrant = stranger;
        uint256 copiedId = registered(copy); // ahead of the original
        uint256 designId = registered(mine);
        vm.assertNotEq(copiedId, designId);
        vm.assertEq(registry.ownerOf(designId), designer);

        registry.reveal(mine, SALT, FILES_ROOT);
        vm.assertTrue(registry.isRevealed(designId, 1));
        vm.expectRevert(abi.encodeWithSelector(IDesignRegistry.CommitmentMismatch.selector, copiedId, uint16(1)));
        vm.prank(stranger);
        registry.reveal(copy, SALT, FILES_ROOT);
    }

    function test_sending_a_strangers_pending_registration_gives_it_to_its_registrant() external {
        IDesignRegistry.Registration memory mine = aRegistration();
        bytes memory signature = signedBy(DESIGNER_KEY, mine);
        vm.prank(stranger);
        uint256 first = registry.registerBySig(mine, signature);
        vm.assertEq(registered(mine), first);
        vm.assertEq(registry.ownerOf(first), designer);
    }
}
