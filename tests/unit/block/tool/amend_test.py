"""vmm-img amend does what qemu-img amend does; passphrases that it adds open the image for QEMU."""

import json
import shutil
import unittest

from tool import ToolTest

ENCRYPTED = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"


class Amend(ToolTest):
    def amend(self, path, words, *options, status=0):
        result = self.img("amend", "-f", "qcow2", *options, "-o", words, path)
        self.assertEqual(result.status, status, result.errors)
        self.assertEqual(bool(result.errors), status != 0)
        self.assertEqual(result.output, "")
        if "encrypt" in words:  # QEMU checks none without its passphrase
            self.assertEqual(self.img("check", "-f", "qcow2", path).status, 0)
        else:
            self.qemu("qemu-img", "check", "-q", path)
        return result

    def io(self, path, *commands):
        self.qemu("qemu-io", "-f", "qcow2", *(word for command in commands for word in ("-c", command)), path)

    def info(self, path):
        info = json.loads(self.qemu("qemu-img", "info", "--output=json", "-U", path))
        for key in ("actual-size", "filename"):
            del info[key]
        return info

    def test_each_change_as_with_qemu_img(self):
        self.create("base", format="raw", size="3M")
        self.qemu("qemu-io", "-f", "raw", "-c", "write -P 9 0 3M", self.path("base"))
        steps = ("compat=0.10", "compat=v3", "lazy_refcounts=on", "refcount_bits=64", "lazy_refcounts=off", "compat=0.10,refcount_bits=16",
                 "compat=1.1,refcount_bits=8,lazy_refcounts=on", "refcount_bits=1", "compat=v2,refcount_bits=16", "compat=v2")
        for options in (["-o", "cluster_size=512"], ["-o", "cluster_size=64k"], ["-b", "base", "-F", "raw"]):
            ours = self.create("image", *options, size="5M")
            self.io(ours, "write -P 1 100k 1M", "write -z 1M 1M", "write -c -P 2 4M 1M", "write -z 150k 200k", "write -z 3M 64k")
            theirs = self.path("theirs")
            shutil.copyfile(ours, theirs)
            for words in steps:
                with self.subTest(options=options, words=words):
                    # Of compressed clusters many may lie in one of the file's, and be counted there.
                    result = self._run("qemu-img", "amend", "-f", "qcow2", "-o", words, theirs)
                    self.assertEqual(result.status != 0, words == "refcount_bits=1")
                    self.amend(ours, words, status=result.status)
                    self.assertEqual(self.info(ours), self.info(theirs))
                    self.qemu("qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", ours, theirs)
            self.io(ours, "write -P 3 2500k 64k")
            self.qemu("qemu-img", "check", "-q", ours)

    def test_what_both_refuse(self):
        for options, words in ((["compat=0.10"], "refcount_bits=8"), (["compat=0.10"], "lazy_refcounts=on"), (["refcount_bits=8"], "compat=0.10"),
                               (["extended_l2=on"], "compat=0.10"), ([], "data_file=x"), ([], "data_file_raw=on"), ([], "refcount_bits=3"),
                               ([], "compat=0.9"), ([], "cluster_size=512"), ([], "backing_file=x,backing_fmt=raw"), ([], ""),
                               ([], "encrypt.state=active"), ([], "lazy_refcounts=perhaps")):
            path = self.create("image", *(["-o", *options] if options else []))
            with open(path, "rb") as file:
                before = file.read()
            with self.subTest(options=options, words=words):
                self.assertNotEqual(self._run("qemu-img", "amend", "-f", "qcow2", "-o", words, path).status, 0)
                self.amend(path, words, status=1)
                with open(path, "rb") as file:
                    self.assertEqual(file.read(), before)

    def test_what_would_cost_data_or_space_is_refused(self):
        path = self.create("image")
        self.qemu("qemu-img", "bitmap", "--add", path, "b")
        self.assertIn("dirty bitmaps", self.amend(path, "compat=0.10", status=1).errors)
        path = self.create("image", "-o", "compression_type=zstd")
        self.assertIn("zstd", self.amend(path, "compat=0.10", status=1).errors)
        self.assertIn("resize", self.amend(path, "size=1k", status=1).errors)

    def test_the_data_file(self):
        data = self.path("data")
        path = self.create("image", "-o", f"data_file={data},data_file_raw=on")
        shutil.copyfile(data, self.path("other"))
        self.amend(path, f"data_file={self.path('other')}")
        self.io(path, "write -P 5 0 64k")
        with open(self.path("other"), "rb") as file:
            self.assertEqual(file.read(65536), b"\5" * 65536)
        theirs = self.path("theirs")
        shutil.copyfile(path, theirs)
        self.amend(path, "data_file_raw=off")
        self.qemu("qemu-img", "amend", "-f", "qcow2", "-o", "data_file_raw=off", theirs)
        self.assertEqual(self.info(path), self.info(theirs))

    # --- Passphrases ---

    def secrets(self):
        """--object for s (the image's first), t and u."""
        objects = {"s": self.secret}
        for name in ("t", "u"):
            objects[name] = f"secret,id={name},file=" + self.write(f"passphrase-{name}", f"another {name}".encode())
        return objects

    def opens(self, path, secret):
        """Whether QEMU and this tool read the image with the passphrase."""
        name = secret.split("id=")[1][0]
        theirs = self._run("qemu-io", "--object", secret, "--image-opts", "-c", "read -P 7 0 64k",
                           f"driver=qcow2,encrypt.key-secret={name},file.filename={path}")
        ours = self.img("convert", "--object", secret, "-f", "qcow2", path, self.path("raw"))
        self.assertEqual(ours.status == 0, theirs.status == 0, ours.errors + theirs.errors)
        return ours.status == 0

    def encrypted(self):
        path = self.create("image", "-o", ENCRYPTED)
        self.qemu("qemu-io", "--object", self.secret, "--image-opts", "-c", "write -P 7 0 64k",
                  f"driver=qcow2,encrypt.key-secret=s,file.filename={path}")
        return path

    def slots(self, path):
        return [slot["active"] for slot in self.info(path)["format-specific"]["data"]["encrypt"]["slots"]]

    def test_passphrases_are_added_and_forgotten(self):
        path = self.encrypted()
        secrets = self.secrets()
        objects = [word for secret in secrets.values() for word in ("--object", secret)]
        self.assertFalse(self.opens(path, secrets["t"]))
        self.amend(path, "encrypt.state=active,encrypt.new-secret=t,encrypt.iter-time=10", *objects)
        self.amend(path, "encrypt.state=active,encrypt.new-secret=u,encrypt.old-secret=t,encrypt.keyslot=6,encrypt.iter-time=10", *objects)
        self.assertEqual(self.slots(path), [True, True, False, False, False, False, True, False])
        for secret in secrets.values():
            self.assertTrue(self.opens(path, secret))
        self.amend(path, "encrypt.state=inactive,encrypt.old-secret=s", *objects)
        self.assertEqual(self.slots(path), [False, True, False, False, False, False, True, False])
        self.assertFalse(self.opens(path, secrets["s"]))
        self.amend(path, "encrypt.state=inactive,encrypt.keyslot=1")
        self.assertEqual([self.opens(path, secret) for secret in secrets.values()], [False, False, True])

    def test_the_last_one_stays_and_none_is_written_over(self):
        path = self.encrypted()
        secrets = self.secrets()
        objects = [word for secret in secrets.values() for word in ("--object", secret)]
        with open(path, "rb") as file:
            before = file.read()
        for words, told in (("encrypt.state=inactive,encrypt.old-secret=s", "no LUKS key slot would be left"),
                            ("encrypt.state=inactive,encrypt.keyslot=0", "no LUKS key slot would be left"),
                            ("encrypt.state=inactive,encrypt.old-secret=t", "does not open any"),
                            ("encrypt.state=inactive", "needs either"),
                            ("encrypt.state=inactive,encrypt.keyslot=8", "0 to 7"),
                            ("encrypt.state=inactive,encrypt.keyslot=0,encrypt.new-secret=t", "nothing else"),
                            ("encrypt.state=active", "needs encrypt.new-secret"),
                            ("encrypt.new-secret=t", "encrypt.state"),
                            ("encrypt.state=active,encrypt.new-secret=x", "no secret 'x'"),
                            ("encrypt.state=active,encrypt.new-secret=t,encrypt.keyslot=0", "in use"),
                            ("encrypt.state=active,encrypt.new-secret=t,encrypt.old-secret=u", "does not open any"),
                            ("encrypt.state=active,encrypt.new-secret=t,lazy_refcounts=on", "step of their own")):
            with self.subTest(words=words):
                self.assertIn(told, self.amend(path, words, *objects, status=1).errors)
        self.amend(path, "encrypt.state=active,encrypt.new-secret=t", "--object", secrets["t"], status=1)
        with open(path, "rb") as file:
            self.assertEqual(file.read(), before)

    def test_those_that_qemu_img_added_are_forgotten_here(self):
        path = self.encrypted()
        secrets = self.secrets()
        self.qemu("qemu-img", "amend", "--object", secrets["s"], "--object", secrets["t"], "--image-opts",
                  f"driver=qcow2,encrypt.key-secret=s,file.filename={path}",
                  "-o", "encrypt.state=active,encrypt.new-secret=t,encrypt.iter-time=10")
        self.assertTrue(self.opens(path, secrets["t"]))
        self.amend(path, "encrypt.state=inactive,encrypt.old-secret=t", "--object", secrets["t"])
        self.assertFalse(self.opens(path, secrets["t"]))
        self.assertTrue(self.opens(path, secrets["s"]))

    def test_eight_passphrases_are_all(self):
        path = self.encrypted()
        objects = [word for secret in self.secrets().values() for word in ("--object", secret)]
        for _ in range(7):
            self.amend(path, "encrypt.state=active,encrypt.new-secret=t,encrypt.iter-time=1", *objects)
        self.assertIn("all 8", self.amend(path, "encrypt.state=active,encrypt.new-secret=u,encrypt.iter-time=1", *objects, status=1).errors)
        self.amend(path, "encrypt.state=inactive,encrypt.old-secret=t", *objects)
        self.assertEqual(self.slots(path), [True] + [False] * 7)

    def test_errors_are_told(self):
        path = self.create("image")
        for arguments in ([path], ["-f", "qcow2", path], ["-f", "raw", "-o", "compat=1.1", path],
                          ["-f", "qcow2", "-o", "compat=1.1", self.path("missing")]):
            self.assertEqual(self.img("amend", *arguments).status, 1)


if __name__ == "__main__":
    unittest.main()
