#!/usr/bin/env python3
"""SIGKILL at any time: every acknowledged `sync` write is there afterwards, of the rest a
prefix, and the indexes agree with the records.

One directory, many lives.  In each, three connections write numbered records until the
node is killed at a random count of answers; then the next life is asked.

    EG_SEED=7 EG_QUICK=1 test_crash.py"""
import os
import random
import shutil
import socket
import threading

from harness import QUICK, ClusterTest, Node, main

LIVES = 10 if QUICK else 60
WINDOW = 64  # requests under way on a connection
ANSWERS_MAX = 4000

# table, its options, whether an answer means "on disc", whether what is left is a prefix
TABLES = (
    ("sync_many_shards", {"durability": "sync"}, True, False),
    ("sync_one_shard", {"durability": "sync", "shards": 1}, True, True),
    ("async_one_shard", {"durability": "async", "shards": 1}, False, True),
)


class Writer(threading.Thread):
    """Writes [life * 1e6 + n, life, n] for n = 0, 1, ...; counts what was answered."""

    def __init__(self, node, table, life, on_answer):
        super().__init__()
        self.client, self.table, self.life, self.on_answer = node.client(), table, life, on_answer
        self.sent = 0
        self.acknowledged = set()  # answers may come in any order
        self.failure = None

    def run(self):
        try:
            while True:
                while self.sent - len(self.acknowledged) < WINDOW:
                    self.client.send("write", self.table, [self.life * 10**6 + self.sent, self.life, self.sent])
                    self.sent += 1
                number, error, _ = self.client.receive()
                if error is not None:
                    self.failure = error
                    return
                self.acknowledged.add(number - 1)  # message ids count from 1, records from 0
                self.on_answer()
        except (ConnectionError, socket.timeout):
            pass  # the kill
        finally:
            self.client.close()


class Crash(ClusterTest):
    def setUp(self):
        super().setUp()
        seed = int(os.environ.get("EG_SEED", random.randrange(10**6)))
        print(f"EG_SEED={seed}", flush=True)
        self.random = random.Random(seed)
        self.expected = {}  # (table, life): (acknowledged, sent)
        self.survivors = {}  # (table, life): how many of them, once asked

    def start(self):
        return self.node(data=self.dir / "data")

    def create_tables(self, node):
        client = node.client()
        for table, options, _, _ in TABLES:
            client.call("create_table", table, {"storage": "disc", "attributes": ["id", "life", "n"],
                                                "index": ["life"], **options})
        client.close()

    def test_acknowledged_sync_writes_survive_and_the_rest_is_a_prefix(self):
        for life in range(LIVES):
            node = self.start()
            if life == 0:
                self.create_tables(node)
            self.check(node)
            self.live_and_die(node, life)
        node = self.start()
        self.check(node)
        self.assertEqual(node.stop(), 0)

    def test_the_check_finds_a_write_that_was_lost(self):
        for table, *_ in TABLES:
            with self.subTest(table):
                shutil.rmtree(self.dir / "data", ignore_errors=True)
                self.expected.clear()
                self.survivors.clear()
                node = self.start()
                self.create_tables(node)
                self.live_and_die(node, 0, end=Node.stop)  # so that there is something to lose
                node = self.start()
                self.check(node)
                self.survivors.clear()
                node.client().call("delete", table, 0)
                with self.assertRaises(AssertionError):
                    self.check(node)
                node.kill()

    def live_and_die(self, node, life, end=Node.kill):
        answers, target = 0, self.random.randrange(1, ANSWERS_MAX)
        lock, enough = threading.Lock(), threading.Event()

        def count():
            nonlocal answers
            with lock:
                answers += 1
                if answers >= target:
                    enough.set()

        writers = [Writer(node, table, life, count) for table, *_ in TABLES]
        for writer in writers:
            writer.start()
        self.assertTrue(enough.wait(120), f"{answers} answers of {target} in two minutes")
        end(node)
        for writer in writers:
            writer.join()
            self.assertIsNone(writer.failure)
            self.expected[writer.table, life] = (writer.acknowledged, writer.sent)

    def check(self, node):
        client = node.client()
        for table, _, synced, prefix in TABLES:
            for (name, life), (acknowledged, sent) in self.expected.items():
                if name != table:
                    continue
                keys = [life * 10**6 + n for n in range(sent)]
                found = [n for n, records in enumerate(client.call("read_many", table, keys)) if records]
                where = f"{table}, life {life}: {len(found)} found, {len(acknowledged)} acknowledged, {sent} sent"
                if synced:
                    self.assertEqual(acknowledged - set(found), set(), where)
                if prefix:
                    self.assertEqual(found, list(range(len(found))), where)
                by_index = sorted(record[2] for record in client.call("index_read", table, "life", life))
                self.assertEqual(by_index, found, where)
                # What one recovery has shown, none after it takes back.
                self.assertEqual(self.survivors.setdefault((table, life), len(found)), len(found), where)
        client.close()


if __name__ == "__main__":
    main()
