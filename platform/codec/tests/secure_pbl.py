#!/usr/bin/env python3
"""Does what an LS1028A's boot ROM does with a secure boot image: written from the layout in the reference manual, in another
language, and sharing nothing with the codec that made the image. Exit status 0 only if everything holds.

    secure_pbl.py IMAGE SRK_HASH MEDIUM_BASE
"""

import hashlib
import struct
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

BARKER = bytes([0x12, 0x19, 0x20, 0x01])
SB_EN = 266
OCRAM_HEADER = 0x1800A000


class Refused(Exception):
    pass


def need(holds, why):
    if not holds:
        raise Refused(why)


def word(data, at):
    need(at + 4 <= len(data), "the image ends early")
    return struct.unpack_from("<I", data, at)[0]


def header(data, at):
    need(data[at : at + 4] == BARKER, "no barker code")
    names = ("srk", "keys", "sign", "sign_len", "sg", "sg_n", "ep_lo", "ep_hi")
    srk, keys, select, _, flags = struct.unpack_from("<IBBBB", data, at + 4)
    sign, sign_len, sg, sg_n, ep_lo, ep_hi = struct.unpack_from("<IIIIII", data, at + 0x10)
    return dict(zip(names, (srk, keys, sign, sign_len, sg, sg_n, ep_lo, ep_hi)), select=select, flags=flags)


def key_table(data, at, count, srk_hash):
    need(1 <= count <= 4, "number of keys")
    table = data[at : at + count * 1028]
    need(len(table) == count * 1028, "the table ends early")
    need(hashlib.sha256(table).hexdigest() == srk_hash, "the table is not the one of the fuses")
    return table


def check(table, select, message, signature):
    need(1 <= select <= len(table) // 1028, "the key that signs is not in the table")
    entry = table[(select - 1) * 1028 : select * 1028]
    length = word(entry, 0)
    need(length in (512, 1024), "length of a key")
    half = length // 2
    modulus, exponent = (int.from_bytes(entry[4 + n * half : 4 + (n + 1) * half], "big") for n in (0, 1))
    need(len(signature) == half, "length of the signature")
    key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    try:
        key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        raise Refused("signature") from None


def commands(data):
    """The commands from octet 140: (word, octet, words that follow)."""
    at, found = 140, []
    while True:
        command = word(data, at)
        if command in (0x80FF0000, 0x808F0000):
            return found, at + 8
        if command >> 28 in (1, 3):
            size = 8
        elif command & 0xFFFF0000 == 0x80000000:
            size = 16
        elif command == 0x80200000:
            size = 4 + 0x50
        elif command == 0x80220000:
            size = 8
        else:
            raise Refused(f"command 0x{command:08x}")
        found.append((command, at, [word(data, at + 4 * n) for n in range(1, min(size // 4, 4))]))
        at += size


def boot(data, srk_hash, base):
    need(word(data, 0) == 0xAA55AA55 and word(data, 4) == 0x80100000, "preamble")
    need(sum(word(data, 4 * n) for n in range(34)) & 0xFFFFFFFF == word(data, 136), "checksum of the RCW")
    need(data[8 + SB_EN // 8] >> SB_EN % 8 & 1 == 1, "SB_EN is not set")
    found, end = commands(data)
    need(word(data, 8 + 32) >> 20 == (end - 140) // 4, "PBI_LENGTH")
    need(found[0][0] == 0x80200000, "the first command is not the security header")
    pbi = header(data, 144)
    table = key_table(data, 144 + pbi["srk"], pbi["keys"], srk_hash)
    signature = data[144 + pbi["sign"] : 144 + pbi["sign"] + pbi["sign_len"]]
    check(table, pbi["select"], data[140:end] + table, signature)

    copies = [words for command, _, words in found if command & 0xFFFF0000 == 0x80000000]
    memory = {to: data[start - base : start - base + size] for start, to, size in copies}
    need([words[0] for command, _, words in found if command == 0x80220000] == [OCRAM_HEADER], "pointer to the header of BL2")
    need(OCRAM_HEADER in memory, "the header of BL2 is not copied")
    entry = [words[0] for command, _, words in found if command == 0x31E00400]
    bl2 = memory[OCRAM_HEADER]
    second = header(bl2, 0)
    need(second["flags"] == 0x60 and second["sg_n"] == 1, "flags of the header of BL2")
    need([second["ep_lo"], second["ep_hi"]] == [entry[0], 0], "entry of BL2")
    table = key_table(bl2, second["srk"], second["keys"], srk_hash)
    parts = bl2[second["sg"] : second["sg"] + 16]
    size, target, low, high = struct.unpack("<IIII", parts)
    need(high == 0 and target == 0 and low in memory and size == len(memory[low]), "what is signed is not what was copied")
    need(low <= entry[0] < low + size, "the entry is not in what is signed")
    signature = bl2[second["sign"] : second["sign"] + second["sign_len"]]
    check(table, second["select"], bl2[:0x50] + table + parts + memory[low], signature)


def main():
    with open(sys.argv[1], "rb") as file:
        data = file.read()
    try:
        boot(data, sys.argv[2], int(sys.argv[3], 0))
    except (Refused, struct.error, IndexError, ValueError) as error:
        print(f"refused: {error}")
        return 1
    print("boots")
    return 0


if __name__ == "__main__":
    sys.exit(main())
