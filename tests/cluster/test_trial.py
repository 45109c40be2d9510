"""engram-partition and engram-soak: a good cluster passes, and each lie of a node is found."""
import itertools
import json
import os
import pathlib
import subprocess
import time
import unittest

from harness import BIN, QUICK, Cluster, ClusterTest, eventually, main
from trial import cuts
from trial.ledger import LATE_S, REMOVED, Elements, Register, Total
from trial.pack import Unpacker, pack

LIAR = pathlib.Path(__file__).resolve().parent / "lying_engramd.py"
LIES = {"lose": "stale", "undelete": "resurrected", "deny": "unexpected", "double": "unexpected",
        "forget": "lost", "forget_all": "two minds", "invent": "strange answer"}


def run(program, *words, **env):
    return subprocess.run([str(word) for word in (BIN / program, *words)], capture_output=True, text=True,
                          timeout=400, env=dict(os.environ, **env))


class Partition(ClusterTest):
    def test_a_good_cluster_passes_and_the_reports_say_so(self):
        files = self.dir / "report.json", self.dir / "report.html"
        done = run("engram-partition", "--nodes", 3, "--seconds", 0.5, "--times", 5, "halves", "blips",
                   "--json", files[0], "--html", files[1], "--seed", 7, "--timeout", 120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(done.stdout.splitlines()[-1], "passed")
        whole = json.loads(files[0].read_text())
        self.assertTrue(whole["passed"])
        self.assertEqual([one["name"] for one in whole["rounds"]], ["halves", "blips"])
        for one in whole["rounds"]:
            self.assertEqual(one["violations"], [])
            self.assertGreater(one["acknowledged"], 0)
        self.assertEqual(whole["options"]["seed"], 7)
        page = files[1].read_text()
        self.assertIn("<svg", page)
        for word in ("http:", "https:", "src=", "@import", "url("):
            self.assertNotIn(word, page)

    def test_relays_are_cut_where_there_are_no_namespaces_and_a_lost_write_is_named(self):
        for seconds in 0.1, 5, 30:
            done = run("engram-partition", "--nodes", 2, "--seconds", seconds, "--timeout", 1, "--network", "relays",
                       "--engramd", LIAR, LIE="undelete", TRUE_ENGRAMD=str(BIN / "engramd"))
            if "violation: resurrected (" in done.stdout:
                break
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn("relays on loopback", done.stdout)
        self.assertIn("violation: resurrected (", done.stdout)
        self.assertRegex(done.stdout.splitlines()[-1], "^failed: [0-9]+ violation")

    def test_bad_words_are_said_and_nothing_is_started(self):
        for words in (["quarters"], ["--nodes", 1], ["--nodes", 3, "majorities"], ["--seconds", "x"], ["--no-such"]):
            with self.subTest(words):
                done = run("engram-partition", *words)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertEqual(done.stdout, "")
        done = run("engram-partition", "--network", "relays", "--engramd", "/bin/false")
        self.assertEqual(done.returncode, 3)
        self.assertIn("node n1 does not start", done.stderr)

    def test_relays_for_nodes_of_others_obey_lines(self):
        process = subprocess.Popen([str(BIN / "engram-partition"), "--relays", "a", "b"], text=True,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        out, _ = process.communicate("target a 127.0.0.1:1\ncut a | b\none-way a b\nheal\ncut a b\nfly\n", timeout=60)
        self.assertEqual(process.returncode, 0)
        lines = out.splitlines()
        self.assertRegex(lines[0], r"^relay a 127.0.0.1:\d+$")
        self.assertRegex(lines[1], r"^relay b 127.0.0.1:\d+$")
        self.assertEqual([line.split(":")[0] for line in lines[2:]], ["ok", "ok", "ok", "ok", "error", "error"])


class Soak(ClusterTest):
    def test_a_good_cluster_passes_while_a_node_stands_still_now_and_then(self):
        cluster = Cluster(self, 2, discs=False)
        cluster.wait_for_view()
        pid = cluster.nodes[1].process.pid
        faults = self.file("faults.json", json.dumps([{"name": "n2 stands still", "every_s": 1, "for_s": 0.3,
                                                       "begin": f"kill -STOP {pid}", "end": f"kill -CONT {pid}"}]))
        report = self.dir / "report.json"
        done = run("engram-soak", *self.connect(cluster), "--time", "2s", "--faults", faults, "--json", report,
                   "--html", self.dir / "report.html", "--timeout", 120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        whole = json.loads(report.read_text())
        self.assertIn("n2 stands still", [one["name"] for one in whole["rounds"]])
        eventually(lambda: cluster.client(0).call("tables") == [], "its tables are gone")
        self.assertIn("<svg", (self.dir / "report.html").read_text())

    def test_a_fault_that_could_not_be_done_is_a_violation(self):
        cluster = Cluster(self, 1, discs=False)
        faults = self.file("faults.json", json.dumps([{"name": "nothing", "every_s": 0.1, "for_s": 0.1,
                                                       "begin": "exit 3", "end": "true"}]))
        done = run("engram-soak", *self.connect(cluster), "--time", "0.3s", "--faults", faults)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn("fault not done", done.stdout)

    def test_each_lie_is_found(self):
        for lie in ("undelete", "forget") if QUICK else LIES:
            with self.subTest(lie):
                front = f"{self.dir}/{lie}"
                liar = subprocess.Popen([LIAR, "--name", "liar", "--listen", f"unix:{front}", "--peer-listen",
                                         "127.0.0.1:0", "--http", "off"], stdout=subprocess.PIPE, text=True,
                                        env=dict(os.environ, LIE=lie, TRUE_ENGRAMD=str(BIN / "engramd")))
                try:
                    self.assertIn("engramd ready", liar.stdout.readline())
                    for seconds in 0.3, 3, 30:  # a loaded machine may not come to a lie at once
                        done = run("engram-soak", "--connect", f"unix:{front}", "--time", seconds, "--timeout", 0.1,
                                   "--keys", 20)
                        if f"violation: {LIES[lie]} (" in done.stdout:
                            break
                    self.assertIn(f"violation: {LIES[lie]} (", done.stdout)
                    self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
                finally:
                    liar.terminate()
                    liar.wait()
                    liar.stdout.close()

    def test_bad_words_are_said(self):
        bad = self.file("bad.json", '[{"name": "x"}]')
        for words in (["--time", "x"], ["--time", "0s"], ["--faults", bad], ["--faults", self.dir / "none"]):
            with self.subTest(words):
                self.assertEqual(run("engram-soak", *words).returncode, 2)
        self.assertEqual(run("engram-soak", "--connect", f"unix:{self.dir}/nobody").returncode, 3)

    @staticmethod
    def connect(cluster):
        return itertools.chain.from_iterable(("--connect", node.address) for node in cluster.nodes)


class Ledgers(unittest.TestCase):
    def test_a_register_admits_what_was_acknowledged_last_and_what_is_in_doubt(self):
        register = Register()
        self.assertIsNone(register.judge(REMOVED))
        register.set(register.next())
        register.set(register.next())
        self.assertIsNone(register.judge(2))
        self.assertEqual(register.judge(1), "lost")
        self.assertEqual(register.judge(REMOVED), "lost")
        self.assertEqual(register.judge(3), "unexpected")
        register.refuse(register.next())
        self.assertEqual(register.judge(3), "unexpected")
        register.doubt(register.next())
        self.assertIsNone(register.judge(4))
        self.assertTrue(register.in_doubt(4))
        register.set(REMOVED)
        self.assertIsNone(register.judge(4))  # its node may be late
        self.assertEqual(register.judge(2), "resurrected")
        time.sleep(LATE_S)
        register.set(register.next())
        self.assertEqual(register.judge(4), "lost")

    def test_a_set_admits_every_element_in_doubt_and_no_other(self):
        elements = Elements()
        first, second, third = (elements.next() for _ in range(3))
        elements.set([first, second])
        self.assertIsNone(elements.judge([second, first]))
        self.assertEqual(elements.judge([first]), "lost")
        self.assertEqual(elements.judge([first, second, 9]), "unexpected")
        elements.doubt([second, third])
        for found in ([second], [second, third], [first, second], [first, second, third]):
            self.assertIsNone(elements.judge(found))
        self.assertEqual(elements.judge([third]), "lost")
        elements.set([])
        self.assertEqual(elements.judge([second]), "resurrected")

    def test_a_total_is_between_what_was_acknowledged_and_what_was_tried(self):
        total = Total(5, 2)
        self.assertEqual([total.judge(value) for value in (4, 5, 7, 8)], ["lost", None, None, "unexpected"])


class Plans(unittest.TestCase):
    def steps(self, name, nodes):
        return list(cuts.steps_of(name, nodes, 1, cuts.Options(times=3), seed=1))

    def test_each_plan_cuts_and_says_the_same_for_a_seed(self):
        for name, plan in cuts.PLANS.items():
            for nodes in range(plan.nodes_min, 9):
                steps = self.steps(name, nodes)
                self.assertEqual(steps, self.steps(name, nodes))
                self.assertTrue(any(step.pairs for step in steps), (name, nodes))
                self.assertTrue(all(one != other for step in steps for one, other in step.pairs))

    def test_in_a_ring_of_majorities_each_hears_one_and_no_two_the_same(self):
        for nodes in range(4, 12):
            pairs = self.steps("majorities", nodes)[0].pairs
            heard = [frozenset(other for other in range(nodes) if (other, node) not in pairs) for node in range(nodes)]
            self.assertEqual(len({*heard}), nodes)
            self.assertTrue(all(2 * len(some) > nodes for some in heard), nodes)

    def test_pieces_are_said_where_there_are_some(self):
        names = "abcde"
        self.assertEqual(cuts.pieces(5, cuts.between([0, 1], [2, 3, 4]), names), "a b | c d e")
        self.assertIsNone(cuts.pieces(3, {(0, 1)}, names))


class Packs(unittest.TestCase):
    def test_what_is_packed_comes_back_in_any_pieces(self):
        values = [None, True, False, 0, 127, 128, -1, -32, -33, 1 << 40, -1 << 40, (1 << 64) - 1, 2.5, "x" * 40,
                  "\u00e9" * 300, b"\xff" * 300, [1] * 20, list(range(70000)), {"a": [None], "b": {}}]
        data = b"".join(pack(value) for value in values)
        unpacker, found = Unpacker(), []
        for at in range(0, len(data), 50000):
            unpacker.feed(data[at:at + 50000])
            found += unpacker.values()
        self.assertEqual(found, values)


if __name__ == "__main__":
    main()
