// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IPrintLicense} from "./IPrintLicense.sol";
import {IStatements} from "./IStatements.sol";
import {IERC5267} from "@openzeppelin/contracts/interfaces/IERC5267.sol";

/// @title What was printed
/// @notice Escrow, settlement, the anchors of the gateways' print logs and what gateways declare of themselves.
///
/// A holder's signed permission is reserved once and its EIP-712 digest is the print token's id. The agent it names
/// signs a cumulative voucher with each request ("at least `sequence` prints were requested"), so nobody alone, not
/// even the gateway, can raise a count without one; gateway and holder together can by closing. Counts only grow; prints that were reserved and not counted return to
/// their holder when gateway and holder agree, or ten days after expiry.
///
/// Nobody owns the contract.
///
/// Assumptions. Safety: the licence contract is the one that made this ledger; ecrecover and sha256 are as on
/// Ethereum; an agent is an account with a key (vouchers know no ERC-1271); block timestamps do not run ahead of the
/// world by more than minutes. Liveness: ERC-1271 wallets of holders and gateways answer. No receiver is ever called.
interface IPrintLedger is IStatements, IERC5267 {
    /// @notice A holder's permission.
    /// @param agent The key that may request prints; fresh for each permission.
    /// @param revision The revision that the licence's gateway accepted.
    /// @param expiresAt No requests after this (Unix seconds, below 2^32).
    /// @param deadline The permission is to be reserved until then.
    struct Reservation {
        address holder;
        address gateway;
        address agent;
        uint256 licenseId;
        uint16 revision;
        uint16 prints;
        uint40 expiresAt;
        uint40 deadline;
        bytes32 salt;
    }

    /// @notice A gateway declares itself, as `declareGateway`. `nonce` as in IStatements.
    struct Declaration {
        address gateway;
        bytes32 profileDigest;
        bool newEpoch;
        uint256 nonce;
        uint40 deadline;
    }

    /// @notice A gateway lets an account act for it, or no more.
    struct Appointment {
        address gateway;
        address operator;
        bool allowed;
        uint256 nonce;
        uint40 deadline;
    }

    /// @notice Gateway and holder agree on the final counts of a token.
    struct Close {
        uint256 tokenId;
        uint32 released;
        uint32 voided;
        uint40 deadline;
    }

    /// @notice One token's totals: the agent's highest voucher, its signature as in EIP-2098, and the outcomes that
    /// gave their print back. Totals are cumulative.
    struct Use {
        uint256 tokenId;
        uint32 sequence;
        uint16 voided;
        bytes32 requestDigest;
        bytes32 r;
        bytes32 vs;
    }

    /// @notice The uses of one licence.
    struct Batch {
        uint256 licenseId;
        Use[] uses;
    }

    /// @notice What the chain's state knows of a reservation; `agent` is zero when there is none.
    /// @param expiresAt Zero once closed or reclaimed.
    struct ReservationState {
        address agent;
        uint40 expiresAt;
        uint16 prints;
        uint16 burned;
        uint16 voided;
        uint16 spares;
        bool closed;
    }

    /// @notice Why `settle` passed a use over.
    enum SkipReason {
        None,
        /// No such reservation under this gateway and licence.
        TokenUnknown,
        /// Sequence is 0 or above prints and spares.
        SequenceOutOfRange,
        /// The sender is a stranger, and expiry is not three days past.
        TooEarly,
        /// More voided than the spares, or than the sequence.
        VoidedOutOfRange,
        /// The voucher is not the agent's.
        VoucherInvalid,
        /// Nothing that is not counted already.
        Stale
    }

    event GatewayDeclared(address indexed gateway, uint32 indexed epoch, bytes32 profileDigest);
    event OperatorSet(address indexed gateway, address indexed operator, bool allowed);
    event Reserved(
        uint256 indexed tokenId,
        uint256 indexed licenseId,
        address indexed holder,
        address gateway,
        address agent,
        uint16 revision,
        uint16 prints,
        uint16 spares,
        uint40 expiresAt,
        bytes32 salt,
        uint40 deadline
    );
    event Settled(uint256 indexed tokenId, uint32 sequence, uint16 burned, uint16 voided);
    event SettledLate(uint256 indexed tokenId, uint32 sequence);
    event UseSkipped(uint256 indexed tokenId, SkipReason reason);
    /// @notice A token ended by agreement. `released` is what both signed; `voided` and `burned` are what is stored now, which
    /// is more than was signed where vouchers and voids had counted more; `returned` is back with the holder.
    event Closed(uint256 indexed tokenId, uint32 released, uint16 voided, uint16 burned, uint16 returned);
    event Reclaimed(uint256 indexed tokenId, uint16 prints);
    event Anchored(
        address indexed gateway, uint32 indexed epoch, uint64 indexed size, bytes32 root, bytes32 tilesDigest
    );

    /// @notice Only the gateway's account or one of its operators may send this.
    error NotOperator(address gateway, address sender);
    /// @notice The gateway has not declared its keys and address.
    error GatewayUndeclared(address gateway);
    /// @notice A permission names an agent.
    error AgentZero();
    /// @notice The expiry is past, or does not fit 32 bits.
    error ExpiryInvalid(uint40 expiresAt);
    /// @notice As many signatures as reservations.
    error LengthMismatch(uint256 reservations, uint256 signatures);
    /// @notice No such token.
    error TokenUnknown(uint256 tokenId);
    /// @notice The statement is about another token than the permission.
    error TokenMismatch(uint256 expected, uint256 tokenId);
    /// @notice More released than prints and spares.
    error ReleasedAbove(uint256 tokenId, uint32 released, uint32 limit);
    /// @notice More voided than the spares, or than were released.
    error VoidedAbove(uint256 tokenId, uint32 voided, uint32 limit);
    /// @notice Unused prints return from `reclaimableAt` on.
    error TokenOpen(uint256 tokenId, uint256 reclaimableAt);
    /// @notice The log of the gateway is in another epoch, `epoch`.
    error EpochMismatch(address gateway, uint32 epoch, uint32 given);
    /// @notice Anchors only grow; the head is at `head`.
    error AnchorDecreased(uint64 head, uint64 size);
    /// @notice Another root or other tiles stand at this size of this epoch.
    error AnchorForked(uint64 size, bytes32 known, bytes32 given);

    /// @notice Declare the sender a gateway, with the SHA-256 of its profile (keys, addresses); zero withdraws it.
    /// The first declaration begins epoch 1.
    /// @param newEpoch Begin a new epoch of the log, for a leaked key or a ruined log.
    function declareGateway(bytes32 profileDigest, bool newEpoch) external;

    /// @notice Declare a gateway as its account signed; the same one again changes nothing, also with `newEpoch`.
    /// @dev Reverts: GatewayUndeclared, NonceUsed, DeadlinePassed, SignatureInvalid. Only the account itself declares: an
    /// operator's key, which may be the one that leaked, does not.
    function declareGatewayBySig(Declaration calldata declaration, bytes calldata signature) external;

    /// @notice Let an account act for the sender: anchor, settle with voids, sign acceptances and closings.
    function setOperator(address operator, bool allowed) external;

    /// @notice Let an account act for a gateway, or no more, as the gateway's account signed; the same one again changes
    /// nothing.
    /// @dev Reverts: NonceUsed, DeadlinePassed, SignatureInvalid.
    function setOperatorBySig(Appointment calldata appointment, bytes calldata signature) external;

    /// @notice Reserve a permission's prints; anybody may bring it. A known token changes nothing, before any check.
    /// @dev Reverts: AgentZero, ExpiryInvalid, DeadlinePassed, SignatureInvalid (holder), and as IPrintLicense.escrow.
    /// @return tokenId The EIP-712 digest of the permission.
    function reserve(Reservation calldata reservation, bytes calldata signature) external returns (uint256 tokenId);

    /// @notice As `reserve`, several at once, all or none.
    /// @dev Reservations in a row of one holder, licence, gateway and revision share an escrow, which is a third cheaper.
    /// Reverts: LengthMismatch, and as `reserve`.
    function reserveBatch(Reservation[] calldata reservations, bytes[] calldata signatures)
        external
        returns (uint256[] memory tokenIds);

    /// @notice Count what vouchers prove: burned = min(sequence − voided, prints), never falling. The gateway and its
    /// operators at any time; anybody from three days after a token's expiry, without touching `voided`. A use that
    /// cannot count is passed over with an event, also on a closed token (SettledLate); none reverts the others.
    function settle(address gateway, Batch[] calldata batches) external;

    /// @notice End a token with counts that gateway and holder signed; unused prints return at once. Anybody may
    /// bring it; a token that has ended changes nothing. What was counted already stays counted, voids too.
    /// @dev Reverts: TokenMismatch, TokenUnknown, DeadlinePassed, ReleasedAbove, VoidedAbove, SignatureInvalid.
    function close(
        Close calldata closing,
        Reservation calldata reservation,
        bytes calldata gatewaySignature,
        bytes calldata holderSignature
    ) external;

    /// @notice Give unsettled prints back to the holder from ten days after expiry; anybody may. A token that has
    /// ended changes nothing.
    /// @dev Reverts: TokenUnknown, TokenOpen.
    function reclaim(Reservation calldata reservation) external;

    /// @notice Fix the head of a gateway's log in its present epoch. Sizes grow strictly. The same anchor again changes
    /// nothing, also when its epoch is over by then: whoever sends one twice need not know what came between.
    /// @dev Reverts: NotOperator, GatewayUndeclared, EpochMismatch, AnchorForked, AnchorDecreased.
    /// @param epoch The present one, so that an anchor that is pending when a new epoch begins does not count in it.
    /// @param tilesDigest SHA-256 of the IPFS block that lists the tiles new since the anchor before.
    function anchor(address gateway, uint32 epoch, uint64 size, bytes32 root, bytes32 tilesDigest) external;

    /// @notice Whether `who` is the gateway or acts for it.
    function isOperator(address gateway, address who) external view returns (bool);

    /// @notice What a gateway declared, its epoch (0: never declared) and the size of its last anchor in it.
    function gateways(address gateway) external view returns (bytes32 profileDigest, uint32 epoch, uint64 size);

    /// @notice SHA-256(root ‖ tilesDigest) of an anchor, zero when there is none.
    function anchorAt(address gateway, uint32 epoch, uint64 size) external view returns (bytes32);

    /// @notice What is stored of a reservation; all zero when there is none.
    function reservationOf(address gateway, uint256 licenseId, uint256 tokenId)
        external
        view
        returns (ReservationState memory);

    /// @notice The id that a permission has or would get.
    function tokenIdOf(Reservation calldata reservation) external view returns (uint256 tokenId);

    /// @notice Whether a signature is the gateway's or an operator's, for PrintLicense. Reverts: GatewayUndeclared,
    /// SignatureInvalid.
    function requireGatewaySigned(address gateway, bytes32 digest, bytes calldata signature) external view;

    /// @notice The licence contract of this deployment.
    function license() external view returns (IPrintLicense);
}
