// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IPrintLedger} from "../../src/interfaces/IPrintLedger.sol";
import {IStatements} from "../../src/interfaces/IStatements.sol";
import {BaseTest} from "../utils/BaseTest.sol";
import {Wallet} from "../utils/Wallets.sol";

contract PrintLedgerGatewaysTest is BaseTest {
    function test_the_first_declaration_begins_epoch_one() external {
        (bytes32 profileDigest, uint32 epoch, uint64 size) = ledger.gateways(stranger);
        vm.assertEq(epoch, 0);
        vm.expectEmit();
        emit IPrintLedger.GatewayDeclared(stranger, 1, PROFILE);
        vm.prank(stranger);
        ledger.declareGateway(PROFILE, true);
        (profileDigest, epoch, size) = ledger.gateways(stranger);
        vm.assertEq(profileDigest, PROFILE);
        vm.assertEq(epoch, 1);
        vm.assertEq(size, 0);
    }

    function test_the_same_declaration_again_changes_nothing() external {
        vm.recordLogs();
        vm.prank(gateway);
        ledger.declareGateway(PROFILE, false);
        assertNoEvents();
    }

    function testFuzz_another_profile_keeps_the_epoch_and_its_anchors(bytes32 profileDigest) external {
        vm.assume(profileDigest != PROFILE);
        vm.prank(gateway);
        ledger.anchor(gateway, 1, 5, SALT, SALT);
        vm.prank(gateway);
        ledger.declareGateway(profileDigest, false);
        (bytes32 declared, uint32 epoch, uint64 size) = ledger.gateways(gateway);
        vm.assertEq(declared, profileDigest);
        vm.assertEq(epoch, 1);
        vm.assertEq(size, 5);
    }

    function test_a_new_epoch_begins_at_nothing_and_keeps_the_old_anchors() external {
        vm.prank(gateway);
        ledger.anchor(gateway, 1, type(uint64).max, SALT, SALT); // what a leaked key would do
        vm.prank(gateway);
        ledger.declareGateway(PROFILE, true);
        (, uint32 epoch, uint64 size) = ledger.gateways(gateway);
        vm.assertEq(epoch, 2);
        vm.assertEq(size, 0);
        vm.prank(gateway);
        ledger.anchor(gateway, 2, 3, FILES_ROOT, SALT);
        vm.assertTrue(ledger.anchorAt(gateway, 1, type(uint64).max) != 0);
        vm.assertTrue(ledger.anchorAt(gateway, 2, 3) != 0);
    }

    function test_who_never_declared_cannot_withdraw() external {
        vm.expectRevert(abi.encodeWithSelector(IPrintLedger.GatewayUndeclared.selector, stranger));
        vm.prank(stranger);
        ledger.declareGateway(0, false);
    }

    function testFuzz_operators_are_let_in_and_out(address who) external {
        vm.assume(who != gateway);
        vm.assertFalse(ledger.isOperator(gateway, who));
        vm.expectEmit();
        emit IPrintLedger.OperatorSet(gateway, who, true);
        vm.prank(gateway);
        ledger.setOperator(who, true);
        vm.assertTrue(ledger.isOperator(gateway, who));
        vm.assertFalse(ledger.isOperator(who, gateway));
        vm.recordLogs();
        vm.prank(gateway);
        ledger.setOperator(who, true);
        assertNoEvents();
        vm.prank(gateway);
        ledger.setOperator(who, false);
        vm.assertFalse(ledger.isOperator(gateway, who));
        vm.assertTrue(ledger.isOperator(gateway, gateway));
    }

    function test_requireGatewaySigned_says_who_is_a_gateway() external {
        bytes memory signature = signed(GATEWAY_KEY, SALT);
        ledger.requireGatewaySigned(gateway, SALT, signature);
        expectSignatureInvalid(gateway);
        ledger.requireGatewaySigned(gateway, FILES_ROOT, signature);
        vm.expectRevert(abi.encodeWithSelector(IPrintLedger.GatewayUndeclared.selector, stranger));
        ledger.requireGatewaySigned(stranger, SALT, signature);
    }

    function test_an_operator_of_zero_signs_nothing() external {
        vm.prank(gateway);
        ledger.setOperator(address(0), true);
        expectSignatureInvalid(gateway);
        ledger.requireGatewaySigned(gateway, SALT, new bytes(65));
        expectSignatureInvalid(gateway);
        ledger.requireGatewaySigned(gateway, SALT, "");
    }
}

contract PrintLedgerAnchorTest is BaseTest {
    function _anchored(uint64 size, bytes32 root) private {
        vm.prank(gateway);
        ledger.anchor(gateway, 1, size, root, SALT);
    }

    function testFuzz_anchors_grow_and_stay(uint64 first, uint64 second, bytes32 root, bytes32 tilesDigest) external {
        first = uint64(bound(first, 1, type(uint64).max - 1));
        second = uint64(bound(second, uint256(first) + 1, type(uint64).max));
        vm.expectEmit();
        emit IPrintLedger.Anchored(gateway, 1, first, root, tilesDigest);
        vm.prank(gateway);
        ledger.anchor(gateway, 1, first, root, tilesDigest);
        _anchored(second, FILES_ROOT);
        vm.assertEq(ledger.anchorAt(gateway, 1, first), sha256(abi.encodePacked(root, tilesDigest)));
        vm.assertEq(ledger.anchorAt(gateway, 1, second), sha256(abi.encodePacked(FILES_ROOT, SALT)));
        (,, uint64 size) = ledger.gateways(gateway);
        vm.assertEq(size, second);
    }

    function test_the_same_anchor_again_changes_nothing_also_when_it_is_no_longer_the_head() external {
        _anchored(5, FILES_ROOT);
        _anchored(9, MANIFEST);
        vm.recordLogs();
        _anchored(5, FILES_ROOT);
        _anchored(9, MANIFEST);
        assertNoEvents();
        (,, uint64 size) = ledger.gateways(gateway);
        vm.assertEq(size, 9);
    }

    function testFuzz_an_anchor_of_another_epoch_is_refused(uint32 epoch) external {
        vm.assume(epoch != 1);
        vm.expectRevert(abi.encodeWithSelector(IPrintLedger.EpochMismatch.selector, gateway, uint32(1), epoch));
        vm.prank(gateway);
        ledger.anchor(gateway, epoch, 5, FILES_ROOT, SALT);
    }

    function test_an_anchor_that_was_pending_when_a_new_epoch_began_does_not_count_in_it() external {
        _anchored(5, FILES_ROOT);
        vm.prank(gateway);
        ledger.declareGateway(PROFILE, true);
        bytes memory other = abi.encodeWithSelector(IPrintLedger.EpochMismatch.selector, gateway, uint32(2), uint32(1));
        vm.expectRevert(other);
        _anchored(9, MANIFEST);
        vm.expectRevert(other);
        _anchored(5, MANIFEST); // nor a fork of what stands in the old one
        (,, uint64 size) = ledger.gateways(gateway);
        vm.assertEq(size, 0);
        vm.assertEq(ledger.anchorAt(gateway, 1, 9), bytes32(0));
        vm.assertEq(ledger.anchorAt(gateway, 2, 9), bytes32(0));
    }

    function test_the_same_anchor_again_changes_nothing_also_when_its_epoch_is_over() external {
        _anchored(5, FILES_ROOT);
        vm.prank(gateway);
        ledger.declareGateway(PROFILE, true);
        vm.recordLogs();
        _anchored(5, FILES_ROOT);
        assertNoEvents();
        (,, uint64 size) = ledger.gateways(gateway);
        vm.assertEq(size, 0);
        vm.assertEq(ledger.anchorAt(gateway, 2, 5), bytes32(0));
    }

    function testFuzz_another_root_at_a_known_size_is_refused(bytes32 root, bytes32 tilesDigest) external {
        vm.assume(root != FILES_ROOT || tilesDigest != SALT);
        _anchored(5, FILES_ROOT);
        bytes32 known = sha256(abi.encodePacked(FILES_ROOT, SALT));
        bytes32 given = sha256(abi.encodePacked(root, tilesDigest));
        vm.expectRevert(abi.encodeWithSelector(IPrintLedger.AnchorForked.selector, uint64(5), known, given));
        vm.prank(gateway);
        ledger.anchor(gateway, 1, 5, root, tilesDigest);
    }

    function testFuzz_a_size_below_the_head_is_refused(uint64 size) external {
        size = uint64(bound(size, 0, 99));
        _anchored(100, FILES_ROOT);
        vm.expectRevert(abi.encodeWithSelector(IPrintLedger.AnchorDecreased.selector, uint64(100), size));
        vm.prank(gateway);
        ledger.anchor(gateway, 1, size, FILES_ROOT, SALT);
    }

    function test_an_empty_log_is_not_anchored() external {
        vm.expectRevert(abi.encodeWithSelector(IPrintLedger.AnchorDecreased.selector, uint64(0), uint64(0)));
        vm.prank(gateway);
        ledger.anchor(gateway, 1, 0, FILES_ROOT, SALT);
    }

    function testFuzz_strangers_do_not_anchor(address sender) external {
        vm.assume(sender != gateway);
        vm.expectRevert(abi.encodeWithSelector(IPrintLedger.NotOperator.selector, gateway, sender));
        vm.prank(sender);
        ledger.anchor(gateway, 1, 5, FILES_ROOT, SALT);
    }

    function test_operators_anchor_until_revoked() external {
        vm.prank(gateway);
        ledger.setOperator(operator, true);
        vm.prank(operator);
        ledger.anchor(gateway, 1, 5, FILES_ROOT, SALT);
        vm.prank(gateway);
        ledger.setOperator(operator, false);
        vm.expectRevert(abi.encodeWithSelector(IPrintLedger.NotOperator.selector, gateway, operator));
        vm.prank(operator);
        ledger.anchor(gateway, 1, 6, FILES_ROOT, SALT);
    }

    function test_who_never_declared_does_not_anchor() external {
        vm.expectRevert(abi.encodeWithSelector(IPrintLedger.GatewayUndeclared.selector, stranger));
        vm.prank(stranger);
        ledger.anchor(stranger, 0, 5, FILES_ROOT, SALT);
    }

    // --- by signature -------------------------------------------------------------------------------------------

    function testFuzz_declareGatewayBySig_declares_once_whoever_sends(address sender, bytes32 profileDigest) external {
        vm.assume(profileDigest != PROFILE && profileDigest != 0);
        IPrintLedger.Declaration memory declaration = aDeclaration(profileDigest, true);
        bytes memory signature = signedBy(GATEWAY_KEY, declaration);
        vm.expectEmit();
        emit IPrintLedger.GatewayDeclared(gateway, 2, profileDigest);
        vm.prank(sender);
        ledger.declareGatewayBySig(declaration, signature);
        vm.prank(gateway);
        ledger.declareGateway(PROFILE, false);
        vm.recordLogs();
        ledger.declareGatewayBySig(declaration, signature); // begins no third epoch and brings no old keys back
        assertNoEvents();
        (bytes32 declared, uint32 epoch,) = ledger.gateways(gateway);
        vm.assertEq(declared, PROFILE);
        vm.assertEq(epoch, 2);
    }

    function test_declareGatewayBySig_refuses_an_operator_late_another_and_a_first_withdrawal() external {
        vm.prank(gateway);
        ledger.setOperator(operator, true);
        IPrintLedger.Declaration memory declaration = aDeclaration(PROFILE, true);
        bytes memory signature = signedBy(OPERATOR_KEY, declaration);
        expectSignatureInvalid(gateway);
        ledger.declareGatewayBySig(declaration, signature);

        declaration.deadline = START - 1;
        signature = signedBy(GATEWAY_KEY, declaration);
        expectDeadlinePassed(START - 1);
        ledger.declareGatewayBySig(declaration, signature);

        vm.prank(gateway);
        ledger.cancelStatement(declaration.nonce);
        declaration = aDeclaration(PROFILE, true);
        signature = signedBy(GATEWAY_KEY, declaration);
        vm.expectRevert(abi.encodeWithSelector(IStatements.NonceUsed.selector, gateway, declaration.nonce));
        ledger.declareGatewayBySig(declaration, signature);

        declaration = aDeclaration(0, false);
        declaration.gateway = stranger;
        signature = signedBy(STRANGER_KEY, declaration);
        vm.expectRevert(abi.encodeWithSelector(IPrintLedger.GatewayUndeclared.selector, stranger));
        ledger.declareGatewayBySig(declaration, signature);
    }

    function testFuzz_setOperatorBySig_appoints_once_whoever_sends(address sender, address who) external {
        vm.assume(who != gateway);
        IPrintLedger.Appointment memory appointment = anAppointment(who, true);
        bytes memory signature = signedBy(GATEWAY_KEY, appointment);
        vm.expectEmit();
        emit IPrintLedger.OperatorSet(gateway, who, true);
        vm.prank(sender);
        ledger.setOperatorBySig(appointment, signature);
        vm.assertTrue(ledger.isOperator(gateway, who));
        vm.prank(gateway);
        ledger.setOperator(who, false);
        ledger.setOperatorBySig(appointment, signature); // a dismissed operator does not come back
        vm.assertFalse(ledger.isOperator(gateway, who));
    }

    function testFuzz_setOperatorBySig_refuses_another_key_and_late(uint256 key) external {
        key = bound(key, 1, ORDER - 1);
        vm.assume(vm.addr(key) != gateway);
        IPrintLedger.Appointment memory appointment = anAppointment(operator, true);
        bytes memory signature = signedBy(key, appointment);
        expectSignatureInvalid(gateway);
        ledger.setOperatorBySig(appointment, signature);
        signature = signedBy(GATEWAY_KEY, appointment);
        vm.warp(uint256(appointment.deadline) + 1);
        expectDeadlinePassed(appointment.deadline);
        ledger.setOperatorBySig(appointment, signature);
    }

    function test_a_gateway_that_is_a_contract_or_delegated_signs() external {
        address wallet = address(new Wallet(stranger));
        IPrintLedger.Declaration memory declaration = aDeclaration(PROFILE, false);
        declaration.gateway = wallet;
        ledger.declareGatewayBySig(declaration, signedBy(STRANGER_KEY, declaration));
        (, uint32 epoch,) = ledger.gateways(wallet);
        vm.assertEq(epoch, 1);
        vm.etch(gateway, abi.encodePacked(hex"ef0100", wallet));
        IPrintLedger.Appointment memory appointment = anAppointment(operator, true);
        ledger.setOperatorBySig(appointment, signedBy(GATEWAY_KEY, appointment));
        vm.assertTrue(ledger.isOperator(gateway, operator));
    }
}
