#!/usr/bin/env python3
"""Reads the package vectors from FORMAT.md alone: opens the three packages, refuses every changed one.

A second implementation, so that the specification and not one program says what a package is.
"""

import hashlib
import json
import struct
import sys
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

HERE = Path(__file__).parent


class Refused(Exception):
    """Not a package, or not one to be believed."""


def need(condition, what):
    if not condition:
        raise Refused(what)


def sha256(data):
    return hashlib.sha256(data).digest()


def frame(data):
    need(len(data) >= 16, "header")
    magic, version, flags, count, manifest, kind, kind_version = struct.unpack_from("<IHHHHHH", data)
    need((magic, version, flags, kind, kind_version) == (0x0ECCF00D, 1, 0, 1, 1), "header fields")
    need(1 <= count <= 32 and manifest < count and len(data) >= 16 + 16 * count, "counts")
    body, end, streams = data[16 + 16 * count:], 0, []
    for index in range(count):
        offset, size = struct.unpack_from("<QQ", data, 16 + 16 * index)
        need(offset == end and offset + size <= len(body), f"stream {index}")
        end = offset + size
        streams.append(body[offset:end])
    need(end == len(body), "trailing bytes")
    return streams, manifest


def no_doubles(pairs):
    need(len(dict(pairs)) == len(pairs), "doubled member")
    return dict(pairs)


def members(value, names):
    need(isinstance(value, dict) and set(value) == set(names.split()), f"members {names}")
    return value


def choice(value, name, names):
    """The body of a one-member object, or None for "none"."""
    return None if value == "none" else members(members(value, name)[name], names)


def read_json(data):
    try:
        text = json.loads(data.decode(), object_pairs_hook=no_doubles)
    except ValueError as error:
        raise Refused("JSON") from error
    members(text, "cp-id cp-name cp-vendor payload package")
    payload = members(text["payload"], "data target ver enc dig sig cert")
    members(payload["target"], "arch os")
    members(payload["ver"], "maj min rev date")
    members(text["package"], "map dig sig cert")
    need([text["package"][name] for name in ("dig", "sig", "cert")] == ["none"] * 3, "package members")
    return text


SIZES = {"nonce": 12, "tag": 16, "digest": 32}


def roles(streams, manifest, text):
    payload = text["payload"]
    enc = choice(payload["enc"], "aes-gcm", "key_name key_strength nonce tag")
    dig = choice(payload["dig"], "sha256", "data")
    sig = choice(payload["sig"], "rsa-pkcs1v15", "key_strength data")
    cert = choice(payload["cert"], "embedded-x509-pem", "data")
    named = [("payload", payload["data"])]
    named += [("nonce", enc["nonce"]), ("tag", enc["tag"])] if enc else []
    named += [(role, body["data"]) for role, body in (("digest", dig), ("signature", sig), ("certificate", cert)) if body]
    named += [("JSON manifest", manifest)]
    after = ["trusted manifest", "annex"] + ["attachment"] * 32
    named += [(after[index - manifest - 1], index) for index in range(manifest + 1, len(streams))]
    found = dict((stream, role) for role, stream in named)
    need(len(found) == len(named) and sorted(found) == list(range(len(streams))), "roles")
    need(text["package"]["map"] == list(range(len(streams))), "map")
    for stream, role in found.items():
        need(len(streams[stream]) == SIZES.get(role, len(streams[stream])), f"size of {role}")
    return [found[index] for index in range(len(streams))]


class Postcard:
    def __init__(self, data):
        self.data, self.at = data, 0

    def bytes(self, size):
        need(self.at + size <= len(self.data), "short")
        self.at += size
        return self.data[self.at - size:self.at]

    def number(self):
        value = shift = 0
        while True:
            byte = self.bytes(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def slice(self):
        return self.bytes(self.number())

    def end(self):
        need(self.at == len(self.data), "bytes left over")


def envelope(data, domain):
    reader = Postcard(data)
    payload, signer, signature = reader.slice(), reader.bytes(64), reader.bytes(64)
    reader.end()
    try:
        key = ec.EllipticCurvePublicNumbers(
            int.from_bytes(signer[:32], "big"), int.from_bytes(signer[32:], "big"), ec.SECP256R1()
        ).public_key()
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        key.verify(utils.encode_dss_signature(r, s), domain + payload, ec.ECDSA(SHA256()))
    except (InvalidSignature, ValueError) as error:
        raise Refused("signature") from error
    return payload, signer, sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def trusted_manifest(data):
    payload, signer, signer_id = envelope(data, b"TrustBox statement\0")
    reader, terms = Postcard(payload), {}
    need((reader.number(), reader.number()) == (4, 1), "kind and format")
    terms["root"] = reader.bytes(32)
    need(reader.number() == 1, "audience")
    sequence = reader.number()
    need(reader.bytes(32) == signer_id, "publisher")
    terms["uuid"], terms["name"], terms["version"] = reader.bytes(16), reader.slice().decode(), reader.number()
    need(sequence == terms["version"], "sequence")
    terms["min"] = [reader.number() for _ in range(6)]
    terms["size"], terms["cipher"], terms["plain"] = reader.number(), reader.bytes(32), reader.bytes(32)
    terms["nonce"], terms["tag"] = reader.bytes(12), reader.bytes(16)
    terms["key"] = (reader.slice().decode(), reader.number())
    terms["additional"] = payload[:reader.at]
    terms["wrapped"] = (reader.bytes(12), reader.bytes(32), reader.bytes(16))
    reader.end()
    return terms, signer


def decrypt(key, nonce, cipher, tag, additional):
    try:
        return AESGCM(key).decrypt(nonce, cipher + tag, additional or None)
    except InvalidTag as error:
        raise Refused("tag") from error


def dashed(uuid):
    text = uuid.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def open_trusted(streams, text, key, by_role):
    terms, signer = trusted_manifest(by_role["trusted manifest"])
    payload = by_role["payload"]
    name, version = terms["key"]
    said = (text["cp-id"], text["cp-name"], text["payload"]["ver"]["maj"], text["payload"]["enc"]["aes-gcm"]["key_name"])
    key_name = name if version == 1 else f"{name}@{version}"
    need(said == (dashed(terms["uuid"]), terms["name"], terms["version"], key_name), "JSON agrees")
    need([by_role["nonce"], by_role["tag"], by_role["digest"]] == [terms["nonce"], terms["tag"], terms["plain"]], "streams agree")
    need(sha256(payload) == terms["cipher"] and len(payload) == terms["size"], "ciphertext")
    if "annex" in by_role:
        annex(by_role, streams[streams.index(by_role["annex"]) + 1:], signer)
    nonce, wrapped, tag = terms["wrapped"]
    content_key = decrypt(key, nonce, wrapped, tag, terms["additional"])
    image = decrypt(content_key, terms["nonce"], payload, terms["tag"], b"")
    need(sha256(image) == terms["plain"], "plaintext")
    return image, content_key, terms


def annex(by_role, attached, signer):
    payload, by, _ = envelope(by_role["annex"], b"TrustBox annex\0")
    need(by == signer, "signer of the annex")
    reader = Postcard(payload)
    need(reader.number() == 1 and reader.bytes(32) == sha256(by_role["trusted manifest"]), "annex of this package")
    listed = [(reader.number(), reader.number(), reader.bytes(32)) for _ in range(reader.number())]
    reader.end()
    need([(size, digest) for _, size, digest in listed] == [(len(item), sha256(item)) for item in attached], "attachments")


def open_original(key, by_role):
    image = decrypt(key, by_role["nonce"], by_role["payload"], by_role["tag"], b"")
    need(sha256(image) == by_role["digest"], "plaintext")
    try:
        certificate = x509.load_pem_x509_certificate(by_role["certificate"])
        certificate.public_key().verify(by_role["signature"], image, padding.PKCS1v15(), SHA256())
    except (InvalidSignature, ValueError) as error:
        raise Refused("signature") from error
    return image


def opened(data, key):
    streams, manifest = frame(data)
    text = read_json(streams[manifest])
    found = roles(streams, manifest, text)
    by_role = dict(zip(found, streams))
    if "trusted manifest" in by_role:
        return found, streams, open_trusted(streams, text, key, by_role)[0]
    return found, streams, open_original(key, by_role)


def check_image(image, vectors):
    magic, kind, elf, algorithm, digest_size, signature_size = struct.unpack_from("<IIIIHH", image)
    need((magic, kind, algorithm, digest_size) == (0x4F545348, 1, 0x70004830, 32), "image header")
    signature, content = image[52:52 + signature_size], image[52 + signature_size:]
    need(len(content) == 20 + elf and sha256(image[:20] + content) == image[20:52], "image digest")
    key = load_pem_private_key((HERE / vectors["ta_signing_key"]["file"]).read_bytes(), None).public_key()
    key.verify(signature, image[:20] + content, padding.PKCS1v15(), SHA256())
    need(dashed(content[:16]) == vectors["image"]["uuid"], "image UUID")
    need(struct.unpack_from("<I", content, 16)[0] == vectors["image"]["version"], "image version")


def main():
    vectors = json.loads((HERE / "vectors.json").read_text())
    key = bytes.fromhex(vectors["class_key"]["aes256"])
    for package in vectors["packages"]:
        data = (HERE / package["file"]).read_bytes()
        found, streams, image = opened(data, key)
        shown = [(role, len(stream), sha256(stream).hex()) for role, stream in zip(found, streams)]
        need(shown == [(s["role"], s["size"], s["sha256"]) for s in package["streams"]], package["file"])
        need(sha256(image).hex() == vectors["image"]["sha256"], package["file"])
        check_image(image, vectors)
        for length in range(len(data)):
            must_refuse(f"{package['file']} cut to {length}", data[:length], key)
    for change in vectors["refused"]:
        data, at, put = (HERE / change["base"]).read_bytes(), change["at"], bytes.fromhex(change["bytes"])
        must_refuse(change["name"], data[:at] + put + data[at + len(put):], key)
    print(f"{len(vectors['packages'])} packages opened, {len(vectors['refused'])} changes refused")


def must_refuse(name, data, key):
    try:
        opened(data, key)
    except Refused:
        return
    sys.exit(f"not refused: {name}")


if __name__ == "__main__":
    main()
