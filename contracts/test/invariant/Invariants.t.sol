// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IDesignRegistry} from "../../src/interfaces/IDesignRegistry.sol";
import {IPrintLedger} from "../../src/interfaces/IPrintLedger.sol";
import {IPrintLicense} from "../../src/interfaces/IPrintLicense.sol";
import {Vm} from "../utils/Vm.sol";
import {Handler} from "./Handler.sol";

/// @title What holds after any acts in any order; the numbers are those of test/INVARIANTS.md
contract InvariantsTest {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    Handler private _handler;
    IPrintLicense private _license;
    IPrintLedger private _ledger;
    IDesignRegistry private _registry;

    function setUp() external {
        _handler = new Handler();
        (_license, _ledger, _registry) = _handler.world();
    }

    /// @dev forge asks whom to call.
    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    /// @dev forge asks which functions: the acts.
    function targetSelectors() external view returns (Selectors[] memory targets) {
        targets = new Selectors[](1);
        targets[0].target = address(_handler);
        targets[0].selectors = new bytes4[](25);
        targets[0].selectors[0] = Handler.mint.selector;
        targets[0].selectors[1] = Handler.mintBySig.selector;
        targets[0].selectors[2] = Handler.purchase.selector;
        targets[0].selectors[3] = Handler.returnPrints.selector;
        targets[0].selectors[4] = Handler.withdraw.selector;
        targets[0].selectors[5] = Handler.transfer.selector;
        targets[0].selectors[6] = Handler.intrude.selector;
        targets[0].selectors[7] = Handler.lowerEdition.selector;
        targets[0].selectors[8] = Handler.sellDesign.selector;
        targets[0].selectors[9] = Handler.moveLicense.selector;
        targets[0].selectors[10] = Handler.reserve.selector;
        targets[0].selectors[11] = Handler.reserveBatch.selector;
        targets[0].selectors[12] = Handler.reserveAgain.selector;
        targets[0].selectors[13] = Handler.settle.selector;
        targets[0].selectors[14] = Handler.forge.selector;
        targets[0].selectors[15] = Handler.close.selector;
        targets[0].selectors[16] = Handler.reclaim.selector;
        targets[0].selectors[17] = Handler.anchor.selector;
        targets[0].selectors[18] = Handler.newEpoch.selector;
        targets[0].selectors[19] = Handler.wait_.selector;
        targets[0].selectors[20] = Handler.purchase.selector;
        targets[0].selectors[21] = Handler.reserve.selector;
        targets[0].selectors[22] = Handler.settle.selector;
        targets[0].selectors[23] = Handler.wait_.selector;
        targets[0].selectors[24] = Handler.returnPrintsFor.selector;
    }

    struct Selectors {
        address target;
        bytes4[] selectors;
    }

    /// @dev One life by hand: the acts do something, so that the campaigns above are no rows of refusals.
    function test_the_acts_of_the_handler_change_the_world() external {
        _handler.mint(2, 0, 19);
        _handler.mintBySig(0, 1, 2, 1);
        for (uint256 i = 1; i < 4; ++i) {
            _handler.purchase(i, 0, 1, 19);
        }
        _handler.reserve(3, 0, 5, 1 days);
        _handler.moveLicense(3);
        _handler.reserveBatch(1, 0, 1 days);
        vm.assertEq(_handler.tokenCount(), 3);
        _handler.settle(0, 4, 0, 0);
        _handler.sellDesign(2);
        _handler.settle(1, 3, 1, 0);
        _handler.forge(2, 1, 0, true);
        _handler.close(2, 2, 1);
        _handler.returnPrints(3, 0, 3);
        _handler.withdraw(2, true);
        for (uint256 i = 0; i < 3; ++i) {
            _handler.wait_(5 days - 1 minutes); // 5 days
        }
        _handler.reclaim(0);
        _handler.reclaim(2);
        _handler.returnPrintsFor(1, 0);
        _handler.returnPrintsFor(1, 2);
        vm.assertTrue(_handler.modelReturned(1) != 0);
        vm.assertTrue(_handler.modelReturned(3) != 0);
        vm.assertTrue(_handler.modelBurned(3) != 0);
        vm.assertTrue(_handler.modelBurned(1) != 0);
        vm.assertTrue(_handler.moneyOut(address(0)) != 0);
        vm.assertTrue(_handler.token(0).ended);
        vm.assertTrue(_handler.modelOwed(_handler.payees(3), _handler.currencyOf(3)) != 0);
        this.invariant_minted_is_below_cap_and_edition();
        this.invariant_escrow_is_open_reservations_and_units_are_conserved();
        this.invariant_each_holder_has_what_its_own_acts_left();
        this.invariant_counts_are_what_vouchers_prove();
        this.invariant_money_in_is_owed_paid_out_or_backing();
    }

    /// 1: minted and bought stay below the cap; 2: and below the edition over all licences of a design, when it was not
    /// lowered under them.
    function invariant_minted_is_below_cap_and_edition() external view {
        for (uint256 i = 0; i < _handler.LICENSES(); ++i) {
            IPrintLicense.License memory stored = _license.termsOf(_handler.licenses(i));
            vm.assertEq(stored.minted, _handler.modelMinted(i));
            vm.assertLe(stored.minted, stored.cap);
        }
        vm.assertEq(_license.editionMinted(_handler.designs(0)), _handler.modelMinted(0) + _handler.modelMinted(1));
        vm.assertEq(_license.editionMinted(_handler.designs(1)), 0); // open designs are not counted
        vm.assertEq(_registry.editionOf(_handler.designs(0)), _handler.modelEdition());
        vm.assertLe(_license.editionMinted(_handler.designs(0)), 60);
    }

    /// 3: what is in escrow is what open reservations have not burned; 4: units are minted, held, escrowed or burned.
    function invariant_escrow_is_open_reservations_and_units_are_conserved() external view {
        for (uint256 i = 0; i < _handler.LICENSES(); ++i) {
            uint256 licenseId = _handler.licenses(i);
            uint256 open = 0;
            for (uint256 j = 0; j < _handler.tokenCount(); ++j) {
                Handler.Reserved memory token = _handler.token(j);
                if (token.which == i && !token.ended) open += token.permission.prints - token.burned;
            }
            uint256 escrowed = _license.balanceOf(address(_ledger), licenseId);
            vm.assertEq(escrowed, open);
            uint256 held =
                _license.balanceOf(_handler.people(0), licenseId) + _license.balanceOf(_handler.people(1), licenseId);
            vm.assertEq(held + escrowed + _handler.modelBurned(i), _handler.modelMinted(i));
        }
    }

    /// 5: nobody's units change but by its own act, its signature or its terms.
    function invariant_each_holder_has_what_its_own_acts_left() external view {
        for (uint256 i = 0; i < _handler.LICENSES(); ++i) {
            for (uint256 who = 0; who < 2; ++who) {
                address account = _handler.people(who);
                vm.assertEq(_license.balanceOf(account, _handler.licenses(i)), _handler.modelHeld(i, account));
            }
        }
    }

    /// 6: counts are those of the vouchers, within prints and spares; 7: nothing is counted that no agent signed.
    function invariant_counts_are_what_vouchers_prove() external view {
        for (uint256 j = 0; j < _handler.tokenCount(); ++j) {
            Handler.Reserved memory token = _handler.token(j);
            IPrintLedger.ReservationState memory state =
                _ledger.reservationOf(token.permission.gateway, token.permission.licenseId, token.id);
            vm.assertEq(state.agent, token.permission.agent);
            vm.assertEq(state.prints, token.permission.prints);
            vm.assertEq(state.spares, token.spares);
            vm.assertEq(state.burned, token.burned);
            vm.assertEq(state.voided, token.voided);
            vm.assertEq(state.closed, token.ended);
            vm.assertLe(state.burned, state.prints);
            vm.assertLe(state.voided, state.spares);
            if (!token.agreed) vm.assertLe(state.burned, token.highestVoucher);
        }
    }

    /// 8: money that was booked in is owed, paid out or backs a unit, in each currency, and it is there; 9: each payee
    /// is owed what the rules say.
    function invariant_money_in_is_owed_paid_out_or_backing() external view {
        address[2] memory currencies = [address(0), address(_handler.money())];
        for (uint256 c = 0; c < 2; ++c) {
            address currency = currencies[c];
            uint256 owed = 0;
            for (uint256 who = 0; who < 4; ++who) {
                address payee = _handler.payees(who);
                vm.assertEq(_license.owed(payee, currency), _handler.modelOwed(payee, currency));
                owed += _license.owed(payee, currency);
            }
            uint256 asPrinted = 2 * c + 1;
            uint256 backing = (_handler.modelMinted(asPrinted) - _handler.modelBurned(asPrinted)) * _handler.PRICE();
            vm.assertEq(_handler.moneyIn(currency), owed + _handler.moneyOut(currency) + backing);
            uint256 present = c == 0 ? address(_license).balance : _handler.money().balanceOf(address(_license));
            vm.assertEq(present, owed + backing);
        }
    }

    /// 10: anchors only grow within an epoch.
    function invariant_anchors_grow() external view {
        (, uint32 epoch, uint64 size) = _ledger.gateways(_handler.gatewayAccount());
        vm.assertEq(epoch, _handler.modelEpoch());
        vm.assertEq(size, _handler.modelHead());
    }
}
