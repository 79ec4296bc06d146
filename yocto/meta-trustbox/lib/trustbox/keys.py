"""Which key a recipe was given: kind and size of a PEM file, read without any library, so that a wrong one is refused
before anything is built. A pkcs11: URI is taken as it is, since only the token knows what is behind it."""

import base64
import os
import re

RSA = bytes.fromhex("06092a864886f70d010101")
EC = bytes.fromhex("06072a8648ce3d0201")
PRIVATE = ("PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY")
PUBLIC = ("PUBLIC KEY",)


def check(d):
    """Stops the recipe at the first key of TRUSTBOX_KEYS_NEEDED that lacks or is of the wrong kind."""
    import bb
    for variable, kind in needed(d):
        text = problem(variable, d.getVar(variable), kind, roles_of(d))
        if text:
            bb.fatal(text)


def public_files(d):
    """Files whose content belongs to a task's signature, as bitbake's file-checksums wants them."""
    paths = []
    for variable, kind in needed(d):
        value = d.getVar(variable)
        if not value:
            continue
        if kind == "boot-keys":
            paths += ["%s/%s.pub.pem" % (value, role) for role in roles_of(d)]
        elif "private" not in kind:
            paths += value.split() if kind == "root-keys" else [value]
    return " ".join("%s:True" % path for path in paths if path.startswith("/"))


def needed(d):
    return [entry.split(":") for entry in (d.getVar("TRUSTBOX_KEYS_NEEDED") or "").split()]


def roles_of(d):
    return (d.getVar("TRUSTBOX_BOOT_ROLES") or "").split()


def problem(variable, value, kind, roles=()):
    """What is wrong with a key, as one line that says what to set; None if nothing is."""
    if not value:
        return "%s is not set: set it to the path%s of %s" % (variable, " or pkcs11: URI" * ("private" in kind), KINDS[kind][0])
    if value.startswith("pkcs11:"):
        return None if "private" in kind else "%s is in a token: set it to the path of %s" % (variable, KINDS[kind][0])
    if kind == "boot-keys":
        return incomplete(variable, value, roles)
    if kind == "root-keys":
        found = [problem(variable, path, "rsa-public") for path in value.split()]
        return next(filter(None, found), None)
    if not os.path.isfile(value):
        return "%s is %s, which is no file: set it to the path of %s" % (variable, value, KINDS[kind][0])
    with open(value, "rb") as file:
        found = describe(file.read())
    if KINDS[kind][1](found):
        return unnamed(variable, value) if kind == "fit-private" else None
    return "%s is %s, which is %s: set it to the path of %s" % (variable, value, found[0], KINDS[kind][0])


def incomplete(variable, value, roles):
    """A folder with a public key of each role, and where the private one is."""
    for role in roles:
        path = os.path.join(value, role)
        text = problem(variable, path + ".pub.pem", "boot-public")
        if text:
            return text
        if os.path.isfile(path + ".key") == os.path.isfile(path + ".uri"):
            return "%s is %s, which must have one of %s.key and %s.uri: put the key or its pkcs11: URI there" % (variable, value, role, role)
    return None


def unnamed(variable, value):
    """mkimage takes a folder and a name, and looks for NAME.key and NAME.crt there."""
    if not value.endswith(".key"):
        return "%s is %s, which mkimage does not find: set it to the path of a key whose name ends in .key" % (variable, value)
    certificate = value.removesuffix(".key") + ".crt"
    text = open(certificate, "rb").read() if os.path.isfile(certificate) else b""
    if describe(text)[2] == "certificate":
        return None
    return "%s is %s, and %s is no certificate: put that of the key there, in PEM" % (variable, value, certificate)


def describe(text):
    """What a file is in words, whether it is private, its algorithm, its bits."""
    if re.fullmatch(rb"[0-9a-f]{64}\s*", text) or len(text) == 32:
        return ("a SHA-256 digest", False, "sha256", 256)
    match = re.search(rb"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", text, re.DOTALL)
    if not match:
        return ("no PEM file", False, "", 0)
    label = match.group(1).decode()
    try:
        data = base64.b64decode(match.group(2), validate=False)
    except ValueError:
        return ("a damaged PEM file", False, "", 0)
    if label == "CERTIFICATE":
        return ("a certificate", False, "certificate", 0)
    if label not in PRIVATE + PUBLIC:
        return ("a PEM file with %s" % label, False, "", 0)
    private = label in PRIVATE
    algorithm, bits = "rsa", modulus(data)
    if label == "EC PRIVATE KEY" or EC in data[:64]:
        algorithm, bits = "ec", 0
    elif label != "RSA PRIVATE KEY" and RSA not in data[:64]:
        algorithm, bits = "unknown", 0
    words = "%s %s key%s" % ("a private" if private else "a public", algorithm.upper(), " of %d bits" % bits if bits else "")
    return (words, private, algorithm, bits)


def modulus(data):
    """Bits of the first large number in DER, which in every form of an RSA key is the modulus."""
    at = 0
    while at + 4 < len(data):
        tag, length, header = data[at], data[at + 1], 2
        if length & 0x80:
            count = length & 0x7F
            length, header = int.from_bytes(data[at + 2:at + 2 + count], "big"), 2 + count
        if tag == 0x02 and length > 64:
            return int.from_bytes(data[at + header:at + header + length], "big").bit_length()
        # Into sequences and the strings that wrap a key; over everything else
        inside = {0x30: 0, 0x04: 0, 0x03: 1}
        at += header + (inside[tag] if tag in inside and length > 64 else length)
    return 0


def _rsa(private, bits):
    return lambda found: found[1] == private and found[2] == "rsa" and found[3] >= bits


KINDS = {
    "rsa-public": ("an RSA public key of 2048 bits or more, in PEM", _rsa(False, 2048)),
    "boot-public": ("a folder with an RSA public key of 3072 bits as ROLE.pub.pem for each role", _rsa(False, 3072)),
    "boot-keys": ("a folder with the keys of verified boot, as build/tb firmware --boot-keys takes it", None),
    "root-keys": ("one to four RSA public keys, the super root keys", None),
    "rsa-private": ("an RSA private key of 2048 bits or more, in PEM", _rsa(True, 2048)),
    "fit-private": ("an RSA private key of 3072 bits or more, in PEM", _rsa(True, 3072)),
    "ec-private": ("an EC private key, in PEM", lambda found: found[1] and found[2] == "ec"),
    "ec-any": ("an EC key, in PEM", lambda found: found[2] == "ec"),
    "certificate": ("a certificate, in PEM", lambda found: found[2] == "certificate"),
    "sha256": ("the SHA-256 of the provisioning authority's key", lambda found: found[2] == "sha256"),
    "file": ("a file", lambda found: True),
}
