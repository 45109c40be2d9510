"""What comes to the port for other nodes and is none of them, or is one and lies: it is refused with
a reason, costs no memory, and the node serves on."""
import ctypes
import ctypes.util
import hashlib
import hmac
import os
import socket
import struct
import time

import msgpack

from harness import ClusterTest, Refused, eventually, main

MIB = 1 << 20
MANY = 1 << 32  # elements, or bytes
SECRET = b"what both know"
VIEW, REPLICA, REQUEST = 1, 3, 4  # channels (replication/mesh.h)


def xxh3(data):
    """What a frame's check is made of."""
    library = ctypes.CDLL(ctypes.util.find_library("xxhash"))
    library.XXH3_64bits.restype = ctypes.c_uint64
    return library.XXH3_64bits(data, ctypes.c_size_t(len(data)))


def frame(channel, sequence, payload):
    check = xxh3(struct.pack("<4Q", channel, sequence, 0, xxh3(payload))) & 0xffffffff
    return b"\x95" + b"".join(map(msgpack.packb, (channel, sequence, 0, check))) + payload


class Stranger:
    """A connection to a node's peer port, byte by byte."""

    def __init__(self, node):
        host, port = node.ready["peer"].split(",")[0].rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)))
        self.socket.settimeout(60)
        self.said = msgpack.Unpacker(raw=False, strict_map_key=False)
        self.heard = b""

    def next(self):
        for value in self.said:
            return value
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionError("closed")
        self.heard += data
        self.said.feed(data)
        return self.next()

    def say(self, data):
        try:
            self.socket.sendall(data)
        except ConnectionError:
            pass  # refused already: what it said is still to be read

    def end(self):
        """All that it says until it closes."""
        values = []
        try:
            while True:
                values.append(self.next())
        except ConnectionError:
            self.socket.close()
            return values

    def become(self, name, secret=SECRET):
        """Prove the secret, as a node of this name that has just started."""
        info = [name, time.time_ns() // 10**6 << 16, "127.0.0.1:1", False, 100]
        mine = msgpack.packb(["engram-peer", 1, 1, 0, os.urandom(32), info])
        self.say(mine)
        self.next()
        attach = msgpack.packb([0, 0, 77, 1 << 20])
        said = msgpack.packb("engram: who dials") + mine + self.heard + attach
        mac = hmac.new(secret, said, hashlib.sha256).digest()
        self.say(b"\x93" + msgpack.packb("proof") + msgpack.packb(mac) + attach)
        answer = self.next()
        if answer[0] == "welcome":
            self.say(msgpack.packb(["ready"]))
        return answer


class Strangers(ClusterTest):
    def setUp(self):
        super().setUp()
        cookie = self.file("cookie", SECRET)
        cookie.chmod(0o600)
        self.served = self.node("--name", "n1", "--cookie-file", cookie)
        self.client = self.served.client()
        self.client.call("create_table", "t")
        self.client.call("write", "t", [1, "kept"])
        self.before = self.served.resident_bytes()

    def tearDown(self):
        def serves():
            try:
                return (self.client.call("write", "t", [2, "new"]) and
                        self.client.call("read", "t", 1) == [[1, "kept"]])
            except Refused:
                return False
        eventually(serves, "it serves on")
        self.assertLess(self.served.resident_bytes() - self.before, 32 * MIB)
        self.assertEqual(self.served.stop(), 0)

    def refused(self, data):
        stranger = Stranger(self.served)
        stranger.say(data)
        return stranger.end()

    def epoch(self):
        """Of its view; None while one is being made."""
        view = self.client.call("cluster_status")["view"]
        return None if view is None else int(view.split("-")[0], 16)

    def members(self):
        return {m["name"]: m["state"] for m in self.client.call("cluster_status")["members"]}

    def test_another_version_is_told_which_there_is(self):
        (word, _, text), = self.refused(msgpack.packb(["engram-peer", 7, 9, {}]))
        self.assertEqual(word, "refused")
        self.assertIn("versions 7 to 9", text)
        eventually(lambda: "versions 7 to 9" in self.served.log_text(), "the log says so")

    def test_another_secret_is_refused(self):
        word, _, text = Stranger(self.served).become("n2", b"a guess")
        self.assertEqual((word, text), ("refused", "the cookies differ"))
        self.assertEqual(self.members(), {"n1": "up"})

    def test_a_second_node_of_the_name_is_refused(self):
        word, _, text = Stranger(self.served).become("n1")
        self.assertEqual(word, "refused", text)
        self.assertEqual(self.members(), {"n1": "up"})

    def test_a_client_is_told_where_it_is(self):
        answer = self.refused(msgpack.packb([0, 7, "read", ["t", 1]]))[0]
        self.assertEqual(answer[:2], [1, 7])
        self.assertTrue(answer[2].startswith("denied: here nodes speak"), answer)

    def test_what_lies_about_its_length_takes_no_memory(self):
        for head in (b"\x96\xdb", b"\x96\xabengram-peer\xdd", b"\x96\xc6", b"\xdd", b"GET / HTTP/1.1"):
            with self.subTest(head):
                *_, (word, _, text) = self.refused(head + struct.pack(">I", MANY - 1))
                self.assertEqual((word, text), ("refused", "it does not speak as a node does"))

    def test_a_member_that_lies_about_lengths_is_cut_off(self):
        for number, head in enumerate((b"\xdd", b"\xdf", b"\xdb", b"\xc6")):
            with self.subTest(head):
                peer = Stranger(self.served)
                self.assertEqual(peer.become(f"liar{number}")[0], "welcome")
                peer.say(b"\x95\x04\x01\x00\x00" + head + struct.pack(">I", MANY - 1))
                peer.end()

    def test_a_member_that_lies_about_views_and_records_changes_nothing(self):
        if ctypes.util.find_library("xxhash") is None:
            self.skipTest("no libxxhash to make checks with")
        most = (1 << 64) - 1
        wrong = {VIEW: ([0, True, most, 0, 0, 0, 0, []], [0, True, 1, 4, 0, 0, 0, []], [1, most, 7, 500, [1, 1, 2, 2]],
                        [1, 9, 7, 500, [1, 1] * 4000], [2, most, 7, 1], [3, 9, 7, most], [4, most, most, []], "tell"),
                 REPLICA: ([0, 9, 7, 1, 0, 1, [], False], [3, most, most, most, most, most, 1, most, most, None, []], []),
                 REQUEST: ([0, 1, 9, 7, "t", 1, 0, 0], [1, 1, 0, []], {})}
        peer = Stranger(self.served)
        self.assertEqual(peer.become("n2")[0], "welcome")
        sequence = 0
        for channel, payloads in wrong.items():
            for payload in payloads:
                sequence += 1
                peer.say(frame(channel, sequence, msgpack.packb(payload)))
        acknowledged = 0
        while acknowledged < sequence:  # it has looked at all of it, and is linked as before
            acknowledged = max(acknowledged, peer.next()[2])
        self.assertEqual(self.client.call("read", "t", 1, {"context": "dirty"}), [[1, "kept"]])
        eventually(lambda: (self.epoch() or 1000) < 1000, "its views are numbered as before")
        peer.socket.close()


if __name__ == "__main__":
    main()
