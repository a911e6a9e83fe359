#!/usr/bin/env python3
"""A stock kernel's network: its address by DHCP, names, bytes both ways, over the user network and over taps.

All of it in a network namespace of the test's own, whose loopback interface is as far as anything gets.
"""

import ctypes
import functools
import glob
import hashlib
import http.server
import json
import os
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../lib")]
import qmp  # noqa: E402
from guest import MIB, STDIO, VMM, Guest, GuestTest, main  # noqa: E402

MODULES = ("virtio_pci", "virtio_mmio", "virtio_net", "af_packet", "ipv6")
BLOB_BYTES = 100 * MIB
NAME, NAME_ADDRESS = "host.example", "10.11.12.13"
CLONE_NEWNS, CLONE_NEWNET = 0x20000, 0x40000000
WEB_PORT, GUEST_WEB, GUEST_END = 8000, 2080, 2081

DHCP = """#!/bin/sh
case $1 in
  bound|renew)
    ip addr flush dev $interface
    ip addr add $ip/$mask dev $interface
    [ -n "$router" ] && ip route add default via $router
    echo "nameserver $dns" >/etc/resolv.conf
    echo dhcp=$ip/$mask router=$router dns=$dns mtu=$mtu ;;
esac
"""
SERVE = """
mkdir -p /www
dd if=/dev/urandom of=/www/blob bs=1M count=8 2>/dev/null
echo served=$(sha256sum </www/blob)
httpd -p 80 -h /www
echo serving=yes
nc -l -p 81
echo ended=yes
"""
# %s: where the host's web server is.
FETCH = """
echo fetched=$(wget -q -O - http://%s/blob | sha256sum)
"""
USER = """
mkdir -p /etc /tmp
chmod +x /dhcp
ip link set lo up
ip link set eth0 up
echo mac=$(cat /sys/class/net/eth0/address)
udhcpc -i eth0 -n -q -f -s /dhcp >/tmp/dhcp 2>&1
grep dhcp= /tmp/dhcp
echo name=$(nslookup """ + NAME + """ | grep -A1 Name: | sed -n 's/Address.*: //p')
""" + FETCH % f"10.0.2.2:{WEB_PORT}" + """
for second in $(seq 20); do ip -6 addr show dev eth0 | grep -q 'scope .*dynamic' && break; sleep 0.5; done
echo six=$(ip -6 addr show dev eth0 | sed -n 's/.*inet6 \\(fec0[^ ]*\\).*/\\1/p')
""" + "echo fetched6=$(wget -q -O - 'http://[fec0::2]:%d/blob' | sha256sum)\n" % WEB_PORT + SERVE


def enter_namespace():
    """This process, from now on, in a network of its own, and with files mounted that nobody else sees."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET | CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class WebServer(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


class Names(socketserver.BaseRequestHandler):
    """A name server that knows one name (RFC 1035)."""

    def handle(self):
        query, sock = self.request
        labels = b"".join(bytes([len(part)]) + part.encode() for part in NAME.split(".")) + b"\0"
        is_known = query[12:].startswith(labels + b"\0\x01")
        head = query[:2] + (b"\x81\x80" if is_known else b"\x81\x83") + query[4:6] + (b"\0\1" if is_known else b"\0\0") + b"\0\0\0\0"
        answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(NAME_ADDRESS) if is_known else b""
        end = 12 + query[12:].index(b"\0") + 5
        sock.sendto(head + query[12:end] + answer, self.client_address)


class NetworkTest(GuestTest):
    @classmethod
    def setUpClass(cls):
        enter_namespace()
        cls.folder = tempfile.TemporaryDirectory(prefix="vmm-net.", dir=os.environ.get("VMM_LAB_SCRATCH"))
        path = os.path.join(cls.folder.name, "blob")
        blob = os.urandom(MIB) * (BLOB_BYTES // MIB)
        cls.sum = hashlib.sha256(blob).hexdigest()
        with open(path, "wb") as file:
            file.write(blob)
        resolver = os.path.join(cls.folder.name, "resolv.conf")
        with open(resolver, "w", encoding="utf-8") as file:
            file.write("nameserver 127.0.0.1\n")
        subprocess.run(["mount", "--bind", resolver, "/etc/resolv.conf"], check=True)
        cls.servers = [WebServer(("::", WEB_PORT), functools.partial(QuietHandler, directory=cls.folder.name)),
                       socketserver.ThreadingUDPServer(("127.0.0.1", 53), Names)]
        for server in cls.servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()

    @classmethod
    def tearDownClass(cls):
        for server in cls.servers:
            server.shutdown()
            server.server_close()
        subprocess.run(["umount", "/etc/resolv.conf"], check=True)
        cls.folder.cleanup()

    def fetch_from_guest(self, run, address):
        try:
            with urllib.request.urlopen(f"http://{address}/blob", timeout=60) as answer:
                got = hashlib.sha256(answer.read()).hexdigest()
        except OSError as error:
            self.fail(f"{error}\n{run.account()}")
        self.assertEqual(got, run.values()["served"].split()[0])


class User(NetworkTest):
    def interface(self, inside=""):
        return f"""{STDIO}<interface type='user'><mac address='52:54:00:12:34:56'/><model type='virtio'/>
          <portForward proto='tcp' address='127.0.0.1'><range start='{GUEST_WEB}' to='80'/><range start='{GUEST_END}' to='81'/></portForward>
          {inside}</interface>"""

    def run_on(self, machine):
        with Guest(USER, machine=machine, modules=MODULES, serials=self.interface(), files={"dhcp": DHCP}) as guest, guest.start() as run:
            run.wait_for("^serving=yes")
            self.fetch_from_guest(run, f"127.0.0.1:{GUEST_WEB}")
            socket.create_connection(("127.0.0.1", GUEST_END), 10).close()
            run.wait_end()
            values = run.values()
            self.assertEqual(run.status, 0, run.account())
            self.assertEqual(values["mac"], "52:54:00:12:34:56")
            self.assertRegex(values["dhcp"], r"10\.0\.2\.15/\S+ router=10\.0\.2\.2 dns=10\.0\.2\.3")
            self.assertEqual(values["name"], NAME_ADDRESS)
            self.assertEqual(values["fetched"].split()[0], self.sum)
            self.assertIn("fec0", values["six"])
            self.assertEqual(values["fetched6"].split()[0], self.sum)
            self.assertEqual(values["ended"], "yes")

    def test_on_pc(self):
        self.run_on("pc")

    def test_on_microvm(self):
        self.run_on("microvm")


class Control(NetworkTest):
    """Two interfaces while the guest runs: their cables, their filters, what is counted, and their packets in files."""

    SCRIPT = """
mkdir -p /tmp
chmod +x /dhcp
wait_for() { for round in $(seq 300); do [ "$(cat /sys/class/net/eth0/carrier)" = $1 ] && break; sleep 0.2; done; }
ip link set eth0 up
udhcpc -i eth0 -n -q -f -s /dhcp >/tmp/dhcp 2>&1
grep dhcp= /tmp/dhcp
wait_for 0
echo carrier=down
wait_for 1
""" + FETCH % f"10.0.2.2:{WEB_PORT}" + """
ip link set eth0 promisc on
echo carrier=up
read line
"""

    def test_links_filters_counters_and_packets(self):
        interfaces = STDIO + "<interface type='user'><mac address='52:54:00:12:34:56'/></interface><interface type='user'/>"
        with Guest(self.SCRIPT, modules=MODULES, serials=interfaces, files={"dhcp": DHCP}) as guest:
            control = guest.path("control")
            with guest.start(("--control", control, "--dump-net", guest.path("packets.pcap"))) as run:
                run.wait_for("^dhcp=")
                with qmp.Client(control) as client:
                    self.assertEqual(client.ask("query-rx-filter", name="net0")[0]["main-mac"], "52:54:00:12:34:56")
                    self.ctl(control, "link", "net0", "down")
                    run.wait_for("^carrier=down")
                    client.ask("set_link", name="net0", up=True)
                    run.wait_for("^carrier=up")
                    changed = client.wait_for_event("NIC_RX_FILTER_CHANGED")
                    self.assertEqual(changed["name"], "net0")
                    self.assertTrue(client.ask("query-rx-filter", name="net0")[0]["promiscuous"])
                net0, net1 = json.loads(self.ctl(control, "stats", "--output", "json"))["interfaces"]
                self.assertGreater(net0["received-bytes"], BLOB_BYTES)
                self.assertGreater(net0["sent-packets"], 10)
                self.assertEqual((net0["sent-errors"], net0["link-up"], net1["sent-packets"]), (0, True, 0))
                run.type("end\n")
                run.wait_end()
                self.assertEqual(run.status, 0, run.account())
                self.assertEqual(run.values()["fetched"].split()[0], self.sum)
            packets = subprocess.run(["tcpdump", "-Z", "root", "-n", "-r", guest.path("packets-net0.pcap")], capture_output=True, text=True, check=True)
            self.assertIn("Request who-has 10.0.2.2 tell 10.0.2.15", packets.stdout)
            self.assertIn(f"10.0.2.2.{WEB_PORT}: Flags [S]", packets.stdout)
            self.assertTrue(os.path.exists(guest.path("packets-net1.pcap")))

    def ctl(self, control, *arguments):
        return subprocess.run([VMM, "ctl", control, *arguments], stdout=subprocess.PIPE, text=True, check=True, timeout=120).stdout


class Tap(NetworkTest):
    SCRIPT = """
ip link set lo up
ip addr add 192.0.2.2/24 dev eth0
echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad
ip -6 addr add 2001:db8::2/64 dev eth0
ip link set eth0 up
echo queues=$(ls -d /sys/class/net/eth0/queues/rx-* | wc -l)
echo mtu=$(cat /sys/class/net/eth0/mtu)
""" + FETCH % f"192.0.2.1:{WEB_PORT}" + "echo fetched6=$(wget -q -O - 'http://[2001:db8::1]:%d/blob' | sha256sum)\n" % WEB_PORT + SERVE

    def run_with(self, interface, name, cpus=1, queues="1"):
        with Guest(self.SCRIPT, cpus=cpus, modules=MODULES, serials=STDIO + interface) as guest, guest.start() as run:
            run.wait_for("^queues=")
            for command in (f"addr add 192.0.2.1/24 dev {name}", f"-6 addr add 2001:db8::1/64 dev {name} nodad", f"link set {name} up"):
                subprocess.run(["ip", *command.split()], check=True)
            run.wait_for("^serving=yes")
            self.fetch_from_guest(run, "192.0.2.2")
            self.fetch_from_guest(run, "[2001:db8::2]")
            socket.create_connection(("192.0.2.2", 81), 10).close()
            run.wait_end()
            values = run.values()
            self.assertEqual(run.status, 0, run.account())
            self.assertEqual(values["queues"], queues)
            for fetched in ("fetched", "fetched6"):
                self.assertEqual(values[fetched].split()[0], self.sum, fetched)
            return values

    def test_of_its_own(self):
        values = self.run_with("<interface type='ethernet'><target dev='t0'/><driver name='qemu'/><mtu size='1400'/></interface>", "t0")
        self.assertEqual(values["mtu"], "1400")

    def test_of_several_queues_in_a_bridge(self):
        subprocess.run(["ip", "link", "add", "br0", "type", "bridge"], check=True)
        self.run_with("<interface type='bridge'><source bridge='br0'/><driver name='qemu' queues='2'/></interface>", "br0", cpus=2, queues="2")


class Bridge(NetworkTest):
    """Two guests that reach each other, and not the host, which has no address there."""

    SERVER = """
ip link set lo up
ip addr add 198.51.100.1/24 dev eth0
ip link set eth0 up
""" + SERVE
    CLIENT = """
ip addr add 198.51.100.2/24 dev eth0
ip link set eth0 up
echo fetched=$(wget -q -O - http://198.51.100.1/blob | sha256sum)
echo other=$(ip neigh show 198.51.100.1 | sed 's/.*lladdr \\([^ ]*\\).*/\\1/')
nc 198.51.100.1 81 </dev/null
"""

    def test_two_guests_on_one_bridge(self):
        subprocess.run(["ip", "link", "add", "br1", "type", "bridge"], check=True)
        subprocess.run(["ip", "link", "set", "br1", "up"], check=True)
        interface = STDIO + "<interface type='bridge'><source bridge='br1'/><mac address='52:54:00:00:00:0{}'/></interface>"
        with Guest(self.SERVER, modules=MODULES, serials=interface.format(1)) as server, server.start() as serving:
            serving.wait_for("^serving=yes")
            with Guest(self.CLIENT, modules=MODULES, serials=interface.format(2)) as client, client.start(("--set", "name=client")) as run:
                run.wait_end()
                self.assertEqual(run.status, 0, run.account())
                self.assertEqual(run.values()["fetched"].split()[0], serving.values()["served"].split()[0])
                self.assertEqual(run.values()["other"], "52:54:00:00:00:01")
            serving.wait_end()
            self.assertEqual(serving.status, 0, serving.account())
            self.assertEqual(serving.values()["ended"], "yes")


def leave_the_labs_chroot():
    """The lab's command runs in a chroot, where nobody may make a user namespace (unshare(2)), as passt does. Its root
    becomes that of all mounts that this process sees."""
    libc = ctypes.CDLL(None, use_errno=True)
    ms_move, here = 0x2000, os.getcwd()
    mounts = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    if libc.setns(mounts, CLONE_NEWNS) != 0:  # which leaves the chroot
        raise OSError(ctypes.get_errno(), "setns")
    os.close(mounts)
    os.chdir("/new")
    if libc.mount(b".", b"/", None, ms_move, None) != 0:
        raise OSError(ctypes.get_errno(), "mount --move")
    os.chroot(".")
    os.chdir(here)


def vhost_ticks(process):
    """CPU time that the kernel's vhost has used for this process: its thread is one of the kernel's or, since Linux 6.4, one of the process."""
    ticks = 0
    for folder in (*glob.glob("/proc/[0-9]*"), *glob.glob(f"/proc/{process}/task/[0-9]*")):
        try:
            with open(f"{folder}/stat", encoding="utf-8", errors="replace") as file:
                name, fields = file.read().split("(", 1)[1].rsplit(")", 1)
        except OSError:
            continue
        if name.startswith("vhost-"):
            ticks += sum(map(int, fields.split()[11:13]))
    return ticks


def give_way_out(gateway="192.0.2.254"):
    """A bridge that nobody else is at, as the way to the world; what passt gives to its guest is taken from it."""
    for command in ("link add out0 type bridge", "addr add 192.0.2.1/24 dev out0", "link set out0 up",
                    f"route add default via {gateway}"):
        subprocess.run(["ip", *command.split()], check=True)


def processes(name):
    found = []
    for number in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{number}/cmdline", "rb") as file:
                if os.path.basename(file.read().split(b"\0")[0]).startswith(name.encode()):
                    found.append(int(number))
        except OSError:
            pass
    return found


class Passt(NetworkTest):
    """passt's gateway is the host, as libslirp's is."""

    SCRIPT = """
mkdir -p /etc /tmp
chmod +x /dhcp
ip link set lo up
ip link set eth0 up
udhcpc -i eth0 -n -q -f -s /dhcp >/tmp/dhcp 2>&1
grep dhcp= /tmp/dhcp
""" + FETCH % f"192.0.2.254:{WEB_PORT}" + SERVE

    @classmethod
    def setUpClass(cls):
        if os.environ.get("VMM_LAB") == "emulated":
            enter_namespace()
            leave_the_labs_chroot()
        super().setUpClass()
        give_way_out()

    def interface(self):
        return f"""{STDIO}<interface type='user'><backend type='passt'/><mac address='52:54:00:12:34:56'/><ip address='192.0.2.77' prefix='24'/>
          <portForward proto='tcp' address='127.0.0.1'><range start='{GUEST_WEB}' to='80'/><range start='{GUEST_END}' to='81'/></portForward></interface>"""

    def test_both_ways_and_its_end(self):
        with Guest(self.SCRIPT, modules=MODULES, serials=self.interface(), files={"dhcp": DHCP}) as guest, guest.start() as run:
            run.wait_for("^serving=yes")
            self.assertEqual(len(processes("passt")), 1)
            self.fetch_from_guest(run, f"127.0.0.1:{GUEST_WEB}")
            socket.create_connection(("127.0.0.1", GUEST_END), 10).close()
            run.wait_end()
            values = run.values()
            self.assertEqual(run.status, 0, run.account())
            self.assertRegex(values["dhcp"], r"192\.0\.2\.77/\S+ router=192\.0\.2\.254")
            self.assertEqual(values["fetched"].split()[0], self.sum)
        self.wait_until_gone()

    def test_ends_when_vmm_is_killed(self):
        with Guest("echo up=yes\nread line", modules=MODULES, serials=self.interface()) as guest, guest.start() as run:
            run.wait_for("^up=")
            self.assertEqual(len(processes("passt")), 1)
            run.process.kill()
            run.process.wait()
            self.wait_until_gone()

    def wait_until_gone(self):
        for _ in range(100):
            if not processes("passt"):
                return
            time.sleep(0.2)
        self.fail("passt has outlived vmm")


class Filter(NetworkTest):
    """A guest that sends from addresses that are not its own, behind a filter; a program at the other side hears it."""

    SCRIPT = """
ip link set eth0 up
ip addr add 192.0.2.2/24 dev eth0
ip addr add 192.0.2.3/24 dev eth0
echo ready=yes
read line
for from in 192.0.2.2 192.0.2.3; do ping -c 2 -W 2 -I $from 192.0.2.1 >/tmp/ping; echo from-$from=$(sed -n 's/.*, \\([0-9]*\\) packets received.*/\\1/p' /tmp/ping); done
ip link set eth0 down
ip link set eth0 address 52:54:00:00:00:99
ip link set eth0 up
ip addr add 192.0.2.2/24 dev eth0 2>/dev/null
ping -c 2 -W 2 -I 192.0.2.2 192.0.2.1 >/tmp/ping
echo from-mac=$(sed -n 's/.*, \\([0-9]*\\) packets received.*/\\1/p' /tmp/ping)
echo sent=yes
read line
"""

    def test_clean_traffic(self):
        interface = STDIO + """<interface type='ethernet'><mac address='52:54:00:12:34:56'/><target dev='t1'/>
          <filterref filter='clean-traffic'><parameter name='IP' value='192.0.2.2'/></filterref></interface>"""
        with Guest("mkdir -p /tmp\n" + self.SCRIPT, modules=MODULES, serials=interface) as guest:
            control = guest.path("control")
            with guest.start(("--control", control)) as run:
                run.wait_for("^ready=")
                for command in ("addr add 192.0.2.1/24 dev t1", "link set t1 up"):
                    subprocess.run(["ip", *command.split()], check=True)
                run.type("go\n")
                run.wait_for("^sent=")
                told = subprocess.run([VMM, "ctl", control, "stats", "--output", "json"], stdout=subprocess.PIPE, text=True, check=True, timeout=120)
                run.type("end\n")
                run.wait_end()
                values = run.values()
                self.assertEqual((values["from-192.0.2.2"], values["from-192.0.2.3"], values["from-mac"]), ("2", "0", "0"), run.account())
                self.assertGreater(json.loads(told.stdout)["interfaces"][0]["sent-dropped"], 3)


class Direct(NetworkTest):
    """Two ends at one wire: the guest's macvtap, and a macvlan of the host's in the same bridge mode."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        subprocess.run(["mount", "-t", "sysfs", "sysfs", "/sys"], check=True)
        for command in ("link add wire0 type veth peer name wire1", "link set wire0 up", "link set wire1 up",
                        "link add link wire0 name host0 type macvlan mode bridge", "addr add 192.0.2.1/24 dev host0",
                        "-6 addr add 2001:db8::1/64 dev host0 nodad", "link set host0 up"):
            subprocess.run(["ip", *command.split()], check=True)

    def run_guest(self, inside="<driver name='qemu'/>", queues="1", cpus=1):
        interface = f"{STDIO}<interface type='direct'><mac address='52:54:00:12:34:56'/><source dev='wire0' mode='bridge'/>{inside}</interface>"
        with Guest(Tap.SCRIPT, cpus=cpus, modules=MODULES, serials=interface) as guest, guest.start() as run:
            run.wait_for("^serving=yes")
            self.assertIn("macvtap0", os.listdir("/sys/class/net"))
            self.fetch_from_guest(run, "192.0.2.2")
            self.fetch_from_guest(run, "[2001:db8::2]")
            socket.create_connection(("192.0.2.2", 81), 10).close()
            run.wait_end()
            values = run.values()
            self.assertEqual(run.status, 0, run.account())
            self.assertEqual(values["queues"], queues)
            for fetched in ("fetched", "fetched6"):
                self.assertEqual(values[fetched].split()[0], self.sum, fetched)
        self.assertNotIn("macvtap0", os.listdir("/sys/class/net"))

    def test_bytes_both_ways(self):
        self.run_guest()

    def test_with_vhost(self):
        subprocess.run(["modprobe", "vhost_net"], check=True)
        self.run_guest("<driver name='vhost'/>")

    def test_what_was_left_by_a_killed_guest_makes_way(self):
        interface = f"{STDIO}<interface type='direct'><mac address='52:54:00:12:34:56'/><source dev='wire0' mode='bridge'/></interface>"
        with Guest("echo up=yes\nread line", modules=MODULES, serials=interface) as guest, guest.start() as run:
            run.wait_for("^up=")
            run.process.kill()
            run.process.wait()
            self.assertIn("macvtap0", os.listdir("/sys/class/net"))
        self.run_guest()


class Vhost(NetworkTest):
    """The host's kernel moves the packets, of a tap: through a whole life of a guest, on both machines."""

    UP = """
ip link set lo up
carrier() { for round in $(seq 300); do [ "$(cat /sys/class/net/eth0/carrier)" = $1 ] && break; sleep 0.2; done; }
net_up() {
  ip addr add 192.0.2.2/24 dev eth0
  echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad
  ip -6 addr add 2001:db8::2/64 dev eth0
  ip link set eth0 up
}
net_up
echo up=yes
"""
    LIFE = UP + """
fetch() { wget -q -O - http://192.0.2.1:%d/blob | sha256sum; }
mkdir -p /www
dd if=/dev/urandom of=/www/blob bs=1M count=8 2>/dev/null
echo served=$(sha256sum </www/blob)
httpd -p 80 -h /www
echo serving=yes
while read -r line; do
  case $line in
    fetch) echo fetched=$(fetch) ;;
    carrier) carrier 0; echo carrier=down; carrier 1; echo carrier=up ;;
    rebind)
      device=$(basename $(readlink /sys/class/net/eth0/device))
      echo $device >/sys/bus/virtio/drivers/virtio_net/unbind
      echo $device >/sys/bus/virtio/drivers/virtio_net/bind
      net_up
      echo rebound=yes ;;
    reboot) reboot -f ;;
    end) break ;;
  esac
done
""" % WEB_PORT

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        subprocess.run(["modprobe", "vhost_net"], check=True)

    def address(self, name):
        for command in (f"addr replace 192.0.2.1/24 dev {name}", f"-6 addr replace 2001:db8::1/64 dev {name} nodad", f"link set {name} up"):
            subprocess.run(["ip", *command.split()], check=True)

    def move_bytes(self, run):
        """Both ways."""
        run.type("fetch\n")
        self.assertEqual(run.wait_for("^fetched=(\\S+) ").group(1).decode(), self.sum, run.account())
        self.fetch_from_guest(run, "192.0.2.2")
        self.fetch_from_guest(run, "[2001:db8::2]")

    def ctl(self, control, *arguments):
        return subprocess.run([VMM, "ctl", control, *arguments], stdout=subprocess.PIPE, text=True, check=True, timeout=120).stdout

    def interface_stats(self, control):
        return json.loads(self.ctl(control, "stats", "--output", "json"))["interfaces"][0]

    def live_on(self, machine, driver="name='vhost'", cpus=1):
        interface = f"{STDIO}<interface type='ethernet'><target dev='t2'/><driver {driver}/></interface>"
        with Guest(self.LIFE, machine=machine, cpus=cpus, modules=MODULES, serials=interface) as guest:
            control = guest.path("control")
            with guest.start(("--control", control, "--log-level", "info")) as run:
                run.wait_for("^up=")
                self.address("t2")
                run.wait_for("^serving=yes")
                self.assertIn("the host's kernel moves its packets (vhost)", run.errors)
                self.move_bytes(run)
                self.assertGreater(vhost_ticks(run.process.pid), 0)
                stats = self.interface_stats(control)
                self.assertGreater(stats["received-bytes"], BLOB_BYTES)
                self.assertGreater(stats["sent-bytes"], 16 * MIB)
                with qmp.Client(control) as client:
                    run.type("carrier\n")
                    client.ask("set_link", name="net0", up=False)
                    run.wait_for("^carrier=down")
                    client.ask("set_link", name="net0", up=True)
                    run.wait_for("^carrier=up")
                    self.move_bytes(run)
                    run.type("fetch\n")
                    for _ in range(10):  # while packets are on their way
                        client.ask("stop")
                        client.ask("cont")
                        time.sleep(0.2)
                    self.assertEqual(run.wait_for("^fetched=(\\S+) ").group(1).decode(), self.sum, run.account())
                    self.move_bytes(run)
                    run.type("rebind\n")
                    run.wait_for("^rebound=")
                    self.move_bytes(run)
                    run.type("reboot\n")
                    run.wait_for("^up=")
                    self.address("t2")
                    run.wait_for("^serving=yes")
                    before = vhost_ticks(run.process.pid)
                    self.move_bytes(run)
                    self.assertGreater(vhost_ticks(run.process.pid), before)
                run.type("end\n")
                run.wait_end()
                self.assertEqual(run.status, 0, run.account())
                self.assertNotIn("vmm moves the packets", run.errors)

    def test_a_life_on_pc(self):
        self.live_on("pc")

    def test_a_life_on_microvm(self):
        self.live_on("microvm")

    def test_several_queues(self):
        self.live_on("pc", driver="name='vhost' queues='2'", cpus=2)


if __name__ == "__main__":
    main()
