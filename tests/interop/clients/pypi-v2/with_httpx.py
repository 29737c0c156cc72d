"""x402 2.x with httpx. One client, and so one cookie jar, per key."""

import asyncio

from eth_account import Account
from serve import TIMEOUT_SECONDS, answer, hello, jobs, own_error, reply
from x402 import x402Client
from x402.http import decode_payment_response_header
from x402.http.clients import x402HttpxClient
from x402.mechanisms.evm.exact.register import register_exact_evm_client


def decode(header):
    return decode_payment_response_header(header).model_dump(by_alias=True)


def paying_client(key):
    payer = register_exact_evm_client(x402Client(), Account.from_key(key))
    return x402HttpxClient(payer, timeout=TIMEOUT_SECONDS)


async def main():
    clients = {}
    hello("x402")
    for job in jobs():
        key = job["key"]
        if key not in clients:
            clients[key] = paying_client(key)
        try:
            response = await clients[key].request(job["method"], job["url"], headers=job["headers"], content=job["body"])
            reply(answer(job, response.status_code, await response.aread(), response.headers, decode))
        except Exception as error:
            reply(own_error(error))


asyncio.run(main())
