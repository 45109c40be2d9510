#!/usr/bin/env python3
"""Goal: `engram bench tatp` does the transactions that it counts, and leaves the tables as they are to be.
Method: short runs, bound by count, against a node and a cluster; what the tables have afterwards is compared
with what was counted."""
import json

from harness import Cluster, ClusterTest, eventually, main, shell, steady, until_done

TABLES = ["access_info", "call_forwarding", "special_facility", "subscriber"]
SUBSCRIBERS, COUNT = 200, 600
KINDS = {"get_subscriber_data", "get_new_destination", "get_access_data", "update_subscriber_data",
         "update_location", "insert_call_forwarding", "delete_call_forwarding"}


class Bench(ClusterTest):
    def bench(self, node, *words, code=0):
        done = shell("--output", "json", "bench", "tatp", *words, node=node)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return json.loads(done.stdout) if code == 0 else done.stderr

    def views(self, cluster):
        return {str(cluster.status(number)["view"]) for number in range(cluster.count)}

    def records(self, client, table):
        """By key."""
        rows = until_done(client, "query", f"select * from {table}", [])["rows"]
        return {tuple(row[0]) if isinstance(row[0], list) else row[0]: row[1:] for row in rows}

    def check_tables(self, client, report):
        """What belongs together is together."""
        of = {row["transaction"]: row for row in report["transactions"]}
        self.assertEqual(set(of), KINDS)
        for figure in ("count", "failed", "retries", "in_doubt"):
            self.assertEqual(sum(row[figure] for row in of.values()), report[figure])
        self.assertEqual(report["count"], COUNT)
        subscribers, facilities = self.records(client, "subscriber"), self.records(client, "special_facility")
        forwardings = self.records(client, "call_forwarding")
        self.assertEqual({s: row[0] for s, row in subscribers.items()},
                         {s: f"{s:015}" for s in range(1, SUBSCRIBERS + 1)})
        for s in (1, SUBSCRIBERS):
            found = until_done(client, "index_read", "subscriber", "sub_nbr", f"{s:015}")
            self.assertEqual(found, [[s, *subscribers[s]]])
        for s, kind, start in forwardings:
            self.assertIn((s, kind), facilities)
            self.assertIn(start, (0, 8, 16))
        return of

    def check_account(self, client, before, report):
        """Every forwarding that came or went was counted."""
        of = {row["transaction"]: row for row in report["transactions"]}
        inserts, deletes = of["insert_call_forwarding"], of["delete_call_forwarding"]
        expected = before + inserts["count"] - inserts["failed"] - deletes["count"] + deletes["failed"]
        doubt = inserts["in_doubt"] + deletes["in_doubt"]
        self.assertLessEqual(abs(until_done(client, "size", "call_forwarding") - expected), doubt)

    def test_what_it_counts_has_happened(self):
        node = self.node()
        client = node.client()
        self.assertTrue(self.bench(node, "--subscribers", SUBSCRIBERS, "--fill"))
        self.assertEqual(sorted(client.call("tables")), TABLES)
        self.assertIn("exists", self.bench(node, code=1))
        before = until_done(client, "size", "call_forwarding")
        report = self.bench(node, "--keep", "--count", COUNT, "--clients", 4)
        self.assertEqual((report["load"], report["subscribers"], report["clients"]), ("tatp", SUBSCRIBERS, 4))
        of = self.check_tables(client, report)
        self.check_account(client, before, report)
        for kind in KINDS:  # the same draws in each run
            self.assertGreater(of[kind]["count"], 0)
        self.assertEqual(of["get_subscriber_data"]["failed"] + of["update_location"]["failed"], 0)
        for row in report["transactions"]:
            self.assertTrue(0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"], row)
        for kind in ("get_access_data", "get_new_destination"):
            self.assertTrue(0 < of[kind]["failed"] < of[kind]["count"], of[kind])
        client.close()

    @steady
    def test_clients_of_all_nodes_and_tables_that_go(self):
        cluster = Cluster(self, 3, discs=False)
        cluster.wait_for_view()
        addresses = [node.address for node in cluster.nodes]
        client = cluster.client(2)
        self.bench(cluster.nodes[0], "--subscribers", SUBSCRIBERS, "--fill")
        before, view = until_done(client, "size", "call_forwarding"), self.views(cluster)
        report = self.bench(cluster.nodes[0], "--keep", "--count", COUNT, "--clients", 5, *addresses)
        self.check_tables(client, report)
        if len(view) == 1 and self.views(cluster) == view:  # else two parts may have served, and merged
            self.check_account(client, before, report)
        for table in TABLES:
            until_done(client, "drop_table", table)
        self.bench(cluster.nodes[0], "--subscribers", 10, "--fill", "--copies", 2)
        self.assertEqual({until_done(client, "table_info", table)["copies"] for table in TABLES}, {2})
        self.assertIn("copies", self.bench(cluster.nodes[0], "--keep", "--copies", "all", code=1))
        for table in TABLES:
            until_done(client, "drop_table", table)
        text = shell("bench", "tatp", "--subscribers", "50", "--count", "20", node=cluster.nodes[1])
        self.assertEqual(text.returncode, 0, text.stderr)
        rows = [line.split("\t") for line in text.stdout.splitlines()]
        self.assertEqual({row[0] for row in rows}, KINDS | {"all"})
        self.assertEqual(rows[-1][:2], ["all", "20"])
        eventually(lambda: client.call("tables") == [], "its tables are gone")
        client.close()

    def test_what_it_does_not_take(self):
        node = self.node()
        for words in (["--clients", "0"], ["--subscribers", "x"], ["--no"]):
            self.bench(node, *words, code=2)
        self.assertEqual(shell("bench", "tpcc", node=node).returncode, 2)
        self.bench(node, "--subscribers", 10, "unix:/nowhere/at/all", code=3)
        self.assertIn("storage", self.bench(node, "--subscribers", 10, "--storage", "tape", code=1))
        self.assertIn("disc", self.bench(node, "--subscribers", 10, "--storage", "disc", code=1))
        self.assertEqual(node.client().call("tables"), [])


if __name__ == "__main__":
    main()
