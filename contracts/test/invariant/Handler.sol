// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IDesignRegistry} from "../../src/interfaces/IDesignRegistry.sol";
import {IPrintLedger} from "../../src/interfaces/IPrintLedger.sol";
import {IPrintLicense} from "../../src/interfaces/IPrintLicense.sol";
import {BaseTest} from "../utils/BaseTest.sol";
import {Token} from "../utils/Tokens.sol";

/// @title A world in which anything is tried in any order
/// @dev Three designs: one with an edition, a parent, and its child. Four licences: for coins and for a token, paid at
/// purchase and as printed. Two holders, three payees, two gateways that licences move between, time that passes. Each
/// act is one that somebody could send; where the contracts refuse, the act asserts that they had to, and where they
/// accept, that they had to. `model…` is what a reader of the rules expects; the invariants compare it with the
/// contracts.
contract Handler is BaseTest {
    struct Reserved {
        IPrintLedger.Reservation permission;
        uint256 id;
        uint256 which;
        uint256 agentKey;
        uint16 highestVoucher;
        uint16 burned;
        uint16 voided;
        uint16 spares;
        bool ended;
        bool agreed;
    }

    uint256 public constant LICENSES = 4;
    uint256 public constant PRICE = 1_000_003;
    uint40 public constant CAP = 50;
    uint16 private constant PARENTS_SHARE = 2501;
    uint256 private constant PARENT_KEY = 0xD1;

    /// @dev 0 has an edition, 1 is the child of 2.
    uint256[3] public designs;
    /// @dev 0 and 1 of design 0 for coins, 2 and 3 of design 1 for the token; 1 and 3 are paid as printed.
    uint256[4] public licenses;
    Token public money;
    uint256[2] private _holderKeys = [HOLDER_KEY, STRANGER_KEY];
    uint256[2] private _gatewayKeys = [GATEWAY_KEY, OPERATOR_KEY];

    Reserved[] private _tokens;
    uint40 public modelEdition = 60;
    /// @dev By licence; falls by returns only.
    uint256[4] public modelMinted;
    uint256[4] public modelBurned;
    uint256[4] public modelReturned;
    uint256[4] private _servedBy;
    mapping(uint256 which => mapping(address account => uint256)) public modelHeld;
    mapping(address currency => uint256) public moneyIn;
    mapping(address currency => uint256) public moneyOut;
    mapping(address payee => mapping(address currency => uint256)) public modelOwed;
    mapping(uint256 nonce => bytes32) private _statements;
    uint64 public modelHead;
    uint32 public modelEpoch = 1;
    mapping(uint32 epoch => mapping(uint64 size => bytes32)) private _roots;

    constructor() {
        setUp();
        money = new Token();
        vm.prank(operator);
        ledger.declareGateway(PROFILE, false);
        IDesignRegistry.Registration memory registration = aRegistration();
        registration.edition = modelEdition;
        designs[0] = registered(registration);
        (registration.edition, registration.derivativeShare) = (0, PARENTS_SHARE);
        registration.registrant = vm.addr(PARENT_KEY);
        designs[2] = registered(registration);
        (registration.parentId, registration.registrant) = (designs[2], designer);
        designs[1] = registered(registration);
        for (uint256 i = 0; i < LICENSES; ++i) {
            IPrintLicense.Terms memory terms = someTermsSalted(designs[i / 2], bytes32(i));
            (terms.cap, terms.price, terms.payout) = (CAP, uint96(PRICE), uint8(i % 2));
            terms.currency = currencyOf(i);
            terms.transferable = i != 0;
            terms.notAfter = endOf(i);
            licenses[i] = offered(terms, true);
        }
        for (uint256 i = 0; i < 2; ++i) {
            vm.deal(people(i), 1 ether);
            money.make(people(i), 1 ether);
            vm.prank(people(i));
            money.approve(address(license), type(uint256).max);
        }
    }

    function tokenCount() external view returns (uint256) {
        return _tokens.length;
    }

    function token(uint256 index) external view returns (Reserved memory) {
        return _tokens[index];
    }

    function world() external view returns (IPrintLicense, IPrintLedger, IDesignRegistry) {
        return (license, ledger, registry);
    }

    function people(uint256 index) public view returns (address) {
        return vm.addr(_holderKeys[index]);
    }

    /// @dev Everybody to whom money can be owed.
    function payees(uint256 index) public view returns (address) {
        return index < 2 ? people(index) : index == 2 ? designer : vm.addr(PARENT_KEY);
    }

    function currencyOf(uint256 which) public view returns (address) {
        return which < 2 ? address(0) : address(money);
    }

    /// @dev The first that is paid as printed ends soon.
    function endOf(uint256 which) public pure returns (uint40) {
        return which == 1 ? START + 8 days : type(uint32).max;
    }

    function gatewayAccount() external view returns (address) {
        return gateway;
    }

    // --- acts ---------------------------------------------------------------------------------------------------

    function mint(uint256 which, uint256 who, uint40 prints) external {
        which %= LICENSES;
        prints = uint40(bound(prints, 1, 20));
        bool right = which % 2 == 0 && _fits(which, prints);
        vm.prank(registry.ownerOf(designs[which / 2]));
        try license.mint(licenses[which], people(who % 2), prints) {
            vm.assertTrue(right);
            _minted(which, people(who % 2), prints);
        } catch {
            vm.assertFalse(right);
        }
    }

    /// @dev Few numbers, so that they meet again: the same statement is known, another one is refused.
    function mintBySig(uint256 which, uint256 who, uint40 prints, uint256 nonce) external {
        which = which % 2 * 2;
        IPrintLicense.Mint memory minting = aMint(licenses[which], uint40(bound(prints, 1, 3)));
        (minting.to, minting.nonce, minting.deadline) = (people(who % 2), nonce % 6, type(uint40).max);
        bytes32 statement = keccak256(abi.encode(minting));
        bytes32 known = _statements[minting.nonce];
        bool owns = registry.ownerOf(designs[which / 2]) == designer;
        bool right = known == statement || (known == 0 && owns && _fits(which, minting.prints));
        try license.mintBySig(minting, signedBy(DESIGNER_KEY, minting)) {
            vm.assertTrue(right);
            if (known != 0) return;
            _statements[minting.nonce] = statement;
            _minted(which, minting.to, minting.prints);
        } catch {
            vm.assertFalse(right);
        }
    }

    function purchase(uint256 which, uint256 who, uint256 buyer, uint40 prints) external {
        which %= LICENSES;
        prints = uint40(bound(prints, 1, 20));
        uint256 price = prints * PRICE;
        bool right = _fits(which, prints) && block.timestamp <= endOf(which);
        vm.prank(people(buyer % 2));
        try license.purchase{value: which < 2 ? price : 0}(licenses[which], people(who % 2), prints) {
            vm.assertTrue(right);
            _minted(which, people(who % 2), prints);
            moneyIn[currencyOf(which)] += price;
            if (which % 2 == 0) _owe(which, price);
        } catch {
            vm.assertFalse(right);
        }
    }

    function returnPrints(uint256 which, uint256 who, uint40 prints) external {
        which %= LICENSES;
        address account = people(who % 2);
        uint256 held = modelHeld[which][account];
        prints = uint40(bound(prints, 1, held + 1));
        bool right = which % 2 == 1 && prints <= held;
        vm.prank(account);
        try license.returnPrints(licenses[which], prints) returns (uint256 refund) {
            vm.assertTrue(right);
            vm.assertEq(refund, prints * PRICE);
            _returned(which, account, prints);
        } catch {
            vm.assertFalse(right);
        }
    }

    /// @dev Anybody returns the prints of a holder, or what is in escrow.
    function returnPrintsFor(uint256 which, uint256 who) external {
        which %= LICENSES;
        address account = who % 3 == 2 ? address(ledger) : people(who % 3);
        bool right = block.timestamp > endOf(which) && account != address(ledger);
        vm.prank(operator);
        try license.returnPrintsFor(licenses[which], account) returns (uint256 refund) {
            vm.assertTrue(right);
            vm.assertEq(refund, modelHeld[which][account] * PRICE);
            _returned(which, account, modelHeld[which][account]);
        } catch {
            vm.assertFalse(right);
        }
    }

    function withdraw(uint256 who, bool coins) external {
        address payee = payees(who % 4);
        address currency = coins ? address(0) : address(money);
        uint256 before = coins ? payee.balance : money.balanceOf(payee);
        uint256 amount = license.withdrawFor(payee, currency);
        vm.assertEq(amount, modelOwed[payee][currency]);
        vm.assertEq((coins ? payee.balance : money.balanceOf(payee)) - before, amount);
        modelOwed[payee][currency] = 0;
        moneyOut[currency] += amount;
    }

    function transfer(uint256 which, uint256 who, uint256 prints) external {
        which %= LICENSES;
        (address from, address to) = (people(who % 2), people((who % 2 + 1) % 2));
        prints = bound(prints, 0, modelHeld[which][from]);
        vm.prank(from);
        try license.safeTransferFrom(from, to, licenses[which], prints, "") {
            vm.assertTrue(which != 0);
            modelHeld[which][from] -= prints;
            modelHeld[which][to] += prints;
        } catch {
            vm.assertTrue(which == 0);
        }
    }

    /// @dev Somebody tries what is not his; nothing of it may count.
    function intrude(uint256 which, uint256 what, uint40 prints) external {
        which %= LICENSES;
        address victim = people(0);
        address thief = people(1);
        bytes[6] memory calls = [
            abi.encodeCall(IPrintLicense.mint, (licenses[which], thief, 1)),
            abi.encodeCall(IPrintLicense.release, (licenses[which], thief, 1)),
            abi.encodeCall(IPrintLicense.burn, (licenses[which], 1)),
            abi.encodeCall(IPrintLicense.setSale, (licenses[which], false)),
            abi.encodeCall(IPrintLicense.returnPrintsBySig, (aReturn(licenses[which], prints), "")),
            abi.encodeWithSignature(
                "safeTransferFrom(address,address,uint256,uint256,bytes)", victim, thief, licenses[which], prints, ""
            )
        ];
        vm.prank(thief);
        // solhint-disable-next-line avoid-low-level-calls
        (bool accepted,) = address(license).call(calls[what % 6]);
        vm.assertFalse(accepted);
    }

    function lowerEdition(uint40 edition) external {
        edition = uint40(bound(edition, 20, 70));
        bool right = edition <= modelEdition;
        vm.prank(registry.ownerOf(designs[0]));
        try registry.lowerEdition(anEditionLimit(designs[0], edition)) {
            vm.assertTrue(right);
            modelEdition = edition;
        } catch {
            vm.assertFalse(right);
        }
    }

    /// @dev Designs change hands; what was owed before stays with whom it was owed to.
    function sellDesign(uint256 index) external {
        index %= 3;
        address owner = registry.ownerOf(designs[index]);
        vm.prank(owner);
        registry.transferFrom(owner, owner == designer ? vm.addr(PARENT_KEY) : designer, designs[index]);
    }

    function moveLicense(uint256 which) external {
        which %= LICENSES;
        uint256 next = 1 - _servedBy[which];
        uint256 designId = designs[which / 2];
        IPrintLicense.Acceptance memory acceptance = anAcceptanceBy(vm.addr(_gatewayKeys[next]), designId, 1);
        bytes memory accepted = signedBy(_gatewayKeys[next], acceptance);
        vm.prank(registry.ownerOf(designId));
        license.setGateway(licenses[which], vm.addr(_gatewayKeys[next]), acceptance, accepted);
        _servedBy[which] = next;
    }

    function reserve(uint256 which, uint256 who, uint16 prints, uint40 lasts) external {
        which %= LICENSES;
        if (_tokens.length >= 24 || block.timestamp + 1 hours > endOf(which)) return;
        address account = people(who % 2);
        uint256 held = modelHeld[which][account];
        if (held < 5) return;
        IPrintLedger.Reservation memory permission =
            _permission(which, who % 2, uint16(bound(prints, 5, held)), lasts, _tokens.length);
        uint256 id = ledger.reserve(permission, signedBy(_holderKeys[who % 2], permission));
        _reserved(which, permission, id);
    }

    /// @dev A row of two and a repeat between them.
    function reserveBatch(uint256 which, uint256 who, uint40 lasts) external {
        which %= LICENSES;
        if (_tokens.length >= 23 || block.timestamp + 1 hours > endOf(which)) return;
        if (modelHeld[which][people(who % 2)] < 11) return;
        IPrintLedger.Reservation[] memory permissions = new IPrintLedger.Reservation[](3);
        bytes[] memory signatures = new bytes[](3);
        permissions[0] = _permission(which, who % 2, 5, lasts, _tokens.length);
        permissions[1] = permissions[0];
        permissions[2] = _permission(which, who % 2, 6, lasts / 2, _tokens.length + 1);
        for (uint256 i = 0; i < 3; ++i) {
            signatures[i] = signedBy(_holderKeys[who % 2], permissions[i]);
        }
        uint256[] memory ids = ledger.reserveBatch(permissions, signatures);
        vm.assertEq(ids[0], ids[1]);
        _reserved(which, permissions[0], ids[0]);
        _reserved(which, permissions[2], ids[2]);
    }

    /// @dev A permission that was used already, brought again by anybody.
    function reserveAgain(uint256 index) external {
        if (_tokens.length == 0) return;
        Reserved storage known = _tokens[index % _tokens.length];
        vm.assertEq(ledger.reserve(known.permission, ""), known.id);
    }

    /// @dev A true voucher, sent by the token's gateway, the other gateway or a stranger, with voids that may be true
    /// or not.
    function settle(uint256 index, uint32 sequence, uint16 voided, uint256 sender) external {
        if (_tokens.length == 0) return;
        Reserved storage known = _tokens[index % _tokens.length];
        uint16 limit = known.permission.prints + known.spares;
        sequence = uint32(bound(sequence, 0, uint256(limit) + 2));
        voided = uint16(bound(voided, 0, uint256(known.spares) + 2));
        bool byGateway = sender % 3 == 0;
        address other = known.permission.gateway == gateway ? operator : gateway;
        IPrintLedger.Batch[] memory batches = _batch(known, aUseBy(known.agentKey, known.id, sequence, voided));
        vm.prank(byGateway ? known.permission.gateway : sender % 3 == 1 ? other : stranger);
        ledger.settle(known.permission.gateway, batches);
        if (known.ended || sequence == 0 || sequence > limit) return;
        if (byGateway) {
            if (voided > known.spares || voided > sequence) return;
            if (voided > known.voided) known.voided = voided;
        } else if (block.timestamp < uint256(known.permission.expiresAt) + 3 days) {
            return;
        }
        if (sequence > known.highestVoucher) known.highestVoucher = uint16(sequence);
        _burn(known, sequence);
    }

    /// @dev What a gateway claims without the agent, and what it claims of a token that another gateway serves.
    function forge(uint256 index, uint32 sequence, uint16 voided, bool misplaced) external {
        if (_tokens.length == 0) return;
        Reserved storage known = _tokens[index % _tokens.length];
        uint256 key = misplaced ? known.agentKey : GATEWAY_KEY;
        address claimant = known.permission.gateway;
        if (misplaced) claimant = claimant == gateway ? operator : gateway;
        IPrintLedger.Batch[] memory batches = _batch(known, aUseBy(key, known.id, sequence, voided));
        vm.prank(claimant);
        ledger.settle(claimant, batches);
    }

    function close(uint256 index, uint32 released, uint32 voided) external {
        if (_tokens.length == 0) return;
        Reserved storage known = _tokens[index % _tokens.length];
        released = uint32(bound(released, 0, known.permission.prints + known.spares));
        voided = uint32(bound(voided, 0, released < known.spares ? released : known.spares));
        IPrintLedger.Close memory closing = IPrintLedger.Close({
            tokenId: known.id, released: released, voided: voided, deadline: uint40(block.timestamp)
        });
        uint256 holderKey = known.permission.holder == people(0) ? _holderKeys[0] : _holderKeys[1];
        uint256 gatewayKey = known.permission.gateway == gateway ? GATEWAY_KEY : OPERATOR_KEY;
        bytes memory gatewaySignature = signedBy(gatewayKey, closing);
        ledger.close(closing, known.permission, gatewaySignature, signedBy(holderKey, closing));
        if (known.ended) return;
        if (voided > known.voided) known.voided = uint16(voided);
        known.agreed = true;
        _burn(known, released);
        _end(known);
    }

    function reclaim(uint256 index) external {
        if (_tokens.length == 0) return;
        Reserved storage known = _tokens[index % _tokens.length];
        bool due = known.ended || block.timestamp >= uint256(known.permission.expiresAt) + 10 days;
        try ledger.reclaim(known.permission) {
            vm.assertTrue(due);
            if (!known.ended) _end(known);
        } catch {
            vm.assertFalse(due);
        }
    }

    /// @dev In the present epoch, in the one before or in the next; few roots, so that the same one comes again.
    function anchor(uint64 size, bytes32 root, uint32 epoch) external {
        size = uint64(bound(size, 0, uint256(modelHead) + 5));
        (root, epoch) = (bytes32(uint256(root) % 3), modelEpoch - 1 + epoch % 3);
        bool grows = epoch == modelEpoch && size > modelHead;
        bool same = _roots[epoch][size] == keccak256(abi.encode(root));
        vm.prank(gateway);
        try ledger.anchor(gateway, epoch, size, root, 0) {
            vm.assertTrue(grows || same);
            if (!grows) return;
            modelHead = size;
            _roots[epoch][size] = keccak256(abi.encode(root));
        } catch {
            vm.assertFalse(grows || same);
        }
    }

    function newEpoch() external {
        vm.prank(gateway);
        ledger.declareGateway(PROFILE, true);
        (modelEpoch, modelHead) = (modelEpoch + 1, 0);
    }

    function wait_(uint40 seconds_) external {
        vm.warp(block.timestamp + bound(seconds_, 1 minutes, 5 days));
    }

    // --- the rules ----------------------------------------------------------------------------------------------

    function _fits(uint256 which, uint256 prints) private view returns (bool) {
        if (modelMinted[which] + prints > CAP) return false;
        return which > 1 || modelMinted[0] + modelMinted[1] + prints <= modelEdition;
    }

    function _minted(uint256 which, address to, uint256 prints) private {
        modelMinted[which] += prints;
        modelHeld[which][to] += prints;
    }

    function _returned(uint256 which, address holder_, uint256 prints) private {
        modelHeld[which][holder_] -= prints;
        modelMinted[which] -= prints;
        modelReturned[which] += prints;
        modelOwed[holder_][currencyOf(which)] += prints * PRICE;
    }

    /// @dev To the design's owner, and of the child's sales a share to the parent's.
    function _owe(uint256 which, uint256 amount) private {
        uint256 share = which < 2 ? 0 : amount * PARENTS_SHARE / 10_000;
        modelOwed[registry.ownerOf(designs[which / 2])][currencyOf(which)] += amount - share;
        modelOwed[registry.ownerOf(designs[2])][currencyOf(which)] += share;
    }

    function _permission(uint256 which, uint256 who, uint16 prints, uint40 lasts, uint256 number)
        private
        view
        returns (IPrintLedger.Reservation memory permission)
    {
        permission = aReservation(licenses[which], prints);
        permission.gateway = vm.addr(_gatewayKeys[_servedBy[which]]);
        permission.holder = people(who);
        permission.agent = vm.addr(0xB000 + number);
        permission.salt = bytes32(number);
        permission.expiresAt = uint40(block.timestamp) + uint40(bound(lasts, 1 hours, 30 days));
        if (permission.expiresAt > endOf(which)) permission.expiresAt = endOf(which);
    }

    function _reserved(uint256 which, IPrintLedger.Reservation memory permission, uint256 id) private {
        modelHeld[which][permission.holder] -= permission.prints;
        Reserved storage made = _tokens.push();
        made.permission = permission;
        made.id = id;
        made.which = which;
        made.agentKey = 0xB000 + _tokens.length - 1;
        made.spares = 1 + permission.prints / 5;
    }

    function _batch(Reserved storage known, IPrintLedger.Use memory use)
        private
        view
        returns (IPrintLedger.Batch[] memory batches)
    {
        batches = new IPrintLedger.Batch[](1);
        batches[0].licenseId = known.permission.licenseId;
        batches[0].uses = new IPrintLedger.Use[](1);
        batches[0].uses[0] = use;
    }

    function _burn(Reserved storage known, uint256 sequence) private {
        uint256 used = sequence > known.voided ? sequence - known.voided : 0;
        if (used > known.permission.prints) used = known.permission.prints;
        if (used <= known.burned) return;
        uint256 prints = used - known.burned;
        modelBurned[known.which] += prints;
        known.burned = uint16(used);
        if (known.which % 2 == 1) _owe(known.which, prints * PRICE);
    }

    function _end(Reserved storage known) private {
        known.ended = true;
        modelHeld[known.which][known.permission.holder] += known.permission.prints - known.burned;
    }
}
