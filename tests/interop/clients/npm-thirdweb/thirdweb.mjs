// thirdweb's wrapFetchWithPayment with a wallet of a private key. It asks thirdweb's own servers for nothing: the
// terms say how the token is signed for, and any client id does.

import fetchCookie from "fetch-cookie";
import { createThirdwebClient } from "thirdweb";
import { baseSepolia } from "thirdweb/chains";
import { createWalletAdapter, privateKeyToAccount } from "thirdweb/wallets";
import { wrapFetchWithPayment } from "thirdweb/x402";

import { fetchAnswer, perKey, serve } from "../serve.mjs";

const client = createThirdwebClient({ clientId: "farebox" });

const payingFetch = perKey((key) => {
  const wallet = createWalletAdapter({
    adaptedAccount: privateKeyToAccount({ client, privateKey: key }),
    chain: baseSepolia,
    client,
    onDisconnect: () => {},
    switchChain: () => {},
  });
  // It has no spending limit unless it is given one.
  return wrapFetchWithPayment(fetchCookie(fetch), client, wallet, { maxValue: 100_000n });
});

// It reads no settlement header: its users do.
const decode = (header) => JSON.parse(Buffer.from(header, "base64").toString());

await serve("thirdweb", (job) => fetchAnswer(payingFetch(job.key), job, decode));
