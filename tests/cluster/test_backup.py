#!/usr/bin/env python3
"""A backup is one moment of all its tables while writes go on, and comes back as it was."""
import json
import random
import struct
import subprocess
import threading

from harness import BIN, KINDS, QUICK, ClusterTest, Refused, eventually, main, shell, until_done

RECORDS = 2000


class Backup(ClusterTest):
    def run_ok(self, *words, node=None):
        done = shell(*words, node=node or self.served)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def run_fails(self, text, *words, code=1, node=None):
        done = shell(*words, node=node or self.served)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertIn(text, done.stderr)

    def setUp(self):
        super().setUp()
        self.served = self.node(data=self.dir / "data")
        self.client = self.served.client()

    def everything(self, client=None):
        """{table: (options, sorted records)}"""
        client = client or self.client
        found = {}
        for name in client.call("tables"):
            info = client.call("table_info", name)
            records = client.call("match", name, ["_"] * len(info["attributes"]))
            options = {key: info[key] for key in ("type", "storage", "attributes", "index", "shards", "durability", "ttl")
                       if key in info}
            found[name] = (options, sorted(records, key=repr))
        return found

    def fill(self):
        for storage, kind in KINDS:
            name = f"{storage}_{kind}"
            self.client.call("create_table", name, {"type": kind, "storage": storage, "attributes": ["k", "v", "w"],
                                                    "index": ["v"]})
            for start in range(0, RECORDS, 500):
                self.client.call("write_many", name, [[i, i % 7, {"x": [i, None, 2.5, b"\x00\xff"]}]
                                                      for i in range(start, start + 500)])
            if kind == "bag":
                self.client.call("write_many", name, [[1, i, "more"] for i in range(300)])

    # ---- there and back

    def test_every_kind_of_table_comes_back_with_its_options(self):
        self.fill()
        self.client.call("create_table", "empty", {"shards": 3, "ttl": 3600.5, "storage": "disc", "durability": "sync"})
        self.client.call("create_table", "shaped", {"attributes": ["k", "v", "w"]})
        self.client.call("write_many", "shaped", [[i, {"p": [i]}, -i] for i in range(100)])
        self.client.call("add_index", "shaped", "v.p.0")
        self.client.call("add_index", "shaped", {"on": ["v", "w"], "name": "both", "unique": True})
        self.client.call("add_attribute", "shaped", "more", 7)
        self.client.call("rename_attribute", "shaped", "w", "z")
        before = self.everything()
        said = json.loads(self.run_ok("--output", "json", "backup", self.dir / "b"))
        self.assertEqual(said["tables"], len(before))
        verified = {row["table"]: row["records"] for row in json.loads(self.run_ok("--output", "json", "verify", self.dir / "b"))}
        self.assertEqual(verified, {name: len(records) for name, (_, records) in before.items()})
        other = self.node(data=self.dir / "other")
        self.run_ok("restore", self.dir / "b", node=other)
        self.assertEqual(self.everything(other.client()), before)
        self.assertEqual(len(other.client().call("index_read", "ram_set", "v", 3)), len(range(3, RECORDS, 7)))

    def test_what_a_restore_says_is_done_survives_a_kill(self):
        self.fill()
        before = {name: found for name, found in self.everything().items() if not name.startswith("ram")}
        self.run_ok("backup", self.dir / "b", *before)
        other = self.node(data=self.dir / "other")
        self.run_ok("restore", self.dir / "b", node=other)
        other.kill()
        again = self.node(data=self.dir / "other")
        self.assertEqual(self.everything(again.client()), before)

    def test_records_expire_when_they_would_have(self):
        self.client.call("create_table", "t", {"storage": "disc"})
        self.client.call("write", "t", [1, "for ever"])
        self.client.call("write", "t", [2, "long"], {"ttl": 3600})
        self.client.call("write", "t", [3, "short"], {"ttl": 2})
        self.client.call("write", "t", [4, "shorter"], {"ttl": 0.001})
        eventually(lambda: self.client.call("size", "t") <= 3, "the shortest to expire")
        self.run_ok("backup", self.dir / "b")
        self.client.call("clear_table", "t")
        self.run_ok("restore", self.dir / "b")
        eventually(lambda: self.client.call("size", "t") == 2, "the short one to expire")
        self.assertEqual(sorted(self.client.call("match", "t", ["_", "_"])), [[1, "for ever"], [2, "long"]])
        self.run_ok("restore", self.dir / "b")
        self.assertEqual(self.client.call("size", "t"), 2)

    # ---- chosen tables, modes

    def test_tables_that_exist_are_skipped_replaced_or_cleared(self):
        for name in ("a", "b"):
            self.client.call("create_table", name, {"index": ["value"]})
            self.client.call("write_many", name, [[i, name] for i in range(100)])
        self.run_ok("backup", self.dir / "b")
        self.client.call("drop_index", "a", "value")
        self.client.call("write_many", "a", [[i, "new"] for i in range(50, 150)])
        self.client.call("drop_table", "b")
        self.run_ok("restore", self.dir / "b", "--mode", "skip")
        self.assertEqual(self.client.call("size", "a"), 150)
        self.assertEqual(self.client.call("size", "b"), 100)
        self.run_ok("restore", self.dir / "b", "--mode", "clear")
        self.assertEqual(sorted(self.client.call("match", "a", ["_", "_"])), [[i, "a"] for i in range(100)])
        self.assertEqual(self.client.call("table_info", "a")["index"], [])
        self.client.call("write_many", "a", [[i, "new"] for i in range(50, 150)])
        self.run_ok("restore", self.dir / "b", "a", "--mode", "replace")
        self.assertEqual(sorted(self.client.call("match", "a", ["_", "_"])), [[i, "a"] for i in range(100)])
        self.assertEqual(self.client.call("table_info", "a")["index"], ["value"])

    def test_one_table_of_many(self):
        for name in ("a", "b", "c"):
            self.client.call("create_table", name)
            self.client.call("write", name, [1, name])
        self.run_ok("backup", self.dir / "two", "a", "c")
        self.assertEqual(self.run_ok("verify", self.dir / "two").count("\n"), 2)
        for name in ("a", "b", "c"):
            self.client.call("drop_table", name)
        self.run_ok("restore", self.dir / "two", "c")
        self.assertEqual(self.client.call("tables"), ["c"])
        self.run_fails("no table b", "restore", self.dir / "two", "a", "b")
        self.assertEqual(self.client.call("tables"), ["c"])
        self.run_fails("no_table", "backup", self.dir / "three", "nothing")
        self.assertFalse((self.dir / "three").exists())
        self.assertFalse((self.dir / "three.part").exists())

    def test_a_table_of_another_shape_is_not_cleared(self):
        self.client.call("create_table", "t", {"attributes": ["k", "v"]})
        self.run_ok("backup", self.dir / "b")
        self.client.call("drop_table", "t")
        self.client.call("create_table", "t", {"attributes": ["k", "v", "w"]})
        self.client.call("write", "t", [1, 2, 3])
        self.run_fails("other attributes", "restore", self.dir / "b", "--mode", "clear")
        self.assertEqual(self.client.call("size", "t"), 1)

    # ---- damage

    def test_a_damaged_file_touches_nothing(self):
        self.client.call("create_table", "t")
        self.client.call("write_many", "t", [[i, "x" * 10] for i in range(50)])
        self.run_ok("backup", self.dir / "b")
        whole = (self.dir / "b").read_bytes()
        self.client.call("write", "t", [1, "later"])
        chance = random.Random(7)
        bad = [whole[:cut] for cut in [0, 1, 7, 8, len(whole) - 1] + [chance.randrange(len(whole)) for _ in range(8)]]
        for _ in range(8):
            at = chance.randrange(len(whole))
            bad.append(whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1:])
        bad += [whole + b"\0", whole + whole, b"key,value\n1,2\n", b"\xff" * 1000]
        for content in bad:
            (self.dir / "bad").write_bytes(content)
            self.run_fails("bad:", "verify", self.dir / "bad")
            self.run_fails("bad:", "restore", self.dir / "bad")
        self.assertEqual(self.client.call("read", "t", 1), [[1, "later"]])
        self.run_fails("cannot read", "verify", self.dir / "none")
        self.run_fails("--mode", "restore", self.dir / "b", "--mode", "merge", code=2)

    def test_a_size_that_claims_much_takes_no_memory(self):
        (self.dir / "bad").write_bytes(bytes.fromhex("8e4547420d0a1a0a") + struct.pack("<IB3x", 0xffffffff, 1) + b"x")
        self.run_fails("larger", "verify", self.dir / "bad")
        (self.dir / "bad").write_bytes(bytes.fromhex("8e4547420d0a1a0a") + struct.pack("<IB3x", 16 << 20, 1) + b"x")
        self.run_fails("ends inside", "verify", self.dir / "bad")

    # ---- one moment

    def test_a_backup_under_load_is_one_moment(self):
        tables = {"a": "set", "b": "ordered_set", "p": "set", "c": "set", "d": "bag"}
        for name, kind in tables.items():
            self.client.call("create_table", name, {"type": kind, "storage": {"c": "disc_only", "d": "disc"}.get(name, "ram")})
        for n in range(20):  # between the two whose order counts: a moment that was none would be long
            self.client.call("create_table", f"a{n:02}", {"shards": 128})
        self.client.call("write_many", "p", [[key, 0] for key in range(64)])
        self.client.call("write_many", "a", [[1000 + i, "x" * 50] for i in range(20000)])
        stop = threading.Event()
        faults = []

        def in_order(first, second, key):
            client = self.served.client()
            n = 0
            try:
                while not stop.is_set():
                    n += 1
                    client.call("write", first, [key, n])
                    client.call("write", second, [key, n])
                    if second == "d":
                        client.call("delete_object", "d", [key, n - 1])
            except Exception as fault:
                faults.append(fault)

        def together(first_key):
            client = self.served.client()
            n = 0
            while not stop.is_set():
                n += 1
                try:
                    client.call("write_many", "p", [[key, n] for key in range(first_key, first_key + 16)])
                except Refused as refused:
                    if refused.code != "busy":
                        faults.append(refused)

        threads = [threading.Thread(target=in_order, args=("a", "b", key)) for key in range(2)]
        threads += [threading.Thread(target=in_order, args=("c", "d", key)) for key in range(2)]
        threads += [threading.Thread(target=together, args=(16 * i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        seen = set()
        try:
            other = self.node(data=self.dir / "other")
            theirs = other.client()
            for _ in range(4 if QUICK else 12):
                self.run_ok("backup", self.dir / "b")
                self.run_ok("restore", self.dir / "b", *tables, node=other)
                for first, second in (("a", "b"), ("c", "d")):
                    for key in range(2):
                        newer = theirs.call("read", first, key)
                        older = theirs.call("read", second, key)
                        newer, older = max([r[1] for r in newer], default=0), max([r[1] for r in older], default=0)
                        self.assertTrue(older <= newer <= older + 1, (first, newer, older))
                        seen.add(newer)
                pairs = dict(map(tuple, theirs.call("match", "p", ["_", "_"])))
                for first_key in range(0, 64, 16):
                    self.assertEqual(len({pairs[key] for key in range(first_key, first_key + 16)}), 1)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual(faults, [])
        self.assertGreater(len(seen), 8)  # the writers wrote

    def test_a_table_that_changes_its_shape_meanwhile_is_in_one_shape(self):
        self.client.call("create_table", "t", {"attributes": ["k", "v"]})
        self.client.call("write_many", "t", [[i, "x" * 20] for i in range(20000)])
        stop = threading.Event()
        faults = []

        def change():
            client = self.served.client()
            while not stop.is_set():
                try:
                    client.call("add_attribute", "t", "w", 1)
                    client.call("drop_attribute", "t", "w")
                except Refused as refused:
                    faults.append(refused)
                    return
        thread = threading.Thread(target=change)
        thread.start()
        try:
            for _ in range(3 if QUICK else 10):
                self.run_ok("backup", self.dir / "b")
                self.assertEqual(self.run_ok("verify", self.dir / "b"), "t\t20000\n")
        finally:
            stop.set()
            thread.join()
        self.assertEqual(faults, [])

    # ---- clients that are odd or gone

    def test_the_wire_methods_say_what_is_wrong(self):
        self.client.call("create_table", "t")
        self.assert_refused("bad_request", self.client.call, "backup_open", {"what": 1})
        self.assert_refused("bad_request", self.client.call, "backup_open", {"tables": "t"})
        self.assert_refused("bad_request", self.client.call, "backup_open", {"tables": [1]})
        self.assert_refused("no_table", self.client.call, "backup_open", {"tables": ["t", "u"]})
        self.assert_refused("not_found", self.client.call, "backup_read", 1)
        self.assert_refused("not_found", self.client.call, "backup_read", "1")
        self.assert_refused("not_found", self.client.call, "backup_close", 1)
        self.assert_refused("no_table", self.client.call, "sync_table", "u")
        self.assertIs(self.client.call("sync_table", "t"), True)
        number = self.client.call("backup_open", {"tables": ["t", "t"]})
        self.assert_refused("not_found", self.served.client().call, "backup_read", number)
        self.assert_refused("busy", self.served.client().call, "backup_open")
        while self.client.call("backup_read", number) is not None:
            pass
        self.assertIsNone(self.client.call("backup_read", number))
        self.assertIs(self.client.call("backup_close", number), True)
        self.assert_refused("not_found", self.client.call, "backup_read", number)

    def test_a_client_that_vanishes_leaves_no_snapshot(self):
        self.fill()
        for _ in range(20):
            other = self.served.client()
            number = other.call("backup_open")
            other.call("backup_read", number)
            other.send("backup_read", number)
            other.close()

            def taken():
                try:
                    return self.client.call("backup_close", self.client.call("backup_open"))
                except Refused as refused:
                    self.assertEqual(refused.code, "busy")
                    return False
            eventually(taken, "the snapshots of the one that vanished to go")
        others = [self.served.client() for _ in range(8)]  # and some that ask and do not wait
        for other in others:
            other.send("backup_open")
        for other in others:
            other.close()
        eventually(taken, "their snapshots to go")
        last = self.served.client()

        def opened():
            try:
                return last.call("backup_open")
            except Refused as refused:  # one of the eight came later still
                self.assertEqual(refused.code, "busy")
                return False
        eventually(opened, "the last of their snapshots to go")  # it is open when the node stops
        self.assertEqual(self.served.stop(), 0)

    def test_a_node_killed_while_it_restores_can_be_restored_again(self):
        self.client.call("create_table", "t", {"storage": "disc"})
        for start in range(0, 40000, 1000):
            until_done(self.client, "write_many", "t", [[i, "x" * 60] for i in range(start, start + 1000)])
        self.run_ok("backup", self.dir / "b")
        other = self.node(data=self.dir / "other")
        restoring = subprocess.Popen([BIN / "engram", "--connect", other.address, "restore", self.dir / "b"],
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        client = other.client()

        def begun():
            try:
                return client.call("size", "t") > 0
            except Refused:
                return False
        eventually(begun, "the restore to begin")
        other.kill()
        restoring.communicate()
        again = self.node(data=self.dir / "other")
        self.run_ok("restore", self.dir / "b", node=again)
        self.assertEqual(again.client().call("size", "t"), 40000)
        self.assertIn(restoring.returncode, (0, 3))


if __name__ == "__main__":
    main()
