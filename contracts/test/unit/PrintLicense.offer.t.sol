// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IDesignRegistry} from "../../src/interfaces/IDesignRegistry.sol";
import {IPrintLedger} from "../../src/interfaces/IPrintLedger.sol";
import {IPrintLicense} from "../../src/interfaces/IPrintLicense.sol";
import {BaseTest} from "../utils/BaseTest.sol";
import {Wallet} from "../utils/Wallets.sol";

contract PrintLicenseOfferTest is BaseTest {
    uint256 private _designId;

    function setUp() public override {
        super.setUp();
        _designId = registered();
    }

    function _refused(IPrintLicense.Terms memory terms, bytes memory reason) private {
        IPrintLicense.Acceptance memory acceptance = anAcceptance(terms.designId, 1);
        bytes memory signature = signedBy(GATEWAY_KEY, acceptance);
        vm.expectRevert(reason);
        vm.prank(designer);
        license.offer(terms, true, acceptance, signature);
    }

    function _refusedAcceptance(IPrintLicense.Acceptance memory acceptance, bytes memory reason) private {
        bytes memory signature = signedBy(GATEWAY_KEY, acceptance);
        IPrintLicense.Terms memory terms = someTerms(_designId);
        vm.expectRevert(reason);
        vm.prank(designer);
        license.offer(terms, true, acceptance, signature);
    }

    function testFuzz_offer_keeps_the_terms_under_their_digest(
        uint96 price,
        uint40 cap,
        uint40 notBefore,
        uint40 notAfter,
        bool transferable,
        bool onSale,
        bytes32 salt
    ) external {
        IPrintLicense.Terms memory terms = someTerms(_designId);
        terms.price = price;
        terms.cap = uint40(bound(cap, 5, 54_000));
        terms.notAfter = uint40(bound(notAfter, START, type(uint40).max));
        terms.notBefore = uint40(bound(notBefore, 0, terms.notAfter));
        terms.transferable = transferable;
        terms.salt = salt;
        uint256 expected = uint256(domained(address(license), digests.terms(terms)));
        vm.expectEmit();
        emit IPrintLicense.LicenseOffered(expected, _designId, gateway, 1, KEY_COMMITMENT, terms, onSale);
        vm.assertEq(offered(terms, onSale), expected);
        vm.assertEq(license.licenseIdOf(terms), expected);
        IPrintLicense.License memory stored = license.termsOf(expected);
        vm.assertEq(stored.designId, _designId);
        vm.assertEq(stored.termsDigest, TERMS_DIGEST);
        vm.assertEq(stored.gateway, gateway);
        vm.assertEq(stored.price, price);
        vm.assertEq(stored.cap, terms.cap);
        vm.assertEq(stored.minted, 0);
        vm.assertEq(stored.notBefore, terms.notBefore);
        vm.assertEq(stored.notAfter, terms.notAfter);
        vm.assertEq(stored.sparesFlat, 1);
        vm.assertEq(stored.sparesPerHundred, 20);
        vm.assertEq(stored.smallestReservation, 5);
        vm.assertEq(stored.revision, 1);
        vm.assertEq(stored.transferable, transferable);
        vm.assertEq(stored.payout, 0);
        vm.assertEq(stored.onSale, onSale);
        vm.assertEq(license.sparesOf(expected, 14), 3);
    }

    function test_offer_again_changes_nothing_for_anybody() external {
        IPrintLicense.Terms memory terms = someTerms(_designId);
        uint256 licenseId = offered(terms, true);
        vm.prank(designer);
        license.mint(licenseId, holder, 3);
        vm.recordLogs();
        IPrintLicense.Acceptance memory acceptance = anAcceptance(_designId, 1);
        vm.prank(stranger);
        vm.assertEq(license.offer(terms, false, acceptance, ""), licenseId);
        vm.assertEq(license.offerBySig(terms, false, 0, "", acceptance, ""), licenseId);
        assertNoEvents();
        vm.assertEq(license.termsOf(licenseId).minted, 3);
        vm.assertTrue(license.termsOf(licenseId).onSale);
    }

    // --- the terms by themselves --------------------------------------------------------------------------------

    function testFuzz_offer_refuses_a_currency_that_is_no_contract(address currency) external {
        vm.assume(currency != address(0) && currency.code.length == 0);
        IPrintLicense.Terms memory terms = someTerms(_designId);
        terms.currency = currency;
        _refused(terms, abi.encodeWithSelector(IPrintLicense.CurrencyInvalid.selector, currency));
    }

    function testFuzz_offer_refuses_other_payouts(uint8 payout) external {
        vm.assume(payout > 1);
        IPrintLicense.Terms memory terms = someTerms(_designId);
        terms.payout = payout;
        _refused(terms, abi.encodeWithSelector(IPrintLicense.PayoutInvalid.selector, payout));
    }

    function test_offer_refuses_payout_as_printed_of_nothing() external {
        IPrintLicense.Terms memory terms = someTerms(_designId);
        (terms.payout, terms.price) = (1, 0);
        _refused(terms, abi.encodeWithSelector(IPrintLicense.PriceZero.selector));
    }

    function test_offer_keeps_currency_and_payout() external {
        IPrintLicense.Terms memory terms = someTerms(_designId);
        (terms.payout, terms.currency) = (1, address(registry));
        IPrintLicense.License memory stored = license.termsOf(offered(terms, true));
        vm.assertEq(stored.payout, 1);
        vm.assertEq(stored.currency, address(registry));
        vm.assertEq(stored.cap, terms.cap);
        vm.assertEq(license.termsOf(offered(someTerms(_designId), true)).currency, address(0));
    }

    function testFuzz_offer_keeps_what_is_yes_or_no_apart(
        bool onSale,
        bool transferable,
        bool asPrinted,
        bool token,
        bool limited,
        bool derived
    ) external {
        IDesignRegistry.Registration memory registration = aRegistration();
        registration.edition = limited ? 1000 : 0;
        registration.parentId = derived ? _designId : 0;
        registration.manifestDigest = keccak256("another");
        IPrintLicense.Terms memory terms = someTerms(registered(registration));
        terms.transferable = transferable;
        terms.payout = asPrinted ? 1 : 0;
        terms.currency = token ? address(registry) : address(0);
        IPrintLicense.License memory stored = license.termsOf(offered(terms, onSale));
        vm.assertEq(stored.onSale, onSale);
        vm.assertEq(stored.transferable, transferable);
        vm.assertEq(stored.payout, terms.payout);
        vm.assertEq(stored.currency, terms.currency);
    }

    function test_offer_refuses_no_prints_at_all() external {
        IPrintLicense.Terms memory terms = someTerms(_designId);
        terms.cap = 0;
        _refused(terms, abi.encodeWithSelector(IPrintLicense.CapZero.selector));
    }

    function testFuzz_offer_refuses_a_cap_above_the_edition(uint40 cap, uint40 edition) external {
        IDesignRegistry.Registration memory registration = aRegistration();
        registration.edition = uint40(bound(edition, 5, 999));
        IPrintLicense.Terms memory terms = someTerms(registered(registration));
        terms.cap = uint40(bound(cap, registration.edition + 1, 1000));
        _refused(terms, abi.encodeWithSelector(IPrintLicense.CapAboveEdition.selector, terms.cap, registration.edition));
        terms.cap = registration.edition;
        offered(terms, true);
    }

    function testFuzz_offer_refuses_a_window_that_is_none(uint40 notBefore, uint40 notAfter) external {
        IPrintLicense.Terms memory terms = someTerms(_designId);
        vm.assume(notAfter < notBefore || notAfter < START);
        terms.notBefore = notBefore;
        terms.notAfter = notAfter;
        _refused(terms, abi.encodeWithSelector(IPrintLicense.WindowInvalid.selector, notBefore, notAfter));
    }

    function testFuzz_offer_refuses_a_smallest_reservation_outside_the_cap(uint16 smallest) external {
        IPrintLicense.Terms memory terms = someTerms(_designId);
        vm.assume(smallest == 0 || smallest > terms.cap);
        terms.smallestReservation = smallest;
        _refused(terms, abi.encodeWithSelector(IPrintLicense.SmallestReservationInvalid.selector, smallest, terms.cap));
    }

    function testFuzz_offer_bounds_the_spares_of_the_smallest_reservation(
        uint16 flat,
        uint16 perHundred,
        uint16 smallest
    ) external {
        IPrintLicense.Terms memory terms = someTerms(_designId);
        terms.sparesFlat = uint16(bound(flat, 0, 200));
        terms.sparesPerHundred = uint16(bound(perHundred, 0, 50));
        terms.smallestReservation = uint16(bound(smallest, 1, 300));
        uint256 spares = terms.sparesFlat + uint256(terms.smallestReservation) * terms.sparesPerHundred / 100;
        if (2 * spares > terms.smallestReservation) {
            _refused(
                terms,
                abi.encodeWithSelector(
                    IPrintLicense.SparesExcessive.selector, spares, uint256(terms.smallestReservation)
                )
            );
        } else {
            vm.assertEq(license.sparesOf(offered(terms, true), terms.smallestReservation), spares);
        }
    }

    function testFuzz_offer_refuses_more_than_fifty_spares_in_a_hundred(uint16 perHundred) external {
        IPrintLicense.Terms memory terms = someTerms(_designId);
        terms.sparesFlat = 0;
        terms.smallestReservation = 1;
        terms.sparesPerHundred = uint16(bound(perHundred, 51, type(uint16).max));
        _refused(
            terms,
            abi.encodeWithSelector(
                IPrintLicense.SparesExcessive.selector, uint256(terms.sparesPerHundred), uint256(100)
            )
        );
    }

    function testFuzz_offer_bounds_the_largest_reservation(uint40 cap, uint16 flat) external {
        IPrintLicense.Terms memory terms = someTerms(_designId);
        terms.cap = uint40(bound(cap, 50_000, 200_000));
        terms.sparesFlat = uint16(bound(flat, 0, 400));
        terms.smallestReservation = 2000;
        uint256 largest = terms.cap < 65_535 ? terms.cap : 65_535;
        uint256 spares = terms.sparesFlat + largest / 5;
        if (largest + spares > 65_535) {
            _refused(terms, abi.encodeWithSelector(IPrintLicense.ReservationTooLarge.selector, largest, spares));
        } else {
            offered(terms, true);
        }
    }

    function test_offer_takes_any_cap_without_spares() external {
        IPrintLicense.Terms memory terms = someTerms(_designId);
        terms.cap = type(uint40).max;
        terms.sparesFlat = 0;
        terms.sparesPerHundred = 0;
        vm.assertEq(license.termsOf(offered(terms, false)).cap, type(uint40).max);
    }

    // --- who offers ---------------------------------------------------------------------------------------------

    function testFuzz_offer_refuses_who_does_not_own_the_design(address sender) external {
        vm.assume(sender != designer);
        IPrintLicense.Acceptance memory acceptance = anAcceptance(_designId, 1);
        bytes memory signature = signedBy(GATEWAY_KEY, acceptance);
        IPrintLicense.Terms memory terms = someTerms(_designId);
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.NotDesignOwner.selector, _designId, sender));
        vm.prank(sender);
        license.offer(terms, true, acceptance, signature);
    }

    function testFuzz_offer_refuses_an_unknown_design(uint256 designId) external {
        vm.assume(designId != _designId);
        _refused(someTerms(designId), abi.encodeWithSelector(IDesignRegistry.DesignUnknown.selector, designId));
    }

    function testFuzz_offerBySig_is_anybodys_to_send(address sender) external {
        IPrintLicense.Terms memory terms = someTerms(_designId);
        IPrintLicense.Acceptance memory acceptance = anAcceptance(_designId, 1);
        bytes memory signature = signedOffer(DESIGNER_KEY, terms, true, START + 60);
        bytes memory accepted = signedBy(GATEWAY_KEY, acceptance);
        vm.warp(START + 60);
        vm.prank(sender);
        uint256 licenseId = license.offerBySig(terms, true, START + 60, signature, acceptance, accepted);
        vm.assertTrue(license.termsOf(licenseId).onSale);
    }

    function testFuzz_offerBySig_refuses_another_key(uint256 key) external {
        key = bound(key, 1, ORDER - 1);
        vm.assume(vm.addr(key) != designer);
        _refusedBySig(key, true, START + 60, abi.encodeWithSignature("SignatureInvalid(address)", designer));
    }

    function test_offerBySig_refuses_a_sale_that_was_not_signed() external {
        _refusedBySig(DESIGNER_KEY, false, START + 60, abi.encodeWithSignature("SignatureInvalid(address)", designer));
    }

    function test_offerBySig_refuses_after_the_deadline() external {
        _refusedBySig(DESIGNER_KEY, true, START - 1, abi.encodeWithSignature("DeadlinePassed(uint40)", START - 1));
    }

    function test_offerBySig_refuses_the_owner_before_a_sale_of_the_design() external {
        vm.prank(designer);
        registry.transferFrom(designer, holder, _designId);
        _refusedBySig(DESIGNER_KEY, true, START + 60, abi.encodeWithSignature("SignatureInvalid(address)", holder));
    }

    function _refusedBySig(uint256 key, bool onSale, uint40 deadline, bytes memory reason) private {
        IPrintLicense.Terms memory terms = someTerms(_designId);
        IPrintLicense.Acceptance memory acceptance = anAcceptance(_designId, 1);
        bytes memory accepted = signedBy(GATEWAY_KEY, acceptance);
        bytes memory signature = signedOffer(key, terms, true, deadline);
        vm.expectRevert(reason);
        license.offerBySig(terms, onSale, deadline, signature, acceptance, accepted);
    }

    // --- the gateway's acceptance -------------------------------------------------------------------------------

    function test_offer_takes_an_operators_acceptance_and_refuses_a_revoked_one() external {
        IPrintLicense.Terms memory terms = someTerms(_designId);
        IPrintLicense.Acceptance memory acceptance = anAcceptance(_designId, 1);
        bytes memory signature = signedBy(OPERATOR_KEY, acceptance);
        vm.prank(gateway);
        ledger.setOperator(operator, true);
        vm.prank(designer);
        license.offer(terms, true, acceptance, signature);

        vm.prank(gateway);
        ledger.setOperator(operator, false);
        terms.salt = keccak256("another");
        expectSignatureInvalid(gateway);
        vm.prank(designer);
        license.offer(terms, true, acceptance, signature);
    }

    function test_offer_takes_a_gateway_that_is_a_contract() external {
        IPrintLicense.Terms memory terms = someTerms(_designId);
        terms.gateway = address(new Wallet(stranger));
        vm.prank(terms.gateway);
        ledger.declareGateway(PROFILE, false);
        IPrintLicense.Acceptance memory acceptance = anAcceptanceBy(terms.gateway, _designId, 1);
        bytes memory signature = signedBy(STRANGER_KEY, acceptance);
        vm.prank(designer);
        uint256 licenseId = license.offer(terms, true, acceptance, signature);
        vm.assertEq(license.termsOf(licenseId).gateway, terms.gateway);
    }

    function testFuzz_offer_refuses_a_gateway_that_did_not_accept(uint256 key) external {
        key = bound(key, 1, ORDER - 1);
        vm.assume(vm.addr(key) != gateway);
        IPrintLicense.Acceptance memory acceptance = anAcceptance(_designId, 1);
        bytes memory signature = signedBy(key, acceptance);
        IPrintLicense.Terms memory terms = someTerms(_designId);
        expectSignatureInvalid(gateway);
        vm.prank(designer);
        license.offer(terms, true, acceptance, signature);
    }

    function test_offer_refuses_a_gateway_without_a_profile() external {
        IPrintLicense.Terms memory terms = someTerms(_designId);
        terms.gateway = stranger;
        IPrintLicense.Acceptance memory acceptance = anAcceptanceBy(stranger, _designId, 1);
        bytes memory signature = signedBy(STRANGER_KEY, acceptance);
        vm.expectRevert(abi.encodeWithSelector(IPrintLedger.GatewayUndeclared.selector, stranger));
        vm.prank(designer);
        license.offer(terms, true, acceptance, signature);
    }

    function test_offer_refuses_a_gateway_that_withdrew() external {
        vm.prank(gateway);
        ledger.declareGateway(0, false);
        _refused(someTerms(_designId), abi.encodeWithSelector(IPrintLedger.GatewayUndeclared.selector, gateway));
    }

    function testFuzz_offer_refuses_the_acceptance_of_another_design(uint256 designId) external {
        vm.assume(designId != _designId);
        _refusedAcceptance(
            anAcceptance(designId, 1),
            abi.encodeWithSelector(IPrintLicense.AcceptanceMismatch.selector, gateway, designId, TERMS_DIGEST)
        );
    }

    function testFuzz_offer_refuses_the_acceptance_of_another_terms_document(bytes32 termsDigest) external {
        vm.assume(termsDigest != TERMS_DIGEST);
        IPrintLicense.Acceptance memory acceptance = anAcceptance(_designId, 1);
        acceptance.termsDigest = termsDigest;
        _refusedAcceptance(
            acceptance,
            abi.encodeWithSelector(IPrintLicense.AcceptanceMismatch.selector, gateway, _designId, termsDigest)
        );
    }

    /// @dev The operator acts for both gateways, and the stranger's licence wants the stranger's word.
    function test_offer_refuses_what_a_shared_operator_accepted_for_another_gateway() external {
        vm.prank(stranger);
        ledger.declareGateway(PROFILE, false);
        vm.prank(stranger);
        ledger.setOperator(operator, true);
        vm.prank(gateway);
        ledger.setOperator(operator, true);
        IPrintLicense.Terms memory terms = someTerms(_designId);
        terms.gateway = stranger;
        IPrintLicense.Acceptance memory acceptance = anAcceptance(_designId, 1);
        bytes memory signature = signedBy(OPERATOR_KEY, acceptance);
        vm.expectRevert(
            abi.encodeWithSelector(IPrintLicense.AcceptanceMismatch.selector, gateway, _designId, TERMS_DIGEST)
        );
        vm.prank(designer);
        license.offer(terms, true, acceptance, signature);
        acceptance.gateway = stranger;
        signature = signedBy(OPERATOR_KEY, acceptance);
        vm.prank(designer);
        license.offer(terms, true, acceptance, signature);
    }

    function testFuzz_offer_refuses_the_acceptance_of_another_gateway(address other) external {
        vm.assume(other != gateway);
        _refusedAcceptance(
            anAcceptanceBy(other, _designId, 1),
            abi.encodeWithSelector(IPrintLicense.AcceptanceMismatch.selector, other, _designId, TERMS_DIGEST)
        );
    }

    function test_offer_refuses_an_old_acceptance() external {
        IPrintLicense.Acceptance memory acceptance = anAcceptance(_designId, 1);
        acceptance.deadline = START - 1;
        _refusedAcceptance(acceptance, abi.encodeWithSignature("DeadlinePassed(uint40)", START - 1));
    }

    function testFuzz_offer_refuses_a_revision_that_is_not(uint16 revision) external {
        vm.assume(revision != 1);
        _refusedAcceptance(
            anAcceptance(_designId, revision),
            abi.encodeWithSelector(IPrintLicense.RevisionNotPrintable.selector, _designId, revision)
        );
    }

    function test_offer_refuses_a_recalled_revision() external {
        vm.prank(designer);
        registry.recall(aRecall(_designId, 1));
        _refusedAcceptance(
            anAcceptance(_designId, 1),
            abi.encodeWithSelector(IPrintLicense.RevisionNotPrintable.selector, _designId, uint16(1))
        );
    }
}

contract PrintLicenseAcceptTest is BaseTest {
    uint256 private _designId;
    uint256 private _licenseId;

    function setUp() public override {
        super.setUp();
        _designId = registered();
        _licenseId = offered(someTerms(_designId), true);
        vm.prank(designer);
        registry.publish(aPublication(_designId, 2));
        vm.prank(designer);
        registry.publish(aPublication(_designId, 3));
    }

    function _accept(uint16 revision) private {
        IPrintLicense.Acceptance memory acceptance = anAcceptance(_designId, revision);
        license.accept(_licenseId, acceptance, signedBy(GATEWAY_KEY, acceptance));
    }

    function test_accept_raises_the_revision_that_reservations_name() external {
        vm.expectEmit();
        emit IPrintLicense.LicenseAccepted(_licenseId, 3, KEY_COMMITMENT);
        _accept(3);
        vm.assertEq(license.termsOf(_licenseId).revision, 3);
        vm.recordLogs();
        _accept(3);
        assertNoEvents();
    }

    function test_accept_never_lowers() external {
        _accept(3);
        IPrintLicense.Acceptance memory acceptance = anAcceptance(_designId, 2);
        bytes memory signature = signedBy(GATEWAY_KEY, acceptance);
        vm.expectRevert(
            abi.encodeWithSelector(IPrintLicense.RevisionNotRaised.selector, _licenseId, uint16(3), uint16(2))
        );
        license.accept(_licenseId, acceptance, signature);
    }

    function testFuzz_accept_refuses_revisions_that_are_not(uint16 revision) external {
        revision = uint16(bound(revision, 4, type(uint16).max));
        IPrintLicense.Acceptance memory acceptance = anAcceptance(_designId, revision);
        bytes memory signature = signedBy(GATEWAY_KEY, acceptance);
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.RevisionNotPrintable.selector, _designId, revision));
        license.accept(_licenseId, acceptance, signature);
    }

    function testFuzz_accept_refuses_another_key(uint256 key) external {
        key = bound(key, 1, ORDER - 1);
        vm.assume(vm.addr(key) != gateway);
        IPrintLicense.Acceptance memory acceptance = anAcceptance(_designId, 2);
        bytes memory signature = signedBy(key, acceptance);
        expectSignatureInvalid(gateway);
        license.accept(_licenseId, acceptance, signature);
    }

    function test_accept_refuses_other_terms_an_old_word_and_an_unknown_licence() external {
        IPrintLicense.Acceptance memory acceptance = anAcceptance(_designId, 2);
        acceptance.termsDigest = keccak256("other");
        bytes memory signature = signedBy(GATEWAY_KEY, acceptance);
        vm.expectRevert(
            abi.encodeWithSelector(
                IPrintLicense.AcceptanceMismatch.selector, gateway, _designId, acceptance.termsDigest
            )
        );
        license.accept(_licenseId, acceptance, signature);

        acceptance = anAcceptanceBy(stranger, _designId, 2);
        signature = signedBy(GATEWAY_KEY, acceptance);
        vm.expectRevert(
            abi.encodeWithSelector(IPrintLicense.AcceptanceMismatch.selector, stranger, _designId, TERMS_DIGEST)
        );
        license.accept(_licenseId, acceptance, signature);

        acceptance = anAcceptance(_designId, 2);
        acceptance.deadline = START - 1;
        signature = signedBy(GATEWAY_KEY, acceptance);
        expectDeadlinePassed(START - 1);
        license.accept(_licenseId, acceptance, signature);

        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.LicenseUnknown.selector, uint256(1)));
        license.accept(1, acceptance, signature);
    }
}
