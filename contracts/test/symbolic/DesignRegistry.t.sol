// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DesignRegistry} from "../../src/DesignRegistry.sol";
import {vm} from "./Cheats.sol";

/// @title The registry itself: what is shared out along a line of designs, for every amount and every share
contract DesignRegistryProof {
    uint256 private constant OWNERS_SLOT = 2;
    uint256 private constant RECORDS_SLOT = 8;
    uint256 private constant PARENTS_SLOT = 9;

    DesignRegistry private _registry;

    function setUp() public {
        _registry = new DesignRegistry();
    }

    /// @dev Design 1's parent is design 2, and so on: a design and its line of four.
    function check_payees_get_the_whole_amount(uint256 amount, uint16[5] calldata shares) external {
        for (uint256 i = 0; i < 5; ++i) {
            _give(i + 1, i == 4 ? 0 : i + 2, shares[i]);
        }
        (address[] memory payees, uint256[] memory amounts) = _registry.payeesOf(1, amount);
        assert(payees.length == 5 && amounts.length == 5);
        uint256 left = amount;
        for (uint256 i = 0; i < 5; ++i) {
            assert(payees[i] == address(uint160(i + 1)));
            assert(amounts[i] <= left);
            left -= amounts[i];
        }
        assert(left == 0);
    }

    function _give(uint256 designId, uint256 parentId, uint16 share) private {
        uint256 record = designId | (uint256(share) << 216) | (uint256(1) << 232);
        vm.store(address(_registry), keccak256(abi.encode(designId, OWNERS_SLOT)), bytes32(designId));
        vm.store(address(_registry), keccak256(abi.encode(designId, RECORDS_SLOT)), bytes32(record));
        vm.store(address(_registry), keccak256(abi.encode(designId, PARENTS_SLOT)), bytes32(parentId));
    }
}
