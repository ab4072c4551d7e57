// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IPrintLedger} from "../../src/interfaces/IPrintLedger.sol";
import {BaseTest} from "../utils/BaseTest.sol";
import {Refuser} from "../utils/Wallets.sol";

contract PrintLedgerSettleTest is BaseTest {
    IPrintLedger.Reservation private _reservation;
    uint256 private _tokenId;
    uint256 private _licenseId;
    uint16 private constant PRINTS = 20;
    uint16 private constant SPARES = 5;

    function setUp() public override {
        super.setUp();
        (_reservation, _tokenId) = reserved(PRINTS);
        _licenseId = _reservation.licenseId;
    }

    function _skips(address sender, IPrintLedger.Use memory use, IPrintLedger.SkipReason reason) private {
        IPrintLedger.ReservationState memory before = stateOf(_reservation);
        uint256 escrowed = license.balanceOf(address(ledger), _licenseId);
        vm.expectEmit();
        emit IPrintLedger.UseSkipped(use.tokenId, reason);
        settled(sender, _licenseId, use);
        vm.assertEq(keccak256(abi.encode(stateOf(_reservation))), keccak256(abi.encode(before)));
        vm.assertEq(license.balanceOf(address(ledger), _licenseId), escrowed);
    }

    function _is(uint16 burned, uint16 voided) private view {
        IPrintLedger.ReservationState memory state = stateOf(_reservation);
        vm.assertEq(state.burned, burned);
        vm.assertEq(state.voided, voided);
        vm.assertEq(license.balanceOf(address(ledger), _licenseId), uint256(PRINTS - burned));
    }

    // --- what counts --------------------------------------------------------------------------------------------

    function testFuzz_settle_burns_what_was_requested_and_not_voided(uint32 sequence, uint16 voided) external {
        sequence = uint32(bound(sequence, 1, PRINTS + SPARES));
        voided = uint16(bound(voided, 0, sequence < SPARES ? sequence : SPARES));
        uint256 used = sequence - voided < PRINTS ? sequence - voided : PRINTS;
        vm.assume(used != 0 || voided != 0);
        vm.expectEmit();
        emit IPrintLedger.Settled(_tokenId, sequence, uint16(used), voided);
        settled(gateway, _licenseId, aUse(_tokenId, sequence, voided));
        _is(uint16(used), voided);
    }

    function testFuzz_settle_in_any_order_ends_with_the_highest_and_never_falls(uint256 seed) external {
        uint16 burned = 0;
        uint16 voided = 0;
        for (uint256 i = 0; i < 8; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            uint32 sequence = uint32(bound(seed, 1, PRINTS + SPARES));
            uint16 given = uint16(bound(seed >> 128, 0, sequence < SPARES ? sequence : SPARES));
            settled(gateway, _licenseId, aUse(_tokenId, sequence, given));
            if (given > voided) voided = given;
            uint256 used = sequence > voided ? sequence - voided : 0;
            if (used > PRINTS) used = PRINTS;
            if (used > burned) burned = uint16(used);
            _is(burned, voided);
        }
    }

    /// @dev A storage proof knows nothing of readers: it sees slot 6, by gateway, licence and token, and the bits.
    function test_the_word_stands_where_a_storage_proof_reads_it() external {
        settled(gateway, _licenseId, aUse(_tokenId, 2, 1));
        bytes32 slot = keccak256(abi.encode(gateway, 6));
        slot = keccak256(abi.encode(_tokenId, keccak256(abi.encode(_licenseId, slot))));
        uint256 word = uint256(vm.load(address(ledger), slot));
        vm.assertEq(uint160(word), uint160(agent));
        vm.assertEq(uint32(word >> 160), _reservation.expiresAt);
        vm.assertEq(uint16(word >> 192), PRINTS);
        vm.assertEq(uint16(word >> 208), 1);
        vm.assertEq(uint16(word >> 224), 1);
        vm.assertEq(word >> 240, SPARES);
    }

    function test_settle_again_changes_nothing() external {
        settled(gateway, _licenseId, aUse(_tokenId, 7, 2));
        _skips(gateway, aUse(_tokenId, 7, 2), IPrintLedger.SkipReason.Stale);
        _skips(gateway, aUse(_tokenId, 6, 1), IPrintLedger.SkipReason.Stale);
        _is(5, 2);
    }

    function test_a_void_after_the_burn_gives_a_later_print_back_and_burns_nothing_twice() external {
        settled(gateway, _licenseId, aUse(_tokenId, 5, 0));
        settled(gateway, _licenseId, aUse(_tokenId, 5, 1));
        _is(5, 1);
        settled(gateway, _licenseId, aUse(_tokenId, 6, 1));
        _is(5, 1);
        settled(gateway, _licenseId, aUse(_tokenId, 7, 1));
        _is(6, 1);
    }

    function test_prints_and_spares_are_the_most_there_is() external {
        settled(gateway, _licenseId, aUse(_tokenId, PRINTS + SPARES, SPARES));
        _is(PRINTS, SPARES);
        _skips(gateway, aUse(_tokenId, PRINTS + SPARES + 1, SPARES), IPrintLedger.SkipReason.SequenceOutOfRange);
    }

    function test_operators_settle_with_voids() external {
        vm.prank(gateway);
        ledger.setOperator(operator, true);
        settled(operator, _licenseId, aUse(_tokenId, 5, 2));
        _is(3, 2);
    }

    // --- what does not ------------------------------------------------------------------------------------------

    function testFuzz_a_gateway_counts_nothing_without_the_agents_voucher(uint256 key, uint32 sequence) external {
        key = bound(key, 1, ORDER - 1);
        vm.assume(vm.addr(key) != agent);
        sequence = uint32(bound(sequence, 1, PRINTS + SPARES));
        _skips(gateway, aUseBy(key, _tokenId, sequence, 0), IPrintLedger.SkipReason.VoucherInvalid);
    }

    function testFuzz_a_gateway_does_not_raise_a_voucher(uint32 sequence) external {
        sequence = uint32(bound(sequence, 4, PRINTS + SPARES));
        IPrintLedger.Use memory use = aUse(_tokenId, 3, 0);
        use.sequence = sequence;
        _skips(gateway, use, IPrintLedger.SkipReason.VoucherInvalid);
    }

    function test_a_voucher_with_a_high_s_or_of_nothing_counts_nothing() external {
        IPrintLedger.Use memory use = aUse(_tokenId, 3, 0);
        uint256 s = uint256(use.vs) & (type(uint256).max >> 1);
        uint256 parity = uint256(use.vs) >> 255;
        // A high s has its top bit set and reads as the other parity with a wrong s: nobody's, or a stranger's.
        use.vs = bytes32((ORDER - s) | ((parity ^ 1) << 255));
        _skips(gateway, use, IPrintLedger.SkipReason.VoucherInvalid);
        use.r = 0;
        use.vs = 0;
        _skips(gateway, use, IPrintLedger.SkipReason.VoucherInvalid);
    }

    function test_a_voucher_of_another_token_or_digest_counts_nothing() external {
        IPrintLedger.Use memory use = aUse(_tokenId + 1, 3, 0);
        use.tokenId = _tokenId;
        _skips(gateway, use, IPrintLedger.SkipReason.VoucherInvalid);
        use = aUse(_tokenId, 3, 0);
        use.requestDigest = keccak256("another request");
        _skips(gateway, use, IPrintLedger.SkipReason.VoucherInvalid);
    }

    function testFuzz_a_sequence_out_of_range_is_skipped(uint32 sequence) external {
        vm.assume(sequence == 0 || sequence > PRINTS + SPARES);
        _skips(gateway, aUse(_tokenId, sequence, 0), IPrintLedger.SkipReason.SequenceOutOfRange);
    }

    function testFuzz_voids_above_the_spares_or_the_sequence_are_skipped(uint32 sequence, uint16 voided) external {
        sequence = uint32(bound(sequence, 1, PRINTS));
        vm.assume(voided > SPARES || voided > sequence);
        _skips(gateway, aUse(_tokenId, sequence, voided), IPrintLedger.SkipReason.VoidedOutOfRange);
    }

    function testFuzz_an_unknown_token_is_skipped(uint256 tokenId) external {
        vm.assume(tokenId != _tokenId);
        _skips(gateway, aUse(tokenId, 3, 0), IPrintLedger.SkipReason.TokenUnknown);
    }

    function test_another_gateway_or_licence_does_not_reach_a_reservation() external {
        IPrintLedger.Batch[] memory batches = new IPrintLedger.Batch[](1);
        batches[0].licenseId = _licenseId;
        batches[0].uses = new IPrintLedger.Use[](1);
        batches[0].uses[0] = aUse(_tokenId, 3, 0);
        vm.expectEmit();
        emit IPrintLedger.UseSkipped(_tokenId, IPrintLedger.SkipReason.TokenUnknown);
        vm.prank(stranger);
        ledger.settle(stranger, batches);
        vm.expectEmit();
        emit IPrintLedger.UseSkipped(_tokenId, IPrintLedger.SkipReason.TokenUnknown);
        settled(gateway, 1, batches[0].uses[0]);
        _is(0, 0);
    }

    // --- strangers ----------------------------------------------------------------------------------------------

    function testFuzz_strangers_settle_from_three_days_after_expiry(address sender, uint40 when) external {
        vm.assume(sender != gateway);
        uint256 opens = uint256(_reservation.expiresAt) + 3 days;
        vm.warp(bound(when, START, opens - 1));
        _skips(sender, aUse(_tokenId, 3, 0), IPrintLedger.SkipReason.TooEarly);
        vm.warp(opens);
        settled(sender, _licenseId, aUse(_tokenId, 3, 0));
        _is(3, 0);
    }

    function test_a_stranger_who_copies_a_settlement_cannot_strip_its_voids() external {
        IPrintLedger.Use memory use = aUse(_tokenId, 5, 2);
        IPrintLedger.Use memory stripped = aUse(_tokenId, 5, 0);
        _skips(stranger, stripped, IPrintLedger.SkipReason.TooEarly);
        settled(gateway, _licenseId, use);
        vm.warp(uint256(_reservation.expiresAt) + 3 days);
        _skips(stranger, stripped, IPrintLedger.SkipReason.Stale);
        _is(3, 2);
    }

    function testFuzz_a_strangers_voids_are_ignored(uint16 voided) external {
        settled(gateway, _licenseId, aUse(_tokenId, 4, 1));
        vm.warp(uint256(_reservation.expiresAt) + 3 days);
        vm.expectEmit();
        emit IPrintLedger.Settled(_tokenId, 10, 9, 1);
        settled(stranger, _licenseId, aUse(_tokenId, 10, voided));
        _is(9, 1);
    }

    function test_the_gateway_settles_after_expiry_too() external {
        vm.warp(uint256(_reservation.expiresAt) + 9 days);
        settled(gateway, _licenseId, aUse(_tokenId, 4, 1));
        _is(3, 1);
    }

    // --- after the end ------------------------------------------------------------------------------------------

    function test_a_late_voucher_leaves_an_event_and_changes_nothing() external {
        settled(gateway, _licenseId, aUse(_tokenId, 4, 0));
        vm.warp(uint256(_reservation.expiresAt) + 10 days);
        ledger.reclaim(_reservation);
        bytes32 before = keccak256(abi.encode(stateOf(_reservation)));
        vm.expectEmit();
        emit IPrintLedger.SettledLate(_tokenId, 9);
        settled(stranger, _licenseId, aUse(_tokenId, 9, 0));
        vm.assertEq(keccak256(abi.encode(stateOf(_reservation))), before);
        vm.assertEq(license.balanceOf(holder, _licenseId), 16);
        vm.assertEq(license.balanceOf(address(ledger), _licenseId), 0);
    }

    function testFuzz_a_late_voucher_is_late_whatever_it_counts(uint16 sequence, uint16 voided) external {
        settled(gateway, _licenseId, aUse(_tokenId, 4, 0));
        vm.warp(uint256(_reservation.expiresAt) + 10 days);
        ledger.reclaim(_reservation);
        sequence = uint16(bound(sequence, 1, 9));
        vm.expectEmit();
        emit IPrintLedger.SettledLate(_tokenId, sequence);
        settled(gateway, _licenseId, aUse(_tokenId, sequence, voided));
        vm.assertEq(stateOf(_reservation).burned, 4);
        vm.assertEq(stateOf(_reservation).voided, 0);
    }

    function test_a_late_claim_without_a_voucher_leaves_no_evidence() external {
        vm.warp(uint256(_reservation.expiresAt) + 10 days);
        ledger.reclaim(_reservation);
        _skips(gateway, aUseBy(GATEWAY_KEY, _tokenId, 9, 0), IPrintLedger.SkipReason.VoucherInvalid);
    }

    // --- batches ------------------------------------------------------------------------------------------------

    function test_one_bad_use_does_not_spoil_the_others() external {
        IPrintLedger.Use[] memory uses = new IPrintLedger.Use[](6);
        uses[0] = aUse(_tokenId + 1, 3, 0); // unknown
        uses[1] = aUse(_tokenId, 0, 0); // no voucher at all
        uses[2] = aUseBy(STRANGER_KEY, _tokenId, 9, 0); // forged
        uses[3] = aUse(_tokenId, 3, 0);
        uses[4] = aUse(_tokenId, 3, 0); // stale within the batch
        uses[5] = aUse(_tokenId, 5, 1);
        settled(gateway, _licenseId, uses);
        _is(4, 1);
    }

    function test_settlement_and_reclaim_call_no_receiver() external {
        address refuser = address(new Refuser());
        vm.prank(designer);
        license.mint(_licenseId, holder, 20);
        IPrintLedger.Reservation memory reservation = aReservation(_licenseId, 20);
        reservation.salt = keccak256("another");
        uint256 tokenId = ledger.reserve(reservation, signedBy(HOLDER_KEY, reservation));
        vm.etch(holder, refuser.code); // the holder turns hostile
        settled(gateway, _licenseId, aUse(tokenId, 3, 0));
        vm.warp(uint256(reservation.expiresAt) + 10 days);
        ledger.reclaim(reservation);
        vm.assertEq(license.balanceOf(holder, _licenseId), 17);
    }

    function test_batches_of_several_licences_settle_in_one_call() external {
        uint256 other = _offeredAgain();
        IPrintLedger.Reservation memory second = aReservation(other, 20);
        uint256 secondId = ledger.reserve(second, signedBy(HOLDER_KEY, second));
        IPrintLedger.Batch[] memory batches = new IPrintLedger.Batch[](2);
        batches[0].licenseId = _licenseId;
        batches[0].uses = new IPrintLedger.Use[](1);
        batches[0].uses[0] = aUse(_tokenId, 3, 0);
        batches[1].licenseId = other;
        batches[1].uses = new IPrintLedger.Use[](1);
        batches[1].uses[0] = aUse(secondId, 4, 0);
        vm.prank(gateway);
        ledger.settle(gateway, batches);
        _is(3, 0);
        vm.assertEq(stateOf(second).burned, 4);
        vm.assertEq(license.balanceOf(address(ledger), other), 16);
    }

    function _offeredAgain() private returns (uint256 licenseId) {
        uint256 designId = license.termsOf(_licenseId).designId;
        licenseId = offered(someTermsSalted(designId, keccak256("two")), true);
        vm.prank(designer);
        license.mint(licenseId, holder, 20);
    }
}
