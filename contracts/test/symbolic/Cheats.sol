// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title The cheatcodes that the proofs use
interface Cheats {
    function store(address account, bytes32 slot, bytes32 value) external;
    function prank(address sender) external;
    function warp(uint256 timestamp) external;
    function assume(bool condition) external pure;
}

Cheats constant vm = Cheats(address(uint160(uint256(keccak256("hevm cheat code")))));
