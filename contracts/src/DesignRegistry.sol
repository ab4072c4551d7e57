// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IDesignRegistry} from "./interfaces/IDesignRegistry.sol";
import {Metadata} from "./libraries/Metadata.sol";
import {Signatures} from "./libraries/Signatures.sol";
import {TypedData} from "./libraries/TypedData.sol";
import {IERC2981} from "@openzeppelin/contracts/interfaces/IERC2981.sol";
import {IERC721Metadata} from "@openzeppelin/contracts/interfaces/IERC721Metadata.sol";
import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title DesignRegistry
/// @dev The specification is IDesignRegistry.
contract DesignRegistry is IDesignRegistry, ERC721, EIP712 {
    using TypedData for Registration;
    using TypedData for Publication;
    using TypedData for Recall;
    using TypedData for EditionLimit;

    /// @dev One slot a design. `flags` are those of revision 1 and of the design as a whole.
    struct Record {
        address registrant;
        uint40 edition;
        uint16 resaleShare;
        uint16 derivativeShare;
        uint16 latestRevision;
        uint8 flags;
    }

    /// @dev A revision from 2 on.
    struct Revision {
        bytes32 commitment;
        bytes32 manifestDigest;
        uint8 flags;
    }

    uint8 private constant REVEALED = 1;
    uint8 private constant RECALLED = 2;
    uint8 private constant PRIVATE = 4;
    uint8 private constant DERIVED = 8;

    uint16 private constant ALL_POINTS = 10_000;
    uint16 private constant HALF_POINTS = 5000;
    uint256 private constant DEEPEST_LINE = 4;

    mapping(uint256 designId => Record) private _records;
    mapping(uint256 designId => uint256 parentId) private _parents;
    mapping(uint256 designId => mapping(uint16 revision => Revision)) private _revisions;

    constructor() ERC721("Platemark Design", "PMD") EIP712("Platemark DesignRegistry", "1") {}

    // --- acts ---------------------------------------------------------------------------------------------------

    /// @inheritdoc IDesignRegistry
    function register(Registration calldata registration) public returns (uint256 designId) {
        designId = designIdOf(registration);
        if (_isKnown(designId)) return designId;
        if (msg.sender != registration.registrant) revert NotRegistrant(registration.registrant, msg.sender);
        _register(designId, registration);
    }

    /// @inheritdoc IDesignRegistry
    function registerBySig(Registration calldata registration, bytes calldata signature)
        external
        returns (uint256 designId)
    {
        designId = designIdOf(registration);
        if (_isKnown(designId)) return designId;
        Signatures.requireSigned(registration.registrant, bytes32(designId), signature);
        _register(designId, registration);
    }

    /// @inheritdoc IDesignRegistry
    function registerBatch(Registration[] calldata registrations) external returns (uint256[] memory designIds) {
        uint256 count = registrations.length;
        designIds = new uint256[](count);
        for (uint256 i = 0; i < count; ++i) {
            designIds[i] = register(registrations[i]);
        }
    }

    /// @inheritdoc IDesignRegistry
    function registerBatchBySig(Registration[] calldata registrations, bytes calldata signature)
        external
        returns (uint256[] memory designIds)
    {
        uint256 count = registrations.length;
        bytes32[] memory hashes = new bytes32[](count);
        designIds = new uint256[](count);
        bool anyNew = false;
        for (uint256 i = 0; i < count; ++i) {
            address registrant = registrations[i].registrant;
            if (registrant != registrations[0].registrant) {
                revert RegistrantMismatch(registrations[0].registrant, registrant);
            }
            hashes[i] = registrations[i].hash();
            designIds[i] = uint256(_hashTypedDataV4(hashes[i]));
            anyNew = anyNew || !_isKnown(designIds[i]);
        }
        if (!anyNew) return designIds;
        bytes32 digest = _hashTypedDataV4(TypedData.hashRegistrationBatch(hashes));
        Signatures.requireSigned(registrations[0].registrant, digest, signature);
        for (uint256 i = 0; i < count; ++i) {
            if (!_isKnown(designIds[i])) _register(designIds[i], registrations[i]);
        }
    }

    /// @inheritdoc IDesignRegistry
    function reveal(Registration calldata registration, bytes32 salt, bytes32 filesRoot) external {
        uint256 designId = designIdOf(registration);
        Record storage record = _known(designId);
        _requireOpening(designId, 1, record, registration.commitment, salt, filesRoot);
        uint8 flags = record.flags;
        if (flags & REVEALED != 0) return;
        record.flags = flags | REVEALED;
        emit ContentRevealed(designId, 1, filesRoot, salt);
    }

    /// @inheritdoc IDesignRegistry
    function publish(Publication calldata publication) external {
        if (_isPublished(publication)) return;
        if (msg.sender != ownerOf(publication.designId)) revert NotOwner(publication.designId, msg.sender);
        _publish(publication);
    }

    /// @inheritdoc IDesignRegistry
    function publishBySig(Publication calldata publication, bytes calldata signature) external {
        if (_isPublished(publication)) return;
        bytes32 digest = _hashTypedDataV4(publication.hash());
        Signatures.requireSigned(ownerOf(publication.designId), digest, signature);
        _publish(publication);
    }

    /// @inheritdoc IDesignRegistry
    function revealRevision(uint256 designId, uint16 revision, bytes32 salt, bytes32 filesRoot) external {
        Record storage record = _known(designId);
        Revision storage published = _published(designId, revision);
        _requireOpening(designId, revision, record, published.commitment, salt, filesRoot);
        uint8 flags = published.flags;
        if (flags & REVEALED != 0) return;
        published.flags = flags | REVEALED;
        emit ContentRevealed(designId, revision, filesRoot, salt);
    }

    /// @inheritdoc IDesignRegistry
    function recall(Recall calldata recalled) external {
        if (_isRecalled(recalled)) return;
        if (msg.sender != ownerOf(recalled.designId)) revert NotOwner(recalled.designId, msg.sender);
        _recall(recalled);
    }

    /// @inheritdoc IDesignRegistry
    function recallBySig(Recall calldata recalled, bytes calldata signature) external {
        if (_isRecalled(recalled)) return;
        bytes32 digest = _hashTypedDataV4(recalled.hash());
        Signatures.requireSigned(ownerOf(recalled.designId), digest, signature);
        _recall(recalled);
    }

    /// @inheritdoc IDesignRegistry
    function lowerEdition(EditionLimit calldata limit) external {
        if (_isLowered(limit)) return;
        if (msg.sender != ownerOf(limit.designId)) revert NotOwner(limit.designId, msg.sender);
        _lower(limit);
    }

    /// @inheritdoc IDesignRegistry
    function lowerEditionBySig(EditionLimit calldata limit, bytes calldata signature) external {
        if (_isLowered(limit)) return;
        bytes32 digest = _hashTypedDataV4(limit.hash());
        Signatures.requireSigned(ownerOf(limit.designId), digest, signature);
        _lower(limit);
    }

    // --- views --------------------------------------------------------------------------------------------------

    /// @inheritdoc IDesignRegistry
    function designOf(uint256 designId) external view returns (Design memory) {
        Record memory record = _known(designId);
        return Design({
            registrant: record.registrant,
            edition: record.edition,
            resaleShare: record.resaleShare,
            derivativeShare: record.derivativeShare,
            latestRevision: record.latestRevision,
            isPrivate: record.flags & PRIVATE != 0,
            parentId: _parents[designId]
        });
    }

    /// @inheritdoc IDesignRegistry
    function registrantOf(uint256 designId) external view returns (address) {
        return _known(designId).registrant;
    }

    /// @inheritdoc IDesignRegistry
    function latestRevision(uint256 designId) external view returns (uint16) {
        return _known(designId).latestRevision;
    }

    /// @inheritdoc IDesignRegistry
    function isPrintable(uint256 designId, uint16 revision) external view returns (bool) {
        return _isPrintable(designId, revision, _records[designId]);
    }

    /// @inheritdoc IDesignRegistry
    function isRevealed(uint256 designId, uint16 revision) external view returns (bool) {
        return _flagsOf(designId, revision, _records[designId]) & REVEALED != 0;
    }

    /// @inheritdoc IDesignRegistry
    function isPrivate(uint256 designId) external view returns (bool) {
        return _known(designId).flags & PRIVATE != 0;
    }

    /// @inheritdoc IDesignRegistry
    function editionOf(uint256 designId) external view returns (uint40) {
        return _known(designId).edition;
    }

    /// @inheritdoc IDesignRegistry
    function publicationOf(uint256 designId, uint16 revision)
        external
        view
        returns (bytes32 commitment, bytes32 manifestDigest)
    {
        Revision storage published = _published(designId, revision);
        return (published.commitment, published.manifestDigest);
    }

    /// @inheritdoc IDesignRegistry
    function standingOf(uint256 designId, uint16 revision)
        external
        view
        returns (address owner, uint40 edition, bool printable, bool derived)
    {
        Record memory record = _known(designId);
        owner = _ownerOf(designId);
        edition = record.edition;
        printable = _isPrintable(designId, revision, record);
        derived = record.flags & DERIVED != 0;
    }

    /// @inheritdoc IDesignRegistry
    function payeesOf(uint256 designId, uint256 amount)
        external
        view
        returns (address[] memory payees, uint256[] memory amounts)
    {
        _known(designId);
        uint256 count = 1;
        for (uint256 ancestor = _parents[designId]; ancestor != 0; ancestor = _parents[ancestor]) {
            ++count;
        }
        payees = new address[](count);
        amounts = new uint256[](count);
        uint256 design = designId;
        uint256 left = amount;
        for (uint256 i = 0; i < count; ++i) {
            uint256 parentId = _parents[design];
            uint256 share = parentId == 0 ? 0 : Math.mulDiv(left, _records[parentId].derivativeShare, ALL_POINTS);
            payees[i] = _ownerOf(design);
            amounts[i] = left - share;
            (design, left) = (parentId, share);
        }
    }

    /// @inheritdoc IERC2981
    function royaltyInfo(uint256 designId, uint256 salePrice) external view returns (address receiver, uint256 amount) {
        Record storage record = _known(designId);
        return (record.registrant, Math.mulDiv(salePrice, record.resaleShare, ALL_POINTS));
    }

    /// @inheritdoc IDesignRegistry
    function designIdOf(Registration calldata registration) public view returns (uint256 designId) {
        return uint256(_hashTypedDataV4(registration.hash()));
    }

    /// @inheritdoc IERC721Metadata
    function tokenURI(uint256 designId) public view override(ERC721, IERC721Metadata) returns (string memory) {
        Record memory record = _known(designId);
        return Metadata.ofDesign(
            designId,
            record.registrant,
            record.edition,
            record.latestRevision,
            _revisions[designId][record.latestRevision].manifestDigest
        );
    }

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 interfaceId) public view override(ERC721, IERC165) returns (bool) {
        return interfaceId == type(IERC2981).interfaceId || super.supportsInterface(interfaceId);
    }

    // --- inside -------------------------------------------------------------------------------------------------

    function _register(uint256 designId, Registration calldata registration) private {
        if (registration.commitment == 0) revert CommitmentZero();
        if (registration.resaleShare > ALL_POINTS) revert ShareAbove(registration.resaleShare, ALL_POINTS);
        if (registration.derivativeShare > HALF_POINTS) revert ShareAbove(registration.derivativeShare, HALF_POINTS);
        uint8 flags = registration.isPrivate ? PRIVATE : 0;
        uint256 parentId = registration.parentId;
        if (parentId != 0) {
            _requireLine(parentId);
            _parents[designId] = parentId;
            flags |= DERIVED;
        }
        _records[designId] = Record({
            registrant: registration.registrant,
            edition: registration.edition,
            resaleShare: registration.resaleShare,
            derivativeShare: registration.derivativeShare,
            latestRevision: 1,
            flags: flags
        });
        _mint(registration.registrant, designId);
        emit DesignRegistered(
            designId,
            registration.registrant,
            registration.commitment,
            registration.manifestDigest,
            registration.isPrivate,
            parentId,
            registration.resaleShare,
            registration.derivativeShare,
            registration.edition
        );
    }

    function _publish(Publication calldata publication) private {
        Record storage record = _records[publication.designId];
        uint16 revision = publication.revision;
        if (publication.commitment == 0) revert CommitmentZero();
        Signatures.requireInTime(publication.deadline);
        record.latestRevision = revision;
        _revisions[publication.designId][revision] =
            Revision({commitment: publication.commitment, manifestDigest: publication.manifestDigest, flags: 0});
        emit RevisionPublished(publication.designId, revision, publication.commitment, publication.manifestDigest);
    }

    function _recall(Recall calldata recalled) private {
        Signatures.requireInTime(recalled.deadline);
        if (recalled.revision == 1) {
            _records[recalled.designId].flags |= RECALLED;
        } else {
            _revisions[recalled.designId][recalled.revision].flags |= RECALLED;
        }
        emit RevisionRecalled(recalled.designId, recalled.revision, recalled.reasonDigest);
    }

    function _lower(EditionLimit calldata limit) private {
        Signatures.requireInTime(limit.deadline);
        _records[limit.designId].edition = limit.edition;
        emit EditionLowered(limit.designId, limit.edition);
    }

    /// @dev True for the edition that stands already; reverts for one that is not lower.
    function _isLowered(EditionLimit calldata limit) private view returns (bool) {
        uint40 edition = _known(limit.designId).edition;
        if (limit.edition == edition) return true;
        if (edition == 0) revert EditionOpen(limit.designId);
        if (limit.edition == 0 || limit.edition > edition) {
            revert EditionNotLowered(limit.designId, edition, limit.edition);
        }
        return false;
    }

    /// @dev Walks up from a parent: each must be known, and the line at most DEEPEST_LINE long.
    function _requireLine(uint256 parentId) private view {
        uint256 ancestor = parentId;
        for (uint256 depth = 1; ancestor != 0; ++depth) {
            if (depth > DEEPEST_LINE) revert ParentTooDeep(parentId, DEEPEST_LINE);
            if (!_isKnown(ancestor)) revert DesignUnknown(ancestor);
            ancestor = _parents[ancestor];
        }
    }

    /// @dev True for a publication that stands already; reverts for one that is not the next.
    function _isPublished(Publication calldata publication) private view returns (bool) {
        uint16 latest = _known(publication.designId).latestRevision;
        if (publication.revision > 1 && publication.revision <= latest) {
            Revision storage published = _revisions[publication.designId][publication.revision];
            if (
                published.commitment == publication.commitment && published.manifestDigest == publication.manifestDigest
            ) return true;
        }
        if (publication.revision != latest + 1) {
            revert RevisionUnexpected(publication.designId, latest + 1, publication.revision);
        }
        return false;
    }

    function _isRecalled(Recall calldata recalled) private view returns (bool) {
        Record storage record = _known(recalled.designId);
        if (recalled.revision == 0 || recalled.revision > record.latestRevision) {
            revert RevisionUnknown(recalled.designId, recalled.revision);
        }
        return _flagsOf(recalled.designId, recalled.revision, record) & RECALLED != 0;
    }

    /// @dev The commitment opens to salt and root, and the sender may say so.
    function _requireOpening(
        uint256 designId,
        uint16 revision,
        Record storage record,
        bytes32 commitment,
        bytes32 salt,
        bytes32 filesRoot
    ) private view {
        address registrant = record.registrant;
        if (record.flags & PRIVATE != 0 && msg.sender != registrant) revert NotRegistrant(registrant, msg.sender);
        if (sha256(abi.encodePacked("platemark/v1/content", bytes1(0), registrant, salt, filesRoot)) != commitment) {
            revert CommitmentMismatch(designId, revision);
        }
    }

    function _isPrintable(uint256 designId, uint16 revision, Record memory record) private view returns (bool) {
        if (revision == 0 || revision > record.latestRevision) return false;
        uint8 flags = revision == 1 ? record.flags : _revisions[designId][revision].flags;
        return flags & RECALLED == 0;
    }

    function _flagsOf(uint256 designId, uint16 revision, Record storage record) private view returns (uint8) {
        if (revision == 0) return 0;
        return revision == 1 ? record.flags : _revisions[designId][revision].flags;
    }

    function _published(uint256 designId, uint16 revision) private view returns (Revision storage published) {
        published = _revisions[designId][revision];
        if (published.commitment == 0) revert RevisionUnknown(designId, revision);
    }

    function _known(uint256 designId) private view returns (Record storage record) {
        record = _records[designId];
        if (record.latestRevision == 0) revert DesignUnknown(designId);
    }

    function _isKnown(uint256 designId) private view returns (bool) {
        return _records[designId].latestRevision != 0;
    }
}
