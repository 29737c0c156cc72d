"""The official middleware of x402 v2 in a FastAPI app as its documentation builds one. See ../README.md for PEER_…."""

import os

from fastapi import FastAPI
from x402.http import FacilitatorConfig, HTTPFacilitatorClient
from x402.http.middleware.fastapi import PaymentMiddlewareASGI
from x402.mechanisms.evm.exact import ExactEvmServerScheme
from x402.server import x402ResourceServer

NETWORK = "eip155:84532"
PATH = os.environ["PEER_PATH"]

server = x402ResourceServer(HTTPFacilitatorClient(FacilitatorConfig(url=os.environ["PEER_FACILITATOR"])))
server.register(NETWORK, ExactEvmServerScheme())
routes = {
    f"GET {PATH}": {
        "accepts": {
            "scheme": "exact",
            "price": os.environ["PEER_PRICE"],
            "network": NETWORK,
            "payTo": os.environ["PEER_PAY_TO"],
        },
        "description": os.environ["PEER_DESCRIPTION"],
        "mimeType": "application/json",
    },
}

app = FastAPI()
app.add_middleware(PaymentMiddlewareASGI, routes=routes, server=server)


@app.get(PATH)
async def paid() -> dict[str, bool]:
    return {"paid": True}
