// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IPrintLedger} from "../../src/interfaces/IPrintLedger.sol";
import {BaseTest} from "../utils/BaseTest.sol";
import {Wallet} from "../utils/Wallets.sol";

contract PrintLedgerReclaimTest is BaseTest {
    IPrintLedger.Reservation private _reservation;
    uint256 private _tokenId;

    function setUp() public override {
        super.setUp();
        (_reservation, _tokenId) = reserved(20);
    }

    function testFuzz_reclaim_returns_what_was_not_settled_whoever_sends(address sender, uint32 sequence) external {
        sequence = uint32(bound(sequence, 1, 20));
        settled(gateway, _reservation.licenseId, aUse(_tokenId, sequence, 0));
        vm.warp(uint256(_reservation.expiresAt) + 10 days);
        vm.expectEmit();
        emit IPrintLedger.Reclaimed(_tokenId, uint16(20 - sequence));
        vm.prank(sender);
        ledger.reclaim(_reservation);
        vm.assertEq(license.balanceOf(holder, _reservation.licenseId), 20 - sequence);
        vm.assertEq(license.balanceOf(address(ledger), _reservation.licenseId), 0);
        IPrintLedger.ReservationState memory state = stateOf(_reservation);
        vm.assertTrue(state.closed);
        vm.assertEq(state.agent, agent);
        vm.assertEq(state.expiresAt, 0);
        vm.assertEq(state.burned, sequence);
    }

    function testFuzz_reclaim_waits_ten_days_after_expiry(uint40 when) external {
        uint256 opens = uint256(_reservation.expiresAt) + 10 days;
        vm.warp(bound(when, START, opens - 1));
        vm.expectRevert(abi.encodeWithSelector(IPrintLedger.TokenOpen.selector, _tokenId, opens));
        vm.prank(holder);
        ledger.reclaim(_reservation);
    }

    function test_reclaim_again_changes_nothing() external {
        vm.warp(uint256(_reservation.expiresAt) + 10 days);
        ledger.reclaim(_reservation);
        vm.recordLogs();
        ledger.reclaim(_reservation);
        assertNoEvents();
        vm.assertEq(license.balanceOf(holder, _reservation.licenseId), 20);
    }

    function testFuzz_reclaim_wants_the_permission_itself(address other) external {
        vm.assume(other != holder);
        vm.warp(uint256(_reservation.expiresAt) + 10 days);
        _reservation.holder = other;
        uint256 unknown = ledger.tokenIdOf(_reservation);
        vm.expectRevert(abi.encodeWithSelector(IPrintLedger.TokenUnknown.selector, unknown));
        vm.prank(other);
        ledger.reclaim(_reservation);
    }

    function test_returned_prints_are_reserved_anew() external {
        vm.warp(uint256(_reservation.expiresAt) + 10 days);
        ledger.reclaim(_reservation);
        IPrintLedger.Reservation memory again = aReservation(_reservation.licenseId, 20);
        vm.assertNotEq(ledger.reserve(again, signedBy(HOLDER_KEY, again)), _tokenId);
        vm.assertEq(license.balanceOf(address(ledger), _reservation.licenseId), 20);
    }
}

contract PrintLedgerCloseTest is BaseTest {
    IPrintLedger.Reservation private _reservation;
    uint256 private _tokenId;
    uint16 private constant PRINTS = 20;
    uint16 private constant SPARES = 5;

    function setUp() public override {
        super.setUp();
        (_reservation, _tokenId) = reserved(PRINTS);
    }

    function _closing(uint32 released, uint32 voided) private view returns (IPrintLedger.Close memory) {
        return IPrintLedger.Close({tokenId: _tokenId, released: released, voided: voided, deadline: START + 1 days});
    }

    function _close(IPrintLedger.Close memory closing) private {
        ledger.close(closing, _reservation, signedBy(GATEWAY_KEY, closing), signedBy(HOLDER_KEY, closing));
    }

    function _refused(IPrintLedger.Close memory closing, bytes memory reason) private {
        bytes memory gatewaySignature = signedBy(GATEWAY_KEY, closing);
        bytes memory holderSignature = signedBy(HOLDER_KEY, closing);
        vm.expectRevert(reason);
        ledger.close(closing, _reservation, gatewaySignature, holderSignature);
    }

    function testFuzz_close_burns_what_both_signed_and_returns_the_rest(uint32 released, uint32 voided) external {
        released = uint32(bound(released, 0, PRINTS + SPARES));
        voided = uint32(bound(voided, 0, released < SPARES ? released : SPARES));
        uint256 burned = released - voided < PRINTS ? released - voided : PRINTS;
        IPrintLedger.Close memory closing = _closing(released, voided);
        bytes memory gatewaySignature = signedBy(GATEWAY_KEY, closing);
        bytes memory holderSignature = signedBy(HOLDER_KEY, closing);
        vm.expectEmit();
        emit IPrintLedger.Closed(_tokenId, released, uint16(voided), uint16(burned), uint16(PRINTS - burned));
        ledger.close(closing, _reservation, gatewaySignature, holderSignature);
        vm.assertEq(license.balanceOf(holder, _reservation.licenseId), PRINTS - burned);
        vm.assertEq(license.balanceOf(address(ledger), _reservation.licenseId), 0);
        IPrintLedger.ReservationState memory state = stateOf(_reservation);
        vm.assertTrue(state.closed);
        vm.assertEq(state.burned, burned);
        vm.assertEq(state.voided, voided);
    }

    function testFuzz_close_never_undoes_what_vouchers_counted(uint32 counted, uint32 released) external {
        counted = uint32(bound(counted, 1, PRINTS));
        released = uint32(bound(released, 0, PRINTS));
        settled(gateway, _reservation.licenseId, aUse(_tokenId, counted, 0));
        _close(_closing(released, 0));
        uint256 burned = counted > released ? counted : released;
        vm.assertEq(stateOf(_reservation).burned, burned);
        vm.assertEq(license.balanceOf(holder, _reservation.licenseId), PRINTS - burned);
    }

    function test_close_keeps_the_voids_that_were_settled() external {
        settled(gateway, _reservation.licenseId, aUse(_tokenId, 6, 2));
        IPrintLedger.Close memory closing = _closing(6, 0);
        bytes memory gatewaySignature = signedBy(GATEWAY_KEY, closing);
        bytes memory holderSignature = signedBy(HOLDER_KEY, closing);
        vm.expectEmit();
        emit IPrintLedger.Closed(_tokenId, 6, 2, 4, 16); // what is stored, not what was signed
        ledger.close(closing, _reservation, gatewaySignature, holderSignature);
        IPrintLedger.ReservationState memory state = stateOf(_reservation);
        vm.assertEq(state.burned, 4);
        vm.assertEq(state.voided, 2);
    }

    function test_close_again_and_reclaim_and_reserve_change_nothing() external {
        _close(_closing(3, 0));
        vm.recordLogs();
        _close(_closing(3, 0));
        _close(_closing(9, 0));
        ledger.reclaim(_reservation);
        ledger.reserve(_reservation, "");
        assertNoEvents();
        vm.assertEq(license.balanceOf(holder, _reservation.licenseId), 17);
    }

    function test_a_voucher_after_the_closing_leaves_an_event_only() external {
        _close(_closing(3, 0));
        vm.expectEmit();
        emit IPrintLedger.SettledLate(_tokenId, 5);
        settled(gateway, _reservation.licenseId, aUse(_tokenId, 5, 0));
        vm.assertEq(stateOf(_reservation).burned, 3);
    }

    function test_close_takes_an_operators_signature() external {
        vm.prank(gateway);
        ledger.setOperator(operator, true);
        IPrintLedger.Close memory closing = _closing(3, 0);
        ledger.close(closing, _reservation, signedBy(OPERATOR_KEY, closing), signedBy(HOLDER_KEY, closing));
        vm.assertTrue(stateOf(_reservation).closed);
    }

    function test_close_takes_a_holder_that_became_a_contract_wallet() external {
        vm.etch(holder, address(new Wallet(stranger)).code);
        IPrintLedger.Close memory closing = _closing(3, 0);
        ledger.close(closing, _reservation, signedBy(GATEWAY_KEY, closing), signedBy(STRANGER_KEY, closing));
        vm.assertEq(license.balanceOf(holder, _reservation.licenseId), 17);
    }

    function testFuzz_close_wants_both_signatures(uint256 key) external {
        key = bound(key, 1, ORDER - 1);
        IPrintLedger.Close memory closing = _closing(3, 0);
        bytes memory gatewaySignature = signedBy(GATEWAY_KEY, closing);
        bytes memory holderSignature = signedBy(HOLDER_KEY, closing);
        bytes memory other = signedBy(key, closing);
        if (vm.addr(key) != gateway) {
            expectSignatureInvalid(gateway);
            ledger.close(closing, _reservation, other, holderSignature);
        }
        if (vm.addr(key) != holder) {
            expectSignatureInvalid(holder);
            ledger.close(closing, _reservation, gatewaySignature, other);
        }
    }

    function testFuzz_close_refuses_more_than_prints_and_spares(uint32 released) external {
        released = uint32(bound(released, PRINTS + SPARES + 1, type(uint32).max));
        _refused(
            _closing(released, 0),
            abi.encodeWithSelector(IPrintLedger.ReleasedAbove.selector, _tokenId, released, uint32(PRINTS + SPARES))
        );
    }

    function testFuzz_close_refuses_more_voids_than_spares_or_releases(uint32 released, uint32 voided) external {
        released = uint32(bound(released, 0, PRINTS));
        uint32 limit = released < SPARES ? released : SPARES;
        voided = uint32(bound(voided, limit + 1, type(uint32).max));
        _refused(
            _closing(released, voided),
            abi.encodeWithSelector(IPrintLedger.VoidedAbove.selector, _tokenId, voided, limit)
        );
    }

    function testFuzz_close_refuses_another_tokens_statement(uint256 other) external {
        vm.assume(other != _tokenId);
        IPrintLedger.Close memory closing = _closing(3, 0);
        closing.tokenId = other;
        _refused(closing, abi.encodeWithSelector(IPrintLedger.TokenMismatch.selector, _tokenId, other));
    }

    function test_close_refuses_a_token_that_was_never_reserved() external {
        _reservation.salt = keccak256("never");
        IPrintLedger.Close memory closing = _closing(3, 0);
        closing.tokenId = ledger.tokenIdOf(_reservation);
        _refused(closing, abi.encodeWithSelector(IPrintLedger.TokenUnknown.selector, closing.tokenId));
    }

    function test_close_refuses_after_its_deadline() external {
        vm.warp(START + 1 days + 1);
        _refused(_closing(3, 0), abi.encodeWithSignature("DeadlinePassed(uint40)", START + 1 days));
    }
}
