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
    "one-out": "test_02_who_is_cut_off_alone_holds_up_nobody",
    "blips": "test_05_a_hundred_blips_of_4_ms_leave_no_trace",
    "bridge": "test_06_one_node_that_hears_both_sides_brings_them_together",
    "majorities": "test_03_in_a_ring_of_majorities_nobody_has_half",
    "one-way": "test_04_who_is_not_heard_does_not_keep_the_others_busy",
} if LONG else {"blips": "test_05_blips_of_4_ms_leave_no_trace"}
SIZE = ["--nodes", "5", "--seconds", "3"] if LONG else ["--nodes", "3", "--times", "10"]


def play(*words):
    """What engram-partition says of it, and what it has found, by plan."""
    done = subprocess.run([BIN / "engram-partition", "--pause-ms", "2", "--output", "json", *words],
                          capture_output=True, text=True, timeout=560)
    whole = json.loads(done.stdout or '{"rounds": []}')
    return done, {one["name"]: one for one in whole["rounds"]}


class Played(unittest.TestCase):
    """One cluster goes through some plans: engram-partition looks at everything after each."""
    words = ()

    @classmethod
    def setUpClass(cls):
        cls.done, cls.rounds = play(*cls.words)

    def went_well(self):
        self.assertEqual(self.done.returncode, 0, self.done.stdout[-4000:] + self.done.stderr)

    def check(self, plan):
        self.assertIn(plan, self.rounds, self.done.stderr)
        one = self.rounds[plan]
        print({key: one[key] for key in ("acknowledged", "one_view_ms", "everywhere_ms", "recovered")}, end=" ")
        self.assertEqual(one["violations"], [])
        self.assertGreater(one["acknowledged"], 0)


class Scenarios(Played):
    words = (*SIZE, "--whole-ms", "10", *PLANS)
    test_all_went_well = Played.went_well


for plan, name in PLANS.items():
    setattr(Scenarios, name, lambda self, plan=plan: self.check(plan))


@unittest.skipUnless(LONG, "it is the same in every build, and the plain one is tried")
class Restless(Played):
    """In a small cluster of its own: views that were cut again and again take their time to grow, the more
    nodes the longer."""
    words = ("--nodes", "3", "--seconds", "2", "flapping", "swizzle")
    test_all_went_well = Played.went_well

    def test_07_nodes_are_cut_off_one_by_one_and_come_back_in_another_order(self):
        self.check("swizzle")

    def test_a_network_that_comes_and_goes_by_chance(self):
        self.check("flapping")


@unittest.skipUnless(LONG, "it is the same in every build, and the plain one is tried")
class Seconds(Played):
    """As many as there is time for; docs/partition.md has what a hundred came to."""
    words = ("--nodes", "5", "--times", "5", "--cut-ms", "1000", "--whole-ms", "500", "blips")
    test_all_went_well = Played.went_well

    def test_05_blips_of_a_second_leave_no_trace(self):
        self.check("blips")


if __name__ == "__main__":
    main()
