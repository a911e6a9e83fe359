"""vmm-img serve, seen by clients that others have written: libnbd's tools, fio and QEMU's."""

import json
import os
import signal
import socket
import unittest

from tool import VMM_IMG, ToolTest

MIB = 1 << 20


class Serve(ToolTest):
    # From the test's folder, where everything runs: a socket's path is short.
    uri = "nbd+unix:///?socket=s"

    def start(self, *arguments):
        """The server, when clients can come."""
        server = self.popen(VMM_IMG, "serve", "-k", "s", *arguments)
        line = server.stdout.readline().decode()
        self.assertTrue(line.startswith("Serving "), line)
        line = server.stdout.readline().decode()
        self.assertIn("nbd+unix:///", line)
        return server

    def end(self, server, status=0):
        """After its last client, or a signal."""
        output, _ = server.communicate(timeout=60)
        self.assertEqual((server.returncode, output.decode()), (status, ""))
        self.assertFalse(os.path.exists(self.path("s")))

    def stop(self, server):
        server.send_signal(signal.SIGTERM)
        self.end(server)

    def client(self, *command):
        result = self._run(*command)
        self.assertEqual(result.status, 0, f"{command}: {result.output}{result.errors}")
        return result.output

    def data_image(self, name="disk", size="64M", format="qcow2"):
        """Data, zeroes and holes."""
        path = self.create(name, size=size, format=format)
        self.qemu("qemu-io", "-f", format, "-c", "write -P 1 0 1M", "-c", "write -P 2 3M 100k", "-c", "write -z 10M 1M",
                  "-c", "write -P 3 63M 1M", path)
        return path


class Clients(Serve):
    def test_nbdinfo_shows_it(self):
        server = self.start("-f", "qcow2", "-t", "-x", "a b", "-D", "some text", self.data_image())
        uri = "nbd+unix:///a%20b?socket=s"
        export = json.loads(self.client("nbdinfo", "--json", uri))["exports"][0]
        self.assertEqual((export["export-name"], export["description"], export["export-size"]), ("a b", "some text", 64 * MIB))
        self.assertEqual([export[key] for key in ("is_read_only", "can_flush", "can_fua", "can_zero", "can_trim", "can_df",
                                                  "can_multi_conn", "can_cache", "can_fast_zero")],
                         [False, True, True, True, False, True, False, False, False])
        self.assertEqual((export["block_size_minimum"], export["block_size_maximum"]), (1, 32 * MIB))
        self.assertEqual(export["contexts"], ["base:allocation"])
        listed = json.loads(self.client("nbdinfo", "--json", "--list", uri))
        self.assertEqual([each["export-name"] for each in listed["exports"]], ["a b"])
        self.assertNotEqual(self._run("nbdinfo", self.uri).status, 0, "the export has another name")
        self.stop(server)

    def test_the_map_is_that_of_qemu_nbd(self):
        for format in ("qcow2", "raw"):
            path = self.data_image("disk." + format, format=format)
            server = self.start("-f", format, "-r", path)
            ours = json.loads(self.client("nbdinfo", "--json", "--map", self.uri))
            self.end(server)
            other = self.path("q")
            self.qemu("qemu-nbd", "-f", format, "-r", "-k", other, "--fork", path)
            theirs = json.loads(self.client("nbdinfo", "--json", "--map", f"nbd+unix:///?socket={other}"))
            self.assertEqual(self.merged(ours), self.merged(theirs))
            self.assertGreater(len(self.merged(ours)), 3)

    @staticmethod
    def merged(extents):
        result = []
        for each in extents:
            if result and result[-1][1] == each["type"]:
                result[-1] = (result[-1][0] + each["length"], each["type"])
            else:
                result.append((each["length"], each["type"]))
        return result

    def test_nbdcopy_reads_and_writes_it(self):
        path = self.data_image()
        server = self.start("-f", "qcow2", "-r", "-e", "4", path)
        self.client("nbdcopy", self.uri, self.path("copy.raw"))
        self.end(server)
        self.qemu("qemu-img", "compare", "-f", "qcow2", "-F", "raw", path, self.path("copy.raw"))
        target = self.create("target", size="64M")
        server = self.start("-f", "qcow2", "--discard", "unmap", target)
        self.client("nbdcopy", "--flush", self.path("copy.raw"), self.uri)
        self.end(server)
        self.qemu("qemu-img", "check", "-f", "qcow2", target)
        self.qemu("qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", path, target)

    def test_qemu_img_reads_and_writes_it(self):
        path = self.data_image()
        server = self.start("-f", "qcow2", "-t", path)
        self.client("qemu-img", "compare", "-f", "raw", "-F", "qcow2", "-U", self.uri, path)
        self.client("qemu-img", "convert", "-f", "raw", "-O", "qcow2", self.uri, self.path("copy"))
        self.client("qemu-io", "-f", "raw", "-c", "write -P 7 5M 333333", "-c", "write -z -u 0 70000", "-c", "flush",
                    "-c", "read -P 7 5M 333333", "-c", "read -P 0 0 70000", "-c", "discard 1M 1M", self.uri)
        self.stop(server)
        self.qemu("qemu-img", "check", "-f", "qcow2", path)
        self.qemu("qemu-io", "-f", "qcow2", "-c", "read -P 7 5M 333333", "-c", "read -P 0 0 70000", path)
        server = self.start("-f", "qcow2", self.create("target", size="64M"))
        self.client("qemu-img", "convert", "-n", "-W", "-m", "16", "-f", "qcow2", "-O", "raw", self.path("copy"), self.uri)
        self.end(server)
        self.qemu("qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", self.path("copy"), self.path("target"))

    def test_fio_finds_what_it_wrote(self):
        for arguments in (["-f", "qcow2", "--discard", "unmap"], ["-f", "qcow2", "--cache", "none", "--aio", "native"],
                          ["-f", "raw", "--aio", "threads"]):
            path = self.create("disk", size="64M", format=arguments[1])
            server = self.start("-t", *arguments, path)
            for pattern, sizes in (("randwrite", "512-64k"), ("randrw", "4k-4k")):
                self.client("fio", "--name=verify", "--ioengine=nbd", f"--uri={self.uri}", f"--rw={pattern}", f"--bsrange={sizes}",
                            "--size=64M", "--io_size=24M", "--iodepth=32", "--verify=crc32c", "--fsync=50", "--verify_state_save=0")
            self.stop(server)
            if arguments[1] == "qcow2":
                self.qemu("qemu-img", "check", "-f", "qcow2", path)

    def test_what_is_trimmed_is_given_back(self):
        path = self.create("disk", size="64M")
        server = self.start("-f", "qcow2", "--discard", "unmap", path)
        self.client("qemu-io", "-f", "raw", "-d", "unmap", "-c", "write -P 1 0 32M", "-c", "flush", "-c", "discard 0 32M", "-c",
                    "read -P 0 0 32M", "-c", "flush", self.uri)
        self.end(server)
        self.assertLess(os.stat(path).st_blocks * 512, 8 * MIB)
        self.qemu("qemu-img", "check", "-f", "qcow2", path)

    def test_chains_encryption_and_data_files_are_served(self):
        base = self.data_image("base")
        overlay = self.create("overlay", "-b", base, "-F", "qcow2", size="64M")
        secret = self.create("secret", "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10", size="64M")
        data = self.create("data", "-o", f"data_file={self.path('data.raw')}", size="64M")
        for path, options in ((overlay, []), (secret, ["--object", self.secret]), (data, ["--data-file", self.path("data.raw")])):
            server = self.start("-f", "qcow2", *options, path)
            self.client("qemu-io", "-f", "raw", "-c", "write -P 9 2M 64k", "-c", "read -P 9 2M 64k", self.uri)
            self.end(server)
            self.assertEqual(self.img("check", "-f", "qcow2", path).status, 0)
        self.qemu("qemu-io", "-f", "qcow2", "-c", "read -P 1 0 1M", "-c", "read -P 9 2M 64k", overlay)


class Rules(Serve):
    def test_without_t_it_ends_with_its_last_client(self):
        server = self.start("-f", "raw", self.create("disk", format="raw"))
        self.client("nbdinfo", "--size", self.uri)
        self.end(server)

    def test_one_writer_or_several_readers(self):
        path = self.create("disk")
        for number in ("2", "0"):
            result = self.img("serve", "-f", "qcow2", "-k", "s", "-e", number, path)
            self.assertEqual((result.status, result.output), (1, ""))
            self.assertIn("add -r", result.errors)
        self.assertIn("at most 16", self.img("serve", "-f", "qcow2", "-k", "s", "-r", "-e", "17", path).errors)
        server = self.start("-f", "qcow2", "-r", "-e", "0", path)
        info = json.loads(self.client("nbdinfo", "--json", self.uri))["exports"][0]
        self.assertEqual((info["is_read_only"], info["can_multi_conn"]), (True, True))
        self.end(server)

    def test_the_image_is_locked_meanwhile(self):
        path = self.create("disk")
        server = self.start("-f", "qcow2", "-t", path)
        result = self.img("serve", "-f", "qcow2", "-k", "other", path)
        self.assertEqual(result.status, 1)
        self.assertFalse(os.path.exists(self.path("other")))
        self.assertNotEqual(self._run("qemu-img", "resize", "-f", "qcow2", path, "+1M").status, 0)
        self.stop(server)

    def test_a_socket_that_is_in_use_is_refused_and_one_left_behind_is_not(self):
        path = self.create("disk", format="raw")
        server = self.start("-f", "raw", "-r", "-t", path)
        result = self.img("serve", "-f", "raw", "-r", "-k", "s", path)
        self.assertEqual(result.status, 1)
        self.assertIn("listens there", result.errors)
        server.kill()
        server.wait()
        self.assertTrue(os.path.exists(self.path("s")))
        self.stop(self.start("-f", "raw", "-r", path))

    def test_mistakes_are_told(self):
        path = self.create("disk")
        for arguments, text in ((["-f", "qcow2", path], "--socket is required"), (["-k", "s", path], "-f must tell its format"),
                                (["-k", "s", "-f", "vmdk", path], "raw, qcow2"),
                                (["-k", "s", "-f", "iso", path], "add -r"),
                                (["-k", "s", "-f", "qcow2", "-D", "x" * 5000, path], "4096 at most"),
                                (["-k", "s", "-f", "qcow2", "--detect-zeroes", "unmap", path], "--discard=unmap"),
                                (["-k", "x" * 200, "-f", "qcow2", path], "107 bytes"),
                                (["-k", "s", "-f", "qcow2", "--fork", self.path("nothing")], "nothing")):
            result = self.img("serve", *arguments)
            self.assertEqual(result.status, 1, arguments)
            self.assertIn(text, result.errors)
            self.assertEqual(result.errors.count("\n"), 1, result.errors)
            self.assertFalse(os.path.exists(self.path("s")))

    def test_it_goes_on_in_the_background_and_leaves_its_number(self):
        path = self.create("disk")
        result = self.img("serve", "-q", "-f", "qcow2", "-k", "s", "-t", "--fork", "--pid-file", self.path("pid"), path)
        self.assertEqual((result.status, result.output, result.errors), (0, "", ""))
        with open(self.path("pid"), encoding="ascii") as file:
            number = int(file.read())
        self.client("nbdinfo", "--size", self.uri)
        os.kill(number, signal.SIGTERM)
        while os.path.exists(self.path("pid")):
            pass
        self.assertFalse(os.path.exists(self.path("s")))


class Ends(Serve):
    """An image after whatever end of its server."""

    def write_until(self, server, ending):
        """fio writes, and before it is done the server gets the signal."""
        child = self.popen("fio", "--name=write", "--ioengine=nbd", f"--uri={self.uri}", "--rw=randwrite", "--bs=4k", "--size=256M",
                           "--iodepth=32", "--time_based", "--runtime=60")
        while os.stat(self.path("disk")).st_size < 8 * MIB:
            self.assertIsNone(child.poll())
        server.send_signal(ending)
        server.wait()
        child.kill()
        child.wait()

    def test_after_sigterm_it_is_clean(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            path = self.create("disk", size="256M")
            server = self.start("-f", "qcow2", "-t", path)
            self.write_until(server, number)
            self.assertEqual(server.returncode, 0)
            self.assertFalse(os.path.exists(self.path("s")))
            self.qemu("qemu-img", "check", "-f", "qcow2", path)

    def test_after_sigkill_it_has_leaks_at_worst(self):
        path = self.create("disk", size="256M")
        server = self.start("-f", "qcow2", "-t", path)
        self.write_until(server, signal.SIGKILL)
        self.assertIn(self.img("check", "-f", "qcow2", path).status, (0, 3))
        self.assertEqual(self.img("check", "-f", "qcow2", "-r", "leaks", path).status, 0)
        self.qemu("qemu-img", "check", "-f", "qcow2", path)

    def test_what_was_flushed_is_there_after_sigkill(self):
        path = self.create("disk", size="64M")
        server = self.start("-f", "qcow2", "-t", path)
        self.client("qemu-io", "-f", "raw", "-c", "write -P 5 1M 3M", "-c", "flush", "-c", "write -f -P 6 20M 64k", self.uri)
        server.kill()
        server.wait()
        self.qemu("qemu-io", "-f", "qcow2", "-c", "read -P 5 1M 3M", "-c", "read -P 6 20M 64k", path)

    def test_an_idle_client_does_not_keep_it_from_ending(self):
        server = self.start("-f", "qcow2", "-t", self.create("disk"))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(self.path("s"))
            self.assertEqual(client.recv(8), b"NBDMAGIC")
            self.stop(server)


if __name__ == "__main__":
    unittest.main()
