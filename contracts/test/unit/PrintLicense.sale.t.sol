// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IDesignRegistry} from "../../src/interfaces/IDesignRegistry.sol";
import {IPrintLicense} from "../../src/interfaces/IPrintLicense.sol";
import {IStatements} from "../../src/interfaces/IStatements.sol";
import {BaseTest} from "../utils/BaseTest.sol";
import {Reentrant, Refuser, Wallet} from "../utils/Wallets.sol";
import {IERC1155} from "@openzeppelin/contracts/interfaces/IERC1155.sol";
import {IERC1155Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

contract PrintLicenseMintTest is BaseTest {
    function testFuzz_mint_gives_prints_up_to_the_cap(uint40 first, uint40 second) external {
        uint256 licenseId = offered();
        first = uint40(bound(first, 1, 1000));
        second = uint40(bound(second, 1, 2000));
        vm.expectEmit();
        emit IERC1155.TransferSingle(designer, address(0), holder, licenseId, first);
        vm.prank(designer);
        license.mint(licenseId, holder, first);
        vm.assertEq(license.balanceOf(holder, licenseId), first);
        vm.assertEq(license.termsOf(licenseId).minted, first);
        uint40 left = 1000 - first;
        if (second > left) {
            vm.expectRevert(abi.encodeWithSelector(IPrintLicense.CapExceeded.selector, licenseId, second, left));
        }
        vm.prank(designer);
        license.mint(licenseId, holder, second);
        vm.assertEq(license.termsOf(licenseId).minted, second > left ? first : first + second);
    }

    function testFuzz_mint_refuses_who_does_not_own_the_design(address sender) external {
        uint256 designId = registered();
        uint256 licenseId = offered(someTerms(designId), true);
        vm.assume(sender != designer);
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.NotDesignOwner.selector, designId, sender));
        vm.prank(sender);
        license.mint(licenseId, holder, 1);
    }

    function test_mint_refuses_nothing_nobody_and_an_unknown_licence() external {
        uint256 licenseId = offered();
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.PrintsZero.selector));
        vm.prank(designer);
        license.mint(licenseId, holder, 0);
        vm.expectRevert(abi.encodeWithSelector(IERC1155Errors.ERC1155InvalidReceiver.selector, address(0)));
        vm.prank(designer);
        license.mint(licenseId, address(0), 1);
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.LicenseUnknown.selector, uint256(1)));
        vm.prank(designer);
        license.mint(1, holder, 1);
    }

    function test_mint_refuses_receivers_that_take_no_units_the_ledger_among_them() external {
        uint256 licenseId = offered();
        address refuser = address(new Refuser());
        vm.expectRevert(abi.encodeWithSelector(IERC1155Errors.ERC1155InvalidReceiver.selector, refuser));
        vm.prank(designer);
        license.mint(licenseId, refuser, 1);
        vm.expectRevert(abi.encodeWithSelector(IERC1155Errors.ERC1155InvalidReceiver.selector, address(ledger)));
        vm.prank(designer);
        license.mint(licenseId, address(ledger), 1);
    }

    function testFuzz_the_edition_holds_over_all_licences_of_a_design(uint40 first, uint40 second) external {
        IDesignRegistry.Registration memory registration = aRegistration();
        registration.edition = 100;
        uint256 designId = registered(registration);
        IPrintLicense.Terms memory terms = someTerms(designId);
        terms.cap = 80;
        uint256 one = offered(terms, true);
        terms.salt = keccak256("two");
        uint256 two = offered(terms, true);
        first = uint40(bound(first, 21, 80));
        second = uint40(bound(second, 1, 80));
        vm.prank(designer);
        license.mint(one, holder, first);
        uint40 left = 100 - first;
        vm.deal(holder, 1 ether);
        if (second > left) {
            vm.expectRevert(abi.encodeWithSelector(IPrintLicense.EditionExceeded.selector, designId, second, left));
        }
        vm.prank(holder);
        license.purchase{value: uint256(second) * 1 gwei}(two, holder, second);
        vm.assertEq(license.editionMinted(designId), second > left ? first : first + second);
    }

    // --- by signature -------------------------------------------------------------------------------------------

    function testFuzz_mintBySig_gives_what_was_signed_once(address sender) external {
        uint256 licenseId = offered();
        IPrintLicense.Mint memory minting = aMint(licenseId, 10);
        bytes memory signature = signedBy(DESIGNER_KEY, minting);
        vm.prank(sender);
        license.mintBySig(minting, signature);
        vm.assertEq(license.balanceOf(holder, licenseId), 10);
        vm.recordLogs();
        vm.warp(START + 30 days);
        license.mintBySig(minting, signature);
        license.mintBySig(minting, "");
        assertNoEvents();
        vm.assertEq(license.balanceOf(holder, licenseId), 10);
    }

    function testFuzz_mintBySig_takes_numbers_in_any_order_and_each_once(uint256 one, uint256 other) external {
        vm.assume(one != other);
        uint256 licenseId = offered();
        IPrintLicense.Mint memory minting = aMint(licenseId, 10);
        minting.nonce = one;
        license.mintBySig(minting, signedBy(DESIGNER_KEY, minting));
        minting.nonce = other;
        license.mintBySig(minting, signedBy(DESIGNER_KEY, minting));
        vm.assertEq(license.balanceOf(holder, licenseId), 20);
        minting.prints = 11;
        bytes memory signature = signedBy(DESIGNER_KEY, minting);
        vm.expectRevert(abi.encodeWithSelector(IStatements.NonceUsed.selector, designer, other));
        license.mintBySig(minting, signature);
    }

    function testFuzz_mintBySig_refuses_another_key(uint256 key) external {
        key = bound(key, 1, ORDER - 1);
        vm.assume(vm.addr(key) != designer);
        IPrintLicense.Mint memory minting = aMint(offered(), 10);
        bytes memory signature = signedBy(key, minting);
        expectSignatureInvalid(designer);
        license.mintBySig(minting, signature);
    }

    function test_mintBySig_refuses_late_too_many_none_and_unknown() external {
        uint256 licenseId = offered();
        IPrintLicense.Mint memory minting = aMint(licenseId, 10);
        minting.deadline = START - 1;
        bytes memory signature = signedBy(DESIGNER_KEY, minting);
        expectDeadlinePassed(START - 1);
        license.mintBySig(minting, signature);

        minting = aMint(licenseId, 1001);
        signature = signedBy(DESIGNER_KEY, minting);
        vm.expectRevert(
            abi.encodeWithSelector(IPrintLicense.CapExceeded.selector, licenseId, uint40(1001), uint40(1000))
        );
        license.mintBySig(minting, signature);

        minting = aMint(licenseId, 0);
        signature = signedBy(DESIGNER_KEY, minting);
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.PrintsZero.selector));
        license.mintBySig(minting, signature);

        minting = aMint(1, 1);
        signature = signedBy(DESIGNER_KEY, minting);
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.LicenseUnknown.selector, uint256(1)));
        license.mintBySig(minting, signature);
    }

    function test_mintBySig_refuses_the_former_owner() external {
        uint256 designId = registered();
        uint256 licenseId = offered(someTerms(designId), true);
        IPrintLicense.Mint memory minting = aMint(licenseId, 10);
        bytes memory signature = signedBy(DESIGNER_KEY, minting);
        vm.prank(designer);
        registry.transferFrom(designer, stranger, designId);
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.NotDesignOwner.selector, designId, designer));
        license.mintBySig(minting, signature);
        minting.owner = stranger; // nor can the new owner's name be put on it
        expectSignatureInvalid(stranger);
        license.mintBySig(minting, signature);
    }
}

contract PrintLicenseSaleTest is BaseTest {
    uint256 private _designId;
    uint256 private _licenseId;

    function setUp() public override {
        super.setUp();
        _designId = registered();
        _licenseId = offered(someTerms(_designId), true);
        vm.deal(holder, 1 ether);
    }

    function test_setSale_is_the_owners_and_repeats_change_nothing() external {
        vm.expectEmit();
        emit IPrintLicense.SaleSet(_licenseId, false);
        vm.prank(designer);
        license.setSale(_licenseId, false);
        vm.assertFalse(license.termsOf(_licenseId).onSale);
        vm.recordLogs();
        vm.prank(designer);
        license.setSale(_licenseId, false);
        assertNoEvents();
        vm.prank(designer);
        license.setSale(_licenseId, true);
        vm.assertTrue(license.termsOf(_licenseId).onSale);
    }

    function testFuzz_setSale_refuses_others_and_unknown_licences(address sender) external {
        vm.assume(sender != designer);
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.NotDesignOwner.selector, _designId, sender));
        vm.prank(sender);
        license.setSale(_licenseId, false);
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.LicenseUnknown.selector, uint256(1)));
        license.setSale(1, false);
    }

    function testFuzz_purchase_gives_prints_and_owes_the_owner(uint40 prints, address to) external {
        vm.assume(to.code.length == 0 && to != address(0));
        prints = uint40(bound(prints, 1, 1000));
        uint256 price = uint256(prints) * 1 gwei;
        vm.expectEmit();
        emit IPrintLicense.PrintsSold(_licenseId, holder, to, prints, price);
        vm.prank(holder);
        license.purchase{value: price}(_licenseId, to, prints);
        vm.assertEq(license.balanceOf(to, _licenseId), prints);
        vm.assertEq(license.owed(designer, address(0)), price);
        vm.assertEq(license.owed(designer, address(1)), 0);
        vm.assertEq(address(license).balance, price);
        vm.assertEq(license.termsOf(_licenseId).minted, prints);
    }

    function test_purchase_owes_whoever_owns_the_design_then() external {
        vm.prank(holder);
        license.purchase{value: 3 gwei}(_licenseId, holder, 3);
        vm.prank(designer);
        registry.transferFrom(designer, stranger, _designId);
        vm.prank(holder);
        license.purchase{value: 2 gwei}(_licenseId, holder, 2);
        vm.assertEq(license.owed(designer, address(0)), 3 gwei);
        vm.assertEq(license.owed(stranger, address(0)), 2 gwei);
    }

    function testFuzz_purchase_takes_the_exact_price_only(uint40 prints, uint256 paid) external {
        prints = uint40(bound(prints, 1, 1000));
        paid = bound(paid, 0, 1 ether);
        uint256 price = uint256(prints) * 1 gwei;
        vm.assume(paid != price);
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.PaymentMismatch.selector, price, paid));
        vm.prank(holder);
        license.purchase{value: paid}(_licenseId, holder, prints);
    }

    function test_purchase_refuses_what_is_not_on_sale_even_when_free() external {
        IPrintLicense.Terms memory terms = someTerms(_designId);
        terms.price = 0;
        uint256 free = offered(terms, false);
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.NotOnSale.selector, free));
        vm.prank(stranger);
        license.purchase(free, stranger, 1);
    }

    function test_purchase_begins_before_the_window_and_ends_with_it() external {
        IPrintLicense.Terms memory terms = someTerms(_designId);
        terms.notBefore = START + 10 days;
        terms.notAfter = START + 20 days;
        uint256 licenseId = offered(terms, true);
        vm.prank(holder);
        license.purchase{value: 1 gwei}(licenseId, holder, 1);
        vm.warp(START + 20 days);
        vm.prank(holder);
        license.purchase{value: 1 gwei}(licenseId, holder, 1);
        vm.warp(START + 20 days + 1);
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.LicenseEnded.selector, licenseId, uint40(START + 20 days)));
        vm.prank(holder);
        license.purchase{value: 1 gwei}(licenseId, holder, 1);
    }

    function test_purchase_refuses_none_too_many_unknown_and_recalled() external {
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.PrintsZero.selector));
        vm.prank(holder);
        license.purchase(_licenseId, holder, 0);

        vm.expectRevert(
            abi.encodeWithSelector(IPrintLicense.CapExceeded.selector, _licenseId, uint40(1001), uint40(1000))
        );
        vm.prank(holder);
        license.purchase{value: 1001 gwei}(_licenseId, holder, 1001);

        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.LicenseUnknown.selector, uint256(1)));
        vm.prank(holder);
        license.purchase(1, holder, 1);

        vm.prank(designer);
        registry.recall(aRecall(_designId, 1));
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.RevisionNotPrintable.selector, _designId, uint16(1)));
        vm.prank(holder);
        license.purchase{value: 1 gwei}(_licenseId, holder, 1);
    }

    function test_purchase_refuses_a_callback_into_money_and_minting() external {
        Reentrant buyer = new Reentrant(address(license));
        buyer.arm(abi.encodeCall(IPrintLicense.withdrawFor, (designer, address(0))));
        vm.prank(holder);
        license.purchase{value: 1 gwei}(_licenseId, address(buyer), 1);
        vm.assertTrue(buyer.blocked());
        vm.assertEq(
            keccak256(buyer.answer()),
            keccak256(abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector))
        );
    }

    // --- taking the money ---------------------------------------------------------------------------------------

    function testFuzz_withdraw_pays_the_sender_once(address to) external {
        vm.assume(uint160(to) > 0xffff && to.code.length == 0 && to != holder && to != designer);
        vm.prank(holder);
        license.purchase{value: 5 gwei}(_licenseId, holder, 5);
        uint256 before = to.balance;
        vm.expectEmit();
        emit IPrintLicense.Withdrawn(designer, address(0), to, 5 gwei);
        vm.prank(designer);
        vm.assertEq(license.withdraw(address(0), to), 5 gwei);
        vm.assertEq(to.balance - before, 5 gwei);
        vm.assertEq(license.owed(designer, address(0)), 0);
        vm.recordLogs();
        vm.prank(designer);
        vm.assertEq(license.withdraw(address(0), to), 0);
        assertNoEvents();
    }

    function testFuzz_withdrawFor_pays_the_payee_whoever_sends(address sender) external {
        vm.prank(holder);
        license.purchase{value: 5 gwei}(_licenseId, holder, 5);
        vm.prank(sender);
        vm.assertEq(license.withdrawFor(designer, address(0)), 5 gwei);
        vm.assertEq(designer.balance, 5 gwei);
    }

    function test_withdraw_keeps_what_the_receiver_refuses() external {
        vm.prank(holder);
        license.purchase{value: 5 gwei}(_licenseId, holder, 5);
        address refuser = address(new Refuser());
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.PaymentRefused.selector, refuser, uint256(5 gwei)));
        vm.prank(designer);
        license.withdraw(address(0), refuser);
        vm.assertEq(license.owed(designer, address(0)), 5 gwei);
    }

    function test_withdraw_cannot_be_taken_twice_by_calling_back() external {
        Reentrant thief = new Reentrant(address(license));
        vm.prank(designer);
        registry.transferFrom(designer, address(thief), _designId);
        vm.prank(holder);
        license.purchase{value: 5 gwei}(_licenseId, holder, 5);
        thief.arm(abi.encodeCall(IPrintLicense.withdrawFor, (address(thief), address(0))));
        license.withdrawFor(address(thief), address(0));
        vm.assertTrue(thief.blocked());
        vm.assertEq(address(thief).balance, 5 gwei);
        vm.assertEq(address(license).balance, 0);
    }

    function test_royalties_are_those_of_the_design() external view {
        (address receiver, uint256 amount) = license.royaltyInfo(_licenseId, 1 ether);
        vm.assertEq(receiver, designer);
        vm.assertEq(amount, 0.05 ether);
    }

    function testFuzz_views_refuse_an_unknown_licence(uint256 licenseId) external {
        vm.assume(licenseId != _licenseId);
        bytes memory unknown = abi.encodeWithSelector(IPrintLicense.LicenseUnknown.selector, licenseId);
        vm.expectRevert(unknown);
        license.termsOf(licenseId);
        vm.expectRevert(unknown);
        license.sparesOf(licenseId, 1);
        vm.expectRevert(unknown);
        license.royaltyInfo(licenseId, 1);
        vm.expectRevert(unknown);
        license.uri(licenseId);
    }

    /// @dev What clients read once they have put the id in the place of {id}.
    function testFuzz_uri_is_json_with_the_id_in_its_place_and_names_the_terms(bytes32 termsDigest) external {
        IPrintLicense.Terms memory terms = someTerms(_designId);
        terms.termsDigest = termsDigest;
        IPrintLicense.Acceptance memory acceptance = anAcceptance(_designId, 1);
        acceptance.termsDigest = termsDigest;
        bytes memory accepted = signedBy(GATEWAY_KEY, acceptance);
        vm.prank(designer);
        uint256 licenseId = license.offer(terms, true, acceptance, accepted);
        string[3] memory marks = ["%7B", "%7D", "%22"];
        string[3] memory signs = ["{", "}", "\""];
        string memory json = license.uri(licenseId);
        for (uint256 i = 0; i < 3; ++i) {
            json = vm.replace(json, marks[i], signs[i]);
        }
        bytes memory id = bytes(vm.toString(bytes32(licenseId)));
        (id[0], id[1]) = (" ", " ");
        json = vm.replace(json, "{id}", vm.replace(string(id), " ", ""));
        json = vm.replace(vm.replace(json, "data:application/json,", ""), "%20", " ");
        vm.assertEq(
            vm.parseJsonString(json, ".name"), string.concat("Prints of licence ", vm.toString(bytes32(licenseId)))
        );
        vm.assertEq(vm.parseJsonUint(json, ".decimals"), 0);
        bytes memory digest = bytes(vm.toString(termsDigest));
        (digest[0], digest[1]) = ("2", "0");
        vm.assertEq(vm.parseJsonString(json, ".properties.terms"), string.concat("ipfs://f015512", string(digest)));
    }

    function test_interfaces_are_named() external view {
        vm.assertTrue(license.supportsInterface(0x01ffc9a7)); // ERC-165
        vm.assertTrue(license.supportsInterface(0xd9b67a26)); // ERC-1155
        vm.assertTrue(license.supportsInterface(0x0e89341c)); // ERC-1155 metadata
        vm.assertTrue(license.supportsInterface(0x2a55205a)); // ERC-2981
        vm.assertFalse(license.supportsInterface(0xffffffff));
        vm.assertEq(address(license.registry()), address(registry));
        vm.assertEq(address(ledger.license()), address(license));
    }
}

contract PrintLicenseTransferTest is BaseTest {
    function _licensed(bool transferable) private returns (uint256 licenseId) {
        IPrintLicense.Terms memory terms = someTerms(registered());
        terms.transferable = transferable;
        licenseId = offered(terms, true);
        vm.prank(designer);
        license.mint(licenseId, holder, 10);
    }

    function _pair(uint256 value) private pure returns (uint256[] memory pair) {
        pair = new uint256[](1);
        pair[0] = value;
    }

    function testFuzz_a_transferable_licence_is_passed_on(uint256 prints) external {
        uint256 licenseId = _licensed(true);
        prints = bound(prints, 0, 10);
        vm.prank(holder);
        license.safeTransferFrom(holder, stranger, licenseId, prints, "");
        vm.assertEq(license.balanceOf(stranger, licenseId), prints);
    }

    function test_a_bound_licence_is_passed_on_in_no_way() external {
        uint256 licenseId = _licensed(false);
        bytes memory forbidden = abi.encodeWithSelector(IPrintLicense.TransferForbidden.selector, licenseId);
        vm.expectRevert(forbidden);
        vm.prank(holder);
        license.safeTransferFrom(holder, stranger, licenseId, 1, "");

        vm.expectRevert(forbidden);
        vm.prank(holder);
        license.safeBatchTransferFrom(holder, stranger, _pair(licenseId), _pair(1), "");

        vm.prank(holder);
        license.setApprovalForAll(operator, true);
        vm.expectRevert(forbidden);
        vm.prank(operator);
        license.safeTransferFrom(holder, stranger, licenseId, 1, "");

        address wallet = address(new Wallet(stranger));
        vm.expectRevert(forbidden);
        vm.prank(holder);
        license.safeTransferFrom(holder, wallet, licenseId, 1, "");

        vm.expectRevert(forbidden);
        vm.prank(holder);
        license.safeTransferFrom(holder, address(ledger), licenseId, 1, "");

        vm.expectRevert(forbidden);
        vm.prank(holder);
        license.safeTransferFrom(holder, holder, licenseId, 1, "");
        vm.assertEq(license.balanceOf(holder, licenseId), 10);
    }

    function test_a_batch_with_one_bound_licence_is_refused_whole() external {
        uint256 bound_ = _licensed(false);
        IPrintLicense.Terms memory terms = someTerms(registered());
        terms.transferable = true;
        uint256 free = offered(terms, true);
        vm.prank(designer);
        license.mint(free, holder, 10);
        uint256[] memory ids = new uint256[](2);
        uint256[] memory values = new uint256[](2);
        (ids[0], ids[1]) = (free, bound_);
        (values[0], values[1]) = (1, 1);
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.TransferForbidden.selector, bound_));
        vm.prank(holder);
        license.safeBatchTransferFrom(holder, stranger, ids, values, "");
    }

    function test_units_reach_the_ledger_by_reserving_only() external {
        uint256 licenseId = _licensed(true);
        bytes memory refused = abi.encodeWithSelector(IERC1155Errors.ERC1155InvalidReceiver.selector, address(ledger));
        vm.expectRevert(refused);
        vm.prank(holder);
        license.safeTransferFrom(holder, address(ledger), licenseId, 1, "");
        vm.expectRevert(refused);
        vm.prank(holder);
        license.safeBatchTransferFrom(holder, address(ledger), _pair(licenseId), _pair(1), "");
    }

    function testFuzz_the_ledgers_functions_are_the_ledgers(address sender) external {
        vm.assume(sender != address(ledger));
        uint256 licenseId = _licensed(true);
        bytes memory refused = abi.encodeWithSelector(IPrintLicense.NotLedger.selector, sender);
        vm.expectRevert(refused);
        vm.prank(sender);
        license.escrow(licenseId, holder, gateway, 1, 5, 5, START + 1 days);
        vm.expectRevert(refused);
        vm.prank(sender);
        license.burn(licenseId, 1);
        vm.expectRevert(refused);
        vm.prank(sender);
        license.release(licenseId, holder, 1);
    }
}
