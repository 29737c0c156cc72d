"""A client's side of the lab, for Python: says who it is, then pays one job a line."""

import json
import os
import sys
from hashlib import sha256
from importlib.metadata import version

# A client that hears nothing for so long gives up, with its own error.
TIMEOUT_SECONDS = 30

# Standard output carries answers only, whatever a library prints.
_answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def _write(message):
    _answers.write(json.dumps(message) + "\n")
    _answers.flush()


def hello(package):
    """Says which version of the package is installed."""
    _write({"version": version(package)})


def jobs():
    """The jobs, until standard input ends."""
    return (json.loads(line) for line in sys.stdin)


def reply(answer):
    """Answers the last job."""
    _write(answer)


def own_error(error):
    """The answer to a job that ended in the client's own error."""
    return {"error": f"{type(error).__name__}: {error}"}


def answer(job, status, content, headers, decode):
    """The answer to a job that ended in a response. `decode` is the SDK's own reading of a settlement header.

    A job that says `digest` gets the SHA-256 of a body that is too large to repeat.
    """
    settlement = headers.get("PAYMENT-RESPONSE") or headers.get("X-PAYMENT-RESPONSE")
    if job.get("digest"):
        body = {"body": sha256(content).hexdigest(), "bytes": len(content)}
    else:
        body = {"body": content.decode()}
    return {
        "status": status,
        **body,
        "settlement": decode(settlement) if settlement else None,
        "pass": headers.get("farebox-pass"),
    }
