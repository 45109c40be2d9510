"""A network that is cut in ways of which no two sides come, and again and again: what was acknowledged is
there afterwards, all is exact, all copies are equal.  README.md says which scenario is which test."""
import json
import os
import subprocess
import unittest

from harness import BIN, main

LONG = "EG_LONG" in os.environ  # else a few blips, for what they say of sanitized nodes
PLANS = {
    "halves": "test_01_both_halves_go_on_and_a_majority_table_is_never_in_two_minds",
    "blips": "test_05_a_hundred_blips_of_4_ms_leave_no_trace",
    "bridge": "test_06_one_node_that_hears_both_sides_brings_them_together",
    "majorities": "test_03_in_a_ring_of_majorities_nobody_has_half",
    "one-way": "test_04_who_is_not_heard_does_not_keep_the_others_busy",
} if LONG else {"blips": "test_05_blips_of_4_ms_leave_no_trace"}
SIZE = ["--nodes", "5", "--seconds", "3"] if LONG else ["--nodes", "3", "--times", "10"]


class Scenarios(unittest.TestCase):
    """One cluster goes through all of them: engram-partition looks at everything after each."""

    @classmethod
    def setUpClass(cls):
        cls.done = subprocess.run([BIN / "engram-partition", *SIZE, "--pause-ms", "2", "--whole-ms", "10",
                                   "--output", "json", *PLANS],
                                  capture_output=True, text=True, timeout=560)
        cls.whole = json.loads(cls.done.stdout or '{"rounds": [], "outcomes": {}}')
        cls.rounds = {one["name"]: one for one in cls.whole["rounds"]}

    def test_all_went_well(self):
        self.assertEqual(self.done.returncode, 0, self.done.stdout[-4000:] + self.done.stderr)

    def check(self, plan):
        self.assertIn(plan, self.rounds, self.done.stderr)
        one = self.rounds[plan]
        print({key: one[key] for key in ("acknowledged", "one_view_ms", "everywhere_ms", "recovered")}, end=" ")
        self.assertEqual(one["violations"], [])
        self.assertGreater(one["acknowledged"], 0)


class Swizzle(unittest.TestCase):
    """In a small cluster of its own: views that were cut again and again take their time to grow, the more
    nodes the longer."""

    @unittest.skipUnless(LONG, "it is the same in every build, and the plain one is tried")
    def test_07_nodes_are_cut_off_one_by_one_and_come_back_in_another_order(self):
        done = subprocess.run([BIN / "engram-partition", "--nodes", "3", "--seconds", "1", "--pause-ms", "2",
                               "--output", "json", "swizzle"],
                              capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stdout[-4000:] + done.stderr)
        one, = json.loads(done.stdout)["rounds"]
        self.assertEqual((one["name"], one["violations"]), ("swizzle", []))
        self.assertGreater(one["acknowledged"], 0)


for plan, name in PLANS.items():
    setattr(Scenarios, name, lambda self, plan=plan: self.check(plan))


if __name__ == "__main__":
    main()
