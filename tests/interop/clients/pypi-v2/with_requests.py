"""x402 2.x with requests. One session, and so one cookie jar, per key."""

from eth_account import Account
from serve import TIMEOUT_SECONDS, answer, hello, jobs, own_error, reply
from x402 import x402ClientSync
from x402.http import decode_payment_response_header
from x402.http.clients import x402_requests
from x402.mechanisms.evm.exact.register import register_exact_evm_client


def decode(header):
    return decode_payment_response_header(header).model_dump(by_alias=True)


def paying_session(key):
    return x402_requests(register_exact_evm_client(x402ClientSync(), Account.from_key(key)))


sessions = {}
hello("x402")
for job in jobs():
    key = job["key"]
    if key not in sessions:
        sessions[key] = paying_session(key)
    try:
        response = sessions[key].request(
            job["method"], job["url"], headers=job["headers"], data=job["body"], timeout=TIMEOUT_SECONDS
        )
        reply(answer(job, response.status_code, response.content, response.headers, decode))
    except Exception as error:
        reply(own_error(error))
