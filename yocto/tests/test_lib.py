"""Tests of what the layer's recipes share, without bitbake: which keys and machines are refused, and in which words."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../meta-trustbox/lib"))
from trustbox import keys, machines  # noqa: E402


def openssl(*words):
    return subprocess.run(("openssl",) + words, check=True, capture_output=True).stdout


class Keys(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.rsa = cls.make("rsa.pem", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
        cls.rsa3072 = cls.make("rsa3072.key", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072")
        cls.old_form = cls.make("old.key", "rsa", "-traditional", "-in", cls.rsa3072)
        cls.rsa_public = cls.make("rsa.pub.pem", "pkey", "-pubout", "-in", cls.rsa)
        cls.ec = cls.make("ec.pem", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
        cls.ec_public = cls.make("ec.pub.pem", "pkey", "-pubout", "-in", cls.ec)
        cls.certificate = cls.make("cert.pem", "req", "-x509", "-key", cls.ec, "-subj", "/CN=test")
        cls.make("rsa3072.crt", "req", "-x509", "-key", cls.rsa3072, "-subj", "/CN=test")
        cls.make("old.crt", "req", "-x509", "-key", cls.rsa3072, "-subj", "/CN=test")
        cls.digest = cls.write("key.sha256", b"ab" * 32 + b"\n")
        cls.damaged = cls.write("damaged.pem", b"-----BEGIN PUBLIC KEY-----\nA\n-----END PUBLIC KEY-----\n")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def write(cls, name, content):
        path = os.path.join(cls.folder.name, name)
        with open(path, "wb") as file:
            file.write(content)
        return path

    @classmethod
    def make(cls, name, *words):
        return cls.write(name, openssl(*words))

    def test_right_keys_are_taken(self):
        for kind, path in (("rsa-private", self.rsa), ("fit-private", self.rsa3072),
                           ("fit-private", self.old_form), ("rsa-public", self.rsa_public),
                           ("ec-private", self.ec), ("ec-any", self.ec), ("ec-any", self.ec_public),
                           ("certificate", self.certificate), ("sha256", self.digest), ("file", self.ec)):
            self.assertIsNone(keys.problem("KEY", path, kind), (kind, path))

    def test_every_other_kind_is_refused_with_both_named(self):
        files = {"rsa": self.rsa, "rsa_public": self.rsa_public, "ec": self.ec, "ec_public": self.ec_public,
                 "certificate": self.certificate, "digest": self.digest, "damaged": self.damaged}
        right = {"rsa-private": {"rsa"}, "fit-private": set(), "rsa-public": {"rsa_public"}, "ec-private": {"ec"},
                 "ec-any": {"ec", "ec_public"}, "certificate": {"certificate"}, "sha256": {"digest"}}
        for kind, taken in right.items():
            for name, path in files.items():
                found = keys.problem("KEY", path, kind)
                if name in taken:
                    self.assertIsNone(found)
                else:
                    self.assertRegex(found, "^KEY is /.*, which is .*: set it to the path of .*")

    def test_size_is_said(self):
        self.assertIn("a private RSA key of 2048 bits", keys.problem("KEY", self.rsa, "fit-private"))
        with open(self.old_form, "rb") as file:
            self.assertEqual(keys.describe(file.read())[3], 3072)

    def test_a_fit_key_has_its_name_and_its_certificate(self):
        with open(self.rsa3072, "rb") as file:
            content = file.read()
        self.assertIn("ends in .key", keys.problem("KEY", self.write("fit.pem", content), "fit-private"))
        alone = self.write("alone.key", content)
        self.assertIn("alone.crt is no certificate", keys.problem("KEY", alone, "fit-private"))
        self.write("alone.crt", content)
        self.assertIn("alone.crt is no certificate", keys.problem("KEY", alone, "fit-private"))

    def test_missing_keys_are_said_to_be_missing(self):
        self.assertTrue(keys.problem("KEY", None, "rsa-private").startswith("KEY is not set: "))
        self.assertIn("which is no file", keys.problem("KEY", "/nowhere/key", "rsa-private"))

    def test_keys_of_verified_boot_are_all_there(self):
        with tempfile.TemporaryDirectory() as folder:
            def put(name, path):
                shutil.copyfile(path, os.path.join(folder, name))

            def refused():
                return keys.problem("KEYS", folder, "boot-keys", ["root", "monitor"]) or ""
            self.assertIn("root.pub.pem, which is no file: set it to the path of a folder", refused())
            public = self.make("rsa3072.pub.pem", "pkey", "-pubout", "-in", self.rsa3072)
            put("root.pub.pem", public)
            self.assertIn("one of root.key and root.uri", refused())
            put("root.key", self.rsa3072)
            put("monitor.pub.pem", self.rsa_public)
            self.assertIn("a public RSA key of 2048 bits", refused())
            put("monitor.pub.pem", public)
            put("monitor.uri", self.digest)
            self.assertEqual(refused(), "")
            put("root.uri", self.digest)
            self.assertIn("one of root.key and root.uri", refused())

    def test_files_of_a_signature_are_those_that_are_named(self):
        settings = {"TRUSTBOX_KEYS_NEEDED": "BOOT:boot-keys ROOT:root-keys SECRET:rsa-private", "TRUSTBOX_BOOT_ROLES": "root monitor"}
        data = unittest.mock.Mock(getVar=settings.get)
        self.assertEqual(keys.public_files(data), "")
        settings.update(BOOT="/keys", ROOT="/a /b", SECRET="/secret")
        wanted = ["/keys/root.pub.pem", "/keys/monitor.pub.pem", "/a", "/b"]
        self.assertEqual(keys.public_files(data), " ".join("%s:True" % path for path in wanted))

    def test_super_root_keys_are_a_list(self):
        self.assertIsNone(keys.problem("KEYS", "%s %s" % (self.rsa_public, self.rsa_public), "root-keys"))
        both = "%s %s" % (self.rsa_public, self.ec_public)
        self.assertIn("a public EC key", keys.problem("KEYS", both, "root-keys"))

    def test_tokens_are_for_private_keys(self):
        self.assertIsNone(keys.problem("KEY", "pkcs11:token=a", "fit-private"))
        self.assertIn("is in a token", keys.problem("KEY", "pkcs11:token=a", "rsa-public"))

    def test_no_content_is_in_a_message(self):
        with open(self.rsa) as file:
            secret = file.read().splitlines()[3]
        self.assertNotIn(secret, keys.problem("KEY", self.rsa, "certificate"))


class Machines(unittest.TestCase):
    def test_known_machines_are_taken(self):
        self.assertIsNone(machines.problem("ls1028ardb", "ls1028a-rdb", True, ["core", "trustbox"]))

    def test_others_are_told_what_to_set(self):
        self.assertIn("set MACHINE to one of", machines.problem("qemux86-64", None, False, ["core"]))
        self.assertIn("add yocto/meta-trustbox-bsp", machines.problem("trustbox-edge-201", None, False, ["core"]))
        self.assertIn("set it to the name of a folder", machines.problem("mine", "mine", False, ["trustbox-bsp"]))


if __name__ == "__main__":
    unittest.main()
