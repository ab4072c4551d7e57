// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Spares} from "../../src/libraries/Spares.sol";
import {BaseTest} from "../utils/BaseTest.sol";

/// @title The spares of every size of reservation and every share in a hundred
/// @dev Divisions are beyond a solver, so they are counted through: a hundred more prints bring exactly the share more
/// spares, so a hundred steps stand for all. The flat number is the same for every size. From the steps follows: what
/// `offer` asks of the largest reservation (prints and spares fit 16 bits) holds for every smaller one, and what it asks
/// of the smallest (spares are at most half of it) holds for every larger one but for one print of rounding, since n
/// more prints bring at most ceil(n / 2) more spares.
contract SparesTest is BaseTest {
    function testFuzz_the_flat_number_is_added_and_nothing_else(uint16 prints, uint16 flat, uint16 perHundred)
        external
        pure
    {
        vm.assertEq(Spares.most(prints, flat, perHundred), flat + Spares.most(prints, 0, perHundred));
    }

    function test_one_more_print_brings_one_more_spare_at_most_and_takes_none() external pure {
        for (uint256 perHundred = 0; perHundred <= 50; ++perHundred) {
            uint256 before = Spares.most(0, 0, perHundred);
            vm.assertEq(before, 0);
            for (uint256 prints = 1; prints <= 100; ++prints) {
                uint256 spares = Spares.most(prints, 0, perHundred);
                vm.assertGe(spares, before);
                vm.assertLe(spares, before + 1);
                before = spares;
            }
            vm.assertEq(before, perHundred);
        }
    }

    function testFuzz_a_hundred_more_prints_bring_the_share(uint16 prints, uint16 perHundred) external pure {
        uint256 spares = Spares.most(prints, 0, perHundred);
        vm.assertEq(Spares.most(uint256(prints) + 100, 0, perHundred), spares + perHundred);
    }

    function testFuzz_nothing_is_gained_by_splitting(uint16 one, uint16 other, uint16 perHundred) external pure {
        perHundred = uint16(bound(perHundred, 0, 50));
        vm.assertLe(
            Spares.most(one, 0, perHundred) + Spares.most(other, 0, perHundred),
            Spares.most(uint256(one) + other, 0, perHundred)
        );
    }

    function testFuzz_larger_reservations_give_back_half_at_most_but_for_rounding(
        uint16 smallest,
        uint16 prints,
        uint16 flat,
        uint16 perHundred
    ) external pure {
        perHundred = uint16(bound(perHundred, 0, 50));
        smallest = uint16(bound(smallest, 1, type(uint16).max));
        prints = uint16(bound(prints, smallest, type(uint16).max));
        flat = uint16(bound(flat, 0, smallest / 2 - Spares.most(smallest, 0, perHundred)));
        vm.assertLe(2 * Spares.most(prints, flat, perHundred), uint256(prints) + 1);
    }
}
