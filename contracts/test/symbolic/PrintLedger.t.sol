// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {PrintLedger} from "../../src/PrintLedger.sol";
import {IPrintLedger} from "../../src/interfaces/IPrintLedger.sol";
import {IPrintLicense} from "../../src/interfaces/IPrintLicense.sol";
import {ReservationWord} from "../../src/libraries/ReservationWord.sol";
import {TypedData} from "../../src/libraries/TypedData.sol";
import {vm} from "./Cheats.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @dev What the ledger tells the licence contract to do.
contract LicenseStub {
    uint256 public burned;
    uint256 public released;

    function burn(uint256, uint256 prints) external {
        burned += prints;
    }

    function release(uint256, address, uint256 prints) external {
        released += prints;
    }
}

/// @title The ledger itself, from every state of a token's word, with every use and whatever ecrecover answers
/// @dev A sound word is one that `reserve` and these same acts leave: an agent, or nothing at all; burned at most
/// prints, voided at most spares, prints and spares at most 65,535. The proofs show that every act keeps words sound.
contract PrintLedgerProof {
    uint256 private constant WORDS_SLOT = 6;
    uint256 private constant LICENSE_ID = 7;
    uint256 private constant TOKEN_ID = 8;
    address private constant GATEWAY = address(0x6A7E);
    address private constant HOLDER = address(0x401DE4);

    LicenseStub private _license;
    PrintLedger private _ledger;

    function setUp() public {
        _license = new LicenseStub();
        _ledger = new PrintLedger(IPrintLicense(address(_license)));
    }

    function check_settle_by_the_gateway_counts_upwards_and_within_bounds(
        ReservationWord word,
        IPrintLedger.Use calldata use,
        uint40 time
    ) external {
        _settle(word, use, GATEWAY, time);
        ReservationWord next = _word();
        if (ReservationWord.unwrap(next) != ReservationWord.unwrap(word)) {
            // Counted: exactly the rule of the protocol.
            assert(use.sequence != 0 && use.sequence <= word.limit() && use.voided <= word.spares());
            assert(next.voided() == (use.voided > word.voided() ? use.voided : word.voided()));
            _requireRule(word, next, use.sequence);
        }
    }

    function check_settle_by_a_stranger_voids_nothing_and_waits(
        ReservationWord word,
        IPrintLedger.Use calldata use,
        address stranger,
        uint40 time
    ) external {
        vm.assume(stranger != GATEWAY && stranger != address(vm) && stranger != address(this));
        _settle(word, use, stranger, time);
        ReservationWord next = _word();
        if (ReservationWord.unwrap(next) != ReservationWord.unwrap(word)) {
            assert(time >= uint256(word.expiresAt()) + 3 days);
            assert(next.voided() == word.voided());
            _requireRule(word, next, use.sequence);
        }
    }

    function check_the_same_use_again_changes_nothing(
        ReservationWord word,
        IPrintLedger.Use calldata use,
        uint40 time,
        uint40 later
    ) external {
        vm.assume(later >= time);
        _settle(word, use, GATEWAY, time);
        ReservationWord once = _word();
        uint256 burned = _license.burned();
        _send(use, GATEWAY, later);
        assert(ReservationWord.unwrap(_word()) == ReservationWord.unwrap(once));
        assert(_license.burned() == burned);
    }

    function check_an_ended_token_is_never_counted(ReservationWord word, IPrintLedger.Use calldata use, uint40 time)
        external
    {
        vm.assume(word.hasEnded());
        _settle(word, use, GATEWAY, time);
        assert(ReservationWord.unwrap(_word()) == ReservationWord.unwrap(word));
        assert(_license.burned() == 0);
    }

    function check_reclaim_returns_what_is_not_burned_once(ReservationWord word, uint16 prints, uint40 time) external {
        IPrintLedger.Reservation memory reservation = _reservation(prints);
        uint256 tokenId = _ledger.tokenIdOf(reservation);
        _requireSound(word);
        vm.store(address(_ledger), _slot(tokenId), bytes32(ReservationWord.unwrap(word)));
        vm.warp(time);
        try _ledger.reclaim(reservation) {
            IPrintLedger.ReservationState memory state = _ledger.reservationOf(GATEWAY, LICENSE_ID, tokenId);
            assert(state.closed && state.burned == word.burned() && state.voided == word.voided());
            if (word.hasEnded()) {
                assert(_license.released() == 0);
            } else {
                assert(time >= uint256(word.expiresAt()) + 10 days);
                assert(_license.released() == word.prints() - word.burned());
            }
            assert(_license.burned() == 0);
            uint256 released = _license.released();
            _ledger.reclaim(reservation);
            assert(_license.released() == released);
        } catch {
            assert(word.isNone() || (!word.hasEnded() && time < uint256(word.expiresAt()) + 10 days));
        }
    }

    /// @dev Prints are burned, returned or were burned before; what neither signed, or nobody, is refused.
    function check_close_counts_what_both_signed_and_returns_the_rest(
        ReservationWord word,
        IPrintLedger.Close calldata closing,
        bytes calldata gatewaySignature,
        bytes calldata holderSignature,
        uint40 time
    ) external {
        IPrintLedger.Reservation memory reservation = _reservation(0);
        uint256 tokenId = _ledger.tokenIdOf(reservation);
        _requireSound(word);
        vm.store(address(_ledger), _slot(tokenId), bytes32(ReservationWord.unwrap(word)));
        vm.warp(time);
        bool right = _isAgreed(word, closing, gatewaySignature, holderSignature, time);
        try _ledger.close(closing, reservation, gatewaySignature, holderSignature) {
            assert(!word.isNone() && closing.tokenId == tokenId);
            ReservationWord next = _wordOf(tokenId);
            if (word.hasEnded()) {
                assert(ReservationWord.unwrap(next) == ReservationWord.unwrap(word));
                assert(_license.burned() == 0 && _license.released() == 0);
            } else {
                assert(right);
                assert(next.hasEnded() && next.agent() == word.agent());
                assert(next.prints() == word.prints() && next.spares() == word.spares());
                assert(next.voided() == (closing.voided > word.voided() ? closing.voided : word.voided()));
                assert(next.voided() <= word.spares() && next.burned() <= word.prints());
                _requireRule(word, next, closing.released);
                assert(_license.burned() == next.burned() - word.burned());
                assert(word.burned() + _license.burned() + _license.released() == word.prints());
            }
        } catch {
            assert(word.isNone() || closing.tokenId != tokenId || (!word.hasEnded() && !right));
        }
    }

    // --- inside -------------------------------------------------------------------------------------------------

    function _settle(ReservationWord word, IPrintLedger.Use calldata use, address sender, uint40 time) private {
        _requireSound(word);
        vm.store(address(_ledger), _slot(TOKEN_ID), bytes32(ReservationWord.unwrap(word)));
        _send(use, sender, time);

        ReservationWord next = _word();
        assert(next.burned() >= word.burned() && next.burned() <= word.prints());
        assert(next.voided() >= word.voided() && next.voided() <= word.spares());
        assert(next.agent() == word.agent() && next.expiresAt() == word.expiresAt());
        assert(next.prints() == word.prints() && next.spares() == word.spares());
        assert(_license.burned() == next.burned() - word.burned());
        assert(_license.released() == 0);
    }

    function _send(IPrintLedger.Use calldata use, address sender, uint40 time) private {
        IPrintLedger.Batch[] memory batches = new IPrintLedger.Batch[](1);
        batches[0] = IPrintLedger.Batch({licenseId: LICENSE_ID, uses: new IPrintLedger.Use[](1)});
        batches[0].uses[0] = use;
        batches[0].uses[0].tokenId = TOKEN_ID;
        vm.warp(time);
        vm.prank(sender);
        try _ledger.settle(GATEWAY, batches) {
            return;
        } catch {
            // Whatever the use, it is passed over: it spoils no batch.
            assert(false);
        }
    }

    function _requireSound(ReservationWord word) private pure {
        vm.assume(word.agent() != address(0) || word.isNone());
        vm.assume(word.burned() <= word.prints() && word.voided() <= word.spares());
        vm.assume(word.limit() <= type(uint16).max);
    }

    /// @dev burned = max(what it was, min(max(sequence − voided, 0), prints)).
    function _requireRule(ReservationWord word, ReservationWord next, uint256 sequence) private pure {
        uint256 used = sequence > next.voided() ? sequence - next.voided() : 0;
        if (used > word.prints()) used = word.prints();
        assert(next.burned() == (used > word.burned() ? used : word.burned()));
    }

    /// @dev What the specification asks of a closing of a token that has not ended.
    function _isAgreed(
        ReservationWord word,
        IPrintLedger.Close calldata closing,
        bytes calldata gatewaySignature,
        bytes calldata holderSignature,
        uint40 time
    ) private view returns (bool) {
        if (time > closing.deadline || closing.released > word.limit()) return false;
        if (closing.voided > word.spares() || closing.voided > closing.released) return false;
        bytes32 separator = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Platemark PrintLedger"),
                keccak256("1"),
                block.chainid,
                address(_ledger)
            )
        );
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", separator, TypedData.hash(closing)));
        return _signer(digest, gatewaySignature) == GATEWAY && _signer(digest, holderSignature) == HOLDER;
    }

    function _signer(bytes32 digest, bytes calldata signature) private pure returns (address signer) {
        (signer,,) = ECDSA.tryRecoverCalldata(digest, signature);
    }

    function _reservation(uint16 prints) private pure returns (IPrintLedger.Reservation memory) {
        return IPrintLedger.Reservation({
            holder: HOLDER,
            gateway: GATEWAY,
            agent: address(1),
            licenseId: LICENSE_ID,
            revision: 1,
            prints: prints,
            expiresAt: 0,
            deadline: 0,
            salt: 0
        });
    }

    function _slot(uint256 tokenId) private pure returns (bytes32) {
        bytes32 ofGateway = keccak256(abi.encode(GATEWAY, WORDS_SLOT));
        return keccak256(abi.encode(tokenId, keccak256(abi.encode(LICENSE_ID, ofGateway))));
    }

    function _word() private view returns (ReservationWord) {
        return _wordOf(TOKEN_ID);
    }

    function _wordOf(uint256 tokenId) private view returns (ReservationWord) {
        IPrintLedger.ReservationState memory state = _ledger.reservationOf(GATEWAY, LICENSE_ID, tokenId);
        return ReservationWord.wrap(
            uint160(state.agent) | (uint256(uint40(state.expiresAt)) << 160) | (uint256(state.prints) << 192)
                | (uint256(state.burned) << 208) | (uint256(state.voided) << 224) | (uint256(state.spares) << 240)
        );
    }
}
