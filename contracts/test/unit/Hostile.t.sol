// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IPrintLedger} from "../../src/interfaces/IPrintLedger.sol";
import {IPrintLicense} from "../../src/interfaces/IPrintLicense.sol";
import {BaseTest} from "../utils/BaseTest.sol";
import {Reentrant, Refuser} from "../utils/Wallets.sol";
import {IERC1155Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

/// @title What somebody who means harm can try with acts that are open to all, and what comes of it
contract HostileTest is BaseTest {
    uint256 private constant PRICE = 1 gwei;

    uint256 private _designId;
    uint256 private _licenseId;

    function setUp() public override {
        super.setUp();
        _designId = registered();
        _licenseId = offered(someTerms(_designId), true);
        vm.deal(holder, 1 ether);
    }

    function _refused(address target, bytes memory call, address signer) private {
        // solhint-disable-next-line avoid-low-level-calls
        (bool accepted, bytes memory answer) = target.call(call);
        vm.assertFalse(accepted);
        vm.assertEq(keccak256(answer), keccak256(abi.encodeWithSignature("SignatureInvalid(address)", signer)));
    }

    function testFuzz_no_statement_counts_on_another_chain(uint64 chainId) external {
        vm.assume(chainId != block.chainid && chainId != 0);
        IPrintLicense.Sale memory sale = aSale(_licenseId, false);
        IPrintLicense.Mint memory minting = aMint(_licenseId, 1);
        IPrintLicense.Return memory returned = aReturn(_licenseId, 1);
        IPrintLicense.Withdrawal memory withdrawal = aWithdrawal(designer, address(0), stranger);
        IPrintLicense.Acceptance memory acceptance = anAcceptance(_designId, 2);
        IPrintLedger.Declaration memory declaration = aDeclaration(MANIFEST, true);
        IPrintLedger.Appointment memory appointment = anAppointment(stranger, true);
        bytes[7] memory calls = [
            abi.encodeCall(IPrintLicense.setSaleBySig, (sale, signedBy(DESIGNER_KEY, sale))),
            abi.encodeCall(IPrintLicense.mintBySig, (minting, signedBy(DESIGNER_KEY, minting))),
            abi.encodeCall(IPrintLicense.withdrawBySig, (withdrawal, signedBy(DESIGNER_KEY, withdrawal))),
            abi.encodeCall(IPrintLicense.returnPrintsBySig, (returned, signedBy(HOLDER_KEY, returned))),
            abi.encodeCall(IPrintLicense.accept, (_licenseId, acceptance, signedBy(GATEWAY_KEY, acceptance))),
            abi.encodeCall(IPrintLedger.declareGatewayBySig, (declaration, signedBy(GATEWAY_KEY, declaration))),
            abi.encodeCall(IPrintLedger.setOperatorBySig, (appointment, signedBy(GATEWAY_KEY, appointment)))
        ];
        vm.chainId(chainId);
        for (uint256 i = 0; i < 7; ++i) {
            address signer = i < 3 ? designer : i == 3 ? holder : gateway;
            _refused(i < 5 ? address(license) : address(ledger), calls[i], signer);
        }
    }

    function test_who_pays_a_payee_out_first_only_sends_it_its_money() external {
        vm.prank(holder);
        license.purchase{value: 5 * PRICE}(_licenseId, holder, 5);
        IPrintLicense.Withdrawal memory withdrawal = aWithdrawal(designer, address(0), operator);
        bytes memory signature = signedBy(DESIGNER_KEY, withdrawal);
        vm.prank(stranger);
        license.withdrawFor(designer, address(0));
        vm.assertEq(designer.balance, 5 * PRICE);
        vm.expectRevert(
            abi.encodeWithSelector(
                IPrintLicense.OwedTooLittle.selector, designer, address(0), uint256(0), withdrawal.atLeast
            )
        );
        license.withdrawBySig(withdrawal, signature);
        vm.prank(holder);
        license.purchase{value: 2 * PRICE}(_licenseId, holder, 2);
        vm.assertEq(license.withdrawBySig(withdrawal, signature), 2 * PRICE);
    }

    function test_an_offer_brought_with_an_older_word_is_raised_by_the_newer_one() external {
        vm.prank(designer);
        registry.publish(aPublication(_designId, 2));
        IPrintLicense.Terms memory terms = someTermsSalted(_designId, "another");
        IPrintLicense.Acceptance memory older = anAcceptance(_designId, 1);
        IPrintLicense.Acceptance memory newer = anAcceptance(_designId, 2);
        bytes memory signature = signedOffer(DESIGNER_KEY, terms, true, START);
        bytes memory accepted = signedBy(GATEWAY_KEY, older);
        vm.prank(stranger);
        uint256 licenseId = license.offerBySig(terms, true, START, signature, older, accepted);
        vm.assertEq(license.termsOf(licenseId).revision, 1);
        license.accept(licenseId, newer, signedBy(GATEWAY_KEY, newer));
        vm.assertEq(license.termsOf(licenseId).revision, 2);
        license.offerBySig(terms, true, START, signature, newer, "");
        vm.expectRevert(
            abi.encodeWithSelector(IPrintLicense.RevisionNotRaised.selector, licenseId, uint16(2), uint16(1))
        );
        license.accept(licenseId, older, accepted);
    }

    function test_a_receiver_that_refuses_stops_its_own_batch_and_no_other_mint() external {
        address refuser = address(new Refuser());
        IPrintLicense.Grant[] memory grants = new IPrintLicense.Grant[](2);
        grants[0] = IPrintLicense.Grant({licenseId: _licenseId, to: holder, prints: 1});
        grants[1] = IPrintLicense.Grant({licenseId: _licenseId, to: refuser, prints: 1});
        vm.expectRevert(abi.encodeWithSelector(IERC1155Errors.ERC1155InvalidReceiver.selector, refuser));
        vm.prank(designer);
        license.mintBatch(grants);
        vm.assertEq(license.termsOf(_licenseId).minted, 0);
        vm.prank(designer);
        license.mint(_licenseId, holder, 1);
        vm.assertEq(license.balanceOf(holder, _licenseId), 1);
    }

    /// @dev Units that come back are not behind the guard: they move what is there, and call nobody.
    function test_a_receiver_that_brings_units_back_while_it_is_given_some_moves_only_those() external {
        vm.prank(designer);
        license.mint(_licenseId, holder, 10);
        IPrintLedger.Reservation memory reservation = aReservation(_licenseId, 10);
        ledger.reserve(reservation, signedBy(HOLDER_KEY, reservation));
        vm.warp(uint256(reservation.expiresAt) + 10 days);
        Reentrant receiver = new Reentrant(address(ledger));
        receiver.arm(abi.encodeCall(IPrintLedger.reclaim, (reservation)));
        vm.prank(designer);
        license.mint(_licenseId, address(receiver), 5);
        vm.assertFalse(receiver.blocked());
        vm.assertEq(license.balanceOf(holder, _licenseId), 10);
        vm.assertEq(license.balanceOf(address(receiver), _licenseId), 5);
        vm.assertEq(license.balanceOf(address(ledger), _licenseId), 0);
        vm.assertEq(license.termsOf(_licenseId).minted, 15);
    }

    function test_a_design_that_was_sent_to_the_licence_contract_costs_nobody_else_money() external {
        vm.prank(holder);
        license.purchase{value: 3 * PRICE}(_licenseId, holder, 3);
        vm.prank(designer);
        registry.transferFrom(designer, address(license), _designId);
        vm.prank(holder);
        license.purchase{value: 4 * PRICE}(_licenseId, holder, 4);
        vm.expectRevert(
            abi.encodeWithSelector(IPrintLicense.PaymentRefused.selector, address(license), uint256(4 * PRICE))
        );
        license.withdrawFor(address(license), address(0));
        vm.assertEq(license.withdrawFor(designer, address(0)), 3 * PRICE);
        vm.assertEq(address(license).balance, license.owed(address(license), address(0)));
    }

    function test_the_contracts_themselves_are_no_currency_that_sells_anything() external {
        address[3] memory currencies = [address(license), address(registry), address(ledger)];
        for (uint256 i = 0; i < 3; ++i) {
            IPrintLicense.Terms memory terms = someTermsSalted(_designId, bytes32(i));
            terms.currency = currencies[i];
            uint256 licenseId = offered(terms, true);
            vm.expectRevert();
            vm.prank(holder);
            license.purchase(licenseId, holder, 1);
            vm.expectRevert();
            vm.prank(holder);
            license.purchaseWithPermit(licenseId, holder, 1, START, 27, SALT, SALT);
            vm.assertEq(license.termsOf(licenseId).minted, 0);
        }
    }
}
