"""x402 1.x with requests. One session per job."""

from eth_account import Account
from serve import answer, hello, jobs, own_error, reply
from x402.clients.base import decode_x_payment_response
from x402.clients.requests import x402_requests

hello("x402")
for job in jobs():
    # It has no spending limit unless it is given one.
    session = x402_requests(Account.from_key(job["key"]), max_value=100_000)
    try:
        response = session.request(
            job["method"], job["url"], headers=job["headers"], data=job["body"], timeout=30
        )
        reply(
            answer(
                response.status_code, response.text, response.headers, "X-PAYMENT-RESPONSE", decode_x_payment_response
            )
        )
    except Exception as error:
        reply(own_error(error))
