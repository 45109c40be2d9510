"""A connection sees its own pipelined writes, whatever the table is made of and however
many others write to it."""
import os
import random
import sys
import threading

import harness
import msgpack

SEED = int(os.environ.get("EG_SEED", random.SystemRandom().randrange(1 << 32)))
TABLES = {
    "ram": {},
    "ordered": {"type": "ordered_set", "index": ["value"]},
    "disc": {"storage": "disc"},
    "sync": {"storage": "disc", "durability": "sync"},
    "sync_ordered": {"storage": "disc", "durability": "sync", "type": "ordered_set"},
    "only": {"storage": "disc_only"},
}


class Twin:
    """What the table must hold, as one connection that has its keys to itself sees it."""

    def __init__(self, table, keys, rng):
        self.table, self.keys, self.rng, self.records = table, keys, rng, {}

    def found(self, key):
        return [[key, self.records[key]]] if key in self.records else []

    def request(self):
        """A random request, and what it must answer."""
        key, value = self.rng.choice(self.keys), self.rng.randrange(1000)
        what = self.rng.random()
        if what < 0.4:
            self.records[key] = value
            return "write", [[key, value]], True
        if what < 0.7:
            return "read", [key], self.found(key)
        if what < 0.78:
            self.records.pop(key, None)
            return "delete", [key], True
        if what < 0.84:
            found = self.found(key)
            self.records.pop(key, None)
            return "take", [key], found
        if what < 0.9:
            new = key not in self.records
            self.records.setdefault(key, value)
            return "insert_new", [[key, value]], new
        if what < 0.95:
            self.records[key] = self.records.get(key, 0) + value
            return "update_counter", [key, "value", value], self.records[key]
        if what < 0.98:
            return "read_many", [self.keys], [self.found(k) for k in self.keys]
        many = {k: value for k in self.rng.sample(self.keys, 3)}
        self.records.update(many)
        return "write_many", [[[k, v] for k, v in many.items()]], len(many)


class PipelineTest(harness.ClusterTest):
    def batch(self, client, twin, requests):
        expected, out = {}, []
        for _ in range(requests):
            client.last += 1
            method, params, answer = twin.request()
            expected[client.last] = (method, params, answer)
            out.append(msgpack.packb([0, client.last, method, [twin.table, *params]]))
        client.socket.sendall(b"".join(out))
        while expected:
            msgid, error, result = client.receive()
            method, params, answer = expected.pop(msgid)
            assert error is None and result == answer, (
                f"{method} {params} of {twin.table}: {error or result}, not {answer}, seed {SEED}")

    def worker(self, node, number, failures):
        try:
            client = node.client()
            for table in TABLES:
                twin = Twin(table, list(range(number * 100, number * 100 + 10)),
                            random.Random(f"{SEED} {number} {table}"))
                for size in (1, 7, 100, 300, 300):
                    self.batch(client, twin, size)
            client.close()
        except Exception as failure:
            failures.append(f"connection {number}: {failure!r}")

    def test_every_connection_reads_its_own_writes_while_others_write(self):
        node = self.node("--schedulers", "2", data=self.dir / "data")
        client = node.client()
        for table, options in TABLES.items():
            client.call("create_table", table, options)
        failures = []
        threads = [threading.Thread(target=self.worker, args=(node, i, failures)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.assertEqual(node.stop(), 0)

    def test_a_schema_and_its_use_may_stand_in_one_pipeline(self):
        node = self.node(data=self.dir / "data")
        client = node.client()
        for table, options in TABLES.items():
            ids = [client.send("create_table", table, options), client.send("write", table, [1, "a"]),
                   client.send("add_index", table, "value") if "index" not in options else
                   client.send("ping"),
                   client.send("index_read", table, "value", "a"), client.send("clear_table", table),
                   client.send("size", table), client.send("drop_table", table),
                   client.send("read", table, 1)]
            answers = {msgid: (error, result) for msgid, error, result in
                       (client.receive() for _ in ids)}
            self.assertEqual(answers[ids[3]], (None, [[1, "a"]]), table)
            self.assertEqual(answers[ids[5]], (None, 0), table)
            self.assertEqual(answers[ids[6]], (None, True), table)
            self.assertTrue(answers[ids[7]][0].startswith("no_table"), table)


if __name__ == "__main__":
    print(f"EG_SEED={SEED}", file=sys.stderr)
    harness.main()
