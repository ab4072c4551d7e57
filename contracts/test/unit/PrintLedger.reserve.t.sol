// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IPrintLedger} from "../../src/interfaces/IPrintLedger.sol";
import {IPrintLicense} from "../../src/interfaces/IPrintLicense.sol";
import {BaseTest} from "../utils/BaseTest.sol";
import {Wallet} from "../utils/Wallets.sol";
import {IERC1155} from "@openzeppelin/contracts/interfaces/IERC1155.sol";
import {IERC1155Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

contract PrintLedgerReserveTest is BaseTest {
    uint256 private _licenseId;

    function setUp() public override {
        super.setUp();
        _licenseId = minted(100);
    }

    function _refused(IPrintLedger.Reservation memory reservation, bytes memory reason) private {
        bytes memory signature = signedBy(HOLDER_KEY, reservation);
        vm.expectRevert(reason);
        ledger.reserve(reservation, signature);
    }

    function testFuzz_reserve_escrows_the_prints_whoever_sends(uint16 prints, address sender) external {
        IPrintLedger.Reservation memory reservation = aReservation(_licenseId, uint16(bound(prints, 5, 100)));
        uint256 tokenId = uint256(domained(address(ledger), digests.reservation(reservation)));
        uint16 spares = 1 + reservation.prints / 5;
        bytes memory signature = signedBy(HOLDER_KEY, reservation);
        vm.expectEmit();
        emit IERC1155.TransferSingle(address(ledger), holder, address(ledger), _licenseId, reservation.prints);
        vm.expectEmit();
        emit IPrintLedger.Reserved(
            tokenId,
            _licenseId,
            holder,
            gateway,
            agent,
            1,
            reservation.prints,
            spares,
            reservation.expiresAt,
            SALT,
            reservation.deadline
        );
        vm.prank(sender);
        vm.assertEq(ledger.reserve(reservation, signature), tokenId);
        vm.assertEq(ledger.tokenIdOf(reservation), tokenId);
        vm.assertEq(license.balanceOf(holder, _licenseId), 100 - reservation.prints);
        vm.assertEq(license.balanceOf(address(ledger), _licenseId), reservation.prints);
        IPrintLedger.ReservationState memory state = stateOf(reservation);
        vm.assertEq(state.agent, agent);
        vm.assertEq(state.expiresAt, reservation.expiresAt);
        vm.assertEq(state.prints, reservation.prints);
        vm.assertEq(state.spares, spares);
        vm.assertEq(state.burned, 0);
        vm.assertEq(state.voided, 0);
        vm.assertFalse(state.closed);
    }

    function test_reserve_again_changes_nothing_before_any_check_and_for_ever() external {
        IPrintLedger.Reservation memory reservation = aReservation(_licenseId, 10);
        uint256 tokenId = ledger.reserve(reservation, signedBy(HOLDER_KEY, reservation));
        vm.recordLogs();
        vm.assertEq(ledger.reserve(reservation, ""), tokenId);
        vm.warp(uint256(reservation.expiresAt) + 10 days);
        vm.assertEq(ledger.reserve(reservation, ""), tokenId);
        assertNoEvents();
        ledger.reclaim(reservation);
        vm.assertEq(ledger.reserve(reservation, ""), tokenId);
        vm.assertEq(license.balanceOf(holder, _licenseId), 100);
        vm.assertTrue(stateOf(reservation).closed);
    }

    function testFuzz_reserve_refuses_another_key(uint256 key) external {
        key = bound(key, 1, ORDER - 1);
        vm.assume(vm.addr(key) != holder);
        IPrintLedger.Reservation memory reservation = aReservation(_licenseId, 10);
        bytes memory signature = signedBy(key, reservation);
        expectSignatureInvalid(holder);
        ledger.reserve(reservation, signature);
    }

    function test_reserve_refuses_a_permission_that_was_changed() external {
        IPrintLedger.Reservation memory reservation = aReservation(_licenseId, 10);
        bytes memory signature = signedBy(HOLDER_KEY, reservation);
        reservation.agent = stranger;
        expectSignatureInvalid(holder);
        ledger.reserve(reservation, signature);
    }

    function test_reserve_refuses_the_permission_of_another_chain() external {
        IPrintLedger.Reservation memory reservation = aReservation(_licenseId, 10);
        bytes memory signature = signedBy(HOLDER_KEY, reservation);
        vm.chainId(2);
        expectSignatureInvalid(holder);
        ledger.reserve(reservation, signature);
    }

    function test_reserve_refuses_a_malleable_signature() external {
        IPrintLedger.Reservation memory reservation = aReservation(_licenseId, 10);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(HOLDER_KEY, bytes32(ledger.tokenIdOf(reservation)));
        bytes memory twin = abi.encodePacked(r, bytes32(ORDER - uint256(s)), v == 27 ? uint8(28) : uint8(27));
        expectSignatureInvalid(holder);
        ledger.reserve(reservation, twin);
    }

    function test_reserve_takes_a_holder_that_is_a_contract_and_one_with_delegated_code() external {
        IPrintLedger.Reservation memory reservation = aReservation(_licenseId, 10);
        reservation.holder = address(new Wallet(stranger));
        vm.prank(designer);
        license.mint(_licenseId, reservation.holder, 10);
        ledger.reserve(reservation, signedBy(STRANGER_KEY, reservation));
        vm.assertEq(license.balanceOf(reservation.holder, _licenseId), 0);

        vm.etch(holder, abi.encodePacked(hex"ef0100", address(registry)));
        reservation.holder = holder;
        ledger.reserve(reservation, signedBy(HOLDER_KEY, reservation));
        vm.assertEq(license.balanceOf(holder, _licenseId), 90);
    }

    function test_reserve_refuses_a_permission_without_an_agent() external {
        IPrintLedger.Reservation memory reservation = aReservation(_licenseId, 10);
        reservation.agent = address(0);
        _refused(reservation, abi.encodeWithSelector(IPrintLedger.AgentZero.selector));
    }

    function testFuzz_reserve_refuses_an_expiry_in_the_past_or_beyond_32_bits(uint40 expiresAt) external {
        vm.assume(expiresAt <= START || expiresAt > type(uint32).max);
        IPrintLedger.Reservation memory reservation = aReservation(_licenseId, 10);
        reservation.expiresAt = expiresAt;
        _refused(reservation, abi.encodeWithSelector(IPrintLedger.ExpiryInvalid.selector, expiresAt));
    }

    function testFuzz_reserve_refuses_after_the_deadline(uint40 late) external {
        IPrintLedger.Reservation memory reservation = aReservation(_licenseId, 10);
        reservation.deadline = uint40(bound(late, 0, START - 1));
        _refused(reservation, abi.encodeWithSignature("DeadlinePassed(uint40)", reservation.deadline));
    }

    function testFuzz_reserve_refuses_another_gateway_than_the_licences(address other) external {
        vm.assume(other != gateway);
        IPrintLedger.Reservation memory reservation = aReservation(_licenseId, 10);
        reservation.gateway = other;
        _refused(
            reservation, abi.encodeWithSelector(IPrintLicense.GatewayMismatch.selector, _licenseId, gateway, other)
        );
    }

    function testFuzz_reserve_refuses_another_revision_than_the_accepted(uint16 revision) external {
        vm.assume(revision != 1);
        IPrintLedger.Reservation memory reservation = aReservation(_licenseId, 10);
        reservation.revision = revision;
        _refused(
            reservation,
            abi.encodeWithSelector(IPrintLicense.RevisionMismatch.selector, _licenseId, uint16(1), revision)
        );
    }

    function test_reserve_refuses_a_recalled_revision() external {
        uint256 designId = license.termsOf(_licenseId).designId;
        vm.prank(designer);
        registry.recall(aRecall(designId, 1));
        _refused(
            aReservation(_licenseId, 10),
            abi.encodeWithSelector(IPrintLicense.RevisionNotPrintable.selector, designId, uint16(1))
        );
    }

    function testFuzz_reserve_refuses_fewer_than_the_smallest(uint16 prints) external {
        prints = uint16(bound(prints, 0, 4));
        _refused(
            aReservation(_licenseId, prints),
            abi.encodeWithSelector(IPrintLicense.ReservationTooSmall.selector, _licenseId, prints, uint16(5))
        );
    }

    function testFuzz_reserve_refuses_more_than_the_holder_has(uint16 prints) external {
        prints = uint16(bound(prints, 101, type(uint16).max));
        _refused(
            aReservation(_licenseId, prints),
            abi.encodeWithSelector(
                IERC1155Errors.ERC1155InsufficientBalance.selector, holder, uint256(100), uint256(prints), _licenseId
            )
        );
    }

    function test_reserve_keeps_to_the_licences_window() external {
        IPrintLedger.Reservation memory reservation = aReservation(_licenseId, 10);
        reservation.expiresAt = START + 365 days + 1;
        _refused(
            reservation,
            abi.encodeWithSelector(
                IPrintLicense.ExpiryAfterLicense.selector, _licenseId, START + 365 days + 1, START + 365 days
            )
        );
        reservation.expiresAt = START + 365 days;
        ledger.reserve(reservation, signedBy(HOLDER_KEY, reservation));

        IPrintLicense.Terms memory terms = someTerms(license.termsOf(_licenseId).designId);
        terms.notBefore = START + 10;
        uint256 later = offered(terms, true);
        vm.prank(designer);
        license.mint(later, holder, 10);
        _refused(
            aReservation(later, 10), abi.encodeWithSelector(IPrintLicense.LicenseNotBegun.selector, later, START + 10)
        );
        vm.warp(START + 10);
        reservation = aReservation(later, 10);
        ledger.reserve(reservation, signedBy(HOLDER_KEY, reservation));
    }

    function test_reserve_refuses_an_unknown_licence() external {
        _refused(aReservation(1, 10), abi.encodeWithSelector(IPrintLicense.LicenseUnknown.selector, uint256(1)));
    }

    function test_escrowed_units_are_moved_by_nobody() external {
        IPrintLicense.Terms memory terms = someTerms(license.termsOf(_licenseId).designId);
        terms.transferable = true;
        uint256 licenseId = offered(terms, true);
        vm.prank(designer);
        license.mint(licenseId, holder, 10);
        IPrintLedger.Reservation memory reservation = aReservation(licenseId, 10);
        ledger.reserve(reservation, signedBy(HOLDER_KEY, reservation));
        vm.expectRevert(
            abi.encodeWithSelector(
                IERC1155Errors.ERC1155InsufficientBalance.selector, holder, uint256(0), uint256(1), licenseId
            )
        );
        vm.prank(holder);
        license.safeTransferFrom(holder, stranger, licenseId, 1, "");
        vm.expectRevert(
            abi.encodeWithSelector(IERC1155Errors.ERC1155MissingApprovalForAll.selector, holder, address(ledger))
        );
        vm.prank(holder);
        license.safeTransferFrom(address(ledger), holder, licenseId, 10, "");
    }

    function test_reserve_takes_the_largest_reservation_there_can_be() external {
        IPrintLicense.Terms memory terms = someTerms(license.termsOf(_licenseId).designId);
        terms.cap = 54_612;
        uint256 licenseId = offered(terms, true);
        vm.prank(designer);
        license.mint(licenseId, holder, 54_612);
        IPrintLedger.Reservation memory reservation = aReservation(licenseId, 54_612);
        ledger.reserve(reservation, signedBy(HOLDER_KEY, reservation));
        vm.assertEq(uint256(54_612) + stateOf(reservation).spares, 65_535);
    }

    // --- batches ------------------------------------------------------------------------------------------------

    function test_reserveBatch_reserves_all_or_none() external {
        IPrintLedger.Reservation[] memory reservations = new IPrintLedger.Reservation[](3);
        bytes[] memory signatures = new bytes[](3);
        for (uint256 i = 0; i < 3; ++i) {
            reservations[i] = aReservation(_licenseId, 10);
            reservations[i].salt = bytes32(i);
            signatures[i] = signedBy(HOLDER_KEY, reservations[i]);
        }
        bytes memory right = signatures[2];
        signatures[2] = signatures[1];
        expectSignatureInvalid(holder);
        ledger.reserveBatch(reservations, signatures);
        vm.assertEq(license.balanceOf(holder, _licenseId), 100);

        signatures[2] = right;
        uint256[] memory tokenIds = ledger.reserveBatch(reservations, signatures);
        vm.assertEq(license.balanceOf(holder, _licenseId), 70);
        for (uint256 i = 0; i < 3; ++i) {
            vm.assertEq(tokenIds[i], ledger.tokenIdOf(reservations[i]));
            vm.assertEq(stateOf(reservations[i]).prints, 10);
        }
        vm.recordLogs();
        ledger.reserveBatch(reservations, signatures);
        assertNoEvents();
    }

    function test_reserveBatch_counts_the_same_permission_once() external {
        IPrintLedger.Reservation[] memory reservations = new IPrintLedger.Reservation[](2);
        bytes[] memory signatures = new bytes[](2);
        reservations[0] = reservations[1] = aReservation(_licenseId, 10);
        signatures[0] = signatures[1] = signedBy(HOLDER_KEY, reservations[0]);
        ledger.reserveBatch(reservations, signatures);
        vm.assertEq(license.balanceOf(holder, _licenseId), 90);
    }

    /// @dev Two licences, two holders and repeats in any order: what stands afterwards is what single acts would leave.
    function testFuzz_reserveBatch_leaves_what_single_acts_would(uint256 seed) external {
        uint256 other = offered(someTermsSalted(license.termsOf(_licenseId).designId, "other"), true);
        for (uint256 i = 0; i < 4; ++i) {
            vm.prank(designer);
            license.mint(i < 2 ? _licenseId : other, i % 2 == 0 ? holder : stranger, 100);
        }
        IPrintLedger.Reservation[] memory reservations = new IPrintLedger.Reservation[](8);
        bytes[] memory signatures = new bytes[](8);
        uint256[4] memory expected = [uint256(200), 100, 100, 100];
        for (uint256 i = 0; i < 8; ++i) {
            uint256 dice = uint256(keccak256(abi.encode(seed, i)));
            if (i != 0 && dice % 5 == 0) {
                (reservations[i], signatures[i]) = (reservations[i - 1], signatures[i - 1]);
                continue;
            }
            uint256 which = dice >> 8 & 3;
            reservations[i] = aReservation(which < 2 ? _licenseId : other, uint16(5 + (dice >> 16) % 8));
            reservations[i].holder = which % 2 == 0 ? holder : stranger;
            reservations[i].expiresAt = uint40(START + 1 days + (dice >> 32) % 30 days);
            reservations[i].salt = bytes32(dice);
            signatures[i] = signedBy(which % 2 == 0 ? HOLDER_KEY : STRANGER_KEY, reservations[i]);
            expected[which] -= reservations[i].prints;
        }
        uint256[] memory tokenIds = ledger.reserveBatch(reservations, signatures);
        for (uint256 i = 0; i < 8; ++i) {
            vm.assertEq(tokenIds[i], ledger.tokenIdOf(reservations[i]));
            IPrintLedger.ReservationState memory state = stateOf(reservations[i]);
            vm.assertEq(state.agent, agent);
            vm.assertEq(state.prints, reservations[i].prints);
            vm.assertEq(state.spares, 1 + reservations[i].prints / 5);
            vm.assertEq(state.expiresAt, reservations[i].expiresAt);
        }
        for (uint256 which = 0; which < 4; ++which) {
            vm.assertEq(
                license.balanceOf(which % 2 == 0 ? holder : stranger, which < 2 ? _licenseId : other), expected[which]
            );
        }
    }

    function _row(uint16 second, uint40 expiresAt) private view returns (IPrintLedger.Reservation[] memory row) {
        row = new IPrintLedger.Reservation[](3);
        for (uint256 i = 0; i < 3; ++i) {
            row[i] = aReservation(_licenseId, 10);
            row[i].salt = bytes32(i);
        }
        row[1].prints = second;
        row[1].expiresAt = expiresAt;
    }

    function _refusedRow(IPrintLedger.Reservation[] memory row, bytes memory reason) private {
        bytes[] memory signatures = new bytes[](row.length);
        for (uint256 i = 0; i < row.length; ++i) {
            signatures[i] = signedBy(HOLDER_KEY, row[i]);
        }
        vm.expectRevert(reason);
        ledger.reserveBatch(row, signatures);
        vm.assertEq(stateOf(row[0]).prints, 0);
    }

    function testFuzz_reserveBatch_refuses_a_row_for_one_that_is_too_small(uint16 prints) external {
        prints = uint16(bound(prints, 0, 4));
        _refusedRow(
            _row(prints, START + 1 days),
            abi.encodeWithSelector(IPrintLicense.ReservationTooSmall.selector, _licenseId, prints, uint16(5))
        );
    }

    function testFuzz_reserveBatch_refuses_a_row_for_one_that_outlives_the_licence(uint40 expiresAt) external {
        uint40 notAfter = START + 365 days;
        expiresAt = uint40(bound(expiresAt, notAfter + 1, type(uint32).max));
        _refusedRow(
            _row(10, expiresAt),
            abi.encodeWithSelector(IPrintLicense.ExpiryAfterLicense.selector, _licenseId, expiresAt, notAfter)
        );
    }

    function testFuzz_reserveBatch_refuses_a_row_above_the_holders_balance(uint16 prints) external {
        prints = uint16(bound(prints, 81, 1000));
        _refusedRow(
            _row(prints, START + 1 days),
            abi.encodeWithSelector(
                IERC1155Errors.ERC1155InsufficientBalance.selector,
                holder,
                uint256(100),
                20 + uint256(prints),
                _licenseId
            )
        );
    }

    function test_reserveBatch_refuses_another_gateway_or_revision_beside_right_ones() external {
        IPrintLedger.Reservation[] memory row = _row(10, START + 1 days);
        row[2].revision = 2;
        _refusedRow(
            row, abi.encodeWithSelector(IPrintLicense.RevisionMismatch.selector, _licenseId, uint16(1), uint16(2))
        );
        row[2].revision = 1;
        row[2].gateway = stranger;
        _refusedRow(row, abi.encodeWithSelector(IPrintLicense.GatewayMismatch.selector, _licenseId, gateway, stranger));
    }

    function test_reserveBatch_of_nothing_does_nothing() external {
        vm.assertEq(ledger.reserveBatch(new IPrintLedger.Reservation[](0), new bytes[](0)).length, 0);
    }

    function test_reserveBatch_wants_a_signature_for_each() external {
        vm.expectRevert(abi.encodeWithSelector(IPrintLedger.LengthMismatch.selector, uint256(1), uint256(2)));
        ledger.reserveBatch(new IPrintLedger.Reservation[](1), new bytes[](2));
    }
}
