#!/usr/bin/env python3
"""What bad input gets from a real node: a clear error, nothing lost, no crash and no
unbounded memory, while other clients are served."""
import random
import socket
import struct
import time

import msgpack

from harness import ClusterTest, eventually, main

MIB = 1 << 20


class Hostile(ClusterTest):
    def setUp(self):
        super().setUp()
        self.served = self.node("--max-connections", "50", "--max-frame", "1MiB", "--max-input", "8MiB")
        self.client = self.served.client()
        self.client.call("create_table", "t")
        self.client.call("write", "t", [1, "kept"])

    def tearDown(self):
        self.assertEqual(self.client.call("read", "t", 1), [[1, "kept"]])
        self.assertEqual(self.served.stop(), 0)

    def assert_closed(self, client, data):
        """The node reads `data`, may answer, and closes; returns what it said."""
        said = b""
        try:
            client.socket.sendall(data)
            while chunk := client.socket.recv(1 << 16):
                said += chunk
        except (ConnectionResetError, BrokenPipeError):
            pass
        client.close()
        return said

    def test_what_is_no_messagepack_rpc_is_closed(self):
        for data in (b"GET / HTTP/1.1\r\n\r\n", b"\xc1", b"\x94\x07\x01\xa4ping\x90", b"\x80", b"\x94\x00\xc0\xa4ping\x90",
                     b"\x94\x00\x01\xa4ping\x01", b"\x93\x02\x01\x90"):
            with self.subTest(data):
                self.assert_closed(self.served.client(), data)

    def test_a_header_that_lies_allocates_nothing(self):
        before = self.served.resident_bytes()
        for head in (b"\xdd\x00\xff\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff",
                     b"\xc6\xff\xff\xff\xff", b"\x94\x00\x01\xdb\xff\xff\xff\xff", b"\x94\x00\x01\xa4read\xdd\xff\xff\xff\xff",
                     b"\x94\x00\x01\xa5write\x92\xa1t\xdf\x7f\xff\xff\xff"):
            client = self.served.client()
            client.socket.sendall(head)
            client.socket.shutdown(socket.SHUT_WR)
            self.assert_closed(client, b"")
        self.assertLess(self.served.resident_bytes() - before, 16 * MIB)

    def test_nesting_is_bounded(self):
        deep = b"\x91" * 100000
        self.assert_closed(self.served.client(), deep)
        said = self.assert_closed(self.served.client(), b"\x94\x00\x07\xa5write\x92\xa1t" + deep)
        if said:
            self.assertIn(b"too_large", said)

    def test_a_frame_beyond_the_bound_is_refused_by_number_where_there_is_one(self):
        frame = msgpack.packb([0, 77, "write", ["t", [2, b"x" * (2 * MIB)]]])
        said = self.assert_closed(self.served.client(), frame)
        self.assertIn(b"too_large", said)
        self.assertEqual(self.client.call("read", "t", 2), [])

    def test_many_slow_senders_cannot_fill_memory(self):
        before = self.served.resident_bytes()
        head = b"\x94\x00\x01\xa5write\x92\xa1t\x92\x02\xc6" + struct.pack(">I", MIB - 100)
        slow = []
        for _ in range(40):
            client = self.served.client()
            try:
                client.socket.sendall(head + b"x" * (MIB - 1000))
            except OSError:
                pass  # refused already
            slow.append(client)
        self.assertEqual(self.client.call("ping"), "pong")
        self.assertLess(self.served.resident_bytes() - before, 64 * MIB)
        for client in slow:
            client.close()

    def test_a_client_that_never_reads_costs_a_bound(self):
        self.client.call("write", "t", [3, "x" * 500000])
        before = self.served.resident_bytes()
        deaf = self.served.client()
        deaf.socket.setblocking(False)
        request = b"".join(msgpack.packb([0, n, "read", ["t", 3]]) for n in range(1000))
        end = time.monotonic() + 1
        while time.monotonic() < end:  # a second of requests for 500 GB
            try:
                deaf.socket.send(request)
            except BlockingIOError:
                pass
            except OSError:
                break
        self.assertLess(self.served.resident_bytes() - before, 128 * MIB)
        self.assertEqual(self.client.call("ping"), "pong")
        deaf.close()

    def test_answers_in_the_making_keep_to_the_memory_limit(self):
        """One that is larger than it, and many that together are; what they sort and group counts too."""
        node = self.node("--memory-limit", "64MiB")
        client = node.client()
        client.call("create_table", "t")
        client.call("write_many", "t", [[key, key] for key in range(2000)])
        before = node.resident_bytes()
        self.assert_refused("too_large", client.call, "select", "t", [["_", [], [["const", "x" * 100000]]]])
        many = [node.client() for _ in range(40)]
        for one in many:
            one.send("query", "select max(?), key from t group by key", ["x" * 25000])
        refused = [error for _, error, _ in (one.receive() for one in many) if error is not None]
        self.assertGreater(len(refused), 0)
        self.assertEqual([error for error in refused if not error.startswith(("busy: ", "too_large: "))], [])
        self.assertLess(node.resident_bytes() - before, 400 * MIB)
        self.assertEqual(client.call("query", "select count(*), max(value) from t")["rows"], [[2000, 1999]])
        for one in [client, *many]:
            one.close()
        self.assertEqual(node.stop(), 0)

    def test_more_connections_than_the_limit_are_told_or_closed_and_then_served_again(self):
        clients = [self.served.client() for _ in range(49)]
        for client in clients:
            self.assertEqual(client.call("ping"), "pong")
        with self.assertRaises(Exception):
            self.served.client().call("ping")
        for client in clients:
            client.close()

        def served_again():
            try:
                client = self.served.client()
                try:
                    return client.call("ping") == "pong"
                finally:
                    client.close()
            except Exception:
                return False

        eventually(served_again, "a place is free again")

    def test_clients_that_vanish_in_the_middle_leave_nothing_behind(self):
        for _ in range(200):
            client = self.served.client()
            client.socket.sendall(msgpack.packb([0, 1, "read", ["t", 1]]) + b"\x94\x00\x01")
            if _ % 2:
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        eventually(lambda: self.client.call("stats")["connections"]["open"] == 1, "only this one is left")

    def test_what_was_sent_before_half_closing_is_answered(self):
        client = self.served.client()
        for _ in range(100):
            client.send("read", "t", 1)
        client.socket.shutdown(socket.SHUT_WR)
        for _ in range(100):
            self.assertEqual(client.receive()[2], [[1, "kept"]])
        with self.assertRaises(ConnectionError):
            client.receive()

    def test_random_bytes_and_torn_frames_do_no_harm(self):
        seed = random.randrange(10**6)
        print(f"EG_SEED={seed}", flush=True)
        rng = random.Random(seed)
        self.client.call("create_table", "scratch")  # a torn write may well be a write
        good = msgpack.packb([0, 1, "write", ["scratch", [5, {"a": [1, 2.5, None, b"x"]}]]])
        for _ in range(300):
            data = bytearray(good * 3)
            for _ in range(rng.randrange(1, 6)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            client = self.served.client()
            try:
                client.socket.sendall(bytes(data[: rng.randrange(1, len(data))]))
            except OSError:
                pass
            client.close()

    def test_wrong_arity_and_types_are_bad_request_and_the_connection_goes_on(self):
        for method, *params in (("read",), ("read", "t"), ("read", "t", 1, {}, 5), ("read", 7, 1), ("write", "t"),
                                ("read", "t", 1, {"nonsense": 1}), ("create_table", ""), ("create_table", "x", {"type": "x"}),
                                ("index_read", "t", "value", 1), ("match", "t", ["_"]), ("read_many", "t", 5),
                                ("update", "t", 1, {"nope": 1}), ("match", "t", ["_", "_"], {"limit": 0}), ("write", "t", "no array")):
            with self.subTest((method, params)):
                self.assert_refused("bad_request", self.client.call, method, *params)
        self.assert_refused("bad_record", self.client.call, "write", "t", [1])
        self.assert_refused("bad_record", self.client.call, "write", "t", [float("nan"), 1])
        self.assert_refused("no_table", self.client.call, "read", "nope", 1)
        self.assert_refused("no_method", self.client.call, "frobnicate", 1, 2, 3)
        self.assertEqual(self.client.call("ping"), "pong")


if __name__ == "__main__":
    main()
