// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IPrintLedger} from "../../src/interfaces/IPrintLedger.sol";
import {IPrintLicense} from "../../src/interfaces/IPrintLicense.sol";
import {IStatements} from "../../src/interfaces/IStatements.sol";
import {BaseTest} from "../utils/BaseTest.sol";
import {Wallet} from "../utils/Wallets.sol";

/// @title What owners, holders and payees sign and others send
contract PrintLicenseSignedTest is BaseTest {
    uint256 private constant PRICE = 1 gwei;

    uint256 private _designId;
    uint256 private _licenseId;

    function setUp() public override {
        super.setUp();
        _designId = registered();
        _licenseId = offered(someTerms(_designId), true);
        vm.deal(holder, 1 ether);
    }

    function _nonceUsed(address signer, uint256 nonce) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IStatements.NonceUsed.selector, signer, nonce);
    }

    function _anotherKey(uint256 key, address signer) private pure returns (uint256) {
        key = bound(key, 1, ORDER - 1);
        vm.assume(vm.addr(key) != signer);
        return key;
    }

    // --- sale ---------------------------------------------------------------------------------------------------

    function testFuzz_setSaleBySig_counts_once_whoever_sends(address sender) external {
        IPrintLicense.Sale memory sale = aSale(_licenseId, false);
        bytes memory signature = signedBy(DESIGNER_KEY, sale);
        vm.expectEmit();
        emit IPrintLicense.SaleSet(_licenseId, false);
        vm.prank(sender);
        license.setSaleBySig(sale, signature);
        vm.assertFalse(license.termsOf(_licenseId).onSale);
        vm.prank(designer);
        license.setSale(_licenseId, true);
        vm.recordLogs();
        vm.warp(START + 2 days);
        license.setSaleBySig(sale, signature); // an old statement brings nothing back
        assertNoEvents();
        vm.assertTrue(license.termsOf(_licenseId).onSale);
        vm.assertEq(license.statementOf(designer, sale.nonce), domained(address(license), digests.sale(sale)));
    }

    function testFuzz_setSaleBySig_refuses_another_key(uint256 key) external {
        IPrintLicense.Sale memory sale = aSale(_licenseId, false);
        bytes memory signature = signedBy(_anotherKey(key, designer), sale);
        expectSignatureInvalid(designer);
        license.setSaleBySig(sale, signature);
    }

    function test_setSaleBySig_refuses_late_unknown_and_a_used_number() external {
        IPrintLicense.Sale memory sale = aSale(_licenseId, false);
        sale.deadline = START - 1;
        bytes memory signature = signedBy(DESIGNER_KEY, sale);
        expectDeadlinePassed(START - 1);
        license.setSaleBySig(sale, signature);

        sale = aSale(1, false);
        signature = signedBy(DESIGNER_KEY, sale);
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.LicenseUnknown.selector, uint256(1)));
        license.setSaleBySig(sale, signature);

        IPrintLicense.Mint memory minting = aMint(_licenseId, 1);
        license.mintBySig(minting, signedBy(DESIGNER_KEY, minting));
        sale = aSale(_licenseId, false);
        sale.nonce = minting.nonce; // numbers are one row for all statements of a signer
        signature = signedBy(DESIGNER_KEY, sale);
        vm.expectRevert(_nonceUsed(designer, minting.nonce));
        license.setSaleBySig(sale, signature);
    }

    function test_setSaleBySig_of_what_stands_uses_its_number_up() external {
        IPrintLicense.Sale memory sale = aSale(_licenseId, true);
        bytes memory signature = signedBy(DESIGNER_KEY, sale);
        license.setSaleBySig(sale, signature);
        vm.prank(designer);
        license.setSale(_licenseId, false);
        license.setSaleBySig(sale, signature); // does not open it again
        vm.assertFalse(license.termsOf(_licenseId).onSale);
    }

    // --- owners that change -------------------------------------------------------------------------------------

    /// @dev What the designer signed of a licence: a sale, a move and a mint, as calls that anybody can send.
    function _statements() private view returns (bytes[3] memory calls, uint256[3] memory nonces) {
        IPrintLicense.Sale memory sale = aSale(_licenseId, false);
        IPrintLicense.Move memory move = aMove(_licenseId, gateway);
        IPrintLicense.Mint memory minting = aMint(_licenseId, 5);
        calls[0] = abi.encodeCall(IPrintLicense.setSaleBySig, (sale, signedBy(DESIGNER_KEY, sale)));
        calls[1] = abi.encodeCall(
            IPrintLicense.setGatewayBySig, (move, signedBy(DESIGNER_KEY, move), anAcceptance(_designId, 1), "")
        );
        calls[2] = abi.encodeCall(IPrintLicense.mintBySig, (minting, signedBy(DESIGNER_KEY, minting)));
        nonces = [sale.nonce, move.nonce, minting.nonce];
    }

    function _sent(bytes memory call) private returns (bool accepted, bytes memory answer) {
        // solhint-disable-next-line avoid-low-level-calls
        return address(license).call(call);
    }

    function _given(address from, address to) private {
        vm.prank(from);
        registry.transferFrom(from, to, _designId);
    }

    function testFuzz_a_statement_of_who_sold_the_design_is_refused_and_keeps_its_number(address buyer) external {
        vm.assume(buyer != address(0) && buyer != designer);
        (bytes[3] memory calls, uint256[3] memory nonces) = _statements();
        _given(designer, buyer);
        bytes memory reason = abi.encodeWithSelector(IPrintLicense.NotDesignOwner.selector, _designId, designer);
        for (uint256 i = 0; i < 3; ++i) {
            (bool accepted, bytes memory answer) = _sent(calls[i]);
            vm.assertFalse(accepted);
            vm.assertEq(keccak256(answer), keccak256(reason));
            vm.assertEq(license.statementOf(designer, nonces[i]), bytes32(0));
        }
    }

    function test_used_and_cancelled_statements_do_not_revive_in_another_wallet_of_the_same_key() external {
        (bytes[3] memory calls, uint256[3] memory nonces) = _statements();
        (bool accepted,) = _sent(calls[2]); // used
        vm.assertTrue(accepted);
        vm.prank(designer);
        license.cancelStatement(nonces[0]);
        address wallet = address(new Wallet(designer)); // its key is the designer's
        _given(designer, wallet);
        (accepted,) = _sent(calls[0]);
        vm.assertFalse(accepted);
        (accepted,) = _sent(calls[1]);
        vm.assertFalse(accepted);
        (accepted,) = _sent(calls[2]); // known, so nothing happens
        vm.assertTrue(accepted);
        vm.assertEq(license.termsOf(_licenseId).minted, 5);
        vm.assertTrue(license.termsOf(_licenseId).onSale);
        for (uint256 i = 0; i < 3; ++i) {
            vm.assertEq(license.statementOf(wallet, nonces[i]), bytes32(0));
        }
    }

    function test_a_statement_counts_again_when_its_owner_has_the_design_back_in_time() external {
        (bytes[3] memory calls,) = _statements();
        _given(designer, stranger);
        (bool accepted,) = _sent(calls[0]);
        vm.assertFalse(accepted);
        _given(stranger, designer);
        (accepted,) = _sent(calls[0]);
        vm.assertTrue(accepted);
        vm.assertFalse(license.termsOf(_licenseId).onSale);
    }

    // --- numbers ------------------------------------------------------------------------------------------------

    function testFuzz_cancelStatement_uses_a_number_up(uint256 nonce) external {
        IPrintLicense.Sale memory sale = aSale(_licenseId, false);
        sale.nonce = nonce;
        bytes memory signature = signedBy(DESIGNER_KEY, sale);
        vm.expectEmit();
        emit IStatements.StatementCancelled(designer, nonce);
        vm.prank(designer);
        license.cancelStatement(nonce);
        vm.assertEq(license.statementOf(designer, nonce), bytes32(uint256(1)));
        vm.recordLogs();
        vm.prank(designer);
        license.cancelStatement(nonce);
        assertNoEvents();
        vm.expectRevert(_nonceUsed(designer, nonce));
        license.setSaleBySig(sale, signature);
    }

    function test_cancelStatement_comes_too_late_for_a_statement_that_counted() external {
        IPrintLicense.Sale memory sale = aSale(_licenseId, false);
        license.setSaleBySig(sale, signedBy(DESIGNER_KEY, sale));
        vm.expectRevert(_nonceUsed(designer, sale.nonce));
        vm.prank(designer);
        license.cancelStatement(sale.nonce);
    }

    function testFuzz_cancelStatement_cancels_nobody_elses(address sender) external {
        vm.assume(sender != designer);
        IPrintLicense.Sale memory sale = aSale(_licenseId, false);
        vm.prank(sender);
        license.cancelStatement(sale.nonce);
        license.setSaleBySig(sale, signedBy(DESIGNER_KEY, sale));
        vm.assertFalse(license.termsOf(_licenseId).onSale);
    }

    // --- batches of prints --------------------------------------------------------------------------------------

    function _grants(uint40 one, uint40 two) private returns (IPrintLicense.Grant[] memory grants) {
        IPrintLicense.Terms memory terms = someTermsSalted(_designId, "second");
        uint256 second = offered(terms, true);
        grants = new IPrintLicense.Grant[](2);
        grants[0] = IPrintLicense.Grant({licenseId: _licenseId, to: holder, prints: one});
        grants[1] = IPrintLicense.Grant({licenseId: second, to: stranger, prints: two});
    }

    function _batch(IPrintLicense.Grant[] memory grants) private view returns (IPrintLicense.MintBatch memory) {
        return IPrintLicense.MintBatch({owner: designer, grants: grants, nonce: 20, deadline: START + 1 days});
    }

    function testFuzz_mintBatch_gives_to_each_of_each(uint40 one, uint40 two) external {
        (one, two) = (uint40(bound(one, 1, 1000)), uint40(bound(two, 1, 1000)));
        IPrintLicense.Grant[] memory grants = _grants(one, two);
        vm.prank(designer);
        license.mintBatch(grants);
        vm.assertEq(license.balanceOf(holder, grants[0].licenseId), one);
        vm.assertEq(license.balanceOf(stranger, grants[1].licenseId), two);
        vm.assertEq(license.balanceOf(holder, grants[1].licenseId), 0);
    }

    function test_mintBatch_is_all_or_nothing() external {
        IPrintLicense.Grant[] memory grants = _grants(5, 1001);
        vm.expectRevert(
            abi.encodeWithSelector(IPrintLicense.CapExceeded.selector, grants[1].licenseId, uint40(1001), uint40(1000))
        );
        vm.prank(designer);
        license.mintBatch(grants);
        vm.assertEq(license.termsOf(_licenseId).minted, 0);
    }

    function testFuzz_mintBatch_refuses_who_does_not_own_each_design(address sender) external {
        vm.assume(sender != designer);
        IPrintLicense.Grant[] memory grants = _grants(5, 5);
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.NotDesignOwner.selector, _designId, sender));
        vm.prank(sender);
        license.mintBatch(grants);
    }

    function test_mintBatch_of_one_licence_counts_each_grant() external {
        IPrintLicense.Grant[] memory grants = _grants(600, 1);
        grants[1] = grants[0];
        vm.expectRevert(
            abi.encodeWithSelector(IPrintLicense.CapExceeded.selector, _licenseId, uint40(600), uint40(400))
        );
        vm.prank(designer);
        license.mintBatch(grants);
    }

    function testFuzz_mintBatchBySig_gives_what_was_signed_once(address sender) external {
        IPrintLicense.MintBatch memory minting = _batch(_grants(5, 6));
        bytes memory signature = signedBy(DESIGNER_KEY, minting);
        vm.prank(sender);
        license.mintBatchBySig(minting, signature);
        vm.recordLogs();
        license.mintBatchBySig(minting, signature);
        license.mintBatchBySig(minting, "");
        assertNoEvents();
        vm.assertEq(license.balanceOf(holder, _licenseId), 5);
        vm.assertEq(license.balanceOf(stranger, minting.grants[1].licenseId), 6);
    }

    function test_mintBatchBySig_refuses_one_grant_more_or_other() external {
        IPrintLicense.MintBatch memory minting = _batch(_grants(5, 6));
        bytes memory signature = signedBy(DESIGNER_KEY, minting);
        minting.grants[1].prints = 7;
        expectSignatureInvalid(designer);
        license.mintBatchBySig(minting, signature);
        minting.grants = new IPrintLicense.Grant[](0);
        expectSignatureInvalid(designer);
        license.mintBatchBySig(minting, signature);
    }

    function test_mintBatchBySig_refuses_an_owner_of_other_designs_and_late() external {
        IPrintLicense.MintBatch memory minting = _batch(_grants(5, 6));
        minting.owner = stranger;
        bytes memory signature = signedBy(STRANGER_KEY, minting);
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.NotDesignOwner.selector, _designId, stranger));
        license.mintBatchBySig(minting, signature);

        minting.owner = designer;
        minting.deadline = START - 1;
        signature = signedBy(DESIGNER_KEY, minting);
        expectDeadlinePassed(START - 1);
        license.mintBatchBySig(minting, signature);
    }

    // --- returns and withdrawals --------------------------------------------------------------------------------

    function _boughtAsPrinted() private returns (uint256 licenseId) {
        IPrintLicense.Terms memory terms = someTermsSalted(_designId, "as printed");
        terms.payout = 1;
        licenseId = offered(terms, true);
        vm.prank(holder);
        license.purchase{value: 10 * PRICE}(licenseId, holder, 10);
    }

    function testFuzz_returnPrintsBySig_owes_the_holder_whoever_sends(address sender) external {
        uint256 licenseId = _boughtAsPrinted();
        IPrintLicense.Return memory returned = aReturn(licenseId, 4);
        bytes memory signature = signedBy(HOLDER_KEY, returned);
        vm.prank(sender);
        vm.assertEq(license.returnPrintsBySig(returned, signature), 4 * PRICE);
        vm.assertEq(license.returnPrintsBySig(returned, signature), 0);
        vm.assertEq(license.owed(holder, address(0)), 4 * PRICE);
        vm.assertEq(license.balanceOf(holder, licenseId), 6);
    }

    function testFuzz_returnPrintsBySig_refuses_another_key_and_late(uint256 key) external {
        IPrintLicense.Return memory returned = aReturn(_boughtAsPrinted(), 4);
        bytes memory signature = signedBy(_anotherKey(key, holder), returned);
        expectSignatureInvalid(holder);
        license.returnPrintsBySig(returned, signature);
        signature = signedBy(HOLDER_KEY, returned);
        vm.warp(uint256(returned.deadline) + 1);
        expectDeadlinePassed(returned.deadline);
        license.returnPrintsBySig(returned, signature);
    }

    function testFuzz_withdrawBySig_pays_where_the_payee_signed(address sender) external {
        vm.prank(holder);
        license.purchase{value: 5 * PRICE}(_licenseId, holder, 5);
        IPrintLicense.Withdrawal memory withdrawal = aWithdrawal(designer, address(0), stranger);
        bytes memory signature = signedBy(DESIGNER_KEY, withdrawal);
        vm.prank(sender);
        vm.assertEq(license.withdrawBySig(withdrawal, signature), 5 * PRICE);
        vm.assertEq(stranger.balance, 5 * PRICE);
        vm.prank(holder);
        license.purchase{value: PRICE}(_licenseId, holder, 1);
        vm.assertEq(license.withdrawBySig(withdrawal, signature), 0); // once
        vm.assertEq(license.owed(designer, address(0)), PRICE);
    }

    function _tooLittle(uint256 owed, uint256 atLeast) private view returns (bytes memory) {
        return abi.encodeWithSelector(IPrintLicense.OwedTooLittle.selector, designer, address(0), owed, atLeast);
    }

    function testFuzz_withdrawBySig_keeps_its_number_while_less_is_owed_than_it_asks_for(uint40 dust, uint40 prints)
        external
    {
        prints = uint40(bound(prints, 2, 1000));
        dust = uint40(bound(dust, 1, prints - 1));
        IPrintLicense.Withdrawal memory withdrawal = aWithdrawal(designer, address(0), stranger);
        withdrawal.atLeast = prints * PRICE;
        bytes memory signature = signedBy(DESIGNER_KEY, withdrawal);
        vm.prank(holder);
        license.purchase{value: dust * PRICE}(_licenseId, holder, dust);
        vm.expectRevert(_tooLittle(dust * PRICE, withdrawal.atLeast));
        license.withdrawBySig(withdrawal, signature);
        vm.assertEq(license.statementOf(designer, withdrawal.nonce), bytes32(0));
        vm.assertEq(license.owed(designer, address(0)), dust * PRICE);
        vm.prank(holder);
        license.purchase{value: (prints - dust) * PRICE}(_licenseId, holder, prints - dust);
        vm.assertEq(license.withdrawBySig(withdrawal, signature), withdrawal.atLeast);
        vm.assertEq(stranger.balance, withdrawal.atLeast);
        vm.assertEq(license.withdrawBySig(withdrawal, ""), 0); // known: nothing owed refuses nothing
    }

    function test_withdrawBySig_of_nothing_is_refused_whatever_it_asks_for() external {
        IPrintLicense.Withdrawal memory withdrawal = aWithdrawal(designer, address(0), stranger);
        withdrawal.atLeast = 0;
        bytes memory signature = signedBy(DESIGNER_KEY, withdrawal);
        vm.expectRevert(_tooLittle(0, 0));
        license.withdrawBySig(withdrawal, signature);
        vm.prank(holder);
        license.purchase{value: PRICE}(_licenseId, holder, 1);
        vm.assertEq(license.withdrawBySig(withdrawal, signature), PRICE);
    }

    function testFuzz_withdrawBySig_refuses_another_key_and_late(uint256 key) external {
        vm.prank(holder);
        license.purchase{value: PRICE}(_licenseId, holder, 1);
        IPrintLicense.Withdrawal memory withdrawal = aWithdrawal(designer, address(0), stranger);
        bytes memory signature = signedBy(_anotherKey(key, designer), withdrawal);
        expectSignatureInvalid(designer);
        license.withdrawBySig(withdrawal, signature);
        signature = signedBy(DESIGNER_KEY, withdrawal);
        vm.warp(uint256(withdrawal.deadline) + 1);
        expectDeadlinePassed(withdrawal.deadline);
        license.withdrawBySig(withdrawal, signature);
    }

    // --- who signs ----------------------------------------------------------------------------------------------

    function test_a_contract_wallet_signs_by_its_own_rule() external {
        address wallet = address(new Wallet(stranger));
        vm.prank(designer);
        registry.transferFrom(designer, wallet, _designId);
        IPrintLicense.Sale memory sale = aSale(_licenseId, false);
        sale.owner = wallet;
        license.setSaleBySig(sale, signedBy(STRANGER_KEY, sale));
        vm.assertFalse(license.termsOf(_licenseId).onSale);
        sale.nonce = 99;
        bytes memory signature = signedBy(DESIGNER_KEY, sale);
        expectSignatureInvalid(wallet);
        license.setSaleBySig(sale, signature);
    }

    function test_an_account_delegated_by_EIP_7702_signs_with_its_key_or_by_its_delegates_rule() external {
        // Delegated to code that knows no ERC-1271: its key still signs.
        vm.etch(designer, abi.encodePacked(hex"ef0100", address(registry)));
        IPrintLicense.Sale memory sale = aSale(_licenseId, false);
        license.setSaleBySig(sale, signedBy(DESIGNER_KEY, sale));
        vm.assertFalse(license.termsOf(_licenseId).onSale);
        // Delegated to a wallet: both the key and the wallet's rule sign.
        vm.etch(designer, abi.encodePacked(hex"ef0100", address(new Wallet(stranger))));
        (sale.nonce, sale.onSale) = (98, true);
        license.setSaleBySig(sale, signedBy(STRANGER_KEY, sale));
        vm.assertTrue(license.termsOf(_licenseId).onSale);
        (sale.nonce, sale.onSale) = (99, false);
        license.setSaleBySig(sale, signedBy(DESIGNER_KEY, sale));
        vm.assertFalse(license.termsOf(_licenseId).onSale);
    }
}

/// @title A licence that moves to another gateway
contract PrintLicenseGatewayTest is BaseTest {
    uint256 private _designId;
    uint256 private _licenseId;

    function setUp() public override {
        super.setUp();
        _designId = registered();
        _licenseId = offered(someTerms(_designId), true);
        vm.prank(stranger);
        ledger.declareGateway(PROFILE, false);
    }

    function _move(uint16 revision) private {
        IPrintLicense.Acceptance memory acceptance = anAcceptanceBy(stranger, _designId, revision);
        bytes memory accepted = signedBy(STRANGER_KEY, acceptance);
        vm.prank(designer);
        license.setGateway(_licenseId, stranger, acceptance, accepted);
    }

    function test_setGateway_moves_new_reservations_only() external {
        vm.prank(designer);
        license.mint(_licenseId, holder, 20);
        IPrintLedger.Reservation memory before = aReservation(_licenseId, 10);
        uint256 old = ledger.reserve(before, signedBy(HOLDER_KEY, before));
        vm.expectEmit();
        emit IPrintLicense.LicenseMoved(_licenseId, stranger, 1, KEY_COMMITMENT);
        _move(1);
        vm.assertEq(license.termsOf(_licenseId).gateway, stranger);

        IPrintLedger.Reservation memory later = aReservation(_licenseId, 10);
        later.salt = keccak256("later");
        bytes memory signature = signedBy(HOLDER_KEY, later);
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.GatewayMismatch.selector, _licenseId, stranger, gateway));
        ledger.reserve(later, signature);
        later.gateway = stranger;
        ledger.reserve(later, signedBy(HOLDER_KEY, later));

        // The successor counts nothing of what the old gateway reserved; the old one does, closes and returns.
        IPrintLedger.Batch[] memory batches = new IPrintLedger.Batch[](1);
        batches[0].licenseId = _licenseId;
        batches[0].uses = new IPrintLedger.Use[](1);
        batches[0].uses[0] = aUse(old, 3, 0);
        vm.expectEmit();
        emit IPrintLedger.UseSkipped(old, IPrintLedger.SkipReason.TokenUnknown);
        vm.prank(stranger);
        ledger.settle(stranger, batches);
        settled(gateway, _licenseId, batches[0].uses);
        vm.assertEq(stateOf(before).burned, 3);
        vm.warp(uint256(before.expiresAt) + 10 days);
        ledger.reclaim(before);
        vm.assertEq(license.balanceOf(holder, _licenseId), 7);
    }

    function test_setGateway_to_the_present_one_changes_nothing() external {
        vm.recordLogs();
        IPrintLicense.Acceptance memory acceptance = anAcceptance(_designId, 1);
        vm.prank(designer);
        license.setGateway(_licenseId, gateway, acceptance, "");
        assertNoEvents();
    }

    function testFuzz_setGateway_refuses_who_does_not_own_the_design(address sender) external {
        vm.assume(sender != designer);
        IPrintLicense.Acceptance memory acceptance = anAcceptance(_designId, 1);
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.NotDesignOwner.selector, _designId, sender));
        vm.prank(sender);
        license.setGateway(_licenseId, stranger, acceptance, "");
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.LicenseUnknown.selector, uint256(1)));
        license.setGateway(1, stranger, acceptance, "");
    }

    function _refused(IPrintLicense.Acceptance memory acceptance, address to, uint256 key, bytes memory reason)
        private
    {
        bytes memory accepted = signedBy(key, acceptance);
        vm.expectRevert(reason);
        vm.prank(designer);
        license.setGateway(_licenseId, to, acceptance, accepted);
        vm.assertEq(license.termsOf(_licenseId).gateway, gateway);
    }

    function testFuzz_setGateway_refuses_a_successor_that_did_not_accept(uint256 key) external {
        key = bound(key, 1, ORDER - 1);
        vm.assume(vm.addr(key) != stranger);
        bytes memory invalid = abi.encodeWithSignature("SignatureInvalid(address)", stranger);
        _refused(anAcceptanceBy(stranger, _designId, 1), stranger, key, invalid);
    }

    function test_setGateway_refuses_what_an_offer_would_refuse() external {
        bytes memory undeclared = abi.encodeWithSelector(IPrintLedger.GatewayUndeclared.selector, operator);
        _refused(anAcceptanceBy(operator, _designId, 1), operator, OPERATOR_KEY, undeclared);
        IPrintLicense.Acceptance memory acceptance = anAcceptanceBy(stranger, _designId, 1);
        acceptance.termsDigest = keccak256("other");
        _refused(
            acceptance,
            stranger,
            STRANGER_KEY,
            abi.encodeWithSelector(
                IPrintLicense.AcceptanceMismatch.selector, stranger, _designId, acceptance.termsDigest
            )
        );
        acceptance = anAcceptanceBy(stranger, _designId, 1);
        acceptance.deadline = START - 1;
        bytes memory late = abi.encodeWithSignature("DeadlinePassed(uint40)", START - 1);
        _refused(acceptance, stranger, STRANGER_KEY, late);
        bytes memory none = abi.encodeWithSelector(IPrintLicense.RevisionNotPrintable.selector, _designId, uint16(2));
        _refused(anAcceptanceBy(stranger, _designId, 2), stranger, STRANGER_KEY, none);
    }

    function test_setGateway_keeps_or_raises_the_revision_and_never_lowers_it() external {
        vm.prank(designer);
        registry.publish(aPublication(_designId, 2));
        IPrintLicense.Acceptance memory acceptance = anAcceptance(_designId, 2);
        license.accept(_licenseId, acceptance, signedBy(GATEWAY_KEY, acceptance));
        _refused(
            anAcceptanceBy(stranger, _designId, 1),
            stranger,
            STRANGER_KEY,
            abi.encodeWithSelector(IPrintLicense.RevisionNotRaised.selector, _licenseId, uint16(2), uint16(1))
        );
        vm.prank(designer);
        registry.publish(aPublication(_designId, 3));
        _move(3);
        vm.assertEq(license.termsOf(_licenseId).revision, 3);
    }

    function testFuzz_setGatewayBySig_moves_once_whoever_sends(address sender) external {
        IPrintLicense.Move memory move = aMove(_licenseId, stranger);
        IPrintLicense.Acceptance memory acceptance = anAcceptanceBy(stranger, _designId, 1);
        bytes memory accepted = signedBy(STRANGER_KEY, acceptance);
        bytes memory signature = signedBy(DESIGNER_KEY, move);
        vm.prank(sender);
        license.setGatewayBySig(move, signature, acceptance, accepted);
        vm.assertEq(license.termsOf(_licenseId).gateway, stranger);
        IPrintLicense.Acceptance memory anew = anAcceptance(_designId, 1);
        bytes memory back = signedBy(GATEWAY_KEY, anew);
        vm.prank(designer);
        license.setGateway(_licenseId, gateway, anew, back);
        license.setGatewayBySig(move, signature, acceptance, accepted); // an old statement moves nothing
        vm.assertEq(license.termsOf(_licenseId).gateway, gateway);
    }

    function testFuzz_setGatewayBySig_refuses_another_key_late_and_unknown(uint256 key) external {
        key = bound(key, 1, ORDER - 1);
        vm.assume(vm.addr(key) != designer);
        IPrintLicense.Move memory move = aMove(_licenseId, stranger);
        IPrintLicense.Acceptance memory acceptance = anAcceptanceBy(stranger, _designId, 1);
        bytes memory accepted = signedBy(STRANGER_KEY, acceptance);
        bytes memory signature = signedBy(key, move);
        expectSignatureInvalid(designer);
        license.setGatewayBySig(move, signature, acceptance, accepted);

        move.deadline = START - 1;
        signature = signedBy(DESIGNER_KEY, move);
        expectDeadlinePassed(START - 1);
        license.setGatewayBySig(move, signature, acceptance, accepted);

        move = aMove(1, stranger);
        signature = signedBy(DESIGNER_KEY, move);
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.LicenseUnknown.selector, uint256(1)));
        license.setGatewayBySig(move, signature, acceptance, accepted);
    }

    function testFuzz_setGateway_refuses_the_word_of_another_gateway(address other) external {
        vm.assume(other != stranger);
        _refused(
            anAcceptanceBy(other, _designId, 1),
            stranger,
            STRANGER_KEY,
            abi.encodeWithSelector(IPrintLicense.AcceptanceMismatch.selector, other, _designId, TERMS_DIGEST)
        );
    }

    function test_setGatewayBySig_to_the_present_one_uses_its_number_up() external {
        IPrintLicense.Move memory move = aMove(_licenseId, gateway);
        bytes memory signature = signedBy(DESIGNER_KEY, move);
        IPrintLicense.Acceptance memory acceptance = anAcceptance(_designId, 1);
        license.setGatewayBySig(move, signature, acceptance, "");
        _move(1);
        license.setGatewayBySig(move, signature, acceptance, signedBy(GATEWAY_KEY, acceptance)); // undoes nothing
        vm.assertEq(license.termsOf(_licenseId).gateway, stranger);
    }
}
