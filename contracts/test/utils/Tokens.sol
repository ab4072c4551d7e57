// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC1155} from "@openzeppelin/contracts/token/ERC1155/ERC1155.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title A token as the ERC has it, with permits
contract Token is ERC20Permit {
    constructor() ERC20("Token", "TKN") ERC20Permit("Token") {}

    function make(address to, uint256 amount) external {
        _mint(to, amount);
    }
}

/// @title A token that keeps a part of what is transferred
contract FeeToken is Token {
    uint256 public fee;

    function setFee(uint256 fee_) external {
        fee = fee_;
    }

    function _update(address from, address to, uint256 amount) internal override {
        uint256 kept = from == address(0) || to == address(0) ? 0 : amount * fee / 10_000;
        if (kept != 0) super._update(from, address(0), kept);
        super._update(from, to, amount - kept);
    }
}

/// @title A token that gives more than was sent
contract BonusToken is Token {
    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, amount);
        if (from != address(0)) super._update(address(0), to, 1);
    }
}

/// @title A token that takes from its receiver
contract DrainToken is Token {
    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, amount);
        if (from != address(0)) super._update(to, address(0), balanceOf(to));
    }
}

/// @title A token that says false where others revert
contract FalseToken is Token {
    bool public refuses;

    function setRefuses(bool refuses_) external {
        refuses = refuses_;
    }

    function transfer(address to, uint256 amount) public override returns (bool) {
        return !refuses && super.transfer(to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) public override returns (bool) {
        return !refuses && super.transferFrom(from, to, amount);
    }
}

/// @title A token whose issuer locks accounts
contract BlockingToken is Token {
    error Blocked(address account);

    mapping(address account => bool) public blocked;

    function setBlocked(address account, bool blocked_) external {
        blocked[account] = blocked_;
    }

    function _update(address from, address to, uint256 amount) internal override {
        if (blocked[from]) revert Blocked(from);
        if (blocked[to]) revert Blocked(to);
        super._update(from, to, amount);
    }
}

/// @title A token that returns nothing, as some of the first do
contract SilentToken {
    mapping(address account => uint256) public balanceOf;
    mapping(address owner => mapping(address spender => uint256)) public allowance;

    function make(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function approve(address spender, uint256 amount) external {
        allowance[msg.sender][spender] = amount;
    }

    function transfer(address to, uint256 amount) external {
        balanceOf[msg.sender] -= amount;
        balanceOf[to] += amount;
    }

    function transferFrom(address from, address to, uint256 amount) external {
        allowance[from][msg.sender] -= amount;
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
    }
}

/// @title A token that calls somebody while it moves
contract CallingToken is Token {
    address private _target;
    bytes private _call;
    bool public called;
    bool public blocked;
    bytes public answer;

    function arm(address target, bytes calldata call_) external {
        (_target, _call, called) = (target, call_, false);
    }

    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, amount);
        if (_call.length == 0 || from == address(0)) return;
        bytes memory call_ = _call;
        delete _call;
        // solhint-disable-next-line avoid-low-level-calls
        (bool done, bytes memory returned) = _target.call(call_);
        (called, blocked, answer) = (true, !done, returned);
    }
}

/// @title The design that Platemark is measured against: a unit is burned on the chain for each print
contract Naive is ERC1155 {
    constructor() ERC1155("") {}

    function mint(address to, uint256 id, uint256 prints) external {
        _mint(to, id, prints, "");
    }

    function burn(uint256 id, uint256 prints) external {
        _burn(msg.sender, id, prints);
    }
}
