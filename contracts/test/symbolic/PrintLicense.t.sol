// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {PrintLicense} from "../../src/PrintLicense.sol";
import {IDesignRegistry} from "../../src/interfaces/IDesignRegistry.sol";
import {IPrintLedger} from "../../src/interfaces/IPrintLedger.sol";
import {IPrintLicense} from "../../src/interfaces/IPrintLicense.sol";
import {vm} from "./Cheats.sol";

/// @dev What the registry says of the one design, which has no parent.
contract RegistryStub {
    address public owner;
    uint40 public edition;

    function set(address owner_, uint40 edition_) external {
        (owner, edition) = (owner_, edition_);
    }

    function ownerOf(uint256) external view returns (address) {
        return owner;
    }

    function editionOf(uint256) external view returns (uint40) {
        return edition;
    }

    function standingOf(uint256, uint16) external view returns (address, uint40, bool, bool) {
        return (owner, edition, true, false);
    }
}

/// @title The licence contract itself, from every state of a licence's counts, for every number of prints and price
/// @dev A sound state has minted at most cap, and of an edition at least what the licence itself minted of it.
contract PrintLicenseProof {
    uint256 private constant RECORDS_SLOT = 6;
    uint256 private constant EDITION_SLOT = 7;
    uint256 private constant BALANCES_SLOT = 0;
    uint256 private constant LICENSE_ID = 7;
    uint256 private constant DESIGN_ID = 9;
    address private constant OWNER = address(0x0DE51);
    address private constant HOLDER = address(0x401DE4);
    address private constant GATEWAY = address(0x6A7E);

    uint256 private constant LIMITED = 4;
    uint256 private constant DERIVED = 8;
    uint256 private constant TOKEN = 16;
    uint256 private constant AS_PRINTED = 32;

    RegistryStub private _registry;
    PrintLicense private _license;

    function setUp() public {
        _registry = new RegistryStub();
        _license = new PrintLicense(IDesignRegistry(address(_registry)));
    }

    function check_mint_counts_what_fits_and_nothing_else(
        uint256 counts,
        uint40 ofDesign,
        uint40 edition,
        uint40 prints,
        uint256 balance
    ) external {
        _given(counts, 0, ofDesign, edition, balance);
        vm.prank(OWNER);
        try _license.mint(LICENSE_ID, HOLDER, prints) {
            assert(counts & (AS_PRINTED << 224) == 0);
            _requireCounted(counts, ofDesign, edition, prints);
            assert(_license.balanceOf(HOLDER, LICENSE_ID) == balance + prints);
            assert(_license.owed(OWNER, address(0)) == 0);
        } catch {
            // Refused for what the specification says, never by an overflow.
            assert(_isRefused(counts, ofDesign, edition, prints, balance) || counts & (AS_PRINTED << 224) != 0);
        }
    }

    function check_purchase_books_the_price_and_counts_what_fits(
        uint256 counts,
        uint96 price,
        uint40 ofDesign,
        uint40 edition,
        uint40 prints,
        uint256 paid
    ) external {
        vm.assume(counts & ((TOKEN | DERIVED) << 224) == 0);
        vm.assume(paid <= address(this).balance);
        _given(counts, price, ofDesign, edition, 0);
        uint256 before = address(_license).balance;
        try _license.purchase{value: paid}(LICENSE_ID, HOLDER, prints) {
            assert(paid == uint256(price) * prints);
            assert(address(_license).balance == before + paid);
            assert(_license.owed(OWNER, address(0)) == (counts & (AS_PRINTED << 224) == 0 ? paid : 0));
            _requireCounted(counts, ofDesign, edition, prints);
            assert(_license.balanceOf(HOLDER, LICENSE_ID) == prints);
        } catch {
            assert(address(_license).balance == before);
        }
    }

    function check_returnPrints_gives_back_price_and_room(
        uint256 counts,
        uint96 price,
        uint40 ofDesign,
        uint40 edition,
        uint40 prints,
        uint40 balance
    ) external {
        vm.assume(counts & (TOKEN << 224) == 0);
        _given(counts, price, ofDesign, edition, balance);
        uint40 minted = uint40(counts >> 40);
        // Units are conserved.
        vm.assume(balance <= minted);
        vm.prank(HOLDER);
        try _license.returnPrints(LICENSE_ID, prints) returns (uint256 refund) {
            assert(prints != 0 && prints <= balance && counts & (AS_PRINTED << 224) != 0);
            assert(refund == uint256(price) * prints && _license.owed(HOLDER, address(0)) == refund);
            assert(_license.termsOf(LICENSE_ID).minted == minted - prints);
            bool limited = counts & (LIMITED << 224) != 0;
            assert(_license.editionMinted(DESIGN_ID) == (limited ? ofDesign - prints : ofDesign));
            assert(_license.balanceOf(HOLDER, LICENSE_ID) == balance - prints);
        } catch {
            assert(_license.termsOf(LICENSE_ID).minted == minted);
        }
    }

    /// @dev At a price of one: that a price of 96 bits times 40 bits fits 256 is beyond the solver.
    function check_returnPrints_refuses_nothing_that_is_held(
        uint256 counts,
        uint40 ofDesign,
        uint40 edition,
        uint40 prints,
        uint40 balance
    ) external {
        vm.assume(counts & (TOKEN << 224) == 0 && counts & (AS_PRINTED << 224) != 0);
        _given(counts, 1, ofDesign, edition, balance);
        vm.assume(balance <= uint40(counts >> 40));
        vm.assume(prints != 0 && prints <= balance);
        vm.prank(HOLDER);
        assert(_license.returnPrints(LICENSE_ID, prints) == prints);
    }

    function check_returnPrintsFor_waits_for_the_end_and_owes_the_holder(
        uint256 counts,
        uint96 price,
        uint40 ofDesign,
        uint40 edition,
        uint40 balance,
        uint40 time
    ) external {
        vm.assume(counts & (TOKEN << 224) == 0);
        _given(counts, price, ofDesign, edition, balance);
        uint40 minted = uint40(counts >> 40);
        uint40 notAfter = uint40(counts >> 120);
        vm.assume(balance <= minted);
        vm.warp(time);
        try _license.returnPrintsFor(LICENSE_ID, HOLDER) returns (uint256 refund) {
            assert(time > notAfter && (balance == 0 || counts & (AS_PRINTED << 224) != 0));
            assert(refund == uint256(price) * balance && _license.owed(HOLDER, address(0)) == refund);
            assert(_license.termsOf(LICENSE_ID).minted == minted - balance);
            bool limited = counts & (LIMITED << 224) != 0;
            assert(_license.editionMinted(DESIGN_ID) == (limited ? ofDesign - balance : ofDesign));
            assert(_license.balanceOf(HOLDER, LICENSE_ID) == 0);
        } catch {
            assert(_license.balanceOf(HOLDER, LICENSE_ID) == balance);
        }
        address ledger = address(_license.ledger());
        try _license.returnPrintsFor(LICENSE_ID, ledger) {
            assert(false);
        } catch {
            assert(_license.owed(ledger, address(0)) == 0);
        }
    }

    /// @dev What is stored is within the bounds that `reserve` and `settle` rely on, whatever was offered with flat spares
    /// alone: divisions by 100 are beyond the solver.
    function check_offer_stores_terms_within_their_bounds(
        IPrintLicense.Terms memory terms,
        bytes memory signature,
        uint40 edition,
        uint40 time
    ) external {
        _registry.set(OWNER, edition);
        vm.warp(time);
        IPrintLedger ledger = _license.ledger();
        vm.prank(GATEWAY);
        ledger.declareGateway(bytes32(uint256(1)), false);
        (terms.gateway, terms.sparesPerHundred) = (GATEWAY, 0);
        (terms.currency, terms.transferable) = (address(0), false); // bounds nothing, and each doubles the paths
        IPrintLicense.Acceptance memory acceptance = IPrintLicense.Acceptance({
            gateway: GATEWAY,
            designId: DESIGN_ID,
            revision: 1,
            keyCommitment: 0,
            termsDigest: bytes32(uint256(1)),
            deadline: type(uint40).max
        });
        (terms.designId, terms.termsDigest) = (acceptance.designId, acceptance.termsDigest);
        vm.prank(OWNER);
        try _license.offer(terms, true, acceptance, signature) returns (uint256 licenseId) {
            IPrintLicense.License memory stored = _license.termsOf(licenseId);
            assert(stored.cap != 0 && (edition == 0 || stored.cap <= edition) && stored.minted == 0);
            assert(stored.notBefore <= stored.notAfter && time <= stored.notAfter);
            assert(stored.smallestReservation != 0 && stored.smallestReservation <= stored.cap);
            assert(stored.payout <= 1 && (stored.payout == 0 || stored.price != 0));
            assert(2 * uint256(stored.sparesFlat) <= stored.smallestReservation);
            uint256 largest = stored.cap < type(uint16).max ? stored.cap : type(uint16).max;
            assert(largest + stored.sparesFlat <= type(uint16).max);
        } catch {
            return;
        }
    }

    function check_burn_credits_the_price_of_what_was_printed(uint256 counts, uint96 price, uint16 prints) external {
        vm.assume(counts & ((TOKEN | DERIVED) << 224) == 0);
        _given(counts, price, uint40(counts >> 40), 0, 0);
        address ledger = address(_license.ledger());
        vm.store(address(_license), _balanceSlot(ledger), bytes32(uint256(prints)));
        vm.prank(ledger);
        _license.burn(LICENSE_ID, prints);
        bool asPrinted = counts & (AS_PRINTED << 224) != 0;
        assert(_license.owed(OWNER, address(0)) == (asPrinted ? uint256(price) * prints : 0));
        assert(_license.balanceOf(ledger, LICENSE_ID) == 0);
        assert(_license.termsOf(LICENSE_ID).minted == uint40(counts >> 40));
    }

    // --- inside -------------------------------------------------------------------------------------------------

    function _given(uint256 counts, uint96 price, uint40 ofDesign, uint40 edition, uint256 balance) private {
        uint40 cap = uint40(counts);
        uint40 minted = uint40(counts >> 40);
        vm.assume(cap != 0 && minted <= cap);
        if (counts & (LIMITED << 224) != 0) vm.assume(minted <= ofDesign);
        _registry.set(OWNER, edition);
        bytes32 record = keccak256(abi.encode(LICENSE_ID, RECORDS_SLOT));
        vm.store(address(_license), record, bytes32(DESIGN_ID));
        vm.store(address(_license), bytes32(uint256(record) + 2), bytes32(uint256(price) << 160));
        vm.store(address(_license), bytes32(uint256(record) + 3), bytes32(counts));
        vm.store(address(_license), keccak256(abi.encode(DESIGN_ID, EDITION_SLOT)), bytes32(uint256(ofDesign)));
        vm.store(address(_license), _balanceSlot(HOLDER), bytes32(balance));
    }

    function _requireCounted(uint256 counts, uint40 ofDesign, uint40 edition, uint40 prints) private view {
        IPrintLicense.License memory terms = _license.termsOf(LICENSE_ID);
        assert(prints != 0 && terms.cap == uint40(counts));
        assert(terms.minted == uint256(uint40(counts >> 40)) + prints && terms.minted <= terms.cap);
        uint256 next = _license.editionMinted(DESIGN_ID);
        if (counts & (LIMITED << 224) != 0) {
            assert(next == uint256(ofDesign) + prints && next <= edition);
        } else {
            assert(next == ofDesign);
        }
    }

    function _isRefused(uint256 counts, uint40 ofDesign, uint40 edition, uint40 prints, uint256 balance)
        private
        pure
        returns (bool)
    {
        if (prints == 0 || uint256(uint40(counts >> 40)) + prints > uint40(counts)) return true;
        if (counts & (LIMITED << 224) != 0 && uint256(ofDesign) + prints > edition) return true;
        return balance > type(uint256).max - prints;
    }

    function _balanceSlot(address account) private pure returns (bytes32) {
        return keccak256(abi.encode(account, keccak256(abi.encode(LICENSE_ID, BALANCES_SLOT))));
    }
}
