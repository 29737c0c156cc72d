"""x402 2.x with requests. One session, and so one cookie jar, per key."""

from eth_account import Account
from serve import answer, hello, jobs, own_error, reply
from x402 import x402ClientSync
from x402.http import decode_payment_response_header
from x402.http.clients import x402_requests
from x402.mechanisms.evm.exact import ExactEvmScheme


def decode(header):
    return decode_payment_response_header(header).model_dump(by_alias=True)


def paying_session(key):
    payer = x402ClientSync()
    payer.register("eip155:*", ExactEvmScheme(Account.from_key(key)))
    return x402_requests(payer)


sessions = {}
hello("x402")
for job in jobs():
    key = job["key"]
    if key not in sessions:
        sessions[key] = paying_session(key)
    try:
        response = sessions[key].request(
            job["method"], job["url"], headers=job["headers"], data=job["body"], timeout=30
        )
        reply(answer(response.status_code, response.text, response.headers, "PAYMENT-RESPONSE", decode))
    except Exception as error:
        reply(own_error(error))
