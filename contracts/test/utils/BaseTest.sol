// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IDesignRegistry} from "../../src/interfaces/IDesignRegistry.sol";
import {IPrintLedger} from "../../src/interfaces/IPrintLedger.sol";
import {IPrintLicense} from "../../src/interfaces/IPrintLicense.sol";
import {Digests} from "./Digests.sol";
import {Vm} from "./Vm.sol";
import {IERC5267} from "@openzeppelin/contracts/interfaces/IERC5267.sol";

/// @title A fresh deployment with its people, and statements that are right unless a test spoils them
abstract contract BaseTest {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    uint256 internal constant DESIGNER_KEY = 0xA1;
    uint256 internal constant HOLDER_KEY = 0xA2;
    uint256 internal constant GATEWAY_KEY = 0xA3;
    uint256 internal constant OPERATOR_KEY = 0xA4;
    uint256 internal constant AGENT_KEY = 0xA5;
    uint256 internal constant STRANGER_KEY = 0xA6;
    uint256 internal constant ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;

    uint40 internal constant START = 1_800_000_000;
    bytes32 internal constant SALT = keccak256("salt");
    bytes32 internal constant FILES_ROOT = keccak256("files");
    bytes32 internal constant MANIFEST = keccak256("manifest");
    bytes32 internal constant TERMS_DIGEST = keccak256("terms");
    bytes32 internal constant KEY_COMMITMENT = keccak256("key");
    bytes32 internal constant PROFILE = keccak256("profile");

    address internal immutable designer = vm.addr(DESIGNER_KEY);
    address internal immutable holder = vm.addr(HOLDER_KEY);
    address internal immutable gateway = vm.addr(GATEWAY_KEY);
    address internal immutable operator = vm.addr(OPERATOR_KEY);
    address internal immutable agent = vm.addr(AGENT_KEY);
    address internal immutable stranger = vm.addr(STRANGER_KEY);

    IDesignRegistry internal registry;
    IPrintLicense internal license;
    IPrintLedger internal ledger;
    Digests internal digests;
    /// @dev By revision, made once: sha256 is a call too, and would use up a prank or an expectation.
    mapping(uint16 revision => bytes32) internal commitments;

    function setUp() public virtual {
        for (uint16 revision = 1; revision <= 3; ++revision) {
            commitments[revision] = commitmentOf(designer, saltOf(revision), FILES_ROOT);
        }
        vm.warp(START);
        registry = IDesignRegistry(vm.deployCode(artifact("DesignRegistry")));
        license = IPrintLicense(vm.deployCode(artifact("PrintLicense"), abi.encode(registry)));
        ledger = license.ledger();
        digests = new Digests();
        vm.prank(gateway);
        ledger.declareGateway(PROFILE, false);
    }

    /// @dev The file that `forge build` wrote, or, where coverage is measured, the code that forge instrumented.
    function artifact(string memory name) internal view returns (string memory) {
        string memory file = string.concat(name, ".sol");
        return vm.envOr("MEASURE_COVERAGE", false)
            ? string.concat(file, ":", name)
            : string.concat("out/", file, "/", name, ".json");
    }

    // --- signing ------------------------------------------------------------------------------------------------

    function signed(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function domained(address verifier, bytes32 structHash) internal view returns (bytes32) {
        (, string memory name, string memory version, uint256 chainId, address verifying,,) =
            IERC5267(verifier).eip712Domain();
        bytes32 separator = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256(bytes(name)),
                keccak256(bytes(version)),
                chainId,
                verifying
            )
        );
        return keccak256(abi.encodePacked(hex"1901", separator, structHash));
    }

    function signedBy(uint256 key, IDesignRegistry.Registration memory value) internal view returns (bytes memory) {
        return signed(key, domained(address(registry), digests.registration(value)));
    }

    function signedBy(uint256 key, IDesignRegistry.Publication memory value) internal view returns (bytes memory) {
        return signed(key, domained(address(registry), digests.publication(value)));
    }

    function signedBy(uint256 key, IDesignRegistry.Recall memory value) internal view returns (bytes memory) {
        return signed(key, domained(address(registry), digests.recalled(value)));
    }

    function signedBy(uint256 key, IPrintLicense.Acceptance memory value) internal view returns (bytes memory) {
        return signed(key, domained(address(license), digests.acceptance(value)));
    }

    function signedOffer(uint256 key, IPrintLicense.Terms memory value, bool onSale, uint40 deadline)
        internal
        view
        returns (bytes memory)
    {
        return signed(key, domained(address(license), digests.offer(value, onSale, deadline)));
    }

    function signedBy(uint256 key, IPrintLicense.Mint memory value) internal view returns (bytes memory) {
        return signed(key, domained(address(license), digests.minting(value)));
    }

    function signedBy(uint256 key, IPrintLedger.Reservation memory value) internal view returns (bytes memory) {
        return signed(key, domained(address(ledger), digests.reservation(value)));
    }

    function signedBy(uint256 key, IPrintLedger.Close memory value) internal view returns (bytes memory) {
        return signed(key, domained(address(ledger), digests.closing(value)));
    }

    function signedBy(uint256 key, IDesignRegistry.EditionLimit memory value) internal view returns (bytes memory) {
        return signed(key, domained(address(registry), digests.editionLimit(value)));
    }

    function signedBy(uint256 key, IPrintLicense.MintBatch memory value) internal view returns (bytes memory) {
        return signed(key, domained(address(license), digests.mintBatch(value)));
    }

    function signedBy(uint256 key, IPrintLicense.Sale memory value) internal view returns (bytes memory) {
        return signed(key, domained(address(license), digests.sale(value)));
    }

    function signedBy(uint256 key, IPrintLicense.Move memory value) internal view returns (bytes memory) {
        return signed(key, domained(address(license), digests.move(value)));
    }

    function signedBy(uint256 key, IPrintLicense.Return memory value) internal view returns (bytes memory) {
        return signed(key, domained(address(license), digests.returned(value)));
    }

    function signedBy(uint256 key, IPrintLicense.Withdrawal memory value) internal view returns (bytes memory) {
        return signed(key, domained(address(license), digests.withdrawal(value)));
    }

    function signedBy(uint256 key, IPrintLedger.Declaration memory value) internal view returns (bytes memory) {
        return signed(key, domained(address(ledger), digests.declaration(value)));
    }

    function signedBy(uint256 key, IPrintLedger.Appointment memory value) internal view returns (bytes memory) {
        return signed(key, domained(address(ledger), digests.appointment(value)));
    }

    function signedBy(uint256 key, IDesignRegistry.Registration[] memory value) internal view returns (bytes memory) {
        return signed(key, domained(address(registry), digests.registrationBatch(value)));
    }

    // --- statements ---------------------------------------------------------------------------------------------

    function commitmentOf(address registrant, bytes32 salt, bytes32 filesRoot) internal pure returns (bytes32) {
        return sha256(abi.encodePacked("platemark/v1/content", bytes1(0), registrant, salt, filesRoot));
    }

    function saltOf(uint16 revision) internal pure returns (bytes32) {
        return revision == 1 ? SALT : keccak256(abi.encode(SALT, revision));
    }

    function aRegistration() internal view returns (IDesignRegistry.Registration memory) {
        return IDesignRegistry.Registration({
            registrant: designer,
            commitment: commitments[1],
            manifestDigest: MANIFEST,
            isPrivate: false,
            parentId: 0,
            resaleShare: 500,
            derivativeShare: 1000,
            edition: 0
        });
    }

    function aPublication(uint256 designId, uint16 revision)
        internal
        view
        returns (IDesignRegistry.Publication memory)
    {
        return IDesignRegistry.Publication({
            designId: designId,
            revision: revision,
            commitment: commitments[revision],
            manifestDigest: keccak256(abi.encode(MANIFEST, revision)),
            deadline: uint40(block.timestamp) + 1 days
        });
    }

    function aRecall(uint256 designId, uint16 revision) internal view returns (IDesignRegistry.Recall memory) {
        return IDesignRegistry.Recall({
            designId: designId,
            revision: revision,
            reasonDigest: keccak256("reason"),
            deadline: uint40(block.timestamp) + 1 days
        });
    }

    function someTerms(uint256 designId) internal view returns (IPrintLicense.Terms memory) {
        return IPrintLicense.Terms({
            designId: designId,
            termsDigest: TERMS_DIGEST,
            currency: address(0),
            price: 1 gwei,
            gateway: gateway,
            cap: 1000,
            notBefore: START,
            notAfter: START + 365 days,
            sparesFlat: 1,
            sparesPerHundred: 20,
            smallestReservation: 5,
            transferable: false,
            payout: 0,
            salt: SALT
        });
    }

    function someTermsSalted(uint256 designId, bytes32 salt) internal view returns (IPrintLicense.Terms memory terms) {
        terms = someTerms(designId);
        terms.salt = salt;
    }

    function anAcceptance(uint256 designId, uint16 revision) internal view returns (IPrintLicense.Acceptance memory) {
        return IPrintLicense.Acceptance({
            gateway: gateway,
            designId: designId,
            revision: revision,
            keyCommitment: KEY_COMMITMENT,
            termsDigest: TERMS_DIGEST,
            deadline: uint40(block.timestamp) + 1 days
        });
    }

    /// @dev The same word by another gateway.
    function anAcceptanceBy(address gateway_, uint256 designId, uint16 revision)
        internal
        view
        returns (IPrintLicense.Acceptance memory acceptance)
    {
        acceptance = anAcceptance(designId, revision);
        acceptance.gateway = gateway_;
    }

    function aMint(uint256 licenseId, uint40 prints) internal view returns (IPrintLicense.Mint memory) {
        return IPrintLicense.Mint({
            owner: designer,
            licenseId: licenseId,
            to: holder,
            prints: prints,
            nonce: 7,
            deadline: uint40(block.timestamp) + 1 days
        });
    }

    function aSale(uint256 licenseId, bool onSale) internal view returns (IPrintLicense.Sale memory) {
        return IPrintLicense.Sale({
            owner: designer, licenseId: licenseId, onSale: onSale, nonce: 8, deadline: uint40(block.timestamp) + 1 days
        });
    }

    function aMove(uint256 licenseId, address to) internal view returns (IPrintLicense.Move memory) {
        return IPrintLicense.Move({
            owner: designer, licenseId: licenseId, gateway: to, nonce: 9, deadline: uint40(block.timestamp) + 1 days
        });
    }

    function aReturn(uint256 licenseId, uint40 prints) internal view returns (IPrintLicense.Return memory) {
        return IPrintLicense.Return({
            holder: holder, licenseId: licenseId, prints: prints, nonce: 10, deadline: uint40(block.timestamp) + 1 days
        });
    }

    function aWithdrawal(address payee, address currency, address to)
        internal
        view
        returns (IPrintLicense.Withdrawal memory)
    {
        return IPrintLicense.Withdrawal({
            payee: payee, currency: currency, to: to, atLeast: 1, nonce: 11, deadline: uint40(block.timestamp) + 1 days
        });
    }

    function aDeclaration(bytes32 profileDigest, bool newEpoch)
        internal
        view
        returns (IPrintLedger.Declaration memory)
    {
        return IPrintLedger.Declaration({
            gateway: gateway,
            profileDigest: profileDigest,
            newEpoch: newEpoch,
            nonce: 12,
            deadline: uint40(block.timestamp) + 1 days
        });
    }

    function anAppointment(address operator_, bool allowed) internal view returns (IPrintLedger.Appointment memory) {
        return IPrintLedger.Appointment({
            gateway: gateway,
            operator: operator_,
            allowed: allowed,
            nonce: 13,
            deadline: uint40(block.timestamp) + 1 days
        });
    }

    function anEditionLimit(uint256 designId, uint40 edition)
        internal
        view
        returns (IDesignRegistry.EditionLimit memory)
    {
        return IDesignRegistry.EditionLimit({
            designId: designId, edition: edition, deadline: uint40(block.timestamp) + 1 days
        });
    }

    function aReservation(uint256 licenseId, uint16 prints) internal view returns (IPrintLedger.Reservation memory) {
        return IPrintLedger.Reservation({
            holder: holder,
            gateway: gateway,
            agent: agent,
            licenseId: licenseId,
            revision: 1,
            prints: prints,
            expiresAt: uint40(block.timestamp) + 30 days,
            deadline: uint40(block.timestamp) + 1 days,
            salt: SALT
        });
    }

    function aUse(uint256 tokenId, uint32 sequence, uint16 voided) internal view returns (IPrintLedger.Use memory) {
        return aUseBy(AGENT_KEY, tokenId, sequence, voided);
    }

    function aUseBy(uint256 key, uint256 tokenId, uint32 sequence, uint16 voided)
        internal
        view
        returns (IPrintLedger.Use memory)
    {
        bytes32 requestDigest = keccak256(abi.encode("request", sequence));
        bytes32 digest = domained(address(ledger), digests.redemption(tokenId, sequence, requestDigest));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return IPrintLedger.Use({
            tokenId: tokenId,
            sequence: sequence,
            voided: voided,
            requestDigest: requestDigest,
            r: r,
            vs: bytes32(uint256(s) | (uint256(v - 27) << 255))
        });
    }

    // --- acts ---------------------------------------------------------------------------------------------------

    function registered() internal returns (uint256 designId) {
        return registered(aRegistration());
    }

    function registered(IDesignRegistry.Registration memory registration) internal returns (uint256 designId) {
        vm.prank(registration.registrant);
        return registry.register(registration);
    }

    function offered() internal returns (uint256 licenseId) {
        return offered(someTerms(registered()), true);
    }

    function offered(IPrintLicense.Terms memory terms, bool onSale) internal returns (uint256 licenseId) {
        IPrintLicense.Acceptance memory acceptance = anAcceptance(terms.designId, 1);
        bytes memory signature = signedBy(GATEWAY_KEY, acceptance);
        vm.prank(designer);
        return license.offer(terms, onSale, acceptance, signature);
    }

    function minted(uint40 prints) internal returns (uint256 licenseId) {
        licenseId = offered();
        vm.prank(designer);
        license.mint(licenseId, holder, prints);
    }

    function reserved(uint16 prints) internal returns (IPrintLedger.Reservation memory reservation, uint256 tokenId) {
        reservation = aReservation(minted(prints), prints);
        tokenId = ledger.reserve(reservation, signedBy(HOLDER_KEY, reservation));
    }

    function settled(address sender, uint256 licenseId, IPrintLedger.Use memory use) internal {
        IPrintLedger.Use[] memory uses = new IPrintLedger.Use[](1);
        uses[0] = use;
        settled(sender, licenseId, uses);
    }

    function settled(address sender, uint256 licenseId, IPrintLedger.Use[] memory uses) internal {
        IPrintLedger.Batch[] memory batches = new IPrintLedger.Batch[](1);
        batches[0] = IPrintLedger.Batch({licenseId: licenseId, uses: uses});
        vm.prank(sender);
        ledger.settle(gateway, batches);
    }

    function stateOf(IPrintLedger.Reservation memory reservation)
        internal
        view
        returns (IPrintLedger.ReservationState memory)
    {
        return ledger.reservationOf(reservation.gateway, reservation.licenseId, ledger.tokenIdOf(reservation));
    }

    // --- expectations -------------------------------------------------------------------------------------------

    function expectSignatureInvalid(address signer) internal {
        vm.expectRevert(abi.encodeWithSignature("SignatureInvalid(address)", signer));
    }

    function expectDeadlinePassed(uint40 deadline) internal {
        vm.expectRevert(abi.encodeWithSignature("DeadlinePassed(uint40)", deadline));
    }

    /// @dev Runs no expectation: says that what follows leaves no event of ours.
    function assertNoEvents() internal {
        vm.assertEq(vm.getRecordedLogs().length, 0);
    }

    function bound(uint256 value, uint256 low, uint256 high) internal pure returns (uint256) {
        return low + value % (high - low + 1);
    }
}
