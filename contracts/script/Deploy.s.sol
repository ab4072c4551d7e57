// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice What this script uses of Foundry's cheatcodes.
interface IVm {
    function broadcast() external;
    function parseJsonBytes(string calldata json, string calldata key) external pure returns (bytes memory);
    function readFile(string calldata path) external view returns (string memory);
}

/// @title Creates the three contracts where their code puts them: the addresses are the same on every chain
/// @notice `forge script script/Deploy.s.sol --rpc-url URL --broadcast` and a wallet option. What stands already is
/// left as it is. `platemark-gateway deploy --deployments DIR` does the same, and writes the record of either.
/// @dev Takes the creation code from the committed artefacts: what would be compiled beside a contract must not move a
/// byte of its code. Salts and addresses are those of clients/platemark/protocol/deployment.py.
contract Deploy {
    IVm private constant VM = IVm(address(uint160(uint256(keccak256("hevm cheat code")))));

    /// @dev The deterministic deployer: calldata is the salt, then the creation code.
    address private constant DEPLOYER = 0x4e59b44847b379578588920cA78FbF26c0B4956C;
    bytes32 private constant REGISTRY_SALT = keccak256("Platemark DesignRegistry 1");
    bytes32 private constant LICENSE_SALT = keccak256("Platemark PrintLicense 1");

    // solhint-disable-next-line gas-small-strings
    string private constant ARTIFACTS = "../clients/platemark/protocol/abi/";

    /// @notice The chain has no deterministic deployer; `platemark-gateway deploy` creates it.
    error DeployerMissing();
    /// @notice A contract did not come to stand at its address.
    error NotCreated(address expected);

    /// @notice Creates what is missing and returns where everything stands.
    function run() external returns (address registry, address license, address ledger) {
        if (DEPLOYER.code.length == 0) revert DeployerMissing();
        registry = _create(REGISTRY_SALT, _code("DesignRegistry"));
        license = _create(LICENSE_SALT, abi.encodePacked(_code("PrintLicense"), abi.encode(registry)));
        ledger = _firstCreatedBy(license);
        if (ledger.code.length == 0) revert NotCreated(ledger);
    }

    function _create(bytes32 salt, bytes memory code) private returns (address created) {
        created = address(uint160(uint256(keccak256(abi.encodePacked(hex"ff", DEPLOYER, salt, keccak256(code))))));
        if (created.code.length != 0) return created;
        VM.broadcast();
        // solhint-disable-next-line avoid-low-level-calls
        (bool success,) = DEPLOYER.call(abi.encodePacked(salt, code));
        if (!success || created.code.length == 0) revert NotCreated(created);
    }

    function _code(string memory name) private view returns (bytes memory) {
        string memory artifact = VM.readFile(string.concat(ARTIFACTS, name, ".json"));
        return VM.parseJsonBytes(artifact, ".bytecode");
    }

    /// @dev The address of what a contract creates with its first nonce, 1.
    function _firstCreatedBy(address creator) private pure returns (address) {
        return address(uint160(uint256(keccak256(abi.encodePacked(hex"d694", creator, hex"01")))));
    }
}
