"""Verifies test vectors with pycose, a COSE implementation that is not ours, and has it refuse each with any byte changed.

Usage: cose.py VECTOR... Prints how many changed tokens were refused.
"""

import sys

from pycose.keys import EC2Key
from pycose.keys.curves import P256
from pycose.messages import CoseMessage, Sign1Message


def load(path):
    """The vector's fields, as bytes."""
    with open(path, encoding="utf-8") as file:
        pairs = [line.strip().split(" = ") for line in file if not line.startswith("expect ")]
    return {name: bytes.fromhex(digits) for name, digits in pairs}


def verifies(token, key):
    """Whether it is a COSE_Sign1 that this key signed."""
    try:
        message = CoseMessage.decode(token)
        message.key = key
        return isinstance(message, Sign1Message) and message.verify_signature()
    except Exception:  # whatever it says of bytes that are no token
        return False


def refused(path):
    """Holds one vector against pycose; returns how many changed ones it refused."""
    fields = load(path)
    point = fields["key"]
    key = EC2Key(crv=P256, x=point[:32], y=point[32:])
    token = fields["token"]
    if not verifies(token, key):
        sys.exit(f"error: {path} does not verify")
    for at in range(len(token)):
        changed = token[:at] + bytes([token[at] ^ 1]) + token[at + 1:]
        if verifies(changed, key):
            sys.exit(f"error: byte {at} of {path} does not matter")
    return len(token)


def main():
    """Holds all vectors against pycose."""
    count = sum(refused(path) for path in sys.argv[1:])
    print(f"{count} changed tokens refused")


main()
