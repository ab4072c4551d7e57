// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Statements} from "./Statements.sol";
import {IPrintLedger} from "./interfaces/IPrintLedger.sol";
import {IPrintLicense} from "./interfaces/IPrintLicense.sol";
import {ReservationWord, ReservationWords} from "./libraries/ReservationWord.sol";
import {Signatures} from "./libraries/Signatures.sol";
import {Spares} from "./libraries/Spares.sol";
import {TypedData} from "./libraries/TypedData.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

/// @title PrintLedger
/// @dev The specification is IPrintLedger.
contract PrintLedger is IPrintLedger, EIP712, Statements {
    using TypedData for Reservation;
    using TypedData for Close;
    using TypedData for Declaration;
    using TypedData for Appointment;

    struct Gateway {
        bytes32 profileDigest;
        uint32 epoch;
        uint64 size;
    }

    /// @dev What reservations that share an escrow come to: all their prints, the fewest of one, the last expiry.
    struct Row {
        uint256 prints;
        uint16 smallest;
        uint40 latest;
        bool anyNew;
    }

    uint256 private constant STRANGERS_SETTLE_AFTER = 3 days;
    uint256 private constant RECLAIM_AFTER = 10 days;

    /// @inheritdoc IPrintLedger
    IPrintLicense public immutable license;

    /// @inheritdoc IPrintLedger
    mapping(address gateway => Gateway) public gateways;
    /// @inheritdoc IPrintLedger
    mapping(address gateway => mapping(uint32 epoch => mapping(uint64 size => bytes32))) public anchorAt;
    mapping(address gateway => mapping(address operator => bool)) private _operators;
    /// @dev Never cleared: a token id is used once.
    mapping(address gateway => mapping(uint256 licenseId => mapping(uint256 tokenId => ReservationWord))) private
        _words;

    constructor(IPrintLicense license_) EIP712("Platemark PrintLedger", "1") {
        license = license_;
    }

    // --- gateways -----------------------------------------------------------------------------------------------

    /// @inheritdoc IPrintLedger
    function declareGateway(bytes32 profileDigest, bool newEpoch) external {
        _declare(msg.sender, profileDigest, newEpoch);
    }

    /// @inheritdoc IPrintLedger
    function declareGatewayBySig(Declaration calldata declaration, bytes calldata signature) external {
        bytes32 digest = _hashTypedDataV4(declaration.hash());
        if (_isNew(declaration.gateway, declaration.nonce, declaration.deadline, digest, signature)) {
            _declare(declaration.gateway, declaration.profileDigest, declaration.newEpoch);
        }
    }

    /// @inheritdoc IPrintLedger
    function setOperator(address operator, bool allowed) external {
        _appoint(msg.sender, operator, allowed);
    }

    /// @inheritdoc IPrintLedger
    function setOperatorBySig(Appointment calldata appointment, bytes calldata signature) external {
        bytes32 digest = _hashTypedDataV4(appointment.hash());
        if (_isNew(appointment.gateway, appointment.nonce, appointment.deadline, digest, signature)) {
            _appoint(appointment.gateway, appointment.operator, appointment.allowed);
        }
    }

    /// @inheritdoc IPrintLedger
    function anchor(address gateway, uint32 epoch, uint64 size, bytes32 root, bytes32 tilesDigest) external {
        if (!isOperator(gateway, msg.sender)) revert NotOperator(gateway, msg.sender);
        bytes32 given = sha256(abi.encodePacked(root, tilesDigest));
        bytes32 known = anchorAt[gateway][epoch][size];
        if (known == given) return;
        Gateway storage declared = gateways[gateway];
        uint32 present = declared.epoch;
        if (present == 0) revert GatewayUndeclared(gateway);
        if (epoch != present) revert EpochMismatch(gateway, present, epoch);
        if (known != 0) revert AnchorForked(size, known, given);
        if (size <= declared.size) revert AnchorDecreased(declared.size, size);
        declared.size = size;
        anchorAt[gateway][epoch][size] = given;
        emit Anchored(gateway, epoch, size, root, tilesDigest);
    }

    // --- reservations -------------------------------------------------------------------------------------------

    /// @inheritdoc IPrintLedger
    function reserve(Reservation calldata reservation, bytes calldata signature) external returns (uint256 tokenId) {
        return _reserve(reservation, signature);
    }

    /// @inheritdoc IPrintLedger
    function reserveBatch(Reservation[] calldata reservations, bytes[] calldata signatures)
        external
        returns (uint256[] memory tokenIds)
    {
        uint256 count = reservations.length;
        if (count != signatures.length) revert LengthMismatch(count, signatures.length);
        tokenIds = new uint256[](count);
        bool[] memory isNew = new bool[](count);
        for (uint256 i = 0; i < count;) {
            i = _reserveRow(reservations, signatures, tokenIds, isNew, i);
        }
    }

    /// @inheritdoc IPrintLedger
    function settle(address gateway, Batch[] calldata batches) external {
        bool trusted = isOperator(gateway, msg.sender);
        for (uint256 i = 0; i < batches.length; ++i) {
            Batch calldata batch = batches[i];
            mapping(uint256 tokenId => ReservationWord) storage words = _words[gateway][batch.licenseId];
            uint256 total = 0;
            Use[] calldata uses = batch.uses;
            for (uint256 j = 0; j < uses.length; ++j) {
                Use calldata use = uses[j];
                total += _use(words, use, trusted);
            }
            if (total != 0) license.burn(batch.licenseId, total);
        }
    }

    /// @inheritdoc IPrintLedger
    function close(
        Close calldata closing,
        Reservation calldata reservation,
        bytes calldata gatewaySignature,
        bytes calldata holderSignature
    ) external {
        (uint256 tokenId, ReservationWord word) = _known(reservation);
        if (closing.tokenId != tokenId) revert TokenMismatch(tokenId, closing.tokenId);
        if (word.hasEnded()) return;
        Signatures.requireInTime(closing.deadline);
        uint32 limit = word.limit();
        if (closing.released > limit) revert ReleasedAbove(tokenId, closing.released, limit);
        limit = closing.released < word.spares() ? closing.released : word.spares();
        if (closing.voided > limit) revert VoidedAbove(tokenId, closing.voided, limit);
        bytes32 digest = _hashTypedDataV4(closing.hash());
        _requireGatewaySigned(reservation.gateway, digest, gatewaySignature);
        Signatures.requireSigned(reservation.holder, digest, holderSignature);

        // What vouchers and voids have counted stays counted.
        uint16 voided = word.voided();
        if (closing.voided > voided) voided = uint16(closing.voided);
        uint16 burned = _burned(closing.released, voided, word.prints());
        if (burned < word.burned()) burned = word.burned();
        _words[reservation.gateway][reservation.licenseId][tokenId] = word.counted(burned, voided).ended();
        uint16 returned = word.prints() - burned;
        emit Closed(tokenId, closing.released, voided, burned, returned);
        if (burned != word.burned()) license.burn(reservation.licenseId, burned - word.burned());
        if (returned != 0) license.release(reservation.licenseId, reservation.holder, returned);
    }

    /// @inheritdoc IPrintLedger
    function reclaim(Reservation calldata reservation) external {
        (uint256 tokenId, ReservationWord word) = _known(reservation);
        if (word.hasEnded()) return;
        uint256 reclaimableAt = word.expiresAt() + RECLAIM_AFTER;
        if (block.timestamp < reclaimableAt) revert TokenOpen(tokenId, reclaimableAt);
        uint16 returned = word.prints() - word.burned();
        _words[reservation.gateway][reservation.licenseId][tokenId] = word.ended();
        emit Reclaimed(tokenId, returned);
        if (returned != 0) license.release(reservation.licenseId, reservation.holder, returned);
    }

    // --- views --------------------------------------------------------------------------------------------------

    /// @inheritdoc IPrintLedger
    function reservationOf(address gateway, uint256 licenseId, uint256 tokenId)
        external
        view
        returns (ReservationState memory)
    {
        ReservationWord word = _words[gateway][licenseId][tokenId];
        return ReservationState({
            agent: word.agent(),
            expiresAt: word.expiresAt(),
            prints: word.prints(),
            burned: word.burned(),
            voided: word.voided(),
            spares: word.spares(),
            closed: !word.isNone() && word.hasEnded()
        });
    }

    /// @inheritdoc IPrintLedger
    function requireGatewaySigned(address gateway, bytes32 digest, bytes calldata signature) external view {
        if (gateways[gateway].profileDigest == 0) revert GatewayUndeclared(gateway);
        _requireGatewaySigned(gateway, digest, signature);
    }

    /// @inheritdoc IPrintLedger
    function isOperator(address gateway, address who) public view returns (bool) {
        return who == gateway || _operators[gateway][who];
    }

    /// @inheritdoc IPrintLedger
    function tokenIdOf(Reservation calldata reservation) public view returns (uint256 tokenId) {
        return uint256(_hashTypedDataV4(reservation.hash()));
    }

    // --- inside -------------------------------------------------------------------------------------------------

    function _declare(address gateway, bytes32 profileDigest, bool newEpoch) private {
        Gateway storage declared = gateways[gateway];
        uint32 epoch = declared.epoch;
        if (epoch == 0) {
            if (profileDigest == 0) revert GatewayUndeclared(gateway);
        } else if (!newEpoch && declared.profileDigest == profileDigest) {
            return;
        }
        if (epoch == 0 || newEpoch) {
            ++epoch;
            declared.epoch = epoch;
            declared.size = 0;
        }
        declared.profileDigest = profileDigest;
        emit GatewayDeclared(gateway, epoch, profileDigest);
    }

    function _appoint(address gateway, address operator, bool allowed) private {
        if (_operators[gateway][operator] == allowed) return;
        _operators[gateway][operator] = allowed;
        emit OperatorSet(gateway, operator, allowed);
    }

    function _reserve(Reservation calldata reservation, bytes calldata signature) private returns (uint256 tokenId) {
        tokenId = tokenIdOf(reservation);
        mapping(uint256 id => ReservationWord) storage words = _words[reservation.gateway][reservation.licenseId];
        if (!words[tokenId].isNone()) return tokenId;
        _requirePermitted(reservation, tokenId, signature);
        (uint16 flat, uint16 perHundred) = license.escrow(
            reservation.licenseId,
            reservation.holder,
            reservation.gateway,
            reservation.revision,
            reservation.prints,
            reservation.prints,
            reservation.expiresAt
        );
        _write(words, reservation, tokenId, flat, perHundred);
    }

    /// @dev Reserves from `start` on what stands in a row for one holder, licence, gateway and revision, with one
    /// escrow. Returns where the row ends. Words are written before their spares are known, so that a permission that
    /// stands twice in a row counts once.
    function _reserveRow(
        Reservation[] calldata reservations,
        bytes[] calldata signatures,
        uint256[] memory tokenIds,
        bool[] memory isNew,
        uint256 start
    ) private returns (uint256 end) {
        Reservation calldata first = reservations[start];
        mapping(uint256 id => ReservationWord) storage words = _words[first.gateway][first.licenseId];
        Row memory row = Row({prints: 0, smallest: type(uint16).max, latest: 0, anyNew: false});
        for (end = start; end < reservations.length; ++end) {
            Reservation calldata reservation = reservations[end];
            if (end != start && !_standsBeside(first, reservation)) break;
            uint256 tokenId = tokenIdOf(reservation);
            tokenIds[end] = tokenId;
            if (!words[tokenId].isNone()) continue;
            _requirePermitted(reservation, tokenId, signatures[end]);
            words[tokenId] = _word(reservation, 0);
            (isNew[end], row.anyNew) = (true, true);
            row.prints += reservation.prints;
            if (reservation.prints < row.smallest) row.smallest = reservation.prints;
            if (reservation.expiresAt > row.latest) row.latest = reservation.expiresAt;
        }
        if (!row.anyNew) return end;
        (uint16 flat, uint16 perHundred) = _escrowRow(first, row);
        for (uint256 i = start; i < end; ++i) {
            if (isNew[i]) _write(words, reservations[i], tokenIds[i], flat, perHundred);
        }
    }

    function _escrowRow(Reservation calldata first, Row memory row) private returns (uint16 flat, uint16 perHundred) {
        return license.escrow(
            first.licenseId, first.holder, first.gateway, first.revision, row.prints, row.smallest, row.latest
        );
    }

    function _write(
        mapping(uint256 id => ReservationWord) storage words,
        Reservation calldata reservation,
        uint256 tokenId,
        uint16 flat,
        uint16 perHundred
    ) private {
        // `offer` bounds the spares of the largest reservation, so they fit.
        uint16 spares = uint16(Spares.most(reservation.prints, flat, perHundred));
        words[tokenId] = _word(reservation, spares);
        _say(reservation, tokenId, spares);
    }

    function _say(Reservation calldata reservation, uint256 tokenId, uint16 spares) private {
        emit Reserved(
            tokenId,
            reservation.licenseId,
            reservation.holder,
            reservation.gateway,
            reservation.agent,
            reservation.revision,
            reservation.prints,
            spares,
            reservation.expiresAt,
            reservation.salt,
            reservation.deadline
        );
    }

    /// @dev Counts one use, or passes it over with an event. Returns the prints to burn.
    function _use(mapping(uint256 tokenId => ReservationWord) storage words, Use calldata use, bool trusted)
        private
        returns (uint256)
    {
        ReservationWord word = words[use.tokenId];
        (SkipReason reason, uint16 burned, uint16 voided) = _counted(word, use, trusted);
        if (reason == SkipReason.None && !_isVoucher(word.agent(), use)) reason = SkipReason.VoucherInvalid;
        if (reason != SkipReason.None) {
            emit UseSkipped(use.tokenId, reason);
            return 0;
        }
        if (word.hasEnded()) {
            emit SettledLate(use.tokenId, use.sequence);
            return 0;
        }
        words[use.tokenId] = word.counted(burned, voided);
        emit Settled(use.tokenId, use.sequence, burned, voided);
        return burned - word.burned();
    }

    /// @dev What a use would count, or why it cannot; the voucher's signature is not looked at.
    function _counted(ReservationWord word, Use calldata use, bool trusted)
        private
        view
        returns (SkipReason reason, uint16 burned, uint16 voided)
    {
        if (word.isNone()) return (SkipReason.TokenUnknown, 0, 0);
        uint256 sequence = use.sequence;
        if (sequence == 0 || sequence > word.limit()) return (SkipReason.SequenceOutOfRange, 0, 0);
        if (word.hasEnded()) return (SkipReason.None, 0, 0);
        voided = word.voided();
        if (trusted) {
            uint16 given = use.voided;
            if (given > word.spares() || given > sequence) return (SkipReason.VoidedOutOfRange, 0, 0);
            if (given > voided) voided = given;
        } else if (block.timestamp < word.expiresAt() + STRANGERS_SETTLE_AFTER) {
            return (SkipReason.TooEarly, 0, 0);
        }
        burned = _burned(sequence, voided, word.prints());
        if (burned < word.burned()) burned = word.burned();
        if (burned == word.burned() && voided == word.voided()) reason = SkipReason.Stale;
    }

    function _isVoucher(address agent, Use calldata use) private view returns (bool) {
        bytes32 digest = _hashTypedDataV4(TypedData.hashRedemption(use.tokenId, use.sequence, use.requestDigest));
        (address signer, ECDSA.RecoverError problem,) = ECDSA.tryRecover(digest, use.r, use.vs);
        return problem == ECDSA.RecoverError.NoError && signer == agent;
    }

    /// @dev By the account, by an operator with a key, or by the account's ERC-1271.
    function _requireGatewaySigned(address gateway, bytes32 digest, bytes calldata signature) private view {
        address signer = Signatures.recovered(digest, signature);
        if (signer != address(0) && isOperator(gateway, signer)) return;
        if (!Signatures.acceptedBy(gateway, digest, signature)) revert SignatureInvalid(gateway);
    }

    /// @dev The permission is one that can be reserved now, and the holder's.
    function _requirePermitted(Reservation calldata reservation, uint256 tokenId, bytes calldata signature)
        private
        view
    {
        uint40 expiresAt = reservation.expiresAt;
        if (reservation.agent == address(0)) revert AgentZero();
        if (expiresAt <= block.timestamp || expiresAt > type(uint32).max) revert ExpiryInvalid(expiresAt);
        Signatures.requireInTime(reservation.deadline);
        Signatures.requireSigned(reservation.holder, bytes32(tokenId), signature);
    }

    function _known(Reservation calldata reservation) private view returns (uint256 tokenId, ReservationWord word) {
        tokenId = tokenIdOf(reservation);
        word = _words[reservation.gateway][reservation.licenseId][tokenId];
        if (word.isNone()) revert TokenUnknown(tokenId);
    }

    function _standsBeside(Reservation calldata one, Reservation calldata other) private pure returns (bool) {
        return one.licenseId == other.licenseId && one.holder == other.holder && one.gateway == other.gateway
            && one.revision == other.revision;
    }

    function _word(Reservation calldata reservation, uint16 spares) private pure returns (ReservationWord) {
        // `_requirePermitted` has checked that the expiry fits.
        // forge-lint: disable-next-line(unsafe-typecast)
        return ReservationWords.made(reservation.agent, uint32(reservation.expiresAt), reservation.prints, spares);
    }

    /// @dev min(sequence − voided, prints), and nothing while all are voided.
    function _burned(uint256 sequence, uint256 voided, uint256 prints) private pure returns (uint16) {
        uint256 used = sequence > voided ? sequence - voided : 0;
        return uint16(used < prints ? used : prints);
    }
}
