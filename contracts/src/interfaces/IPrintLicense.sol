// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IDesignRegistry} from "./IDesignRegistry.sol";
import {IPrintLedger} from "./IPrintLedger.sol";
import {IStatements} from "./IStatements.sol";
import {IERC1155MetadataURI} from "@openzeppelin/contracts/interfaces/IERC1155MetadataURI.sol";
import {IERC2981} from "@openzeppelin/contracts/interfaces/IERC2981.sol";
import {IERC5267} from "@openzeppelin/contracts/interfaces/IERC5267.sol";

/// @title Who may print how many, on which terms
/// @notice An ERC-1155: an id is a licence, one unit is one print of the product. Terms are immutable once offered;
/// their EIP-712 digest is the licence's id. A licence carries the gateway's acceptance, so that nobody offers
/// what cannot be delivered. Money is booked and pulled, never pushed.
///
/// Payout is at purchase (0) or as printed (1). At purchase, the price is owed at once to the design's owner of now and,
/// by their shares, to the owners of its line of parents (`IDesignRegistry.payeesOf`). As printed, the price backs the
/// unit: it becomes theirs when the print is counted, or is the holder's again when the unit is returned unreserved, by
/// its holder at any time, by anybody once the licence has ended;
/// such units are sold only, so that each is backed. The contract holds at least what it owes and backs.
///
/// `uri` is a data URI that the contract writes itself (ERC-1155 metadata, with `{id}`); it names the terms document.
///
/// Nobody owns the contract. Its constructor makes the ledger, the only account that may escrow, burn and release.
///
/// Assumptions. Safety: the registry and the ledger are the contracts of this deployment; OpenZeppelin's ERC1155 keeps
/// balances. A currency can harm those only who buy or sell for it: it may take a fee, lie, re-enter or pause, and
/// books of other currencies stay as they are; one that changes balances by itself (rebasing) can leave the last payees
/// short. Everything that moves money or makes units is behind one transient guard: while a currency, a receiver or a
/// payee is called, such functions and a settlement that burns revert. Liveness: a contract that is to hold units accepts
/// ERC-1155; a payee's `withdraw` names an account that takes the currency.
interface IPrintLicense is IStatements, IERC1155MetadataURI, IERC2981, IERC5267 {
    /// @notice The terms of a licence.
    /// @param designId The design.
    /// @param termsDigest SHA-256 of the terms document.
    /// @param currency Zero, the chain's coin, or the contract of an ERC-20.
    /// @param price For one print, in the currency's smallest unit.
    /// @param gateway The gateway that accepted the terms and serves the reservations.
    /// @param cap Prints of this licence at most, given and sold; 1 and up.
    /// @param notBefore Reserving begins (Unix seconds); buying before is a presale.
    /// @param notAfter Reserving and buying end; no reservation expires later.
    /// @param sparesFlat Failed prints that a reservation gives back in any case.
    /// @param sparesPerHundred And for each hundred of its prints, rounded down; 50 at most.
    /// @param smallestReservation Prints of a reservation at least; 1 to `cap`.
    /// @param transferable Whether holders may pass units on.
    /// @param payout 0 at purchase, 1 as printed.
    /// @param salt Tells otherwise equal licences apart.
    struct Terms {
        uint256 designId;
        bytes32 termsDigest;
        address currency;
        uint96 price;
        address gateway;
        uint40 cap;
        uint40 notBefore;
        uint40 notAfter;
        uint16 sparesFlat;
        uint16 sparesPerHundred;
        uint16 smallestReservation;
        bool transferable;
        uint8 payout;
        bytes32 salt;
    }

    /// @notice A gateway's word, by its account or an operator: it holds the key of this revision, compared every hash
    /// and serves these terms.
    /// @param gateway Who speaks: an operator that acts for several gateways speaks for this one alone.
    struct Acceptance {
        address gateway;
        uint256 designId;
        uint16 revision;
        bytes32 keyCommitment;
        bytes32 termsDigest;
        uint40 deadline;
    }

    /// @notice Prints given by the design's owner. `nonce` as in IStatements, here and below.
    /// @param owner Who signs, and must own the design when this is brought.
    struct Mint {
        address owner;
        uint256 licenseId;
        address to;
        uint40 prints;
        uint256 nonce;
        uint40 deadline;
    }

    /// @notice Prints for one account.
    struct Grant {
        uint256 licenseId;
        address to;
        uint40 prints;
    }

    /// @notice Prints given by the owner of their designs, all or none.
    struct MintBatch {
        address owner;
        Grant[] grants;
        uint256 nonce;
        uint40 deadline;
    }

    /// @notice The design's owner opens or ends the sale to strangers.
    /// @param owner As in `Mint`.
    struct Sale {
        address owner;
        uint256 licenseId;
        bool onSale;
        uint256 nonce;
        uint40 deadline;
    }

    /// @notice The design's owner moves a licence to another gateway.
    /// @param owner As in `Mint`.
    struct Move {
        address owner;
        uint256 licenseId;
        address gateway;
        uint256 nonce;
        uint40 deadline;
    }

    /// @notice A holder returns prints, paid as printed, for their price.
    struct Return {
        address holder;
        uint256 licenseId;
        uint40 prints;
        uint256 nonce;
        uint40 deadline;
    }

    /// @notice A payee takes what it is owed, to any account.
    /// @param atLeast What must be owed when this is brought, so that no dust uses it up.
    struct Withdrawal {
        address payee;
        address currency;
        address to;
        uint256 atLeast;
        uint256 nonce;
        uint40 deadline;
    }

    /// @notice What the chain's state knows of a licence.
    /// @param gateway Who serves new reservations.
    /// @param minted Prints given and sold, less those returned for their price.
    /// @param revision The newest revision that the gateway accepted; reservations name it.
    struct License {
        uint256 designId;
        bytes32 termsDigest;
        address gateway;
        uint96 price;
        uint40 cap;
        uint40 minted;
        uint40 notBefore;
        uint40 notAfter;
        uint16 sparesFlat;
        uint16 sparesPerHundred;
        uint16 smallestReservation;
        uint16 revision;
        bool transferable;
        uint8 payout;
        bool onSale;
        address currency;
    }

    event LicenseOffered(
        uint256 indexed licenseId,
        uint256 indexed designId,
        address indexed gateway,
        uint16 revision,
        bytes32 keyCommitment,
        Terms terms,
        bool onSale
    );
    event LicenseAccepted(uint256 indexed licenseId, uint16 revision, bytes32 keyCommitment);
    event LicenseMoved(uint256 indexed licenseId, address indexed gateway, uint16 revision, bytes32 keyCommitment);
    event SaleSet(uint256 indexed licenseId, bool onSale);
    /// @notice Prints were sold, and paid or backed. Making units says `TransferSingle` from zero, one for each act or grant;
    /// what no PrintsSold stands for was given.
    event PrintsSold(uint256 indexed licenseId, address indexed buyer, address indexed to, uint40 prints, uint256 paid);
    event PrintsReturned(uint256 indexed licenseId, address indexed holder, uint40 prints, uint256 refund);
    /// @notice A licence earned a payee an amount: at purchase its price, as printed that of the prints counted.
    event Credited(uint256 indexed licenseId, address indexed payee, address indexed currency, uint256 amount);
    event Withdrawn(address indexed payee, address indexed currency, address indexed to, uint256 amount);

    /// @notice No licence has this id.
    error LicenseUnknown(uint256 licenseId);
    /// @notice Only the design's owner may send this, or have signed it.
    error NotDesignOwner(uint256 designId, address account);
    /// @notice Only the ledger may send this.
    error NotLedger(address sender);
    /// @notice A currency is a contract; permits are for one.
    error CurrencyInvalid(address currency);
    /// @notice Payout is 0 or 1.
    error PayoutInvalid(uint8 payout);
    /// @notice A licence paid as printed has a price.
    error PriceZero();
    /// @notice A licence is for one print at least.
    error CapZero();
    /// @notice The cap is above the design's edition.
    error CapAboveEdition(uint40 cap, uint40 edition);
    /// @notice Reserving would end before it begins, or has ended.
    error WindowInvalid(uint40 notBefore, uint40 notAfter);
    /// @notice The smallest reservation is 1 to the cap.
    error SmallestReservationInvalid(uint16 smallestReservation, uint40 cap);
    /// @notice The spares of the smallest reservation are more than half of it, or more than 50 in a hundred.
    error SparesExcessive(uint256 spares, uint256 prints);
    /// @notice Prints and spares of the largest reservation pass 65,535.
    error ReservationTooLarge(uint256 prints, uint256 spares);
    /// @notice The acceptance is another gateway's, or for another design or another terms document.
    error AcceptanceMismatch(address gateway, uint256 designId, bytes32 termsDigest);
    /// @notice The gateway has not declared its keys and address.
    error GatewayUndeclared(address gateway);
    /// @notice The revision does not exist or is recalled.
    error RevisionNotPrintable(uint256 designId, uint16 revision);
    /// @notice An acceptance only raises the revision; `accepted` stands.
    error RevisionNotRaised(uint256 licenseId, uint16 accepted, uint16 revision);
    /// @notice An act of no prints.
    error PrintsZero();
    /// @notice The licence has `left` prints left.
    error CapExceeded(uint256 licenseId, uint40 prints, uint40 left);
    /// @notice The design's edition has `left` prints left, over all its licences.
    error EditionExceeded(uint256 designId, uint40 prints, uint40 left);
    /// @notice Units of this licence are backed by their price: sold only, never given.
    error SoldOnly(uint256 licenseId);
    /// @notice The price of this licence's units was paid out at purchase.
    error NotReturnable(uint256 licenseId);
    /// @notice Strangers may not buy: the licence is not on sale.
    error NotOnSale(uint256 licenseId);
    /// @notice The licence ended at `notAfter`.
    error LicenseEnded(uint256 licenseId, uint40 notAfter);
    /// @notice Until `notAfter` prints are returned by their holder alone.
    error LicenseNotEnded(uint256 licenseId, uint40 notAfter);
    /// @notice What is reserved is the ledger's to burn or to release.
    error EscrowNotReturned(uint256 licenseId);
    /// @notice The payment is exact: price times prints in the licence's currency, and no coins beside a token.
    error PaymentMismatch(uint256 expected, uint256 received);
    /// @notice The account refused its coins, or the currency to move.
    error PaymentRefused(address to, uint256 amount);
    /// @notice The payee is owed less than its withdrawal asks for, or nothing.
    error OwedTooLittle(address payee, address currency, uint256 owed, uint256 atLeast);
    /// @notice Units of this licence are not passed on.
    error TransferForbidden(uint256 licenseId);
    /// @notice The licence is served by `gateway`.
    error GatewayMismatch(uint256 licenseId, address gateway, address given);
    /// @notice Reservations name the accepted revision.
    error RevisionMismatch(uint256 licenseId, uint16 accepted, uint16 revision);
    /// @notice Fewer prints than the smallest reservation.
    error ReservationTooSmall(uint256 licenseId, uint16 prints, uint16 smallestReservation);
    /// @notice Reserving begins at `notBefore`.
    error LicenseNotBegun(uint256 licenseId, uint40 notBefore);
    /// @notice A reservation expires at `notAfter` at the latest.
    error ExpiryAfterLicense(uint256 licenseId, uint40 expiresAt, uint40 notAfter);

    /// @notice Offer a licence; the sender owns the design. A known licence changes nothing.
    /// @dev Reverts: CurrencyInvalid, PayoutInvalid, PriceZero, CapZero, WindowInvalid, SmallestReservationInvalid,
    /// SparesExcessive, ReservationTooLarge, DesignUnknown, CapAboveEdition, NotDesignOwner,
    /// AcceptanceMismatch, DeadlinePassed, RevisionNotPrintable, GatewayUndeclared, SignatureInvalid (gateway).
    /// @param onSale Whether strangers may buy at the price; changed by `setSale`.
    /// @return licenseId The EIP-712 digest of the terms.
    function offer(
        Terms calldata terms,
        bool onSale,
        Acceptance calldata acceptance,
        bytes calldata acceptanceSignature
    ) external returns (uint256 licenseId);

    /// @notice Offer what the design's owner signed as `Offer(terms, onSale, deadline)`.
    /// @dev Reverts: as `offer`, and DeadlinePassed, SignatureInvalid (owner) in place of NotDesignOwner.
    function offerBySig(
        Terms calldata terms,
        bool onSale,
        uint40 deadline,
        bytes calldata signature,
        Acceptance calldata acceptance,
        bytes calldata acceptanceSignature
    ) external returns (uint256 licenseId);

    /// @notice Raise the revision to one that the gateway accepted; anybody may bring it, the same again changes
    /// nothing.
    /// @dev Reverts: LicenseUnknown, RevisionNotRaised, AcceptanceMismatch, DeadlinePassed, RevisionNotPrintable,
    /// GatewayUndeclared, SignatureInvalid.
    function accept(uint256 licenseId, Acceptance calldata acceptance, bytes calldata acceptanceSignature) external;

    /// @notice Open or end the sale to strangers; the sender owns the design.
    /// @dev Reverts: LicenseUnknown, NotDesignOwner.
    function setSale(uint256 licenseId, bool onSale) external;

    /// @notice Open or end the sale as the design's owner signed; the same one again changes nothing.
    /// @dev Reverts: NonceUsed, DeadlinePassed, SignatureInvalid, LicenseUnknown, NotDesignOwner.
    function setSaleBySig(Sale calldata sale, bytes calldata signature) external;

    /// @notice Move a licence to a gateway that accepts it; the sender owns the design. New reservations name the new
    /// gateway; those made before settle, close and return with the old one. The present gateway changes nothing.
    /// @dev Reverts: LicenseUnknown, NotDesignOwner, RevisionNotRaised (the acceptance is of an older revision than the
    /// accepted one), AcceptanceMismatch, DeadlinePassed, RevisionNotPrintable, GatewayUndeclared, SignatureInvalid
    /// (gateway).
    function setGateway(
        uint256 licenseId,
        address gateway,
        Acceptance calldata acceptance,
        bytes calldata acceptanceSignature
    ) external;

    /// @notice Move a licence as the design's owner signed; the same one again changes nothing.
    /// @dev Reverts: as `setGateway` (NotDesignOwner: `move.owner` does not own it), and NonceUsed, DeadlinePassed,
    /// SignatureInvalid (owner).
    function setGatewayBySig(
        Move calldata move,
        bytes calldata signature,
        Acceptance calldata acceptance,
        bytes calldata acceptanceSignature
    ) external;

    /// @notice Give prints; the sender owns the design.
    /// @dev Reverts: LicenseUnknown, SoldOnly, PrintsZero, CapExceeded, EditionExceeded, NotDesignOwner, and what the receiving
    /// contract reverts with.
    function mint(uint256 licenseId, address to, uint40 prints) external;

    /// @notice Give prints as the design's owner signed; the same one again changes nothing.
    /// @dev Reverts: as `mint` (NotDesignOwner: `minting.owner` does not own it), and DeadlinePassed, NonceUsed,
    /// SignatureInvalid.
    function mintBySig(Mint calldata minting, bytes calldata signature) external;

    /// @notice Give prints of several licences to several accounts, all or none; the sender owns all the designs.
    /// @dev Reverts: as `mint`.
    function mintBatch(Grant[] calldata grants) external;

    /// @notice Give prints as `minting.owner` signed; the same one again changes nothing.
    /// @dev Reverts: as `mint` (NotDesignOwner: `minting.owner` does not own it), and DeadlinePassed, NonceUsed,
    /// SignatureInvalid.
    function mintBatchBySig(MintBatch calldata minting, bytes calldata signature) external;

    /// @notice Buy prints at the price, for `to`, with coins sent along or tokens that the sender approved.
    /// @dev A token that takes a fee is refused by PaymentMismatch, one that fails by what it reverts with or
    /// SafeERC20FailedOperation. Reverts: LicenseUnknown, NotOnSale, LicenseEnded, PrintsZero, CapExceeded,
    /// EditionExceeded, RevisionNotPrintable, PaymentMismatch, and what the receiving contract reverts with.
    function purchase(uint256 licenseId, address to, uint40 prints) external payable;

    /// @notice Buy prints for tokens that an EIP-2612 permit of the sender for exactly the price approves. When the permit
    /// fails (somebody may have sent it first), the allowance that stands decides.
    /// @dev Reverts: as `purchase`, and CurrencyInvalid for the chain's coin.
    function purchaseWithPermit(
        uint256 licenseId,
        address to,
        uint40 prints,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external;

    /// @notice Return prints that are paid as printed and not reserved, for their price; the sender holds them. The
    /// refund is owed to the holder, and the prints may be sold anew.
    /// @dev Reverts: LicenseUnknown, NotReturnable, PrintsZero, ERC1155InsufficientBalance.
    /// @return refund In the licence's currency.
    function returnPrints(uint256 licenseId, uint40 prints) external returns (uint256 refund);

    /// @notice Return prints as their holder signed; the same one again changes nothing and returns 0.
    /// @dev Reverts: as `returnPrints`, and DeadlinePassed, NonceUsed, SignatureInvalid.
    function returnPrintsBySig(Return calldata returned, bytes calldata signature) external returns (uint256 refund);

    /// @notice Return all that a holder has of an ended licence, paid as printed and not reserved, for its price; anybody may,
    /// so that prints which can be reserved no more do not hold the design's edition for ever. The refund is owed to the
    /// holder. Nothing held changes nothing.
    /// @dev After `notAfter` a unit is worth its price and no print: a contract that keeps units of others gives them back
    /// before, since it is owed what it holds. Reverts: LicenseUnknown, LicenseNotEnded, EscrowNotReturned, NotReturnable.
    /// @return refund In the licence's currency.
    function returnPrintsFor(uint256 licenseId, address holder) external returns (uint256 refund);

    /// @notice Take what the sender is owed, to any account. Nothing owed changes nothing.
    /// @dev Reverts: PaymentRefused.
    function withdraw(address currency, address to) external returns (uint256 amount);

    /// @notice Take all that a payee is owed to the account that it signed; the same one again changes nothing and returns
    /// 0. While less than `atLeast`, or nothing, is owed, it is refused and keeps its number: who brings it sees why, and
    /// nobody can use it up with dust.
    /// @dev Reverts: OwedTooLittle, PaymentRefused, NonceUsed, DeadlinePassed, SignatureInvalid.
    function withdrawBySig(Withdrawal calldata withdrawal, bytes calldata signature) external returns (uint256 amount);

    /// @notice Send a payee what it is owed; anybody may, so that contracts that own designs without knowing of this
    /// one are paid too.
    /// @dev Reverts: PaymentRefused.
    function withdrawFor(address payee, address currency) external returns (uint256 amount);

    /// @notice Take the prints of one or more reservations from their holder into escrow, when the terms allow them.
    /// Ledger only.
    /// @dev Reverts: NotLedger, LicenseUnknown, GatewayMismatch, RevisionMismatch, ReservationTooSmall,
    /// LicenseNotBegun, ExpiryAfterLicense, RevisionNotPrintable, ERC1155InsufficientBalance.
    /// @param prints Of all the reservations together.
    /// @param smallest Prints of the smallest of them.
    /// @param latest Expiry of the one that expires last.
    /// @return sparesFlat Spares of each reservation (see Terms).
    /// @return sparesPerHundred And for each hundred of its prints.
    function escrow(
        uint256 licenseId,
        address holder,
        address gateway,
        uint16 revision,
        uint256 prints,
        uint16 smallest,
        uint40 latest
    ) external returns (uint16 sparesFlat, uint16 sparesPerHundred);

    /// @notice Burn escrowed prints and, where payout is as printed, owe their price to the payees; no payee is called.
    /// Ledger only; reverts NotLedger.
    function burn(uint256 licenseId, uint256 prints) external;

    /// @notice Give escrowed prints back to their holder, without calling it. Ledger only; reverts NotLedger.
    function release(uint256 licenseId, address holder, uint256 prints) external;

    /// @notice The id that terms have or would get.
    function licenseIdOf(Terms calldata terms) external view returns (uint256 licenseId);

    /// @notice What is stored of a licence. Reverts: LicenseUnknown.
    function termsOf(uint256 licenseId) external view returns (License memory);

    /// @notice Failed prints that a reservation of `prints` gives back at most. Reverts: LicenseUnknown.
    function sparesOf(uint256 licenseId, uint16 prints) external view returns (uint256);

    /// @notice What a payee may take, in the currency's smallest unit.
    function owed(address payee, address currency) external view returns (uint256);

    /// @notice Prints given and sold over all licences of a design; counted for designs with an edition only.
    function editionMinted(uint256 designId) external view returns (uint40);

    /// @notice The registry of this deployment.
    function registry() external view returns (IDesignRegistry);

    /// @notice The ledger of this deployment.
    function ledger() external view returns (IPrintLedger);
}
