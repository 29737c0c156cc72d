"""x402 1.x with httpx. Its hooks pay once in their life: one client per job."""

import asyncio

from eth_account import Account
from serve import answer, hello, jobs, own_error, reply
from x402.clients.base import decode_x_payment_response
from x402.clients.httpx import x402HttpxClient


async def main():
    hello("x402")
    for job in jobs():
        try:
            # It has no spending limit unless it is given one.
            async with x402HttpxClient(Account.from_key(job["key"]), max_value=100_000, timeout=30) as client:
                response = await client.request(job["method"], job["url"], headers=job["headers"], content=job["body"])
                body = (await response.aread()).decode()
            reply(answer(response.status_code, body, response.headers, "X-PAYMENT-RESPONSE", decode_x_payment_response))
        except Exception as error:
            reply(own_error(error))


asyncio.run(main())
