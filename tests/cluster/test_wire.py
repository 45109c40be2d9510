#!/usr/bin/env python3
"""The protocol as it is on the wire: what is a request, what is answered and how, in
which order, what ends a connection, and what a client can cost the others."""
import re
import socket

import msgpack

from harness import KINDS, ClusterTest, eventually, main


class Wire(ClusterTest):
    def setUp(self):
        super().setUp()
        self.served = self.node("--schedulers", "2")
        self.client = self.served.client()
        self.call = self.client.call
        self.call("create_table", "t")

    def tearDown(self):
        self.assertEqual(self.served.client().call("ping"), "pong")

    def send(self, data, client=None):
        (client or self.client).socket.sendall(data)

    def assert_answer(self, data, error, result, msgid=1):
        self.send(data)
        got = self.client.receive()
        self.assertEqual(got[0], msgid)
        if error is None:
            self.assertEqual(got[1:], (None, result))
        else:
            self.assertRegex(got[1], error)
            self.assertIsNone(got[2])

    def last_words(self, data):
        """All that a node says to `data` before it closes: raw bytes."""
        client = self.served.client()
        said = b""
        try:
            self.send(data, client)
            while chunk := client.socket.recv(1 << 16):
                said += chunk
        except (ConnectionResetError, BrokenPipeError):
            pass
        client.close()
        return said

    # ---- envelopes

    def test_a_method_is_a_string_or_binary(self):
        for method in (b"\xa4ping", b"\xc4\x04ping", b"\xd9\x04ping", b"\xda\x00\x04ping", b"\xc5\x00\x04ping"):
            self.assert_answer(b"\x94\x00\x01" + method + b"\x90", None, "pong")

    def test_any_encoding_of_an_envelope_is_read(self):
        for array in (b"\x94", b"\xdc\x00\x04", b"\xdd\x00\x00\x00\x04"):
            for kind in (b"\x00", b"\xcc\x00", b"\xcf" + bytes(8), b"\xd3" + bytes(8)):
                for params in (b"\x90", b"\xdc\x00\x00", b"\xdd" + bytes(4)):
                    self.assert_answer(array + kind + b"\x01\xa4ping" + params, None, "pong")
        for msgid in (0, 127, 128, 2**16, 2**32 - 1):
            self.assert_answer(msgpack.packb([0, msgid, "ping", []]), None, "pong", msgid)

    def test_errors_are_a_word_a_colon_and_a_text(self):
        for params in (["read"], ["read", "nope", 1], ["nvim_set_client_info", 1], ["write", "t", [1]], ["create_table", "t"],
                       ["update", "t", 1, {}], ["read", "t", float("nan")], ["\udcff" * 300], ["read", "\udcff" * 300, 1],
                       ["create_table", "x" * 300], ["create_table", "x", {"type": 1}], ["create_table", "x", {"": 1}],
                       ["add_index", "t", "\udcff" * 200], ["index_read", "t", "ü" * 200, 1], ["read", "t", 1, {"ü" * 200: 1}]):
            self.send(msgpack.packb([0, 9, params[0], params[1:]], unicode_errors="surrogateescape"))
            msgid, error, result = self.client.receive()  # a text that is no UTF-8 would fail here
            self.assertEqual((msgid, result), (9, None))
            self.assertRegex(error, re.compile(r"^[a-z_]+: \S", re.S))
        self.assertEqual(self.call("ping"), "pong")

    def test_an_unknown_method_is_answered_and_the_connection_goes_on(self):
        for method in ("nvim_get_api_info", "", "x" * 100000, "PING", "ping ", "pin", "_", "selects"):
            self.assert_refused("no_method", self.call, method, 1, [2], {"three": 3})
        self.send(msgpack.packb([2, "nope", [1]]))
        self.assertEqual(self.call("ping"), "pong")

    def test_a_notification_is_carried_out_and_not_answered(self):
        for params in (["write", ["t", [1, "one"]]], ["write", ["t", [1]]], ["nope", []], ["read", ["t", 1]], ["ping", []],
                       ["read", ["nope", 1]], ["create_table", ["u"]], ["write_many", ["u", [[1, 1], [2, 2]]]],
                       ["update_counter", ["t", "n", "value", 2]], ["create_table", ["u"]], ["delete", ["u", 1]],
                       ["add_index", ["u", "value"]], ["processes", []]):
            self.send(msgpack.packb([2, *params]))
        self.assertEqual(self.call("read", "t", 1), [[1, "one"]])
        self.assertEqual(self.call("read", "t", "n"), [["n", 2]])
        self.assertEqual(self.call("index_read", "u", "value", 2), [[2, 2]])
        self.assertEqual(self.call("size", "u"), 1)
        self.assertEqual(self.call("ping"), "pong")  # and nothing else had come

    def test_an_answer_to_nothing_is_passed_over(self):
        self.send(msgpack.packb([1, 5, None, "x"]))
        self.assertEqual(self.call("ping"), "pong")

    def test_what_is_no_messagepack_rpc_is_answered_where_a_msgid_can_be_read_and_closed(self):
        for data in (b"\xc1", b"\x80", b"\xa4ping", b"\x90", b"\x91\x00", b"\x95\x00\x01\xa4ping\x90\xc0", b"\xc0", b"GET / HTTP/1.0\r\n\r\n",
                     b"\x94\x03\x07\xa4ping\x90", b"\x94\xff\x07\xa4ping\x90", b"\x94\xa1a\x07\xa4ping\x90",
                     b"\x94\x00\xff\xa4ping\x90", b"\x94\x00\xcf\x00\x00\x00\x01\x00\x00\x00\x00\xa4ping\x90",
                     b"\x94\x00\xa1a\xa4ping\x90", b"\x93\x00\x07\xa4ping", b"\x93\x02\xa4ping\x80", b"\x93\x02\x05\x90",
                     b"\xdc\x00\x05", b"\xdd\x00\x00\x01\x04"):
            with self.subTest(data):
                self.assertEqual(self.last_words(data), b"")
        for data in (b"\x94\x00\x07\xa4ping\xc0", b"\x94\x00\x07\xa4ping\x80", b"\x94\x00\x07\x05\x90", b"\x94\x00\x07\xc0\x90",
                     b"\x94\x00\x07\xa4ping\x91\xc1", b"\x94\x00\x07\xc7\x04\x01ping\x90"):
            with self.subTest(data):
                kind, msgid, error, result = msgpack.unpackb(self.last_words(data))
                self.assertEqual((kind, msgid, result), (1, 7, None))
                self.assertRegex(error, "^bad_request: ")

    def test_what_stood_before_a_bad_frame_is_answered(self):
        unpacker = msgpack.Unpacker()
        unpacker.feed(self.last_words(msgpack.packb([0, 1, "ping", []]) * 3 + b"\xc1" + msgpack.packb([0, 1, "ping", []])))
        self.assertEqual(list(unpacker), [[1, 1, None, "pong"]] * 3)

    # ---- order

    def test_operations_on_one_key_take_effect_in_the_order_sent(self):
        for storage, kind in KINDS:
            node = self.node("--schedulers", "2", data=self.dir / f"{storage}_{kind}")
            client = node.client()
            client.call("create_table", "t", {"storage": storage, "type": kind, "durability": "sync" if storage == "disc" else "async"})
            rounds = 600
            for n in range(rounds):
                client.send("delete", "t", "k")
                client.send("write", "t", ["k", n])
                client.send("read", "t", "k")
                client.send("write", "t", [n, n])
                client.send("size", "t")
            answers = {}
            for _ in range(5 * rounds):
                msgid, error, result = client.receive()
                self.assertIsNone(error)
                answers[msgid] = result
            first = client.last - 5 * rounds + 1
            for n in range(rounds):
                self.assertEqual(answers[first + 5 * n + 2], [["k", n]], (storage, kind))
                self.assertEqual(answers[first + 5 * n + 4], n + 2, (storage, kind))
            node.stop()

    def test_ten_thousand_requests_in_one_go_are_all_answered(self):
        requests = []
        for n in range(2500):
            requests += [["write", ["t", [n % 7, n]]], ["read", ["t", n % 7]], ["update_counter", ["t", "c", "value", 1]],
                         ["read_many", ["t", [n % 7, "c"]]]]
        data = b"".join(msgpack.packb([0, msgid, *request]) for msgid, request in enumerate(requests))
        self.send(data)
        answers = [None] * len(requests)
        for _ in requests:
            msgid, error, answers[msgid] = self.client.receive()
            self.assertIsNone(error)
        for n in range(2500):
            self.assertEqual(answers[4 * n + 1:4 * n + 4], [[[n % 7, n]], n + 1, [[[n % 7, n]], [["c", n + 1]]]])

    def test_a_change_of_the_schema_is_in_its_order_too(self):
        for n in range(200):
            for request in (["create_table", "u", {"attributes": ["k", "a"]}], ["write", "u", [n, n]], ["add_index", "u", "a"],
                            ["index_read", "u", "a", n], ["clear_table", "u"], ["size", "u"], ["drop_table", "u"]):
                self.client.send(*request)
            self.client.send("read", "u", 1)
        first = self.client.last - 200 * 8 + 1
        answers = {}
        for _ in range(200 * 8):
            msgid, error, result = self.client.receive()
            answers[msgid - first] = error, result
        for n in range(200):
            got = [answers[8 * n + i] for i in range(8)]
            self.assertEqual([result for _, result in got], [True, True, True, [[n, n]], True, 0, True, None], got)
            self.assertRegex(got[7][0], "^no_table: ")

    # ---- bytes come as they like

    def test_a_request_may_come_byte_by_byte(self):
        data = msgpack.packb([0, 1, "write", ["t", [1, {"a": [1, 2.5, b"x" * 300]}]]]) + msgpack.packb([0, 2, "read", ["t", 1]])
        self.client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in data:
            self.send(bytes([byte]))
        self.assertEqual(self.client.receive()[2], True)
        self.assertEqual(self.client.receive()[2], [[1, {"a": [1, 2.5, b"x" * 300]}]])

    def test_what_was_sent_before_half_closing_is_answered_also_what_waits(self):
        requests = [["create_table", ["u"]], ["write_many", ["u", [[n, n] for n in range(1000)]]], ["add_index", ["u", "value"]],
                    ["index_read", ["u", "value", 5]], ["size", ["u"]], ["processes", []], ["drop_table", ["u"]], ["size", ["u"]]]
        self.send(b"".join(msgpack.packb([0, n, *request]) for n, request in enumerate(requests)) + b"\x94\x00\x01\xa4pi")
        self.client.socket.shutdown(socket.SHUT_WR)
        answers = {}
        for _ in requests:
            msgid, error, result = self.client.receive()
            answers[msgid] = error or result
        self.assertEqual([answers[n] for n in (0, 1, 2, 3, 4, 6)], [True, 1000, True, [[5, 5]], 1000, True])
        self.assertRegex(answers[7], "^no_table: ")
        with self.assertRaises(ConnectionError):
            self.client.receive()
        self.client = self.served.client()

    # ---- what a client can cost the others

    def test_an_answer_beyond_all_bounds_is_too_large_and_leaves_nothing(self):
        self.call("write", "t", [1, "x" * 500000])
        before = self.served.resident_bytes()
        for request in (["read_many", "t", [1] * 5000], ["read_many", "t", [1] * 5000, {}]):
            self.assert_refused("too_large", self.call, *request)
        self.assertEqual(self.call("ping"), "pong")
        eventually(lambda: self.served.resident_bytes() - before < 64 << 20, "its memory is given back")

    def test_who_goes_on_after_the_last_words_harms_nobody(self):
        talkers = [self.served.client() for _ in range(4)]
        for talker in talkers:
            talker.socket.settimeout(0.2)
            try:
                self.send(b"\xc1", talker)
                for _ in range(100):
                    self.send(b"x" * 100000, talker)
            except OSError:
                pass
        for _ in range(4):
            self.assertEqual(self.served.client().call("ping"), "pong")


if __name__ == "__main__":
    main()
