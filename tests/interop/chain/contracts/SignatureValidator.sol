// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.37;

import {Signature} from "./Signature.sol";

/// Judges signatures of keys, of contracts (EIP-1271), and of contracts that are yet to be deployed (EIP-6492).
contract SignatureValidator {
    error ERC6492DeployFailed(bytes reason);
    /// Carries an answer out of a call that must leave no trace.
    error Judged(bool valid);

    /// What a signature of a contract that is yet to be deployed ends with.
    bytes32 private constant WRAPPED = 0x6492649264926492649264926492649264926492649264926492649264926492;

    /// Whether `signer` signed `hash`. Leaves behind what the signature says is to be deployed.
    function isValidSigWithSideEffects(address signer, bytes32 hash, bytes calldata signature) public returns (bool) {
        if (signature.length < 32 || bytes32(signature[signature.length - 32:]) != WRAPPED) {
            return Signature.isValid(signer, hash, signature);
        }
        (address factory, bytes memory deployment, bytes memory inner) =
            abi.decode(signature[:signature.length - 32], (address, bytes, bytes));
        if (signer.code.length == 0) {
            (bool success, bytes memory reason) = factory.call(deployment);
            if (!success) revert ERC6492DeployFailed(reason);
        }
        return Signature.isValid(signer, hash, inner);
    }

    /// The same, and leaves nothing behind.
    function isValidSig(address signer, bytes32 hash, bytes calldata signature) external returns (bool) {
        try this.judge(signer, hash, signature) {
            return false;
        } catch (bytes memory reason) {
            if (bytes4(reason) != Judged.selector) {
                assembly ("memory-safe") {
                    revert(add(reason, 0x20), mload(reason))
                }
            }
            return reason[reason.length - 1] == 0x01;
        }
    }

    /// Reverts with its answer, so that nothing that it did stays.
    function judge(address signer, bytes32 hash, bytes calldata signature) external {
        revert Judged(isValidSigWithSideEffects(signer, hash, signature));
    }
}
