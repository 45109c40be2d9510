"""Goal: a transaction that changes several records of disc_only tables, which write each change by
itself, is there whole or not at all after its node was killed between any two of them, and is known
to be.
Method: a node of an engramd that fails where a file says so (failpoint.c), transfers within one
shard and between several, and after each kill the node's next start."""
import itertools
import sys
import types

import harness
from harness import BIN, Cluster, ClusterTest, Refused, eventually, main, until_done

ACCOUNTS = 6
TABLES = {"one": {"shards": 1}, "many": {"shards": 8, "durability": "async"}}


class DiscOnlyTest(ClusterTest):
    def setUp(self):
        super().setUp()
        self.order = self.dir / "failpoint"
        self.cluster = Cluster(self, 1, machines={0: types.SimpleNamespace(env={"EG_FAILPOINT": str(self.order)})})
        self.cluster.wait_for_view()
        self.client = self.cluster.client(0, patient=True)
        for table, options in TABLES.items():
            self.client.call("create_table", table, {"storage": "disc_only", "attributes": ["k", "n"], "index": ["n"], **options})

    def all_of(self, *tables):
        """At one moment, when nobody holds any of it."""
        keys = [*range(ACCOUNTS), "stamp", "left"]
        found = until_done(self.client, "transaction", [["read_many", table, keys] for table in tables])
        return [{record[0]: record[1] for records in table for record in records} for table in found]

    def transfer(self, stamp, *tables):
        for table in tables:
            for k in range(ACCOUNTS):
                yield ["update_counter", table, k, "n", stamp if k % 2 else -stamp]
            yield ["write", table, ["stamp", stamp]]
            yield ["delete", table, "left"] if stamp % 2 else ["insert_new", table, ["left", stamp]]

    def expected(self, stamp, before):
        after = [{**table, "stamp": stamp, "left": stamp} for table in before]
        for table in after:
            for k in range(ACCOUNTS):
                table[k] += stamp if k % 2 else -stamp
            if stamp % 2:
                del table["left"]
        return after

    def kill_at(self, nth, stamp, *tables):
        """False: it is over before that."""
        self.order.write_text(f"tx.changed {nth} kill")
        try:
            self.client.call("transaction", list(self.transfer(stamp, *tables)), {"id": self.name(stamp, *tables)})
            self.order.unlink()
            return False
        except (OSError, Refused):
            self.assertFalse(self.order.exists(), "it was killed")
        self.cluster.nodes[0].process.wait(harness.ANSWER_SECONDS)
        self.start_again()
        return True

    def start_again(self):
        self.cluster.start(0)
        self.cluster.wait_for_view()
        self.client = self.cluster.client(0, patient=True)

    def name(self, stamp, *tables):
        return f"{stamp} of {tables}"

    def whole_at_each_kill(self, *tables):
        """Who has begun to make it was told to, so it is made."""
        for table in tables:
            self.client.call("write_many", table, [[k, 0] for k in range(ACCOUNTS)])
        wanted, more = self.all_of(*tables), True
        for stamp in itertools.count(1):
            if not more:
                break
            more = self.kill_at(stamp, stamp, *tables)
            wanted = self.expected(stamp, wanted)
            self.assertEqual(self.all_of(*tables), wanted, f"killed at change {stamp}")
            self.is_committed(stamp, *tables)
        self.assertGreater(stamp, len(tables) * (ACCOUNTS + 2), "killed at each")
        self.cluster.nodes[0].kill()
        self.start_again()
        self.assertEqual(self.all_of(*tables), wanted)
        for last in range(1, stamp):
            self.is_committed(last, *tables)

    def is_committed(self, stamp, *tables):
        eventually(lambda: self.client.call("transaction_status", self.name(stamp, *tables)) == "committed", f"{stamp} is known")

    def test_one_shard(self):
        self.whole_at_each_kill("one")

    def test_several_shards(self):
        self.whole_at_each_kill("many")

    def test_several_tables(self):
        self.whole_at_each_kill("one", "many")


if __name__ == "__main__":
    if not (BIN / "tests/engramd_failing").exists():
        print("skipped: only the plain build of gcc has a node that fails at steps")
        sys.exit(77)
    harness.Node.program = BIN / "tests/engramd_failing"
    main()
