// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IDesignRegistry} from "../../src/interfaces/IDesignRegistry.sol";
import {BaseTest} from "../utils/BaseTest.sol";

contract DesignRegistryRevealTest is BaseTest {
    function testFuzz_reveal_of_a_public_design_is_anybodys(address sender) external {
        uint256 designId = registered();
        vm.expectEmit();
        emit IDesignRegistry.ContentRevealed(designId, 1, FILES_ROOT, SALT);
        vm.prank(sender);
        registry.reveal(aRegistration(), SALT, FILES_ROOT);
        vm.assertTrue(registry.isRevealed(designId, 1));
        vm.assertTrue(registry.isPrintable(designId, 1));
    }

    function test_reveal_again_changes_nothing() external {
        registered();
        registry.reveal(aRegistration(), SALT, FILES_ROOT);
        vm.recordLogs();
        registry.reveal(aRegistration(), SALT, FILES_ROOT);
        assertNoEvents();
    }

    function testFuzz_reveal_of_a_private_design_is_its_registrants_alone(address sender) external {
        vm.assume(sender != designer);
        IDesignRegistry.Registration memory registration = aRegistration();
        registration.isPrivate = true;
        uint256 designId = registered(registration);
        vm.expectRevert(abi.encodeWithSelector(IDesignRegistry.NotRegistrant.selector, designer, sender));
        vm.prank(sender);
        registry.reveal(registration, SALT, FILES_ROOT);
        vm.prank(designer);
        registry.reveal(registration, SALT, FILES_ROOT);
        vm.assertTrue(registry.isRevealed(designId, 1));
    }

    function testFuzz_reveal_refuses_what_was_not_committed(bytes32 salt, bytes32 filesRoot) external {
        vm.assume(salt != SALT || filesRoot != FILES_ROOT);
        uint256 designId = registered();
        vm.expectRevert(abi.encodeWithSelector(IDesignRegistry.CommitmentMismatch.selector, designId, uint16(1)));
        registry.reveal(aRegistration(), salt, filesRoot);
    }

    function test_reveal_refuses_an_unknown_design() external {
        uint256 designId = registry.designIdOf(aRegistration());
        vm.expectRevert(abi.encodeWithSelector(IDesignRegistry.DesignUnknown.selector, designId));
        registry.reveal(aRegistration(), SALT, FILES_ROOT);
    }

    function test_revealRevision_opens_a_later_revision() external {
        uint256 designId = registered();
        vm.prank(designer);
        registry.publish(aPublication(designId, 2));
        bytes32 salt = saltOf(2);
        vm.expectEmit();
        emit IDesignRegistry.ContentRevealed(designId, 2, FILES_ROOT, salt);
        registry.revealRevision(designId, 2, salt, FILES_ROOT);
        vm.assertTrue(registry.isRevealed(designId, 2));
        vm.assertFalse(registry.isRevealed(designId, 1));
        vm.recordLogs();
        registry.revealRevision(designId, 2, salt, FILES_ROOT);
        assertNoEvents();
    }

    function test_revealRevision_is_over_the_registrant_after_a_sale() external {
        uint256 designId = registered();
        vm.prank(designer);
        registry.transferFrom(designer, holder, designId);
        vm.prank(holder);
        registry.publish(aPublication(designId, 2));
        registry.revealRevision(designId, 2, saltOf(2), FILES_ROOT);
        vm.assertTrue(registry.isRevealed(designId, 2));
    }

    function test_revealRevision_refuses_strangers_to_a_private_design() external {
        IDesignRegistry.Registration memory registration = aRegistration();
        registration.isPrivate = true;
        uint256 designId = registered(registration);
        vm.prank(designer);
        registry.publish(aPublication(designId, 2));
        vm.expectRevert(abi.encodeWithSelector(IDesignRegistry.NotRegistrant.selector, designer, stranger));
        vm.prank(stranger);
        registry.revealRevision(designId, 2, saltOf(2), FILES_ROOT);
    }

    function testFuzz_revealRevision_refuses_what_was_not_committed(bytes32 salt) external {
        vm.assume(salt != saltOf(2));
        uint256 designId = registered();
        vm.prank(designer);
        registry.publish(aPublication(designId, 2));
        vm.expectRevert(abi.encodeWithSelector(IDesignRegistry.CommitmentMismatch.selector, designId, uint16(2)));
        registry.revealRevision(designId, 2, salt, FILES_ROOT);
    }

    function testFuzz_revealRevision_refuses_unpublished_ones(uint16 revision) external {
        uint256 designId = registered();
        vm.expectRevert(abi.encodeWithSelector(IDesignRegistry.RevisionUnknown.selector, designId, revision));
        registry.revealRevision(designId, revision, SALT, FILES_ROOT);
    }

    function testFuzz_revealRevision_refuses_an_unknown_design(uint256 designId) external {
        vm.expectRevert(abi.encodeWithSelector(IDesignRegistry.DesignUnknown.selector, designId));
        registry.revealRevision(designId, 2, SALT, FILES_ROOT);
    }
}

contract DesignRegistryPublishTest is BaseTest {
    uint256 private _designId;

    function setUp() public override {
        super.setUp();
        _designId = registered();
    }

    function test_publish_adds_the_next_revision() external {
        IDesignRegistry.Publication memory publication = aPublication(_designId, 2);
        vm.expectEmit();
        emit IDesignRegistry.RevisionPublished(_designId, 2, publication.commitment, publication.manifestDigest);
        vm.prank(designer);
        registry.publish(publication);
        vm.assertEq(registry.latestRevision(_designId), 2);
        vm.assertTrue(registry.isPrintable(_designId, 1));
        vm.assertTrue(registry.isPrintable(_designId, 2));
        (bytes32 commitment, bytes32 manifestDigest) = registry.publicationOf(_designId, 2);
        vm.assertEq(commitment, publication.commitment);
        vm.assertEq(manifestDigest, publication.manifestDigest);
    }

    function test_publish_again_changes_nothing_while_it_is_the_latest() external {
        IDesignRegistry.Publication memory publication = aPublication(_designId, 2);
        vm.prank(designer);
        registry.publish(publication);
        vm.recordLogs();
        vm.prank(stranger);
        registry.publish(publication);
        registry.publishBySig(publication, "");
        assertNoEvents();
        vm.assertEq(registry.latestRevision(_designId), 2);
    }

    function test_publish_again_changes_nothing_for_anybody() external {
        IDesignRegistry.Publication memory publication = aPublication(_designId, 2);
        vm.prank(designer);
        registry.publish(publication);
        vm.prank(designer);
        registry.publish(aPublication(_designId, 3));
        vm.recordLogs();
        vm.warp(START + 30 days);
        vm.prank(stranger);
        registry.publish(publication);
        registry.publishBySig(publication, "");
        assertNoEvents();
        vm.assertEq(registry.latestRevision(_designId), 3);
    }

    function testFuzz_publish_refuses_other_content_of_a_known_revision(bytes32 other) external {
        IDesignRegistry.Publication memory publication = aPublication(_designId, 2);
        vm.assume(other != publication.manifestDigest);
        vm.prank(designer);
        registry.publish(publication);
        publication.manifestDigest = other;
        vm.expectRevert(
            abi.encodeWithSelector(IDesignRegistry.RevisionUnexpected.selector, _designId, uint16(3), uint16(2))
        );
        vm.prank(designer);
        registry.publish(publication);
    }

    function testFuzz_publish_refuses_gaps(uint16 revision) external {
        vm.assume(revision != 2);
        vm.expectRevert(
            abi.encodeWithSelector(IDesignRegistry.RevisionUnexpected.selector, _designId, uint16(2), revision)
        );
        vm.prank(designer);
        registry.publish(aPublication(_designId, revision));
    }

    function testFuzz_publish_refuses_who_is_not_the_owner(address sender) external {
        vm.assume(sender != designer);
        vm.expectRevert(abi.encodeWithSelector(IDesignRegistry.NotOwner.selector, _designId, sender));
        vm.prank(sender);
        registry.publish(aPublication(_designId, 2));
    }

    function test_publish_refuses_the_registrant_after_a_sale() external {
        vm.prank(designer);
        registry.transferFrom(designer, holder, _designId);
        vm.expectRevert(abi.encodeWithSelector(IDesignRegistry.NotOwner.selector, _designId, designer));
        vm.prank(designer);
        registry.publish(aPublication(_designId, 2));
    }

    function test_publish_refuses_an_empty_commitment() external {
        IDesignRegistry.Publication memory publication = aPublication(_designId, 2);
        publication.commitment = 0;
        vm.expectRevert(abi.encodeWithSelector(IDesignRegistry.CommitmentZero.selector));
        vm.prank(designer);
        registry.publish(publication);
    }

    function testFuzz_publish_refuses_an_unknown_design(uint256 designId) external {
        vm.assume(designId != _designId);
        vm.expectRevert(abi.encodeWithSelector(IDesignRegistry.DesignUnknown.selector, designId));
        registry.publish(aPublication(designId, 2));
    }

    function testFuzz_publish_refuses_after_the_deadline(uint40 late) external {
        IDesignRegistry.Publication memory publication = aPublication(_designId, 2);
        vm.warp(bound(late, uint256(publication.deadline) + 1, type(uint40).max));
        expectDeadlinePassed(publication.deadline);
        vm.prank(designer);
        registry.publish(publication);
    }

    function testFuzz_publishBySig_is_anybodys_to_send(address sender) external {
        IDesignRegistry.Publication memory publication = aPublication(_designId, 2);
        bytes memory signature = signedBy(DESIGNER_KEY, publication);
        vm.warp(publication.deadline);
        vm.prank(sender);
        registry.publishBySig(publication, signature);
        vm.assertEq(registry.latestRevision(_designId), 2);
    }

    function testFuzz_publishBySig_refuses_another_key(uint256 key) external {
        key = bound(key, 1, ORDER - 1);
        vm.assume(vm.addr(key) != designer);
        bytes memory signature = signedBy(key, aPublication(_designId, 2));
        expectSignatureInvalid(designer);
        registry.publishBySig(aPublication(_designId, 2), signature);
    }

    function test_publishBySig_refuses_after_the_deadline() external {
        IDesignRegistry.Publication memory publication = aPublication(_designId, 2);
        bytes memory signature = signedBy(DESIGNER_KEY, publication);
        vm.warp(uint256(publication.deadline) + 1);
        expectDeadlinePassed(publication.deadline);
        registry.publishBySig(publication, signature);
    }
}

contract DesignRegistryRecallTest is BaseTest {
    uint256 private _designId;

    function setUp() public override {
        super.setUp();
        _designId = registered();
        vm.prank(designer);
        registry.publish(aPublication(_designId, 2));
    }

    function test_recall_withdraws_one_revision_for_ever() external {
        for (uint16 revision = 1; revision <= 2; ++revision) {
            vm.expectEmit();
            emit IDesignRegistry.RevisionRecalled(_designId, revision, keccak256("reason"));
            vm.prank(designer);
            registry.recall(aRecall(_designId, revision));
            vm.assertFalse(registry.isPrintable(_designId, revision));
            if (revision == 1) vm.assertTrue(registry.isPrintable(_designId, 2));
        }
    }

    function test_recall_again_changes_nothing() external {
        vm.prank(designer);
        registry.recall(aRecall(_designId, 1));
        vm.recordLogs();
        vm.warp(START + 30 days);
        vm.prank(stranger);
        registry.recall(aRecall(_designId, 1));
        registry.recallBySig(aRecall(_designId, 1), "");
        assertNoEvents();
    }

    function test_a_recalled_revision_may_still_be_revealed() external {
        vm.prank(designer);
        registry.recall(aRecall(_designId, 1));
        registry.reveal(aRegistration(), SALT, FILES_ROOT);
        vm.assertTrue(registry.isRevealed(_designId, 1));
        vm.assertFalse(registry.isPrintable(_designId, 1));
    }

    function testFuzz_recall_refuses_revisions_that_are_not(uint16 revision) external {
        vm.assume(revision == 0 || revision > 2);
        vm.expectRevert(abi.encodeWithSelector(IDesignRegistry.RevisionUnknown.selector, _designId, revision));
        vm.prank(designer);
        registry.recall(aRecall(_designId, revision));
    }

    function testFuzz_recall_refuses_an_unknown_design(uint256 designId) external {
        vm.assume(designId != _designId);
        vm.expectRevert(abi.encodeWithSelector(IDesignRegistry.DesignUnknown.selector, designId));
        registry.recall(aRecall(designId, 1));
    }

    function testFuzz_recall_refuses_who_is_not_the_owner(address sender) external {
        vm.assume(sender != designer);
        vm.expectRevert(abi.encodeWithSelector(IDesignRegistry.NotOwner.selector, _designId, sender));
        vm.prank(sender);
        registry.recall(aRecall(_designId, 1));
    }

    function test_recall_refuses_after_the_deadline() external {
        IDesignRegistry.Recall memory recalled = aRecall(_designId, 1);
        vm.warp(uint256(recalled.deadline) + 1);
        expectDeadlinePassed(recalled.deadline);
        vm.prank(designer);
        registry.recall(recalled);
    }

    function testFuzz_recallBySig_is_anybodys_to_send(address sender) external {
        bytes memory signature = signedBy(DESIGNER_KEY, aRecall(_designId, 2));
        vm.prank(sender);
        registry.recallBySig(aRecall(_designId, 2), signature);
        vm.assertFalse(registry.isPrintable(_designId, 2));
    }

    function testFuzz_recallBySig_refuses_another_key(uint256 key) external {
        key = bound(key, 1, ORDER - 1);
        vm.assume(vm.addr(key) != designer);
        bytes memory signature = signedBy(key, aRecall(_designId, 1));
        expectSignatureInvalid(designer);
        registry.recallBySig(aRecall(_designId, 1), signature);
    }

    function test_recallBySig_refuses_the_signature_for_another_revision() external {
        bytes memory signature = signedBy(DESIGNER_KEY, aRecall(_designId, 1));
        expectSignatureInvalid(designer);
        registry.recallBySig(aRecall(_designId, 2), signature);
    }

    function test_recallBySig_refuses_after_the_deadline() external {
        IDesignRegistry.Recall memory recalled = aRecall(_designId, 1);
        bytes memory signature = signedBy(DESIGNER_KEY, recalled);
        vm.warp(uint256(recalled.deadline) + 1);
        expectDeadlinePassed(recalled.deadline);
        registry.recallBySig(recalled, signature);
    }
}

contract DesignRegistryViewsTest is BaseTest {
    function testFuzz_views_refuse_an_unknown_design(uint256 designId) external {
        bytes memory unknown = abi.encodeWithSelector(IDesignRegistry.DesignUnknown.selector, designId);
        vm.expectRevert(unknown);
        registry.designOf(designId);
        vm.expectRevert(unknown);
        registry.registrantOf(designId);
        vm.expectRevert(unknown);
        registry.latestRevision(designId);
        vm.expectRevert(unknown);
        registry.isPrivate(designId);
        vm.expectRevert(unknown);
        registry.editionOf(designId);
        vm.expectRevert(unknown);
        registry.standingOf(designId, 1);
        vm.expectRevert(unknown);
        registry.royaltyInfo(designId, 1 ether);
        vm.assertFalse(registry.isPrintable(designId, 1));
        vm.assertFalse(registry.isRevealed(designId, 1));
    }

    function testFuzz_publicationOf_refuses_revisions_that_are_not(uint16 revision) external {
        uint256 designId = registered();
        vm.expectRevert(abi.encodeWithSelector(IDesignRegistry.RevisionUnknown.selector, designId, revision));
        registry.publicationOf(designId, revision);
    }

    function testFuzz_royalties_go_to_the_registrant_and_never_exceed_the_price(uint16 share, uint256 price) external {
        IDesignRegistry.Registration memory registration = aRegistration();
        registration.resaleShare = uint16(bound(share, 0, 10_000));
        uint256 designId = registered(registration);
        vm.prank(designer);
        registry.transferFrom(designer, holder, designId);
        (address receiver, uint256 amount) = registry.royaltyInfo(designId, price);
        vm.assertEq(receiver, designer);
        vm.assertLe(amount, price);
        if (price < type(uint256).max / 10_000) vm.assertEq(amount, price * registration.resaleShare / 10_000);
    }

    function test_standing_says_owner_edition_and_parent() external {
        IDesignRegistry.Registration memory registration = aRegistration();
        registration.edition = 12;
        uint256 parentId = registered(registration);
        registration.parentId = parentId;
        uint256 childId = registered(registration);
        vm.prank(designer);
        registry.transferFrom(designer, holder, childId);
        (address owner, uint40 edition, bool printable, bool derived) = registry.standingOf(childId, 1);
        vm.assertEq(owner, holder);
        vm.assertEq(edition, 12);
        vm.assertTrue(printable);
        vm.assertTrue(derived);
        (owner,, printable, derived) = registry.standingOf(parentId, 2);
        vm.assertEq(owner, designer);
        vm.assertFalse(printable);
        vm.assertFalse(derived);
    }

    function test_interfaces_are_named() external view {
        vm.assertTrue(registry.supportsInterface(0x80ac58cd)); // ERC-721
        vm.assertTrue(registry.supportsInterface(0x2a55205a)); // ERC-2981
        vm.assertTrue(registry.supportsInterface(0x01ffc9a7)); // ERC-165
        vm.assertFalse(registry.supportsInterface(0xffffffff));
    }
}
