// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IPrintLedger} from "../../src/interfaces/IPrintLedger.sol";
import {IPrintLicense} from "../../src/interfaces/IPrintLicense.sol";
import {BaseTest} from "../utils/BaseTest.sol";
import {
    BlockingToken,
    BonusToken,
    CallingToken,
    DrainToken,
    FalseToken,
    FeeToken,
    SilentToken,
    Token
} from "../utils/Tokens.sol";
import {Reentrant} from "../utils/Wallets.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

/// @title Sales for tokens: those that keep to the ERC, and those that do not
contract PrintLicenseTokensTest is BaseTest {
    uint256 private constant PRICE = 1 gwei;

    uint256 private _designId;

    function setUp() public override {
        super.setUp();
        _designId = registered();
    }

    /// @dev A licence for `token`, of which the holder has plenty and has approved it.
    function _for(Token token) private returns (uint256 licenseId) {
        return _for(token, 0);
    }

    function _for(Token token, uint8 payout) private returns (uint256 licenseId) {
        IPrintLicense.Terms memory terms = someTerms(_designId);
        (terms.currency, terms.payout) = (address(token), payout);
        licenseId = offered(terms, true);
        token.make(holder, 1000 * PRICE);
        vm.prank(holder);
        token.approve(address(license), type(uint256).max);
    }

    function _buy(uint256 licenseId, uint40 prints) private {
        vm.prank(holder);
        license.purchase(licenseId, holder, prints);
    }

    function _refused(uint256 licenseId, bytes memory reason) private {
        vm.expectRevert(reason);
        vm.prank(holder);
        license.purchase(licenseId, holder, 2);
        vm.assertEq(license.balanceOf(holder, licenseId), 0);
        vm.assertEq(license.termsOf(licenseId).minted, 0);
    }

    function testFuzz_purchase_takes_the_price_and_owes_it_in_the_token(uint40 prints, address to) external {
        vm.assume(to.code.length == 0 && to != address(0));
        prints = uint40(bound(prints, 1, 1000));
        Token token = new Token();
        uint256 licenseId = _for(token);
        uint256 price = prints * PRICE;
        vm.expectEmit();
        emit IPrintLicense.Credited(licenseId, designer, address(token), price);
        vm.expectEmit();
        emit IPrintLicense.PrintsSold(licenseId, holder, to, prints, price);
        vm.prank(holder);
        license.purchase(licenseId, to, prints);
        vm.assertEq(license.balanceOf(to, licenseId), prints);
        vm.assertEq(token.balanceOf(address(license)), price);
        vm.assertEq(license.owed(designer, address(token)), price);
        vm.assertEq(license.owed(designer, address(0)), 0);

        vm.expectEmit();
        emit IPrintLicense.Withdrawn(designer, address(token), designer, price);
        vm.assertEq(license.withdrawFor(designer, address(token)), price);
        vm.assertEq(token.balanceOf(designer), price);
        vm.assertEq(license.withdrawFor(designer, address(token)), 0);
        vm.assertEq(token.balanceOf(address(license)), 0);
    }

    function testFuzz_purchase_takes_no_coins_beside_a_token(uint256 coins) external {
        coins = bound(coins, 1, 1 ether);
        uint256 licenseId = _for(new Token());
        vm.deal(holder, coins);
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.PaymentMismatch.selector, uint256(0), coins));
        vm.prank(holder);
        license.purchase{value: coins}(licenseId, holder, 2);
    }

    function test_purchase_for_nothing_moves_no_token() external {
        FalseToken token = new FalseToken();
        token.setRefuses(true);
        IPrintLicense.Terms memory terms = someTerms(_designId);
        (terms.currency, terms.price) = (address(token), 0);
        uint256 licenseId = offered(terms, true);
        vm.prank(stranger);
        license.purchase(licenseId, stranger, 2);
        vm.assertEq(license.balanceOf(stranger, licenseId), 2);
        vm.assertEq(license.owed(designer, address(token)), 0);
    }

    function testFuzz_purchase_refuses_without_the_allowance(uint256 allowed) external {
        allowed = bound(allowed, 0, 2 * PRICE - 1);
        Token token = new Token();
        uint256 licenseId = _for(token);
        vm.prank(holder);
        token.approve(address(license), allowed);
        _refused(
            licenseId,
            abi.encodeWithSelector(
                IERC20Errors.ERC20InsufficientAllowance.selector, address(license), allowed, 2 * PRICE
            )
        );
    }

    // --- tokens that do not keep to the ERC ---------------------------------------------------------------------

    function testFuzz_purchase_refuses_a_token_that_takes_a_fee(uint256 fee) external {
        fee = bound(fee, 1, 10_000);
        FeeToken token = new FeeToken();
        token.setFee(fee);
        uint256 licenseId = _for(token);
        uint256 received = 2 * PRICE - 2 * PRICE * fee / 10_000;
        _refused(licenseId, abi.encodeWithSelector(IPrintLicense.PaymentMismatch.selector, 2 * PRICE, received));
    }

    function test_purchase_refuses_a_token_that_gives_more() external {
        uint256 licenseId = _for(new BonusToken());
        _refused(licenseId, abi.encodeWithSelector(IPrintLicense.PaymentMismatch.selector, 2 * PRICE, 2 * PRICE + 1));
    }

    function test_purchase_refuses_a_token_that_takes_from_us() external {
        DrainToken token = new DrainToken();
        uint256 licenseId = _for(token);
        token.make(address(license), 5);
        _refused(licenseId, abi.encodeWithSelector(IPrintLicense.PaymentMismatch.selector, 2 * PRICE, uint256(0)));
    }

    function test_purchase_refuses_a_token_that_says_false() external {
        FalseToken token = new FalseToken();
        token.setRefuses(true);
        uint256 licenseId = _for(token);
        _refused(licenseId, abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(token)));
    }

    function test_purchase_refuses_a_buyer_whom_the_token_locked() external {
        BlockingToken token = new BlockingToken();
        uint256 licenseId = _for(token);
        token.setBlocked(holder, true);
        _refused(licenseId, abi.encodeWithSelector(BlockingToken.Blocked.selector, holder));
    }

    function test_purchase_and_withdrawal_take_a_token_that_returns_nothing() external {
        SilentToken token = new SilentToken();
        IPrintLicense.Terms memory terms = someTerms(_designId);
        terms.currency = address(token);
        uint256 licenseId = offered(terms, true);
        token.make(holder, 2 * PRICE);
        vm.prank(holder);
        token.approve(address(license), 2 * PRICE);
        _buy(licenseId, 2);
        vm.assertEq(token.balanceOf(address(license)), 2 * PRICE);
        license.withdrawFor(designer, address(token));
        vm.assertEq(token.balanceOf(designer), 2 * PRICE);
    }

    function test_a_token_that_calls_back_reaches_no_money_and_no_minting() external {
        CallingToken token = new CallingToken();
        uint256 licenseId = _for(token, 1);
        _buy(licenseId, 10);
        IPrintLedger.Reservation memory reservation = aReservation(licenseId, 10);
        uint256 tokenId = ledger.reserve(reservation, signedBy(HOLDER_KEY, reservation));
        IPrintLicense.Grant[] memory grants = new IPrintLicense.Grant[](0);
        IPrintLicense.MintBatch memory batch =
            IPrintLicense.MintBatch({owner: designer, grants: grants, nonce: 1, deadline: START});
        bytes[] memory calls = new bytes[](12);
        calls[0] = abi.encodeCall(IPrintLicense.purchase, (licenseId, holder, 1));
        calls[1] = abi.encodeCall(IPrintLicense.withdraw, (address(token), holder));
        calls[2] = abi.encodeCall(IPrintLicense.withdrawFor, (designer, address(token)));
        calls[3] = abi.encodeCall(IPrintLicense.returnPrints, (licenseId, 1));
        calls[4] = abi.encodeCall(IPrintLicense.mint, (licenseId, holder, 1));
        calls[5] = abi.encodeCall(IPrintLicense.mintBatch, (grants));
        calls[6] = abi.encodeCall(IPrintLicense.purchaseWithPermit, (licenseId, holder, 1, 0, 0, 0, 0));
        calls[7] = abi.encodeCall(IPrintLicense.returnPrintsBySig, (aReturn(licenseId, 1), ""));
        calls[8] = abi.encodeCall(IPrintLicense.withdrawBySig, (aWithdrawal(designer, address(token), holder), ""));
        calls[9] = abi.encodeCall(IPrintLicense.returnPrintsFor, (licenseId, holder));
        calls[10] = abi.encodeCall(IPrintLicense.mintBySig, (aMint(licenseId, 1), ""));
        calls[11] = abi.encodeCall(IPrintLicense.mintBatchBySig, (batch, ""));
        bytes memory reentered = abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);
        for (uint256 i = 0; i < calls.length; ++i) {
            token.arm(address(license), calls[i]);
            _buy(licenseId, 1);
            vm.assertTrue(token.called());
            vm.assertTrue(token.blocked());
            vm.assertEq(keccak256(token.answer()), keccak256(reentered));
        }
        // Settling what pays as printed is money too.
        IPrintLedger.Batch[] memory batches = new IPrintLedger.Batch[](1);
        batches[0].licenseId = licenseId;
        batches[0].uses = new IPrintLedger.Use[](1);
        batches[0].uses[0] = aUse(tokenId, 1, 0);
        vm.prank(gateway);
        ledger.setOperator(address(token), true);
        token.arm(address(ledger), abi.encodeCall(IPrintLedger.settle, (gateway, batches)));
        _buy(licenseId, 1);
        vm.assertTrue(token.called());
        vm.assertEq(keccak256(token.answer()), keccak256(reentered));
        vm.assertEq(license.owed(designer, address(token)), 0);
        vm.assertEq(token.balanceOf(address(license)), 23 * PRICE);
    }

    function test_a_withdrawal_cannot_be_taken_twice_by_a_token_that_calls_back() external {
        CallingToken token = new CallingToken();
        _buy(_for(token), 2);
        token.arm(address(license), abi.encodeCall(IPrintLicense.withdrawFor, (designer, address(token))));
        license.withdrawFor(designer, address(token));
        vm.assertTrue(token.blocked());
        vm.assertEq(token.balanceOf(designer), 2 * PRICE);
    }

    function test_a_buyer_that_calls_back_cannot_return_what_it_is_being_given() external {
        Token token = new Token();
        uint256 licenseId = _for(token, 1);
        Reentrant buyer = new Reentrant(address(license));
        buyer.arm(abi.encodeCall(IPrintLicense.returnPrints, (licenseId, 2)));
        vm.prank(holder);
        license.purchase(licenseId, address(buyer), 2);
        vm.assertTrue(buyer.blocked());
        vm.assertEq(license.owed(address(buyer), address(token)), 0);
    }

    // --- taking the money ---------------------------------------------------------------------------------------

    function testFuzz_withdraw_keeps_what_the_token_refuses_to_move(bool says) external {
        FalseToken false_ = new FalseToken();
        BlockingToken blocking = new BlockingToken();
        Token token = says ? Token(false_) : Token(blocking);
        _buy(_for(token), 2);
        if (says) false_.setRefuses(true);
        else blocking.setBlocked(designer, true);
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.PaymentRefused.selector, designer, 2 * PRICE));
        license.withdrawFor(designer, address(token));
        vm.assertEq(license.owed(designer, address(token)), 2 * PRICE);
        if (says) false_.setRefuses(false);
        // A payee whom the token locked names another account.
        vm.prank(designer);
        license.withdraw(address(token), stranger);
        vm.assertEq(token.balanceOf(stranger), 2 * PRICE);
    }

    function test_a_payee_whom_a_token_locked_holds_up_nobody() external {
        BlockingToken token = new BlockingToken();
        uint256 licenseId = _for(token);
        _buy(licenseId, 2);
        vm.prank(designer);
        registry.transferFrom(designer, stranger, _designId);
        token.setBlocked(designer, true);
        _buy(licenseId, 3);
        license.withdrawFor(stranger, address(token));
        vm.assertEq(token.balanceOf(stranger), 3 * PRICE);
        vm.assertEq(license.owed(designer, address(token)), 2 * PRICE);
    }

    function test_the_books_of_one_currency_are_not_anothers() external {
        Token one = new Token();
        Token two = new Token();
        _buy(_for(one), 2);
        IPrintLicense.Terms memory terms = someTermsSalted(_designId, "two");
        terms.currency = address(two);
        uint256 other = offered(terms, true);
        two.make(holder, 3 * PRICE);
        vm.prank(holder);
        two.approve(address(license), 3 * PRICE);
        _buy(other, 3);
        vm.assertEq(license.owed(designer, address(one)), 2 * PRICE);
        vm.assertEq(license.owed(designer, address(two)), 3 * PRICE);
    }

    // --- permits ------------------------------------------------------------------------------------------------

    struct Permit {
        uint256 deadline;
        uint8 v;
        bytes32 r;
        bytes32 s;
    }

    function _permit(Token token, uint256 key, uint256 price, uint256 deadline) private view returns (Permit memory p) {
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"),
                holder,
                address(license),
                price,
                token.nonces(holder),
                deadline
            )
        );
        p.deadline = deadline;
        (p.v, p.r, p.s) = vm.sign(key, keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), structHash)));
    }

    function _buyWith(Permit memory permit, uint256 licenseId, uint40 prints) private {
        vm.prank(holder);
        license.purchaseWithPermit(licenseId, holder, prints, permit.deadline, permit.v, permit.r, permit.s);
    }

    function _unapproved() private returns (Token token, uint256 licenseId) {
        token = new Token();
        licenseId = _for(token);
        vm.prank(holder);
        token.approve(address(license), 0);
    }

    function testFuzz_purchaseWithPermit_needs_no_allowance_before_and_leaves_none(uint40 prints) external {
        prints = uint40(bound(prints, 1, 1000));
        (Token token, uint256 licenseId) = _unapproved();
        _buyWith(_permit(token, HOLDER_KEY, prints * PRICE, START), licenseId, prints);
        vm.assertEq(license.balanceOf(holder, licenseId), prints);
        vm.assertEq(license.owed(designer, address(token)), prints * PRICE);
        vm.assertEq(token.allowance(holder, address(license)), 0);
    }

    function test_purchaseWithPermit_takes_a_permit_that_somebody_sent_first() external {
        (Token token, uint256 licenseId) = _unapproved();
        Permit memory permit = _permit(token, HOLDER_KEY, 2 * PRICE, START);
        vm.prank(stranger);
        token.permit(holder, address(license), 2 * PRICE, permit.deadline, permit.v, permit.r, permit.s);
        _buyWith(permit, licenseId, 2);
        vm.assertEq(license.balanceOf(holder, licenseId), 2);
    }

    function test_purchaseWithPermit_takes_an_allowance_in_place_of_a_permit() external {
        SilentToken token = new SilentToken(); // knows no permits
        IPrintLicense.Terms memory terms = someTerms(_designId);
        terms.currency = address(token);
        uint256 licenseId = offered(terms, true);
        token.make(holder, 2 * PRICE);
        vm.prank(holder);
        token.approve(address(license), 2 * PRICE);
        _buyWith(Permit(0, 0, 0, 0), licenseId, 2);
        vm.assertEq(license.balanceOf(holder, licenseId), 2);
    }

    function testFuzz_purchaseWithPermit_refuses_anothers_permit(uint256 key) external {
        key = bound(key, 1, ORDER - 1);
        vm.assume(key != HOLDER_KEY);
        (Token token, uint256 licenseId) = _unapproved();
        Permit memory permit = _permit(token, key, 2 * PRICE, START);
        vm.expectRevert(
            abi.encodeWithSelector(
                IERC20Errors.ERC20InsufficientAllowance.selector, address(license), uint256(0), 2 * PRICE
            )
        );
        _buyWith(permit, licenseId, 2);
    }

    function test_purchaseWithPermit_refuses_the_chains_coin_and_an_unknown_licence() external {
        uint256 licenseId = offered(someTerms(_designId), true);
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.CurrencyInvalid.selector, address(0)));
        _buyWith(Permit(0, 0, 0, 0), licenseId, 2);
        vm.expectRevert(abi.encodeWithSelector(IPrintLicense.LicenseUnknown.selector, uint256(1)));
        _buyWith(Permit(0, 0, 0, 0), 1, 2);
    }
}
