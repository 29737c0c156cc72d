"""x402 1.x with requests. After a payment its session lets the next request through unpaid: one session per job.

A jar would not help: the session reads cookies from the challenge, not from the paid answer.
"""

from eth_account import Account
from serve import TIMEOUT_SECONDS, answer, hello, jobs, own_error, reply
from x402.clients.base import decode_x_payment_response
from x402.clients.requests import x402_requests

hello("x402")
for job in jobs():
    # It has no spending limit unless it is given one.
    session = x402_requests(Account.from_key(job["key"]), max_value=100_000)
    try:
        response = session.request(
            job["method"], job["url"], headers=job["headers"], data=job["body"], timeout=TIMEOUT_SECONDS
        )
        reply(answer(job, response.status_code, response.content, response.headers, decode_x_payment_response))
    except Exception as error:
        reply(own_error(error))
