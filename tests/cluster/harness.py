"""harness -- real nodes, the real shell and a small client, for the tests beside it.

A node that is still there when its test ends is killed, its log is searched for what
a sanitizer or an assertion says, and its directory is removed."""
import collections
import functools
import itertools
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

BIN = pathlib.Path(os.environ.get("ENGRAM_BIN", pathlib.Path(__file__).resolve().parents[2] / "build/bin"))
QUICK = "EG_QUICK" in os.environ
STORAGES = ("ram", "disc", "disc_only")
TYPES = ("set", "ordered_set", "bag")
KINDS = tuple(itertools.product(STORAGES, TYPES))
READY_SECONDS = 60
ANSWER_SECONDS = 60

try:
    import msgpack
except ImportError:
    print("skipped: python3-msgpack is not installed")
    sys.exit(77)


class Refused(Exception):
    """The node's error string."""

    @property
    def code(self):
        return str(self).split(":")[0]


class Client:
    """MessagePack-RPC on one connection; send() and receive() pipeline."""

    def __init__(self, address):
        if address.startswith("unix:"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(address[5:])
        else:
            host, port = address.rsplit(":", 1)
            self.socket = socket.create_connection((host, int(port)))
        self.socket.settimeout(ANSWER_SECONDS)
        self.unpacker = msgpack.Unpacker(raw=False, strict_map_key=False, max_buffer_size=1 << 30)
        self.last = 0
        self.events = collections.deque()  # of subscriptions, as they came

    def close(self):
        self.socket.close()

    def send(self, method, *params):
        self.last += 1
        self.socket.sendall(msgpack.packb([0, self.last, method, params]))
        return self.last

    def receive(self):
        """The next answer: (msgid, error, result).  ConnectionError where there is none."""
        while True:
            for frame in self.unpacker:
                if frame[0] == 2:
                    assert frame[1] == "event"
                    self.events.append(frame[2])
                    continue
                kind, msgid, error, result = frame
                assert kind == 1
                return msgid, error, result
            self.fill()

    def fill(self):
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the node closed the connection")
        self.unpacker.feed(data)

    def event(self):
        """The next event of any subscription; while no answer is owed."""
        while not self.events:
            for kind, method, params in self.unpacker:
                assert (kind, method) == (2, "event")
                self.events.append(params)
            if not self.events:
                self.fill()
        return self.events.popleft()

    def call(self, method, *params):
        wanted = self.send(method, *params)
        msgid, error, result = self.receive()
        assert msgid == wanted
        if error is not None:
            raise Refused(error)
        return result


@functools.lru_cache
def shadow():
    """How many bytes a sanitized engramd holds for one of its own."""
    program = (BIN / "engramd").read_bytes()
    return 4 if b"__tsan_init" in program else 2 if b"__asan_init" in program else 1


class Node:
    """engramd on free ports."""

    def __init__(self, *flags, data=None, env=None):
        self.log = tempfile.TemporaryFile()
        command = [BIN / "engramd", "--listen", "127.0.0.1:0", *flags]
        command += ["--data", data] if data else []
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=self.log, text=True,
                                        env=dict(os.environ, **(env or {})))
        self.ready = self.read_ready()
        self.address = self.ready.get("listen", "").split(",")[0]

    def read_ready(self):
        line = self.process.stdout.readline()  # the end of the file where it dies instead
        if not line.startswith("engramd ready "):
            self.process.wait(READY_SECONDS)
            raise RuntimeError(f"not ready: {line}{self.log_text()}")
        return dict(word.split("=", 1) for word in line.split()[2:])

    def log_text(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def client(self):
        return Client(self.address)

    def resident_bytes(self):
        """What the node itself holds: a sanitizer's shadow is taken out, roughly."""
        with open(f"/proc/{self.process.pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // shadow()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        code = self.process.wait(ANSWER_SECONDS)
        self.process.stdout.close()
        return code


def shell(*words, node=None, stdin=None, env=None, timeout=ANSWER_SECONDS, text=True):
    connect = ["--connect", node.address] if node else []
    command = [BIN / "engram", *connect, *words]
    return subprocess.run([str(word) for word in command], input=stdin, capture_output=True, text=text,
                          timeout=timeout, env=dict(os.environ, **(env or {})))


def eventually(condition, what, seconds=ANSWER_SECONDS):
    """Wait until condition() is true."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.01)


class ClusterTest(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="engram_test_"))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.nodes = []
        self.addCleanup(self.end_nodes)

    def node(self, *flags, **options):
        node = Node(*flags, **options)
        self.nodes.append(node)
        return node

    def end_nodes(self):
        for node in self.nodes:
            if node.process.poll() is None:
                node.kill()
            text = node.log_text()
            for sign in ("Sanitizer", "runtime error:", "assertion failed"):
                self.assertNotIn(sign, text)

    def each_kind(self, kinds=KINDS, **options):
        """A table of each storage and type, one after the other; the last one printed is
        where a test failed.  The test has a call(method, ...)."""
        for storage, kind in kinds:
            table = f"{storage}_{kind}"
            print(table, end=" ", flush=True)
            self.call("create_table", table, {"storage": storage, "type": kind, **options})
            yield table
            self.call("drop_table", table)

    def file(self, name, content):
        path = self.dir / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def assert_refused(self, code, call, *arguments):
        with self.assertRaises(Refused) as refused:
            call(*arguments)
        self.assertEqual(refused.exception.code, code, refused.exception)


def main():
    unittest.main(verbosity=2, warnings="ignore")
