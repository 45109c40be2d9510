"""engram-partition and engram-soak: a good cluster passes, and each lie of a node is found."""
import itertools
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import unittest

from harness import BIN, QUICK, Cluster, ClusterTest, eventually, main
from trial import cuts
from trial.ledger import LATE_S, REMOVED, Elements, Register, Total
from trial.pack import Unpacker, pack
from trial.report import sentence, simple

LIAR = pathlib.Path(__file__).resolve().parent / "lying_engramd.py"
LIES = {"lose": "stale", "undelete": "resurrected", "deny": "unexpected", "double": "unexpected",
        "forget": "lost", "forget_all": "two minds", "invent": "strange answer"}


def run(program, *words, **env):
    return subprocess.run([str(word) for word in (BIN / program, *words)], capture_output=True, text=True,
                          timeout=400, env=dict(os.environ, **env))


def begin(program, *words, **env):
    """In a session of its own, of which its pid is the name."""
    return subprocess.Popen([str(word) for word in (BIN / program, *words)], stdout=subprocess.PIPE, text=True,
                            env=dict(os.environ, **env), start_new_session=True)


def read_until(process, word):
    for line in process.stdout:
        if word in line:
            return
    raise AssertionError(f"it ended without `{word}`")


def is_over(session):
    """Has everything ended that was begun there?  Whether somebody has heard of it is another matter."""
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(group) == session and state != "Z":
            return False
    return True


def kill(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    process.stdout.close()


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
        for words in (["quarters"], ["--nodes", 1], ["--nodes", 51], ["--nodes", 3, "majorities"], ["--seconds", "x"],
                      ["--seconds", "nan"], ["--copies", "x"], ["--pause-ms", -1], ["--timeout", -1], ["--no-such"],
                      ["--output", "json", "--json", "-"], ["--json", self.dir / "no" / "report"], ["--html", self.dir]):
            with self.subTest(words):
                done = run("engram-partition", *words)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertEqual(done.stdout, "")
                self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        done = run("engram-partition", "--network", "relays", "--engramd", "/bin/false")
        self.assertEqual(done.returncode, 3)
        self.assertIn("node n1 does not start", done.stderr)

    def test_nothing_is_left_of_what_a_signal_ends(self):
        for network, number in ("relays", signal.SIGTERM), ("auto", signal.SIGTERM), ("auto", signal.SIGINT):
            with self.subTest(network=network, number=number):
                process = begin("engram-partition", "--nodes", 2, "--seconds", 300, "--network", network,
                                TMPDIR=str(self.dir))
                self.addCleanup(kill, process)
                read_until(process, "halves: ")
                process.send_signal(number)
                self.assertEqual(process.wait(120), 130)
                eventually(lambda: is_over(process.pid), "all its processes have ended")
                self.assertEqual(list(self.dir.glob("engram-trial-*")), [])

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

    def test_nodes_that_come_together_late_are_waited_for(self):
        cluster = Cluster(self, 2, discs=False, proxied=True)
        for proxy in cluster.proxies:
            proxy.cut()
        for number in range(2):
            cluster.wait_for_view([number])
        process = begin("engram-soak", *self.connect(cluster), "--time", "1s", "--timeout", 120)
        self.addCleanup(kill, process)
        read_until(process, "nodes n1 n2")
        for proxy in cluster.proxies:
            proxy.heal()
        rest = process.stdout.read()
        self.assertEqual(process.wait(60), 0, rest)

    def test_nodes_that_never_come_together_are_not_loaded(self):
        nodes = [self.node("--name", name, "--peer-listen", "127.0.0.1:0") for name in ("one", "two")]
        impatient = "import sys; from trial import soak; soak.START_S = 0.5; sys.exit(soak.main(''))"
        words = [word for node in nodes for word in ("--connect", node.address)]
        done = subprocess.run([sys.executable, "-c", impatient, *words], capture_output=True, text=True, timeout=400,
                              env=dict(os.environ, PYTHONPATH=str(LIAR.parents[2] / "tools")))
        self.assertEqual(done.returncode, 3, done.stdout + done.stderr)
        self.assertIn("not in one view", done.stderr)
        for node in nodes:
            self.assertEqual(node.client().call("tables"), [])

    def test_a_signal_to_all_ends_the_time_in_order(self):
        cluster = Cluster(self, 2, discs=False)
        process = begin("engram-soak", *self.connect(cluster), "--time", "1h", "--timeout", 120)
        self.addCleanup(kill, process)
        read_until(process, "calls/s")
        os.killpg(process.pid, signal.SIGTERM)
        rest = process.stdout.read()
        self.assertEqual(process.wait(60), 0, rest)
        self.assertEqual(rest.splitlines()[-1], "passed")
        eventually(lambda: cluster.client(0).call("tables") == [], "its tables are gone")

    def test_workers_end_with_a_leader_that_is_killed(self):
        cluster = Cluster(self, 2, discs=False)
        process = begin("engram-soak", *self.connect(cluster), "--time", "1h")
        self.addCleanup(kill, process)
        read_until(process, "calls/s")
        process.kill()
        process.wait()
        eventually(lambda: is_over(process.pid), "its workers have ended")

    def test_bad_words_are_said(self):
        def fault(seconds):
            return self.file(f"{seconds}.json",
                             f'[{{"name": "x", "begin": "", "end": "", "every_s": {seconds}, "for_s": 1}}]')
        bad = self.file("bad.json", '[{"name": "x"}]')
        for words in (["--time", "x"], ["--time", "0s"], ["--faults", bad], ["--faults", self.dir / "none"],
                      ["--faults", fault("NaN")], ["--faults", fault("1e400")], ["--connect", "nonsense"],
                      ["--connect", "127.0.0.1:65536"], ["--copies", "x"], ["--copies", 0], ["--pause-ms", -1],
                      ["--seconds", "nan"], ["--json", self.dir / "no" / "report"], ["--html", self.dir]):
            with self.subTest(words):
                done = run("engram-soak", *words)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
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


class Sentences(unittest.TestCase):
    def test_a_long_record_is_cut(self):
        told = sentence({**simple("strange answer", "n1", "y" * 9999), "table": "t", "key": ["k", "y" * 9999]})
        self.assertLess(len(told), 400)


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
