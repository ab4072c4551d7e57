// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC1155Receiver} from "@openzeppelin/contracts/token/ERC1155/IERC1155Receiver.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @title A contract wallet: its key signs by ERC-1271, and it takes units and coins
contract Wallet {
    address public immutable key;

    constructor(address key_) {
        key = key_;
    }

    receive() external payable {}

    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        return ECDSA.recover(digest, signature) == key ? bytes4(0x1626ba7e) : bytes4(0xffffffff);
    }

    function onERC1155Received(address, address, uint256, uint256, bytes calldata) external pure returns (bytes4) {
        return IERC1155Receiver.onERC1155Received.selector;
    }
}

/// @title A contract that takes nothing and answers nothing
contract Refuser {
    error Refused();

    receive() external payable {
        revert Refused();
    }
}

/// @title A buyer's contract that calls back while it receives
contract Reentrant {
    address private immutable _target;
    bytes private _call;
    bool public blocked;
    bytes public answer;

    constructor(address target) {
        _target = target;
    }

    receive() external payable {
        _callBack();
    }

    function arm(bytes calldata call_) external {
        _call = call_;
    }

    function onERC1155Received(address, address, uint256, uint256, bytes calldata) external returns (bytes4) {
        _callBack();
        return IERC1155Receiver.onERC1155Received.selector;
    }

    function _callBack() private {
        if (_call.length == 0) return;
        bytes memory call_ = _call;
        delete _call;
        // solhint-disable-next-line avoid-low-level-calls
        (bool done, bytes memory returned) = _target.call(call_);
        blocked = !done;
        answer = returned;
    }
}
