"""x402 1.x with httpx. Its hooks pay once in their life: one client per job.

A jar would not help: the hook pays by a client of its own, and the paid answer's cookies stay there.
"""

import asyncio

from eth_account import Account
from serve import TIMEOUT_SECONDS, answer, hello, jobs, own_error, reply
from x402.clients.base import decode_x_payment_response
from x402.clients.httpx import x402HttpxClient


async def main():
    hello("x402")
    for job in jobs():
        try:
            # It has no spending limit unless it is given one.
            async with x402HttpxClient(
                Account.from_key(job["key"]), max_value=100_000, timeout=TIMEOUT_SECONDS
            ) as client:
                response = await client.request(job["method"], job["url"], headers=job["headers"], content=job["body"])
                body = await response.aread()
            reply(answer(job, response.status_code, body, response.headers, decode_x_payment_response))
        except Exception as error:
            reply(own_error(error))


asyncio.run(main())
