"""Verifies the test vector with pycose, a COSE implementation that is not ours, and has it refuse the vector with any byte changed.

Usage: cose.py VECTOR. Prints how many changed tokens were refused.
"""

import sys

from pycose.keys import EC2Key
from pycose.keys.curves import P256
from pycose.messages import CoseMessage, Sign1Message


def load(path):
    """The vector's fields, as bytes."""
    with open(path, encoding="utf-8") as file:
        pairs = [line.strip().split(" = ") for line in file]
    return {name: bytes.fromhex(digits) for name, digits in pairs}


def verifies(token, key):
    """Whether it is a COSE_Sign1 that this key signed."""
    try:
        message = CoseMessage.decode(token)
        message.key = key
        return isinstance(message, Sign1Message) and message.verify_signature()
    except Exception:  # whatever it says of bytes that are no token
        return False


def main():
    """Holds the vector against pycose."""
    fields = load(sys.argv[1])
    point = fields["key"]
    key = EC2Key(crv=P256, x=point[:32], y=point[32:])
    token = fields["token"]
    if not verifies(token, key):
        sys.exit("error: the vector does not verify")
    refused = 0
    for at in range(len(token)):
        changed = token[:at] + bytes([token[at] ^ 1]) + token[at + 1:]
        if verifies(changed, key):
            sys.exit(f"error: byte {at} of the vector does not matter")
        refused += 1
    print(f"{refused} changed tokens refused")


main()
