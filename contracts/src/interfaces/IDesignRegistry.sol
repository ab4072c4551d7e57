// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ISigned} from "./ISigned.sol";
import {IERC2981} from "@openzeppelin/contracts/interfaces/IERC2981.sol";
import {IERC5267} from "@openzeppelin/contracts/interfaces/IERC5267.sol";
import {IERC721Metadata} from "@openzeppelin/contracts/interfaces/IERC721Metadata.sol";

/// @title Who made what, and when
/// @notice An ERC-721 with one token for each design. A design begins as a commitment and is revealed later; its id is
/// the EIP-712 digest of its registration, so that a reorganisation or a second sending restores the same id and no
/// stranger can take it. The registrant (who made it) never changes; the owner (who may offer it) is the ERC-721's.
///
/// A design may name a parent; that only pays, so the parent's owner is not asked. `tokenURI` is a data URI that the
/// contract writes itself (ERC-721 metadata); it names the latest revision's manifest where the chain keeps its digest.
///
/// Nobody owns the contract and nothing in it can be changed.
///
/// Assumptions. Safety: OpenZeppelin's ERC721 keeps one owner for a token; the sha256 and ecrecover precompiles are as
/// on Ethereum; block timestamps do not run ahead of the world by more than minutes. Liveness: an ERC-1271 wallet
/// answers; nothing else outside is called.
interface IDesignRegistry is ISigned, IERC721Metadata, IERC2981, IERC5267 {
    /// @notice A design's first statement; its EIP-712 digest is the design's id.
    /// @param registrant The account that made the design.
    /// @param commitment SHA-256("platemark/v1/content\0" ‖ registrant ‖ salt ‖ files root).
    /// @param manifestDigest SHA-256 of the manifest of revision 1; its bytes are published once this is final.
    /// @param isPrivate Whether only the registrant may reveal.
    /// @param parentId The design this one declares to be derived from; 0 for none.
    /// @param resaleShare What the registrant asks for when the design or its units are sold on, basis points.
    /// @param derivativeShare What designs derived from this one pay of what reaches them, basis points, 5,000 at most;
    /// fixed here, never by them.
    /// @param edition Limit of all licences of the design together, in prints; 0 is open and stays open.
    struct Registration {
        address registrant;
        bytes32 commitment;
        bytes32 manifestDigest;
        bool isPrivate;
        uint256 parentId;
        uint16 resaleShare;
        uint16 derivativeShare;
        uint40 edition;
    }

    /// @notice A later revision, 2 and up; signed or sent by the owner.
    /// @param commitment As in a registration, over the registrant's address, with a salt of its own.
    struct Publication {
        uint256 designId;
        uint16 revision;
        bytes32 commitment;
        bytes32 manifestDigest;
        uint40 deadline;
    }

    /// @notice The owner withdraws a revision for ever: no new reservations, no new releases.
    /// @param reasonDigest SHA-256 of a published reason, or zero.
    struct Recall {
        uint256 designId;
        uint16 revision;
        bytes32 reasonDigest;
        uint40 deadline;
    }

    /// @notice The owner lowers the edition of a design that has one; nothing that was minted is taken back.
    /// @param edition The new limit, below the present one; 1 and up.
    struct EditionLimit {
        uint256 designId;
        uint40 edition;
        uint40 deadline;
    }

    /// @notice What the chain's state knows of a design.
    struct Design {
        address registrant;
        uint40 edition;
        uint16 resaleShare;
        uint16 derivativeShare;
        uint16 latestRevision;
        bool isPrivate;
        uint256 parentId;
    }

    event DesignRegistered(
        uint256 indexed designId,
        address indexed registrant,
        bytes32 commitment,
        bytes32 manifestDigest,
        bool isPrivate,
        uint256 parentId,
        uint16 resaleShare,
        uint16 derivativeShare,
        uint40 edition
    );
    event RevisionPublished(
        uint256 indexed designId, uint16 indexed revision, bytes32 commitment, bytes32 manifestDigest
    );
    event ContentRevealed(uint256 indexed designId, uint16 indexed revision, bytes32 indexed filesRoot, bytes32 salt);
    event RevisionRecalled(uint256 indexed designId, uint16 indexed revision, bytes32 reasonDigest);
    event EditionLowered(uint256 indexed designId, uint40 edition);

    /// @notice No design has this id.
    error DesignUnknown(uint256 designId);
    /// @notice The design has no such revision.
    error RevisionUnknown(uint256 designId, uint16 revision);
    /// @notice Revisions are consecutive; `expected` is the next one.
    error RevisionUnexpected(uint256 designId, uint16 expected, uint16 revision);
    /// @notice Only `registrant` may send this.
    error NotRegistrant(address registrant, address sender);
    /// @notice Only the owner of the design may send this.
    error NotOwner(uint256 designId, address sender);
    /// @notice A commitment of zero hides nothing.
    error CommitmentZero();
    /// @notice Salt and files root do not give the commitment of this revision.
    error CommitmentMismatch(uint256 designId, uint16 revision);
    /// @notice A share is above its limit, both in basis points.
    error ShareAbove(uint16 share, uint16 limit);
    /// @notice The line of parents is longer than `limit`.
    error ParentTooDeep(uint256 parentId, uint256 limit);

    /// @notice One signature covers the designs of one registrant.
    error RegistrantMismatch(address expected, address registrant);
    /// @notice An open design stays open: its prints are not counted together.
    error EditionOpen(uint256 designId);
    /// @notice An edition is only lowered, and not to nothing; `edition` stands.
    error EditionNotLowered(uint256 designId, uint40 edition, uint40 given);

    /// @notice Register a design; the sender is the registrant and becomes the owner. A known one changes nothing.
    /// @dev Reverts: NotRegistrant, CommitmentZero, ShareAbove, DesignUnknown (parent), ParentTooDeep.
    /// @return designId The EIP-712 digest of the registration.
    function register(Registration calldata registration) external returns (uint256 designId);

    /// @notice Register for somebody who signed the registration; anybody may send. A known one changes nothing.
    /// @dev The signature is over the design's id itself; there is no deadline, because the act works once and gives
    /// the design to its registrant, whoever sends it. Reverts: as `register`, and SignatureInvalid.
    function registerBySig(Registration calldata registration, bytes calldata signature)
        external
        returns (uint256 designId);

    /// @notice As `register`, several at once, all or none; known ones change nothing.
    /// @return designIds In the order given.
    function registerBatch(Registration[] calldata registrations) external returns (uint256[] memory designIds);

    /// @notice Register what one registrant signed once, as `RegistrationBatch(registrations)`; anybody may send. Known
    /// designs change nothing; when all are known, the signature is not looked at.
    /// @dev Reverts: as `register` without NotRegistrant, and RegistrantMismatch, SignatureInvalid.
    /// @return designIds In the order given.
    function registerBatchBySig(Registration[] calldata registrations, bytes calldata signature)
        external
        returns (uint256[] memory designIds);

    /// @notice Make the content of revision 1 findable; once is enough, a repeat changes nothing.
    /// @dev Anybody for a public design, the registrant alone for a private one: every full passport carries the salt.
    /// Reverts: DesignUnknown, NotRegistrant, CommitmentMismatch.
    function reveal(Registration calldata registration, bytes32 salt, bytes32 filesRoot) external;

    /// @notice Publish the next revision; the sender is the owner. The same one again changes nothing.
    /// @dev Reverts: DesignUnknown, RevisionUnexpected, CommitmentZero, DeadlinePassed, NotOwner.
    function publish(Publication calldata publication) external;

    /// @notice Publish what the owner signed.
    /// @dev Reverts: as `publish`, SignatureInvalid in place of NotOwner.
    function publishBySig(Publication calldata publication, bytes calldata signature) external;

    /// @notice As `reveal`, for revisions 2 and up.
    /// @dev Reverts: DesignUnknown, RevisionUnknown, NotRegistrant, CommitmentMismatch.
    function revealRevision(uint256 designId, uint16 revision, bytes32 salt, bytes32 filesRoot) external;

    /// @notice Withdraw a revision; the sender is the owner. Recalled stays recalled, a repeat changes nothing.
    /// @dev Reverts: DesignUnknown, RevisionUnknown, DeadlinePassed, NotOwner.
    function recall(Recall calldata recalled) external;

    /// @notice Withdraw what the owner signed.
    /// @dev Reverts: as `recall`, SignatureInvalid in place of NotOwner.
    function recallBySig(Recall calldata recalled, bytes calldata signature) external;

    /// @notice Lower the edition; the sender is the owner. The present edition again changes nothing. Minting stops at the
    /// new limit; what was minted before stays, also when that is more.
    /// @dev Reverts: DesignUnknown, EditionOpen, EditionNotLowered, DeadlinePassed, NotOwner.
    function lowerEdition(EditionLimit calldata limit) external;

    /// @notice Lower the edition as the owner signed. An older limit cannot come back: it would be a raise.
    /// @dev Reverts: as `lowerEdition`, SignatureInvalid in place of NotOwner.
    function lowerEditionBySig(EditionLimit calldata limit, bytes calldata signature) external;

    /// @notice The id that a registration has or would get.
    function designIdOf(Registration calldata registration) external view returns (uint256 designId);

    /// @notice What is stored of a design. Reverts: DesignUnknown.
    function designOf(uint256 designId) external view returns (Design memory);

    /// @notice Who made the design; never changes. Reverts: DesignUnknown.
    function registrantOf(uint256 designId) external view returns (address);

    /// @notice The newest revision, 1 and up. Reverts: DesignUnknown.
    function latestRevision(uint256 designId) external view returns (uint16);

    /// @notice Whether the revision exists and is not recalled; false for an unknown design.
    function isPrintable(uint256 designId, uint16 revision) external view returns (bool);

    /// @notice Whether the revision's content was revealed; false for an unknown design.
    function isRevealed(uint256 designId, uint16 revision) external view returns (bool);

    /// @notice Whether only the registrant may reveal. Reverts: DesignUnknown.
    function isPrivate(uint256 designId) external view returns (bool);

    /// @notice Limit of all licences together, 0 when open. Reverts: DesignUnknown.
    function editionOf(uint256 designId) external view returns (uint40);

    /// @notice The commitment and manifest digest of a revision, 2 and up; revision 1's stand in the design's id.
    /// @dev Reverts: RevisionUnknown.
    function publicationOf(uint256 designId, uint16 revision)
        external
        view
        returns (bytes32 commitment, bytes32 manifestDigest);

    /// @notice Who is owed what of an amount that a design earns: the design's owner of now first, then the owners of its
    /// line of parents. The parent's share is of the amount, the grandparent's of the parent's share, and so on, each
    /// rounded down; what is left at each stays with it, so that the amounts add up to `amount` exactly.
    /// @dev Reverts: DesignUnknown.
    /// @return payees 1 to 5 accounts, not always different ones.
    /// @return amounts Of each payee, in the unit of `amount`; zero where a share is nothing.
    function payeesOf(uint256 designId, uint256 amount)
        external
        view
        returns (address[] memory payees, uint256[] memory amounts);

    /// @notice What PrintLicense asks in one call. Reverts: DesignUnknown.
    function standingOf(uint256 designId, uint16 revision)
        external
        view
        returns (address owner, uint40 edition, bool printable, bool derived);
}
