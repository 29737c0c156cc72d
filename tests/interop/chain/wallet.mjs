// Smart accounts: contracts that pay, and sign through their owner.

import { encodeFunctionData, serializeErc6492Signature } from "viem";
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";
import { sign } from "./authorization.mjs";

/**
 * A smart account of a new owner that owns `funds` on the chain and is not deployed yet.
 *
 * `sign` gives a signature that only the account itself can judge (EIP-1271): it is longer than a key's, and
 * no good where anybody but the owner makes it. `wrap` adds how to deploy the account first (EIP-6492).
 */
export async function newWallet(chain, funds) {
  const owner = privateKeyToAccount(generatePrivateKey());
  const walletOf = { ...chain.walletFactory, functionName: "walletOf", args: [owner.address] };
  const address = await chain.reader.readContract(walletOf);
  await chain.mint(address, funds);
  const deployment = { ...chain.walletFactory, functionName: "deploy", args: [owner.address] };
  const data = encodeFunctionData(deployment);
  return {
    address,
    owner,
    sign: async (message, signer = owner) => `${await sign(signer, message)}c0de`,
    wrap: (signature) => serializeErc6492Signature({ address: deployment.address, data, signature }),
    deploy: () => chain.send(deployment),
  };
}
