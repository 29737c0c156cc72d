// Accounts by their keys, for modules that stand beside no packages of their own.

export { generatePrivateKey, privateKeyToAccount } from "viem/accounts";
