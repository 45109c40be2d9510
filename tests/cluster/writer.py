"""writer -- clients that write while something happens, and what must be there of it afterwards."""
import threading
import time

import harness


class Writer(threading.Thread):
    """Writes [n, n] one after the other through whichever node answers, and remembers what was
    acknowledged, what may have happened, every other code, and how long it had to wait."""

    def __init__(self, addresses, table, first=0, pause_s=0):
        super().__init__()
        self.addresses, self.table, self.first, self.next, self.pause_s = addresses, table, first, first, pause_s
        self.acknowledged, self.unknown, self.strange = set(), set(), []
        self.longest_s = 0
        self.stopping = threading.Event()
        self.start()

    def record(self):
        return [self.next, self.next]

    def request(self):
        return "write", self.table, self.record()

    def run(self):
        client, turn, began = None, 0, time.monotonic()
        while not self.stopping.is_set():
            try:
                if client is None:
                    client = harness.Client(self.addresses[turn % len(self.addresses)])
                client.call(*self.request())
                self.acknowledged.add(self.next)
                self.longest_s = max(self.longest_s, time.monotonic() - began)
                time.sleep(self.pause_s)
                began = time.monotonic()
            except harness.Refused as refused:
                if refused.code in harness.MAY_HAVE_HAPPENED:
                    self.unknown.add(self.next)
                elif refused.code not in harness.HAPPENED_NOT:
                    self.strange.append(str(refused))
            except OSError:  # the node is gone: it may have done it
                self.unknown.add(self.next)
                client, turn = None, turn + 1
                time.sleep(0.01)
            self.next += 1

    def wait(self, count):
        harness.eventually(lambda: len(self.acknowledged) > count, f"{count} writes")

    def wait_for_more(self, count):
        self.wait(len(self.acknowledged) + count)

    def end(self):
        self.stopping.set()
        self.join()
        return self


class Pairs(Writer):
    """Writes [2 n, n] and [2 n + 1, n] in one transaction; mostly they lie in two shards."""

    def request(self):
        return "transaction", [["write", self.table, [key, self.next]] for key in self.keys(self.next)]

    @staticmethod
    def keys(n):
        return [2 * n, 2 * n + 1]


class Rewriter(Writer):
    """Writes [key, [name, n]] to few keys again and again, as others do that it knows nothing of."""
    KEYS = range(20)

    def __init__(self, name, *arguments, **more):
        self.who = name
        super().__init__(*arguments, **more)

    def record(self):
        return [self.next % len(self.KEYS), [self.who, self.next]]

    def last(self, key):
        """What was acknowledged last under this key."""
        return max((n for n in self.acknowledged if n % len(self.KEYS) == key), default=-1)


class Written:
    """For a ClusterTest: what was acknowledged is there, and all copies are the same."""

    def same_everywhere(self, cluster, table, keys):
        """Each node's own copy has the same records under these keys."""
        keys = sorted(keys)
        clients = [node.client() for node in cluster.nodes]

        def same():
            try:
                copies = [client.call("read_many", table, keys, {"context": "dirty"}) for client in clients]
            except harness.Refused as refused:  # it may not have heard of the table yet
                self.assertIn(refused.code, {"no_table"} | harness.HAPPENED_NOT | harness.MAY_HAVE_HAPPENED)
                return False
            return all(copy == copies[0] for copy in copies)
        harness.eventually(same, "the copies are equal")

    def nothing_is_missing(self, cluster, writer, numbers=None, healed=False):
        """`healed`: of two sides, what is read may be behind for a moment."""
        self.assertEqual(writer.strange, [])
        for number in range(cluster.count) if numbers is None else numbers:
            with self.subTest(node=number):
                keys, client = sorted(writer.acknowledged), cluster.nodes[number].client()

                def all_there():
                    keys[:], behind = self.not_found(client, keys)
                    if not (healed or cluster.has_changed()):
                        self.assertEqual(behind, [])
                    return not keys
                harness.eventually(all_there, "what was acknowledged", seen=lambda: keys[:9])

    def not_found(self, client, keys):
        """Those of which another answer came than what was written, and the answers of who did not refuse."""
        without, behind = [], []
        for first in range(0, len(keys), 1000):
            asked = {client.send("read", "t", key): key for key in keys[first:first + 1000]}
            for number, error, found in [client.receive() for _ in asked]:
                key = asked[number]
                if error is not None:
                    self.assertIn(harness.Refused(error).code, harness.HAPPENED_NOT | harness.MAY_HAVE_HAPPENED)
                elif found == [[key, key]]:
                    continue
                else:
                    behind.append((key, found))
                without.append(key)
        return without, behind

    def nothing_older_is_left(self, cluster, table, rewriters):
        """Each key has what one of them wrote, and not before what was acknowledged to that one."""
        writers = {writer.who: writer for writer in rewriters}
        for writer in rewriters:
            self.assertEqual(writer.strange, [])
        client = cluster.client(0, patient=True)
        for key, found in zip(Rewriter.KEYS, client.call("read_many", table, list(Rewriter.KEYS))):
            (_, (name, n)), = found
            self.assertTrue(n >= writers[name].last(key) or n in writers[name].unknown, (key, name, n))
