// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.37;

import {ISigner, Signature} from "./Signature.sol";

/// A smart account of one owner: what the owner signed, it signed (EIP-1271).
contract Wallet is ISigner {
    address public immutable owner;

    constructor(address owner_) {
        owner = owner_;
    }

    /// The owner's signature, alone or with anything behind it: accounts of this kind have signatures of any length.
    function isValidSignature(bytes32 hash, bytes calldata signature) external view returns (bytes4) {
        bool signed = signature.length >= 65 && Signature.recover(hash, signature[:65]) == owner;
        return signed ? ISigner.isValidSignature.selector : bytes4(0);
    }
}

/// Deploys wallets where everybody knows beforehand that they will be.
contract WalletFactory {
    function deploy(address owner) external returns (address) {
        return address(new Wallet{salt: 0}(owner));
    }

    function walletOf(address owner) external view returns (address) {
        bytes32 code = keccak256(abi.encodePacked(type(Wallet).creationCode, abi.encode(owner)));
        return address(uint160(uint256(keccak256(abi.encodePacked(hex"ff", address(this), bytes32(0), code)))));
    }
}
