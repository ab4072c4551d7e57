// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IDesignRegistry} from "../../src/interfaces/IDesignRegistry.sol";
import {IPrintLedger} from "../../src/interfaces/IPrintLedger.sol";
import {IPrintLicense} from "../../src/interfaces/IPrintLicense.sol";
import {BaseTest} from "../utils/BaseTest.sol";
import {Token} from "../utils/Tokens.sol";
import {Refuser} from "../utils/Wallets.sol";
import {IERC1155Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

/// @title Payout as printed: the price backs a unit until its print is counted or the unit comes back
contract PrintLicenseAsPrintedTest is BaseTest {
    uint256 private constant PRICE = 1 gwei;

    uint256 private _designId;
    uint256 private _licenseId;

    function setUp() public override {
        super.setUp();
        _designId = registered();
        IPrintLicense.Terms memory terms = someTerms(_designId);
        (terms.payout, terms.transferable) = (1, true);
        _licenseId = offered(terms, true);
        vm.deal(holder, 1 ether);
    }

    function _buy(uint40 prints) private {
        vm.prank(holder);
        license.purchase{value: prints * PRICE}(_licenseId, holder, prints);
    }

    function _reserve(uint16 prints) private returns (IPrintLedger.Reservation memory reservation, uint256 tokenId) {
        reservation = aReservation(_licenseId, prints);
        tokenId = ledger.reserve(reservation, signedBy(HOLDER_KEY, reservation));
    }

    function testFuzz_a_sale_owes_nobody_before_a_print_is_counted(uint40 prints) external {
        prints = uint40(bound(prints, 1, 1000));
        vm.expectEmit();
        emit IPrintLicense.PrintsSold(_licenseId, holder, holder, prints, prints * PRICE);
        _buy(prints);
        vm.assertEq(license.owed(designer, address(0)), 0);
        vm.assertEq(address(license).balance, prints * PRICE);
    }

    function testFuzz_counted_prints_are_owed_at_their_price(uint16 prints, uint16 first, uint16 second, uint16 voided)
        external
    {
        prints = uint16(bound(prints, 5, 1000));
        uint256 limit = uint256(prints) + 1 + prints / 5;
        first = uint16(bound(first, 1, limit));
        second = uint16(bound(second, 1, limit));
        voided = uint16(bound(voided, 0, 1 + prints / 5));
        _buy(prints);
        (IPrintLedger.Reservation memory reservation, uint256 tokenId) = _reserve(prints);
        settled(gateway, _licenseId, aUse(tokenId, first, voided));
        vm.assertEq(license.owed(designer, address(0)), stateOf(reservation).burned * PRICE);
        settled(gateway, _licenseId, aUse(tokenId, second, voided));
        settled(gateway, _licenseId, aUse(tokenId, second, voided));
        vm.assertEq(license.owed(designer, address(0)), stateOf(reservation).burned * PRICE);
    }

    function test_a_batch_is_owed_once_for_all_its_uses() external {
        _buy(20);
        (, uint256 one) = _reserve(10);
        IPrintLedger.Reservation memory second = aReservation(_licenseId, 10);
        second.salt = keccak256("second");
        uint256 two = ledger.reserve(second, signedBy(HOLDER_KEY, second));
        IPrintLedger.Use[] memory uses = new IPrintLedger.Use[](2);
        (uses[0], uses[1]) = (aUse(one, 4, 0), aUse(two, 3, 0));
        vm.expectEmit();
        emit IPrintLicense.Credited(_licenseId, designer, address(0), 7 * PRICE);
        settled(gateway, _licenseId, uses);
        license.withdrawFor(designer, address(0));
        vm.assertEq(designer.balance, 7 * PRICE);
        vm.assertEq(address(license).balance, 13 * PRICE);
    }

    function test_settling_calls_no_payee_and_owes_the_owner_of_then() external {
        _buy(10);
        (, uint256 tokenId) = _reserve(10);
        address refuser = address(new Refuser());
        vm.prank(designer);
        registry.transferFrom(designer, refuser, _designId);
        settled(gateway, _licenseId, aUse(tokenId, 4, 0));
        vm.assertEq(license.owed(refuser, address(0)), 4 * PRICE);
        vm.assertEq(license.owed(designer, address(0)), 0);
    }

    function test_closing_owes_what_was_agreed_and_the_rest_can_be_returned() external {
        _buy(10);
        (IPrintLedger.Reservation memory reservation, uint256 tokenId) = _reserve(10);
        IPrintLedger.Close memory closing =
            IPrintLedger.Close({tokenId: tokenId, released: 4, voided: 1, deadline: START + 1});
        ledger.close(closing, reservation, signedBy(GATEWAY_KEY, closing), signedBy(HOLDER_KEY, closing));
        vm.assertEq(license.owed(designer, address(0)), 3 * PRICE);
        vm.prank(holder);
        vm.assertEq(license.returnPrints(_licenseId, 7), 7 * PRICE);
        vm.assertEq(license.owed(holder, address(0)), 7 * PRICE);
        vm.assertEq(license.termsOf(_licenseId).minted, 3);
    }

    function test_reclaimed_prints_are_still_backed() external {
        _buy(10);
        (IPrintLedger.Reservation memory reservation, uint256 tokenId) = _reserve(10);
        settled(gateway, _licenseId, aUse(tokenId, 2, 0));
        vm.warp(uint256(reservation.expiresAt) + 10 days);
        ledger.reclaim(reservation);
        settled(gateway, _licenseId, aUse(tokenId, 9, 0)); // late: nothing is counted, nothing owed
        vm.assertEq(license.owed(designer, address(0)), 2 * PRICE);
        vm.prank(holder);
        license.returnPrints(_licenseId, 8);
        license.withdrawFor(holder, address(0));
        license.withdrawFor(designer, address(0));
        vm.assertEq(address(license).balance, 0);
    }

    // --- returning ----------------------------------------------------------------------------------------------

    function testFuzz_returned_prints_are_owed_to_their_holder_and_sold_anew(uint40 bought, uint40 prints) external {
        bought = uint40(bound(bought, 1, 1000));
        prints = uint40(bound(prints, 1, bought));
        _buy(bought);
        vm.expectEmit();
        emit IPrintLicense.PrintsReturned(_licenseId, holder, prints, prints * PRICE);
        vm.prank(holder);
        vm.assertEq(license.returnPrints(_licenseId, prints), prints * PRICE);
        vm.assertEq(license.owed(holder, address(0)), prints * PRICE);
        vm.assertEq(license.balanceOf(holder, _licenseId), bought - prints);
        vm.assertEq(license.termsOf(_licenseId).minted, bought - prints);
        _buy(1000 - bought + prints);
        vm.assertEq(license.termsOf(_licenseId).minted, 1000);
    }

    function test_whoever_holds_a_unit_returns_it() external {
        _buy(10);
        vm.prank(holder);
        license.safeTransferFrom(holder, stranger, _licenseId, 4, "");
        vm.prank(stranger);
        license.returnPrints(_licenseId, 4);
        vm.assertEq(license.owed(stranger, address(0)), 4 * PRICE);
        vm.assertEq(license.owed(holder, address(0)), 0);
    }

    function test_prints_are_returned_after_the_licence_ended_and_its_design_was_recalled() external {
        _buy(10);
        vm.prank(designer);
        registry.recall(aRecall(_designId, 1));
        vm.warp(START + 366 days);
        vm.prank(holder);
        vm.assertEq(license.returnPrints(_licenseId, 10), 10 * PRICE);
    }

    function test_returned_prints_leave_room_in_the_edition() external {
        IDesignRegistry.Registration memory registration = aRegistration();
        registration.edition = 10;
        IPrintLicense.Terms memory terms = someTerms(registered(registration));
        (terms.cap, terms.payout) = (10, 1);
        uint256 licenseId = offered(terms, true);
        vm.prank(holder);
        license.purchase{value: 10 * PRICE}(licenseId, holder, 10);
        vm.prank(holder);
        license.returnPrints(licenseId, 4);
        vm.assertEq(license.editionMinted(terms.designId), 6);
        vm.prank(holder);
        license.purchase{value: 4 * PRICE}(licenseId, holder, 4);
        vm.assertEq(license.editionMinted(terms.designId), 10);
    }

    function testFuzz_returnPrints_refuses_more_than_are_held_unreserved(uint40 prints) external {
        _buy(15);
        _reserve(10);
        prints = uint40(bound(prints, 6, type(uint40).max));
        vm.expectRevert(
            abi.encodeWithSelector(
                IERC1155Errors.ERC1155InsufficientBalance.selector, holder, uint256(5), uint256(prints), _licenseId
            )
        );
        vm.prank(holder);
        license.returnPrints(_licenseId, prints);
    }

    function test_returnPrints_refuses_none_the_unknown_and_what_was_paid_out() external {
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.PrintsZero.selector));
        license.returnPrints(_licenseId, 0);
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.LicenseUnknown.selector, uint256(1)));
        license.returnPrints(1, 1);
        uint256 paid = offered(someTerms(_designId), true);
        vm.prank(holder);
        license.purchase{value: PRICE}(paid, holder, 1);
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.NotReturnable.selector, paid));
        vm.prank(holder);
        license.returnPrints(paid, 1);
    }

    // --- ended ----------------------------------------------------------------------------------------------------

    function testFuzz_anybody_returns_the_prints_of_an_ended_licence_to_their_holder(
        address sender,
        uint40 bought,
        uint40 when
    ) external {
        bought = uint40(bound(bought, 1, 1000));
        _buy(bought);
        vm.warp(bound(when, START + 365 days + 1, type(uint40).max));
        vm.expectEmit();
        emit IPrintLicense.PrintsReturned(_licenseId, holder, bought, bought * PRICE);
        vm.prank(sender);
        vm.assertEq(license.returnPrintsFor(_licenseId, holder), bought * PRICE);
        vm.assertEq(license.owed(holder, address(0)), bought * PRICE);
        vm.assertEq(license.balanceOf(holder, _licenseId), 0);
        vm.assertEq(license.termsOf(_licenseId).minted, 0);
        vm.recordLogs();
        vm.assertEq(license.returnPrintsFor(_licenseId, holder), 0);
        assertNoEvents();
    }

    /// @dev What a buyer who never prints holds of a shared edition is free again when the licence has ended.
    function test_an_ended_licence_holds_no_edition() external {
        IDesignRegistry.Registration memory registration = aRegistration();
        registration.edition = 10;
        IPrintLicense.Terms memory terms = someTerms(registered(registration));
        (terms.cap, terms.payout, terms.notAfter) = (10, 1, START + 30 days);
        uint256 licenseId = offered(terms, true);
        (terms.payout, terms.salt, terms.notAfter) = (0, keccak256("later"), START + 365 days);
        uint256 later = offered(terms, true);
        vm.prank(holder);
        license.purchase{value: 10 * PRICE}(licenseId, holder, 10);
        vm.expectRevert(
            abi.encodeWithSelector(IPrintLicense.EditionExceeded.selector, terms.designId, uint40(1), uint40(0))
        );
        vm.prank(designer);
        license.mint(later, stranger, 1);
        vm.warp(START + 30 days + 1);
        license.returnPrintsFor(licenseId, holder);
        vm.assertEq(license.editionMinted(terms.designId), 0);
        vm.prank(designer);
        license.mint(later, stranger, 10);
    }

    function testFuzz_before_the_end_nobody_else_returns_prints(address sender, uint40 when) external {
        _buy(10);
        uint40 notAfter = START + 365 days;
        vm.warp(bound(when, START, notAfter));
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.LicenseNotEnded.selector, _licenseId, notAfter));
        vm.prank(sender);
        license.returnPrintsFor(_licenseId, holder);
    }

    function test_what_is_reserved_at_the_end_is_printed_or_released_first() external {
        _buy(10);
        IPrintLedger.Reservation memory reservation = aReservation(_licenseId, 10);
        reservation.expiresAt = START + 365 days;
        uint256 tokenId = ledger.reserve(reservation, signedBy(HOLDER_KEY, reservation));
        vm.warp(START + 365 days + 1);
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.EscrowNotReturned.selector, _licenseId));
        license.returnPrintsFor(_licenseId, address(ledger));
        vm.assertEq(license.returnPrintsFor(_licenseId, holder), 0);
        settled(gateway, _licenseId, aUse(tokenId, 4, 0));
        vm.assertEq(license.owed(designer, address(0)), 4 * PRICE);
        vm.warp(START + 375 days);
        ledger.reclaim(reservation);
        vm.assertEq(license.returnPrintsFor(_licenseId, holder), 6 * PRICE);
        vm.assertEq(license.termsOf(_licenseId).minted, 4);
        vm.assertEq(address(license).balance, 10 * PRICE);
    }

    function test_returnPrintsFor_refuses_the_unknown_and_what_was_paid_out() external {
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.LicenseUnknown.selector, uint256(1)));
        license.returnPrintsFor(1, holder);
        uint256 paid = offered(someTerms(_designId), true);
        vm.prank(designer);
        license.mint(paid, holder, 1);
        vm.warp(START + 366 days);
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.NotReturnable.selector, paid));
        license.returnPrintsFor(paid, holder);
    }

    // --- sold only ----------------------------------------------------------------------------------------------

    function test_prints_paid_as_printed_are_given_in_no_way() external {
        bytes memory refused = abi.encodeWithSelector(IPrintLicense.SoldOnly.selector, _licenseId);
        vm.expectRevert(refused);
        vm.prank(designer);
        license.mint(_licenseId, holder, 1);

        IPrintLicense.Mint memory minting = aMint(_licenseId, 1);
        bytes memory signature = signedBy(DESIGNER_KEY, minting);
        vm.expectRevert(refused);
        license.mintBySig(minting, signature);

        IPrintLicense.Grant[] memory grants = new IPrintLicense.Grant[](1);
        grants[0] = IPrintLicense.Grant({licenseId: _licenseId, to: holder, prints: 1});
        vm.expectRevert(refused);
        vm.prank(designer);
        license.mintBatch(grants);
    }

    function test_tokens_back_units_as_coins_do() external {
        Token token = new Token();
        IPrintLicense.Terms memory terms = someTerms(_designId);
        (terms.payout, terms.currency) = (1, address(token));
        uint256 licenseId = offered(terms, true);
        token.make(holder, 10 * PRICE);
        vm.prank(holder);
        token.approve(address(license), 10 * PRICE);
        vm.prank(holder);
        license.purchase(licenseId, holder, 10);
        IPrintLedger.Reservation memory reservation = aReservation(licenseId, 6);
        uint256 tokenId = ledger.reserve(reservation, signedBy(HOLDER_KEY, reservation));
        settled(gateway, licenseId, aUse(tokenId, 5, 0));
        vm.prank(holder);
        license.returnPrints(licenseId, 4);
        license.withdrawFor(designer, address(token));
        license.withdrawFor(holder, address(token));
        vm.assertEq(token.balanceOf(designer), 5 * PRICE);
        vm.assertEq(token.balanceOf(holder), 4 * PRICE);
        vm.assertEq(token.balanceOf(address(license)), PRICE);
    }
}

/// @title What a design's parents are paid
contract PrintLicenseParentsTest is BaseTest {
    uint256 private constant PRICE = 1 gwei;

    /// @dev A line of designs: each is the child of the one before, and its owner has the key 0xC0 + its index.
    uint256[] private _line;

    function _owner(uint256 index) private pure returns (address) {
        return vm.addr(0xC0 + index);
    }

    function _grow(uint16 derivativeShare) private returns (uint256 designId) {
        IDesignRegistry.Registration memory registration = aRegistration();
        registration.registrant = _owner(_line.length);
        registration.derivativeShare = derivativeShare;
        registration.parentId = _line.length == 0 ? 0 : _line[_line.length - 1];
        designId = registered(registration);
        _line.push(designId);
    }

    function _offeredLast(uint8 payout, uint96 price) private returns (uint256 licenseId) {
        uint256 last = _line.length - 1;
        IPrintLicense.Terms memory terms = someTerms(_line[last]);
        (terms.payout, terms.price) = (payout, price);
        IPrintLicense.Acceptance memory acceptance = anAcceptance(terms.designId, 1);
        bytes memory accepted = signedBy(GATEWAY_KEY, acceptance);
        vm.prank(_owner(last));
        return license.offer(terms, true, acceptance, accepted);
    }

    function _buy(uint256 licenseId, uint256 price) private {
        vm.deal(holder, price);
        vm.prank(holder);
        license.purchase{value: price}(licenseId, holder, 10);
    }

    function testFuzz_each_parent_is_owed_its_share_of_the_share_below_it(uint96 price, uint16[4] memory shares)
        external
    {
        for (uint256 i = 0; i < 4; ++i) {
            shares[i] = uint16(bound(shares[i], 0, 5000));
            _grow(shares[i]);
        }
        _grow(0);
        uint256 paid = uint256(price) * 10;
        _buy(_offeredLast(0, price), paid);
        uint256 left = paid;
        for (uint256 i = 5; i > 0; --i) {
            uint256 share = i == 1 ? 0 : left * shares[i - 2] / 10_000;
            vm.assertEq(license.owed(_owner(i - 1), address(0)), left - share);
            left = share;
        }
        // The seller keeps half at least, and the rounding.
        vm.assertGe(2 * license.owed(_owner(4), address(0)), paid);
        uint256 sum = 0;
        for (uint256 i = 0; i < 5; ++i) {
            sum += license.owed(_owner(i), address(0));
        }
        vm.assertEq(sum, paid);
    }

    function test_parents_are_owed_at_purchase_in_this_order() external {
        _grow(1000);
        _grow(2000);
        _grow(0);
        uint256 licenseId = _offeredLast(0, uint96(PRICE));
        vm.expectEmit();
        emit IPrintLicense.Credited(licenseId, _owner(2), address(0), 8 * PRICE);
        vm.expectEmit();
        emit IPrintLicense.Credited(licenseId, _owner(1), address(0), 18 * PRICE / 10);
        vm.expectEmit();
        emit IPrintLicense.Credited(licenseId, _owner(0), address(0), 2 * PRICE / 10);
        _buy(licenseId, 10 * PRICE);
    }

    function test_parents_are_owed_as_printed_when_the_design_pays_so() external {
        _grow(5000);
        _grow(0);
        uint256 licenseId = _offeredLast(1, uint96(PRICE));
        _buy(licenseId, 10 * PRICE);
        vm.assertEq(license.owed(_owner(0), address(0)), 0);
        IPrintLedger.Reservation memory reservation = aReservation(licenseId, 10);
        uint256 tokenId = ledger.reserve(reservation, signedBy(HOLDER_KEY, reservation));
        settled(gateway, licenseId, aUse(tokenId, 4, 0));
        vm.assertEq(license.owed(_owner(0), address(0)), 2 * PRICE);
        vm.assertEq(license.owed(_owner(1), address(0)), 2 * PRICE);
        vm.assertEq(address(license).balance, 10 * PRICE);
    }

    function test_a_parents_share_goes_to_its_owner_of_then_not_to_its_maker() external {
        uint256 parentId = _grow(1000);
        _grow(0);
        uint256 licenseId = _offeredLast(0, uint96(PRICE));
        vm.prank(_owner(0));
        registry.transferFrom(_owner(0), stranger, parentId);
        _buy(licenseId, 10 * PRICE);
        vm.assertEq(license.owed(stranger, address(0)), PRICE);
        vm.assertEq(license.owed(_owner(0), address(0)), 0);
    }

    function test_a_parent_that_sits_in_a_contract_is_paid_by_anybody() external {
        uint256 parentId = _grow(1000);
        _grow(0);
        uint256 licenseId = _offeredLast(0, uint96(PRICE));
        address custody = address(new Refuser());
        vm.prank(_owner(0));
        registry.transferFrom(_owner(0), custody, parentId);
        _buy(licenseId, 10 * PRICE); // a payee that takes no coins stops no sale
        vm.assertEq(license.owed(custody, address(0)), PRICE);
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.PaymentRefused.selector, custody, PRICE));
        license.withdrawFor(custody, address(0));
        license.withdrawFor(_owner(1), address(0));
        vm.assertEq(_owner(1).balance, 9 * PRICE);
    }

    function test_a_parent_that_asks_for_nothing_is_owed_nothing_and_leaves_no_event() external {
        _grow(0);
        _grow(0);
        uint256 licenseId = _offeredLast(0, uint96(PRICE));
        vm.expectEmit();
        emit IPrintLicense.Credited(licenseId, _owner(1), address(0), 10 * PRICE);
        vm.expectEmit();
        emit IPrintLicense.PrintsSold(licenseId, holder, holder, 10, 10 * PRICE);
        _buy(licenseId, 10 * PRICE);
        vm.assertEq(license.owed(_owner(0), address(0)), 0);
    }

    function test_one_account_that_owns_the_whole_line_is_owed_everything() external {
        uint256 parentId = _grow(3333);
        _grow(0);
        uint256 licenseId = _offeredLast(0, 7);
        vm.prank(_owner(0));
        registry.transferFrom(_owner(0), _owner(1), parentId);
        _buy(licenseId, 70);
        vm.assertEq(license.owed(_owner(1), address(0)), 70);
    }
}
