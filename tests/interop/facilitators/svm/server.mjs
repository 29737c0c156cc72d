// The official facilitator for Solana behind plain HTTP: /verify, /settle and /supported, for x402 v1 and v2, scheme
// `exact` on the lab's ledger. Its first line of output is {"port": …}; SIGTERM ends it.
//
// LAB_RPC    the ledger's JSON-RPC
// LAB_KEY    the secret key, 64 bytes in base58, of who pays the fees

import { createKeyPairSignerFromBytes, getBase58Encoder } from "@solana/kit";
import { x402Facilitator } from "@x402/core/facilitator";
import { toFacilitatorSvmSigner } from "@x402/svm";
import { registerExactSvmScheme } from "@x402/svm/exact/facilitator";
import { serveFacilitator } from "../http.mjs";

const { LAB_RPC, LAB_KEY } = process.env;

const feePayer = await createKeyPairSignerFromBytes(getBase58Encoder().encode(LAB_KEY));
const signer = toFacilitatorSvmSigner(feePayer, { defaultRpcUrl: LAB_RPC });
serveFacilitator(
  registerExactSvmScheme(new x402Facilitator(), { signer, networks: "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1" }),
);
