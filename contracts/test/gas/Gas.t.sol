// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IDesignRegistry} from "../../src/interfaces/IDesignRegistry.sol";
import {IPrintLedger} from "../../src/interfaces/IPrintLedger.sol";
import {IPrintLicense} from "../../src/interfaces/IPrintLicense.sol";
import {BaseTest} from "../utils/BaseTest.sol";
import {Naive, Token} from "../utils/Tokens.sol";

/// @title What each act costs as a transaction of its own: base cost and calldata included
/// @dev Every call below is a transaction (isolate), so storage is cold as on a chain. A bar is a promise (docs/gas.md);
/// what was measured stands in snapshots/gas.json, and `npm test` fails when it changes.
/// forge-config: default.isolate = true
contract GasTest is BaseTest {
    event Measured(string act, uint256 gas);

    /// @dev No transaction is above five million.
    uint256 private constant MOST = 5_000_000;

    function _measured(string memory act, uint256 bar) private {
        uint256 used = vm.lastCallGas().gasTotalUsed;
        emit Measured(act, used);
        vm.snapshotValue("gas", act, used);
        vm.assertLe(used, bar, act);
        vm.assertGe(used, 21_000);
    }

    function test_register_and_reveal() external {
        IDesignRegistry.Registration memory registration = aRegistration();
        vm.prank(designer);
        uint256 parentId = registry.register(registration);
        _measured("register, the first of a designer", 108_000);
        registration.manifestDigest = keccak256("second");
        vm.prank(designer);
        registry.register(registration);
        _measured("register, a later one", 90_000);
        registration.manifestDigest = keccak256("third");
        registry.registerBySig(registration, signedBy(DESIGNER_KEY, registration));
        _measured("registerBySig, a later one", 95_000);
        registry.reveal(registration, SALT, FILES_ROOT);
        _measured("reveal", 34_000);
        registration.edition = 100;
        registration.parentId = parentId;
        vm.prank(designer);
        registry.register(registration);
        _measured("register, with edition and parent", 145_000);
        IDesignRegistry.Registration[] memory registrations = new IDesignRegistry.Registration[](80);
        for (uint256 i = 0; i < 80; ++i) {
            registrations[i] = aRegistration();
            registrations[i].manifestDigest = bytes32(i);
        }
        registry.registerBatchBySig(registrations, signedBy(DESIGNER_KEY, registrations));
        _measured("registerBatchBySig of 80", MOST);
    }

    function test_publish_recall_and_lower() external {
        IDesignRegistry.Registration memory registration = aRegistration();
        registration.edition = 100;
        uint256 designId = registered(registration);
        IDesignRegistry.Publication memory publication = aPublication(designId, 2);
        registry.publishBySig(publication, signedBy(DESIGNER_KEY, publication));
        _measured("publishBySig", 90_000);
        IDesignRegistry.Recall memory recalled = aRecall(designId, 2);
        registry.recallBySig(recalled, signedBy(DESIGNER_KEY, recalled));
        _measured("recallBySig", 62_000);
        IDesignRegistry.EditionLimit memory limit = anEditionLimit(designId, 50);
        registry.lowerEditionBySig(limit, signedBy(DESIGNER_KEY, limit));
        _measured("lowerEditionBySig", 46_000);
    }

    function test_offer_and_move() external {
        IPrintLicense.Terms memory terms = someTerms(registered());
        IPrintLicense.Acceptance memory acceptance = anAcceptance(terms.designId, 1);
        bytes memory accepted = signedBy(GATEWAY_KEY, acceptance);
        bytes memory signature = signedOffer(DESIGNER_KEY, terms, true, START);
        uint256 licenseId = license.offerBySig(terms, true, START, signature, acceptance, accepted);
        _measured("offerBySig", 175_000);
        terms.salt = keccak256("second");
        vm.prank(designer);
        license.offer(terms, true, acceptance, accepted);
        _measured("offer", 175_000);
        IPrintLicense.Sale memory sale = aSale(licenseId, false);
        license.setSaleBySig(sale, signedBy(DESIGNER_KEY, sale));
        _measured("setSaleBySig", 72_000);
        vm.prank(stranger);
        ledger.declareGateway(PROFILE, false);
        IPrintLicense.Move memory move = aMove(licenseId, stranger);
        acceptance = anAcceptanceBy(stranger, terms.designId, 1);
        accepted = signedBy(STRANGER_KEY, acceptance);
        license.setGatewayBySig(move, signedBy(DESIGNER_KEY, move), acceptance, accepted);
        _measured("setGatewayBySig", 110_000);
    }

    function test_mint() external {
        uint256 licenseId = offered();
        vm.prank(designer);
        license.mint(licenseId, holder, 1);
        _measured("mint, the licence's first", 66_000);
        vm.prank(designer);
        license.mint(licenseId, stranger, 1);
        _measured("mint, a new holder", 66_000);
        vm.prank(designer);
        license.mint(licenseId, holder, 100);
        _measured("mint, the same holder", 49_000);
        IPrintLicense.Mint memory minting = aMint(licenseId, 1);
        license.mintBySig(minting, signedBy(DESIGNER_KEY, minting));
        _measured("mintBySig, the same holder", 83_000);
        IPrintLicense.Grant[] memory grants = new IPrintLicense.Grant[](100);
        for (uint256 i = 0; i < 100; ++i) {
            grants[i] = IPrintLicense.Grant({licenseId: licenseId, to: address(uint160(0xE000 + i)), prints: 1});
        }
        vm.prank(designer);
        license.mintBatch(grants);
        _measured("mintBatch to 100 new holders", 3_500_000);
    }

    function test_return_of_an_ended_licence() external {
        IPrintLicense.Terms memory terms = someTerms(registered());
        terms.payout = 1;
        uint256 licenseId = offered(terms, true);
        vm.deal(holder, 1 ether);
        vm.prank(holder);
        license.purchase{value: 2 gwei}(licenseId, holder, 2);
        vm.warp(START + 366 days);
        license.returnPrintsFor(licenseId, holder);
        _measured("returnPrintsFor", 70_000);
    }

    function test_purchase_return_and_withdraw() external {
        IPrintLicense.Terms memory terms = someTerms(registered());
        uint256 licenseId = offered(terms, true);
        vm.deal(operator, 1 ether);
        vm.prank(operator);
        license.purchase{value: 1 gwei}(licenseId, operator, 1);
        _measured("purchase, the first", 100_000);
        vm.prank(operator);
        license.purchase{value: 1 gwei}(licenseId, operator, 1);
        _measured("purchase, the same buyer", 65_000);
        license.withdrawFor(designer, address(0));
        _measured("withdrawFor", 40_000);
        (terms.payout, terms.salt) = (1, keccak256("as printed"));
        licenseId = offered(terms, true);
        vm.prank(operator);
        license.purchase{value: 2 gwei}(licenseId, operator, 2);
        _measured("purchase as printed, the first", 80_000);
        vm.prank(operator);
        license.returnPrints(licenseId, 1);
        _measured("returnPrints", 75_000);
        Token token = new Token();
        (terms.payout, terms.salt, terms.currency) = (0, keccak256("token"), address(token));
        licenseId = offered(terms, true);
        token.make(operator, 1 ether);
        vm.prank(operator);
        token.approve(address(license), 1 ether);
        vm.prank(operator);
        license.purchase(licenseId, operator, 1);
        vm.prank(operator);
        license.purchase(licenseId, operator, 1);
        _measured("purchase for a token, the same buyer", 93_000);
    }

    function test_purchase_of_a_design_with_four_parents() external {
        IDesignRegistry.Registration memory registration = aRegistration();
        for (uint256 i = 0; i < 5; ++i) {
            registration.registrant = vm.addr(0xC0 + i);
            registration.parentId = registered(registration);
        }
        vm.prank(vm.addr(0xC0 + 4));
        registry.transferFrom(vm.addr(0xC0 + 4), designer, registration.parentId);
        IPrintLicense.Terms memory terms = someTerms(registration.parentId);
        uint256 licenseId = offered(terms, true);
        vm.deal(operator, 1 ether);
        vm.prank(operator);
        license.purchase{value: 1 gwei}(licenseId, operator, 1);
        vm.prank(operator);
        license.purchase{value: 1 gwei}(licenseId, operator, 1);
        _measured("purchase with four parents, the same buyer", 150_000);
    }

    function test_reserve_and_reclaim() external {
        uint256 licenseId = minted(1000);
        IPrintLedger.Reservation memory reservation = aReservation(licenseId, 10);
        bytes memory signature = signedBy(HOLDER_KEY, reservation);
        ledger.reserve(reservation, signature);
        _measured("reserve, the licence's first", 115_000);
        reservation.salt = keccak256("second");
        signature = signedBy(HOLDER_KEY, reservation);
        uint256 tokenId = ledger.reserve(reservation, signature);
        _measured("reserve, a later one", 97_000);
        IPrintLedger.Close memory closing =
            IPrintLedger.Close({tokenId: tokenId, released: 3, voided: 0, deadline: START + 1});
        ledger.close(closing, reservation, signedBy(GATEWAY_KEY, closing), signedBy(HOLDER_KEY, closing));
        _measured("close", 80_000);
        reservation.salt = SALT;
        vm.warp(uint256(reservation.expiresAt) + 10 days);
        ledger.reclaim(reservation);
        _measured("reclaim", 56_000);
    }

    /// @dev Also what one print costs when each is burned by a transaction of its own.
    function test_reserveBatch_and_the_naive_design() external {
        uint256 licenseId = minted(1000);
        IPrintLedger.Reservation[] memory reservations = new IPrintLedger.Reservation[](100);
        bytes[] memory signatures = new bytes[](100);
        for (uint256 i = 0; i < 100; ++i) {
            reservations[i] = aReservation(licenseId, 10);
            reservations[i].salt = keccak256(abi.encode(i));
            signatures[i] = signedBy(HOLDER_KEY, reservations[i]);
        }
        ledger.reserveBatch(reservations, signatures);
        _measured("reserveBatch of 100", 4_800_000);
        Naive naive = new Naive();
        naive.mint(holder, licenseId, 1000);
        vm.prank(holder);
        naive.burn(licenseId, 1);
        _measured("naive: one burn for one print", 35_000);
    }

    function test_anchor() external {
        vm.prank(gateway);
        ledger.anchor(gateway, 1, 1, SALT, SALT);
        vm.prank(gateway);
        ledger.anchor(gateway, 1, 1000, FILES_ROOT, SALT);
        _measured("anchor, a later one", 57_000);
    }

    function test_settle_1000_prints_of_a_token() external {
        IPrintLedger.Reservation memory reservation = aReservation(minted(1000), 1000);
        uint256 tokenId = ledger.reserve(reservation, signedBy(HOLDER_KEY, reservation));
        settled(gateway, reservation.licenseId, aUse(tokenId, 1000, 0));
        _measured("settle, 1,000 prints of one token", 62_000);
    }

    function test_settle_1000_prints_of_100_tokens() external {
        uint256 licenseId = minted(1000);
        IPrintLedger.Use[] memory uses = _uses(licenseId, 100);
        settled(gateway, licenseId, uses);
        _measured("settle, 1,000 prints of 100 tokens", 1_530_000);
        settled(gateway, licenseId, uses);
        _measured("settle, 100 stale uses", 810_000);
    }

    function test_settle_1000_prints_of_100_tokens_paid_as_printed() external {
        IPrintLicense.Terms memory terms = someTerms(registered());
        terms.payout = 1;
        uint256 licenseId = offered(terms, true);
        vm.deal(holder, 1 ether);
        vm.prank(holder);
        license.purchase{value: 1000 gwei}(licenseId, holder, 1000);
        settled(gateway, licenseId, _uses(licenseId, 100));
        _measured("settle as printed, 1,000 prints of 100 tokens", 1_570_000);
    }

    function test_settle_1000_prints_of_100_licences() external {
        uint256 designId = registered();
        IPrintLedger.Batch[] memory batches = new IPrintLedger.Batch[](100);
        for (uint256 i = 0; i < 100; ++i) {
            batches[i].licenseId = offered(someTermsSalted(designId, bytes32(i)), true);
            vm.prank(designer);
            license.mint(batches[i].licenseId, holder, 10);
            batches[i].uses = _uses(batches[i].licenseId, 1);
        }
        vm.prank(gateway);
        ledger.settle(gateway, batches);
        _measured("settle, 1,000 prints of 100 licences", 2_580_000);
    }

    /// @dev The largest settlement that stays below five million.
    function test_settle_320_tokens_in_one_transaction() external {
        IPrintLicense.Terms memory terms = someTerms(registered());
        terms.cap = 3200;
        uint256 licenseId = offered(terms, true);
        vm.prank(designer);
        license.mint(licenseId, holder, 3200);
        settled(gateway, licenseId, _uses(licenseId, 320));
        _measured("settle, 3,200 prints of 320 tokens", MOST);
    }

    function _uses(uint256 licenseId, uint256 count) private returns (IPrintLedger.Use[] memory uses) {
        uses = new IPrintLedger.Use[](count);
        for (uint256 i = 0; i < count; ++i) {
            IPrintLedger.Reservation memory reservation = aReservation(licenseId, 10);
            reservation.salt = bytes32(i);
            uses[i] = aUse(ledger.reserve(reservation, signedBy(HOLDER_KEY, reservation)), 10, 0);
        }
    }
}
