// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {PrintLedger} from "./PrintLedger.sol";
import {Statements} from "./Statements.sol";
import {IDesignRegistry} from "./interfaces/IDesignRegistry.sol";
import {IPrintLedger} from "./interfaces/IPrintLedger.sol";
import {IPrintLicense} from "./interfaces/IPrintLicense.sol";
import {Metadata} from "./libraries/Metadata.sol";
import {Signatures} from "./libraries/Signatures.sol";
import {Spares} from "./libraries/Spares.sol";
import {TypedData} from "./libraries/TypedData.sol";
import {IERC1155MetadataURI} from "@openzeppelin/contracts/interfaces/IERC1155MetadataURI.sol";
import {IERC20} from "@openzeppelin/contracts/interfaces/IERC20.sol";
import {IERC2981} from "@openzeppelin/contracts/interfaces/IERC2981.sol";
import {ERC1155} from "@openzeppelin/contracts/token/ERC1155/ERC1155.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";

/// @title PrintLicense
/// @dev The specification is IPrintLicense.
contract PrintLicense is IPrintLicense, ERC1155, EIP712, Statements, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using TypedData for Terms;
    using TypedData for Acceptance;
    using TypedData for Mint;
    using TypedData for MintBatch;
    using TypedData for Sale;
    using TypedData for Move;
    using TypedData for Return;
    using TypedData for Withdrawal;

    /// @dev Everything that minting, selling and reserving are measured against, in one slot. `cap` is never zero.
    struct Counts {
        uint40 cap;
        uint40 minted;
        uint40 notBefore;
        uint40 notAfter;
        uint16 sparesFlat;
        uint16 sparesPerHundred;
        uint16 smallestReservation;
        uint16 revision;
        uint8 flags;
    }

    /// @dev Four slots, and one more for a currency that is a token.
    struct Record {
        uint256 designId;
        bytes32 termsDigest;
        address gateway;
        uint96 price;
        Counts counts;
        address token;
    }

    uint8 private constant ON_SALE = 1;
    uint8 private constant TRANSFERABLE = 2;
    /// @dev The design has an edition.
    uint8 private constant LIMITED = 4;
    /// @dev The design has a parent.
    uint8 private constant DERIVED = 8;
    /// @dev The currency is a token.
    uint8 private constant TOKEN = 16;
    /// @dev Payout is as printed.
    uint8 private constant AS_PRINTED = 32;

    uint256 private constant HIGHEST_SPARES_PER_HUNDRED = 50;

    /// @inheritdoc IPrintLicense
    IDesignRegistry public immutable registry;
    /// @inheritdoc IPrintLicense
    IPrintLedger public immutable ledger;

    mapping(uint256 licenseId => Record) private _records;
    /// @inheritdoc IPrintLicense
    mapping(uint256 designId => uint40 prints) public editionMinted;
    /// @inheritdoc IPrintLicense
    mapping(address payee => mapping(address currency => uint256 amount)) public owed;

    modifier onlyLedger() {
        if (msg.sender != address(ledger)) revert NotLedger(msg.sender);
        _;
    }

    constructor(IDesignRegistry registry_) ERC1155("") EIP712("Platemark PrintLicense", "1") {
        registry = registry_;
        ledger = new PrintLedger(this);
    }

    // --- offering -----------------------------------------------------------------------------------------------

    /// @inheritdoc IPrintLicense
    function offer(
        Terms calldata terms,
        bool onSale,
        Acceptance calldata acceptance,
        bytes calldata acceptanceSignature
    ) external returns (uint256 licenseId) {
        licenseId = licenseIdOf(terms);
        if (_records[licenseId].counts.cap != 0) return licenseId;
        address owner = _offer(licenseId, terms, onSale, acceptance, acceptanceSignature);
        if (msg.sender != owner) revert NotDesignOwner(terms.designId, msg.sender);
    }

    /// @inheritdoc IPrintLicense
    function offerBySig(
        Terms calldata terms,
        bool onSale,
        uint40 deadline,
        bytes calldata signature,
        Acceptance calldata acceptance,
        bytes calldata acceptanceSignature
    ) external returns (uint256 licenseId) {
        bytes32 termsHash = terms.hash();
        licenseId = uint256(_hashTypedDataV4(termsHash));
        if (_records[licenseId].counts.cap != 0) return licenseId;
        Signatures.requireInTime(deadline);
        address owner = _offer(licenseId, terms, onSale, acceptance, acceptanceSignature);
        bytes32 digest = _hashTypedDataV4(TypedData.hashOffer(termsHash, onSale, deadline));
        Signatures.requireSigned(owner, digest, signature);
    }

    /// @inheritdoc IPrintLicense
    function accept(uint256 licenseId, Acceptance calldata acceptance, bytes calldata acceptanceSignature) external {
        Record storage record = _known(licenseId);
        uint16 accepted = record.counts.revision;
        if (acceptance.revision == accepted) return;
        if (acceptance.revision < accepted) revert RevisionNotRaised(licenseId, accepted, acceptance.revision);
        _requireAccepted(record.designId, record.termsDigest, record.gateway, acceptance, acceptanceSignature);
        _requirePrintable(acceptance.designId, acceptance.revision);
        record.counts.revision = acceptance.revision;
        emit LicenseAccepted(licenseId, acceptance.revision, acceptance.keyCommitment);
    }

    /// @inheritdoc IPrintLicense
    function setSale(uint256 licenseId, bool onSale) external {
        _requireOwner(_known(licenseId).designId, msg.sender);
        _setSale(licenseId, onSale);
    }

    /// @inheritdoc IPrintLicense
    function setSaleBySig(Sale calldata sale, bytes calldata signature) external {
        if (_isNew(sale.owner, sale.nonce, sale.deadline, _hashTypedDataV4(sale.hash()), signature)) {
            _requireOwner(_known(sale.licenseId).designId, sale.owner);
            _setSale(sale.licenseId, sale.onSale);
        }
    }

    /// @inheritdoc IPrintLicense
    function setGateway(
        uint256 licenseId,
        address gateway,
        Acceptance calldata acceptance,
        bytes calldata acceptanceSignature
    ) external {
        _requireOwner(_known(licenseId).designId, msg.sender);
        _setGateway(licenseId, gateway, acceptance, acceptanceSignature);
    }

    /// @inheritdoc IPrintLicense
    function setGatewayBySig(
        Move calldata move,
        bytes calldata signature,
        Acceptance calldata acceptance,
        bytes calldata acceptanceSignature
    ) external {
        if (_isNew(move.owner, move.nonce, move.deadline, _hashTypedDataV4(move.hash()), signature)) {
            _requireOwner(_known(move.licenseId).designId, move.owner);
            _setGateway(move.licenseId, move.gateway, acceptance, acceptanceSignature);
        }
    }

    // --- giving -------------------------------------------------------------------------------------------------

    /// @inheritdoc IPrintLicense
    function mint(uint256 licenseId, address to, uint40 prints) external nonReentrant {
        _give(licenseId, to, prints, msg.sender);
    }

    /// @inheritdoc IPrintLicense
    function mintBySig(Mint calldata minting, bytes calldata signature) external nonReentrant {
        if (_isNew(minting.owner, minting.nonce, minting.deadline, _hashTypedDataV4(minting.hash()), signature)) {
            _give(minting.licenseId, minting.to, minting.prints, minting.owner);
        }
    }

    /// @inheritdoc IPrintLicense
    function mintBatch(Grant[] calldata grants) external nonReentrant {
        _giveBatch(grants, msg.sender);
    }

    /// @inheritdoc IPrintLicense
    function mintBatchBySig(MintBatch calldata minting, bytes calldata signature) external nonReentrant {
        if (_isNew(minting.owner, minting.nonce, minting.deadline, _hashTypedDataV4(minting.hash()), signature)) {
            _giveBatch(minting.grants, minting.owner);
        }
    }

    // --- selling ------------------------------------------------------------------------------------------------

    /// @inheritdoc IPrintLicense
    function purchase(uint256 licenseId, address to, uint40 prints) external payable nonReentrant {
        _sell(licenseId, to, prints);
    }

    /// @inheritdoc IPrintLicense
    function purchaseWithPermit(
        uint256 licenseId,
        address to,
        uint40 prints,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external nonReentrant {
        Record storage record = _known(licenseId);
        address token = record.token;
        if (token == address(0)) revert CurrencyInvalid(token);
        uint256 price = uint256(record.price) * prints;
        // A permit that fails is no failure: the transfer finds out whether the tokens are there for the taking.
        // solhint-disable-next-line no-empty-blocks
        try IERC20Permit(token).permit(msg.sender, address(this), price, deadline, v, r, s) {} catch {}
        _sell(licenseId, to, prints);
    }

    /// @inheritdoc IPrintLicense
    function returnPrints(uint256 licenseId, uint40 prints) external nonReentrant returns (uint256 refund) {
        return _return(licenseId, msg.sender, prints);
    }

    /// @inheritdoc IPrintLicense
    function returnPrintsBySig(Return calldata returned, bytes calldata signature)
        external
        nonReentrant
        returns (uint256 refund)
    {
        bytes32 digest = _hashTypedDataV4(returned.hash());
        if (_isNew(returned.holder, returned.nonce, returned.deadline, digest, signature)) {
            return _return(returned.licenseId, returned.holder, returned.prints);
        }
    }

    /// @inheritdoc IPrintLicense
    function returnPrintsFor(uint256 licenseId, address holder) external nonReentrant returns (uint256 refund) {
        uint40 notAfter = _known(licenseId).counts.notAfter;
        if (block.timestamp <= notAfter) revert LicenseNotEnded(licenseId, notAfter);
        if (holder == address(ledger)) revert EscrowNotReturned(licenseId);
        uint256 prints = balanceOf(holder, licenseId);
        if (prints == 0) return 0;
        // Nobody holds more than the cap.
        // forge-lint: disable-next-line(unsafe-typecast)
        return _return(licenseId, holder, uint40(prints));
    }

    /// @inheritdoc IPrintLicense
    function withdraw(address currency, address to) external nonReentrant returns (uint256 amount) {
        return _withdraw(msg.sender, currency, to);
    }

    /// @inheritdoc IPrintLicense
    function withdrawBySig(Withdrawal calldata withdrawal, bytes calldata signature)
        external
        nonReentrant
        returns (uint256 amount)
    {
        (address payee, address currency) = (withdrawal.payee, withdrawal.currency);
        bytes32 digest = _hashTypedDataV4(withdrawal.hash());
        if (_isNew(payee, withdrawal.nonce, withdrawal.deadline, digest, signature)) {
            amount = owed[payee][currency];
            if (amount == 0 || amount < withdrawal.atLeast) {
                revert OwedTooLittle(payee, currency, amount, withdrawal.atLeast);
            }
            _withdraw(payee, currency, withdrawal.to);
        }
    }

    /// @inheritdoc IPrintLicense
    function withdrawFor(address payee, address currency) external nonReentrant returns (uint256 amount) {
        return _withdraw(payee, currency, payee);
    }

    // --- the ledger's -------------------------------------------------------------------------------------------

    /// @inheritdoc IPrintLicense
    function escrow(
        uint256 licenseId,
        address holder,
        address gateway,
        uint16 revision,
        uint256 prints,
        uint16 smallest,
        uint40 latest
    ) external onlyLedger returns (uint16 sparesFlat, uint16 sparesPerHundred) {
        Record storage record = _known(licenseId);
        if (gateway != record.gateway) revert GatewayMismatch(licenseId, record.gateway, gateway);
        Counts memory counts = record.counts;
        if (revision != counts.revision) revert RevisionMismatch(licenseId, counts.revision, revision);
        if (smallest < counts.smallestReservation) {
            revert ReservationTooSmall(licenseId, smallest, counts.smallestReservation);
        }
        if (block.timestamp < counts.notBefore) revert LicenseNotBegun(licenseId, counts.notBefore);
        if (latest > counts.notAfter) revert ExpiryAfterLicense(licenseId, latest, counts.notAfter);
        _requirePrintable(record.designId, revision);
        _move(holder, address(ledger), licenseId, prints);
        return (counts.sparesFlat, counts.sparesPerHundred);
    }

    /// @inheritdoc IPrintLicense
    function burn(uint256 licenseId, uint256 prints) external onlyLedger nonReentrant {
        _burn(address(ledger), licenseId, prints);
        Record storage record = _records[licenseId];
        uint8 flags = record.counts.flags;
        if (flags & AS_PRINTED == 0) return;
        uint256 designId = record.designId;
        _credit(licenseId, designId, registry.ownerOf(designId), flags, record.token, prints * record.price);
    }

    /// @inheritdoc IPrintLicense
    function release(uint256 licenseId, address holder, uint256 prints) external onlyLedger {
        _move(address(ledger), holder, licenseId, prints);
    }

    // --- views --------------------------------------------------------------------------------------------------

    /// @inheritdoc IPrintLicense
    function termsOf(uint256 licenseId) external view returns (License memory) {
        Record memory record = _known(licenseId);
        Counts memory counts = record.counts;
        return License({
            designId: record.designId,
            termsDigest: record.termsDigest,
            gateway: record.gateway,
            price: record.price,
            cap: counts.cap,
            minted: counts.minted,
            notBefore: counts.notBefore,
            notAfter: counts.notAfter,
            sparesFlat: counts.sparesFlat,
            sparesPerHundred: counts.sparesPerHundred,
            smallestReservation: counts.smallestReservation,
            revision: counts.revision,
            transferable: counts.flags & TRANSFERABLE != 0,
            payout: counts.flags & AS_PRINTED == 0 ? 0 : 1,
            onSale: counts.flags & ON_SALE != 0,
            currency: record.token
        });
    }

    /// @inheritdoc IPrintLicense
    function sparesOf(uint256 licenseId, uint16 prints) external view returns (uint256) {
        Counts storage counts = _known(licenseId).counts;
        return Spares.most(prints, counts.sparesFlat, counts.sparesPerHundred);
    }

    /// @inheritdoc IERC2981
    function royaltyInfo(uint256 licenseId, uint256 salePrice)
        external
        view
        returns (address receiver, uint256 amount)
    {
        return registry.royaltyInfo(_known(licenseId).designId, salePrice);
    }

    /// @inheritdoc IPrintLicense
    function licenseIdOf(Terms calldata terms) public view returns (uint256 licenseId) {
        return uint256(_hashTypedDataV4(terms.hash()));
    }

    /// @inheritdoc IERC1155MetadataURI
    function uri(uint256 licenseId) public view override(ERC1155, IERC1155MetadataURI) returns (string memory) {
        return Metadata.ofLicense(_known(licenseId).termsDigest);
    }

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 interfaceId) public view override(ERC1155, IERC165) returns (bool) {
        return interfaceId == type(IERC2981).interfaceId || super.supportsInterface(interfaceId);
    }

    // --- inside -------------------------------------------------------------------------------------------------

    /// @dev Every way that units take from holder to holder ends here. The ledger moves what was signed for; it has
    /// no receiver hook, so nothing else ever arrives there.
    function _update(address from, address to, uint256[] memory ids, uint256[] memory values) internal override {
        if (from != address(0) && to != address(0) && msg.sender != address(ledger)) {
            for (uint256 i = 0; i < ids.length; ++i) {
                if (_records[ids[i]].counts.flags & TRANSFERABLE == 0) revert TransferForbidden(ids[i]);
            }
        }
        super._update(from, to, ids, values);
    }

    function _offer(
        uint256 licenseId,
        Terms calldata terms,
        bool onSale,
        Acceptance calldata acceptance,
        bytes calldata acceptanceSignature
    ) private returns (address owner) {
        _requireSound(terms);
        uint40 edition;
        bool printable;
        bool derived;
        (owner, edition, printable, derived) = registry.standingOf(terms.designId, acceptance.revision);
        if (edition != 0 && terms.cap > edition) revert CapAboveEdition(terms.cap, edition);
        if (!printable) revert RevisionNotPrintable(terms.designId, acceptance.revision);
        _requireAccepted(terms.designId, terms.termsDigest, terms.gateway, acceptance, acceptanceSignature);
        Record storage record = _records[licenseId];
        record.designId = terms.designId;
        record.termsDigest = terms.termsDigest;
        (record.gateway, record.price) = (terms.gateway, terms.price);
        record.counts = Counts({
            cap: terms.cap,
            minted: 0,
            notBefore: terms.notBefore,
            notAfter: terms.notAfter,
            sparesFlat: terms.sparesFlat,
            sparesPerHundred: terms.sparesPerHundred,
            smallestReservation: terms.smallestReservation,
            revision: acceptance.revision,
            flags: (onSale ? ON_SALE : 0) | (terms.transferable ? TRANSFERABLE : 0) | (edition != 0 ? LIMITED : 0)
                | (derived ? DERIVED : 0) | (terms.currency != address(0) ? TOKEN : 0)
                | (terms.payout != 0 ? AS_PRINTED : 0)
        });
        if (terms.currency != address(0)) record.token = terms.currency;
        emit LicenseOffered(
            licenseId, terms.designId, terms.gateway, acceptance.revision, acceptance.keyCommitment, terms, onSale
        );
    }

    function _setSale(uint256 licenseId, bool onSale) private {
        Counts storage counts = _records[licenseId].counts;
        uint8 flags = counts.flags;
        if ((flags & ON_SALE != 0) == onSale) return;
        counts.flags = flags ^ ON_SALE;
        emit SaleSet(licenseId, onSale);
    }

    function _setGateway(
        uint256 licenseId,
        address gateway,
        Acceptance calldata acceptance,
        bytes calldata acceptanceSignature
    ) private {
        Record storage record = _records[licenseId];
        if (gateway == record.gateway) return;
        uint16 accepted = record.counts.revision;
        if (acceptance.revision < accepted) revert RevisionNotRaised(licenseId, accepted, acceptance.revision);
        _requireAccepted(record.designId, record.termsDigest, gateway, acceptance, acceptanceSignature);
        _requirePrintable(acceptance.designId, acceptance.revision);
        record.gateway = gateway;
        record.counts.revision = acceptance.revision;
        emit LicenseMoved(licenseId, gateway, acceptance.revision, acceptance.keyCommitment);
    }

    function _giveBatch(Grant[] calldata grants, address giver) private {
        for (uint256 i = 0; i < grants.length; ++i) {
            _give(grants[i].licenseId, grants[i].to, grants[i].prints, giver);
        }
    }

    /// @dev `giver` sent or signed for it, and must own the design.
    function _give(uint256 licenseId, address to, uint40 prints, address giver) private {
        Record storage record = _known(licenseId);
        Counts memory counts = record.counts;
        if (counts.flags & AS_PRINTED != 0) revert SoldOnly(licenseId);
        uint256 designId = record.designId;
        _count(licenseId, designId, record.counts, counts, prints);
        _requireOwner(designId, giver);
        _mint(to, licenseId, prints, "");
    }

    function _sell(uint256 licenseId, address to, uint40 prints) private {
        Record storage record = _known(licenseId);
        Counts memory counts = record.counts;
        if (counts.flags & ON_SALE == 0) revert NotOnSale(licenseId);
        if (block.timestamp > counts.notAfter) revert LicenseEnded(licenseId, counts.notAfter);
        uint256 designId = record.designId;
        (address owner,, bool printable,) = registry.standingOf(designId, counts.revision);
        if (!printable) revert RevisionNotPrintable(designId, counts.revision);
        _count(licenseId, designId, record.counts, counts, prints);
        address token = counts.flags & TOKEN == 0 ? address(0) : record.token;
        uint256 price = uint256(record.price) * prints;
        if (counts.flags & AS_PRINTED == 0) _credit(licenseId, designId, owner, counts.flags, token, price);
        emit PrintsSold(licenseId, msg.sender, to, prints, price);
        _collect(token, price);
        _mint(to, licenseId, prints, "");
    }

    /// @dev The money is here afterwards, exactly.
    function _collect(address token, uint256 price) private {
        uint256 coins = token == address(0) ? price : 0;
        if (msg.value != coins) revert PaymentMismatch(coins, msg.value);
        if (token == address(0) || price == 0) return;
        uint256 before = IERC20(token).balanceOf(address(this));
        IERC20(token).safeTransferFrom(msg.sender, address(this), price);
        uint256 present = IERC20(token).balanceOf(address(this));
        uint256 received = present < before ? 0 : present - before;
        if (received != price) revert PaymentMismatch(price, received);
    }

    function _return(uint256 licenseId, address holder, uint40 prints) private returns (uint256 refund) {
        Record storage record = _known(licenseId);
        Counts memory counts = record.counts;
        if (counts.flags & AS_PRINTED == 0) revert NotReturnable(licenseId);
        if (prints == 0) revert PrintsZero();
        _burn(holder, licenseId, prints);
        record.counts.minted = counts.minted - prints;
        if (counts.flags & LIMITED != 0) editionMinted[record.designId] -= prints;
        refund = uint256(record.price) * prints;
        owed[holder][record.token] += refund;
        emit PrintsReturned(licenseId, holder, prints, refund);
    }

    /// @dev Books what a licence earned to those who are owed it. Calls nobody but the registry.
    function _credit(uint256 licenseId, uint256 designId, address owner, uint8 flags, address currency, uint256 amount)
        private
    {
        if (flags & DERIVED == 0) return _creditOne(licenseId, owner, currency, amount);
        (address[] memory payees, uint256[] memory amounts) = registry.payeesOf(designId, amount);
        for (uint256 i = 0; i < payees.length; ++i) {
            _creditOne(licenseId, payees[i], currency, amounts[i]);
        }
    }

    function _creditOne(uint256 licenseId, address payee, address currency, uint256 amount) private {
        if (amount == 0) return;
        owed[payee][currency] += amount;
        emit Credited(licenseId, payee, currency, amount);
    }

    /// @dev Counts prints against the cap and the edition; the caller answers for who may. `counts` is what `stored`
    /// holds.
    function _count(uint256 licenseId, uint256 designId, Counts storage stored, Counts memory counts, uint40 prints)
        private
    {
        if (prints == 0) revert PrintsZero();
        uint40 left = counts.cap - counts.minted;
        if (prints > left) revert CapExceeded(licenseId, prints, left);
        if (counts.flags & LIMITED != 0) {
            uint40 ofDesign = editionMinted[designId];
            uint40 edition = registry.editionOf(designId);
            // The owner may have lowered it below what was minted.
            left = edition < ofDesign ? 0 : edition - ofDesign;
            if (prints > left) revert EditionExceeded(designId, prints, left);
            editionMinted[designId] = ofDesign + prints;
        }
        stored.minted = counts.minted + prints;
    }

    /// @dev Moves units without calling the receiver.
    function _move(address from, address to, uint256 licenseId, uint256 prints) private {
        uint256[] memory ids = new uint256[](1);
        uint256[] memory values = new uint256[](1);
        ids[0] = licenseId;
        values[0] = prints;
        _update(from, to, ids, values);
    }

    function _withdraw(address payee, address currency, address to) private returns (uint256 amount) {
        amount = owed[payee][currency];
        if (amount == 0) return 0;
        owed[payee][currency] = 0;
        emit Withdrawn(payee, currency, to, amount);
        bool paid;
        if (currency == address(0)) {
            (paid,) = to.call{value: amount}("");
        } else {
            paid = IERC20(currency).trySafeTransfer(to, amount);
        }
        if (!paid) revert PaymentRefused(to, amount);
    }

    function _requireOwner(uint256 designId, address account) private view {
        if (account != registry.ownerOf(designId)) revert NotDesignOwner(designId, account);
    }

    function _requirePrintable(uint256 designId, uint16 revision) private view {
        if (!registry.isPrintable(designId, revision)) revert RevisionNotPrintable(designId, revision);
    }

    function _requireAccepted(
        uint256 designId,
        bytes32 termsDigest,
        address gateway,
        Acceptance calldata acceptance,
        bytes calldata acceptanceSignature
    ) private view {
        if (acceptance.gateway != gateway || acceptance.designId != designId || acceptance.termsDigest != termsDigest) {
            revert AcceptanceMismatch(acceptance.gateway, acceptance.designId, acceptance.termsDigest);
        }
        Signatures.requireInTime(acceptance.deadline);
        ledger.requireGatewaySigned(gateway, _hashTypedDataV4(acceptance.hash()), acceptanceSignature);
    }

    /// @dev What terms must be by themselves.
    function _requireSound(Terms calldata terms) private view {
        if (terms.currency != address(0) && terms.currency.code.length == 0) revert CurrencyInvalid(terms.currency);
        if (terms.payout > 1) revert PayoutInvalid(terms.payout);
        if (terms.payout != 0 && terms.price == 0) revert PriceZero();
        uint256 cap = terms.cap;
        if (cap == 0) revert CapZero();
        if (terms.notAfter < terms.notBefore || terms.notAfter < block.timestamp) {
            revert WindowInvalid(terms.notBefore, terms.notAfter);
        }
        uint256 smallest = terms.smallestReservation;
        if (smallest == 0 || smallest > cap) revert SmallestReservationInvalid(terms.smallestReservation, terms.cap);
        if (terms.sparesPerHundred > HIGHEST_SPARES_PER_HUNDRED) revert SparesExcessive(terms.sparesPerHundred, 100);
        uint256 spares = Spares.most(smallest, terms.sparesFlat, terms.sparesPerHundred);
        if (2 * spares > smallest) revert SparesExcessive(spares, smallest);
        uint256 largest = cap < type(uint16).max ? cap : type(uint16).max;
        spares = Spares.most(largest, terms.sparesFlat, terms.sparesPerHundred);
        if (largest + spares > type(uint16).max) revert ReservationTooLarge(largest, spares);
    }

    function _known(uint256 licenseId) private view returns (Record storage record) {
        record = _records[licenseId];
        if (record.counts.cap == 0) revert LicenseUnknown(licenseId);
    }
}
