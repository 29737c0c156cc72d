// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.37;

/// Stands where a facilitator wants to see code before it starts, and says on every call that nothing is there.
contract Absent {
    fallback() external payable {
        revert("the lab's chain has no such contract");
    }
}
