// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.37;

/// A contract that says which signatures are its own (EIP-1271).
interface ISigner {
    function isValidSignature(bytes32 hash, bytes calldata signature) external view returns (bytes4);
}

/// Judges signatures of accounts with a key and of contracts, with the revert texts of USDC.
library Signature {
    /// Half of the curve's order: a larger `s` is the malleable twin of a smaller one.
    uint256 private constant S_MAX = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;

    /// Whether `signer` signed `hash`. Whoever has code is asked, and nobody else's key counts.
    function isValid(address signer, bytes32 hash, bytes memory signature) internal view returns (bool) {
        return signer.code.length > 0 ? isAccepted(signer, hash, signature) : recover(hash, signature) == signer;
    }

    /// Whether the contract `signer` accepts it. One that reverts, or answers nonsense, does not.
    function isAccepted(address signer, bytes32 hash, bytes memory signature) private view returns (bool) {
        (bool success, bytes memory answer) =
            signer.staticcall(abi.encodeCall(ISigner.isValidSignature, (hash, signature)));
        return success && answer.length >= 32 && bytes32(answer) == bytes32(ISigner.isValidSignature.selector);
    }

    /// The address whose key made the 65 bytes r, s, v.
    function recover(bytes32 hash, bytes memory signature) internal pure returns (address signer) {
        require(signature.length == 65, "ECRecover: invalid signature length");
        bytes32 r;
        bytes32 s;
        uint8 v;
        assembly ("memory-safe") {
            r := mload(add(signature, 0x20))
            s := mload(add(signature, 0x40))
            v := byte(0, mload(add(signature, 0x60)))
        }
        require(uint256(s) <= S_MAX, "ECRecover: invalid signature 's' value");
        require(v == 27 || v == 28, "ECRecover: invalid signature 'v' value");
        signer = ecrecover(hash, v, r, s);
        require(signer != address(0), "ECRecover: invalid signature");
    }
}
