"""Goal: what Mnesia's own test suites ask of its transactions, ours do: forty cases by their names there.
Method: each case names the tests that carry it out, here or in another file, and those have to exist;
or says why it asks nothing of us.  Those of this file run on three nodes, over the wire."""
import pathlib
import re
import threading

from harness import MAY_HAVE_HAPPENED, Cluster, ClusterTest, Refused, eventually, main, steady, until_done

TESTS = pathlib.Path(__file__).resolve().parents[1]

HERE = "cluster/test_mnesia_transactions.py"
API, FAR, ALONE = "unit/node/test_api_tx.c", "unit/node/test_api_tx_far.c", "unit/node/test_api_tx_isolation.c"
SHARD, MODEL, LOCKS = "unit/tables/test_transact_part.c", "model/node/test_tx_model.c", "model/tables/test_shard_lock_model.c"
WIRE, FAILS, LISTS = "cluster/test_transaction.py", "cluster/test_failpoints.py", "cluster/test_serial.py"
MACHINE, MANAGER = "unit/replication/test_tx_machine.c", "unit/replication/test_tx_manager.c"

# The name in Mnesia's suites: where ours is.  A text without a place: why there is none.
CASES = {
    # isolation
    "no_conflict": (f"{SHARD}: locks_are_shared_or_not_of_a_key_or_of_the_shard",),
    "simple_queue_conflict": (f"{API}: a_record_that_comes_into_what_was_asked_is_a_conflict",
                              f"{API}: who_writes_to_a_locked_table_waits_for_the_end"),
    "advanced_queue_conflict": (f"{LOCKS}: no_circle_closes_and_the_oldest_gets_on",
                                f"{LOCKS}: plain_ones_come_in_their_order"),
    "simple_deadlock_conflict": (f"{SHARD}: a_younger_one_is_refused_and_what_is_plain_waits",
                                 f"{API}: who_loses_again_and_again_gets_through"),
    "advanced_deadlock_conflict": (f"{LOCKS}: no_circle_closes_and_the_oldest_gets_on",
                                   f"{HERE}: test_advanced_deadlock_conflict"),
    "schema_deadlock": (f"{SHARD}: a_table_with_a_prepared_part_is_dropped_when_it_has_ended_or_too_long_has_not",
                        f"{SHARD}: a_table_takes_another_shape_when_its_parts_have_ended"),
    "lock_burst": (f"{HERE}: test_lock_burst",),
    "basic_sticky_functionality": ("no sticky locks: a shard's order is its master's, wherever it is asked",),
    "sticky_sync": ("the same; that copies hear changes in their order: model/tables/test_shard_copy_model.c",),
    "unbound": (f"{HERE}: test_unbound",),
    "nasty": (f"{LOCKS}: no_circle_closes_and_the_oldest_gets_on",
              f"{SHARD}: locks_are_shared_or_not_of_a_key_or_of_the_shard"),
    "dirty_reads_regardless_of_trans": (f"{HERE}: test_dirty_reads_regardless_of_trans",),
    "trans_update_invisibible_outside_trans": (f"{HERE}: test_dirty_reads_regardless_of_trans",
                                               f"{WIRE}: on_own_writes_are_seen_by_it_alone"),
    "trans_update_visible_inside_trans": (f"{WIRE}: on_own_writes_are_seen_by_it_alone", f"{MODEL}: of_a_set"),
    "write_delete_shadows_bag2": (f"{MODEL}: of_a_bag",),
    "shadow_search": (f"{MODEL}: of_an_ordered_set", f"{MODEL}: of_an_ordered_set_in_shards"),
    "first_next": (f"{MODEL}: of_an_ordered_set", f"{WIRE}: on_own_writes_are_seen_by_it_alone"),
    "rr_kill_copy": (f"{HERE}: test_rr_kill_copy", f"{LISTS}: test_all_that_transactions_read_has_one_order"),
    "delete_table": (f"{WIRE}: on_a_table_that_goes", f"{API}: a_table_dropped_underneath_is_no_table"),
    # atomicity
    "kill_self_in_middle_of_trans": (f"{WIRE}: on_a_lost_connection",),
    "mnesia_down_during_infinite_trans": (f"{HERE}: test_mnesia_down_during_infinite_trans",),
    "lock_waiter": (f"{API}: who_writes_a_locked_key_waits_for_the_end", f"{FAILS}: test_each_step",
                    f"{LOCKS}: who_waits_too_long_or_is_given_up_comes_back"),
    "restart_one_two": (f"{HERE}: test_restart_one_two",),
    "nested_trans": (f"{API}: a_childs_end_is_its_own_and_the_parents_is_both",),
    "mix_of_nested_activities": (f"{API}: contexts_inside_one_another_are_as_in_mnesia",),
    # kills in the middle of a commit
    "sym_trans_before_commit_kill": (f"{FAILS}: test_each_step",
                                     f"{MACHINE}: whatever_fails_at_whichever_step_all_or_nothing_is_done"),
    "sym_trans_after_commit_kill": (f"{FAILS}: test_each_step",
                                    f"{MANAGER}: whatever_happens_at_whichever_request_all_or_nothing_is_done"),
    "asymtrans_part": (f"{FAILS}: test_each_step", f"{MANAGER}: a_part_in_doubt_does_what_another_node_knows"),
    "asymtrans_coord": (f"{FAILS}: test_each_step",
                        f"{MACHINE}: what_is_found_on_disc_is_made_anew_though_all_have_given_it_up"),
    "dirty_kill": ("cluster/test_replication.py: test_a_killed_node_costs_nothing_and_comes_back",),
    "coord_dies": (f"{HERE}: test_coord_dies",),
    "interrupted_before_after": ("cluster/test_alter.py: test_a_kill_leaves_the_old_shape_or_the_new",
                                 "cluster/test_index.py: test_an_index_is_right_after_a_kill_while_it_was_built"),
    # durability, recovery
    "load_latest_data": ("cluster/test_replication.py: test_all_are_killed_and_go_on",
                         "cluster/test_replication.py: test_a_disc_that_was_put_back_from_an_old_copy_is_brought_up_to_date"),
    "load_when_last_replica_becomes_available": ("cluster/test_replication.py: test_all_are_killed_and_go_on",),
    "late_load_leads_to_hanging": ("cluster/test_replication.py: test_an_empty_node_takes_the_place_of_one",),
    "after_corrupt_files": ("fault/tables/test_disc_damage.c: ",),
    # consistency, indexes, majorities
    "consistency_after": (f"{ALONE}: bank_the_sum_is_the_same_in_every_read", f"{WIRE}: on_transfers_at_once",
                          "cluster/test_leave.py: test_who_leaves_loses_nothing"),
    "updates_during_checkpoint_iteration": ("cluster/test_backup.py: test_a_backup_under_load_is_one_moment",
                                            f"{SHARD}: a_moment_waits_until_nothing_is_prepared"),
    "index_update": (f"{WIRE}: on_own_writes_are_seen_by_it_alone", "model/tables/test_index_model.c: "),
    "majority_write": ("cluster/test_majority.py: test_a_minority_refuses_and_the_others_go_on",),
}


AGAIN = {"conflict", "busy", "aborted", "no_replica"}


def carried_out(client, *calls):
    """In one request, again where somebody else was quicker or a view is being made."""
    answer = []

    def done():
        try:
            answer[:] = [client.call("transaction", calls)]
        except Refused as refused:
            if refused.code not in AGAIN:
                raise
        return answer
    eventually(done, calls[:2])
    return answer[0]


class NamedCases(ClusterTest):
    def test_forty_cases_have_their_tests(self):
        self.assertEqual(len(CASES), 40)
        for case, places in CASES.items():
            for place in places:
                with self.subTest(case=case, place=place):
                    found = re.fullmatch(r"([\w/.]+\.(?:py|c)): (\w*)", place)
                    if found:
                        self.assertIn(found[2], (TESTS / found[1]).read_text())
                    else:
                        self.assertIn(": ", place)  # the reason


class ThreeNodes(ClusterTest):
    def setUp(self):
        super().setUp()
        self.is_killed = False
        self.cluster = Cluster(self, 3, discs=False)
        self.cluster.wait_for_view()
        self.clients = [self.cluster.client(number) for number in range(3)]

    @steady
    def test_lock_burst(self):
        """Read and written back by ten at once, at three nodes: none is lost (there 1,000; here 200, for the time)."""
        until_done(self.clients[0], "create_table", "t", {})
        until_done(self.clients[0], "write", "t", ["n", 0])
        refused = []

        def burst(number):
            client = self.cluster.client(number % 3)
            try:
                for _ in range(20):
                    self.incremented(client)
            except Refused as why:
                refused.append(why)

        bursts = [threading.Thread(target=burst, args=(number,)) for number in range(10)]
        for each in bursts:
            each.start()
        for each in bursts:
            each.join()
        for why in refused:
            raise why
        self.assertEqual(self.clients[1].call("read", "t", "n"), [["n", 200]])

    def incremented(self, client):
        while True:
            ((found,),) = carried_out(client, ["read", "t", "n"])
            try:
                client.call("transaction", [["check", "t", "n", found], ["write", "t", ["n", found[1] + 1]]])
                return found[1] + 1
            except Refused as refused:
                if refused.code not in AGAIN and not (refused.code in MAY_HAVE_HAPPENED and self.is_killed):
                    raise
                if refused.code in MAY_HAVE_HAPPENED:
                    self.cluster.wait_for_view([0, 1])
                    if carried_out(client, ["read", "t", "n"])[0][0][1] == found[1] + 1:
                        return found[1] + 1

    @steady
    def test_advanced_deadlock_conflict(self):
        """Two at two nodes want two records in two orders: one of them, or both after another, gets on."""
        first, second, _ = self.clients
        until_done(first, "create_table", "t", {"shards": 4})
        carried_out(first, ["write", "t", ["a", 0]], ["write", "t", ["b", 0]])
        txs = [(client, client.call("begin")) for client in (first, second)]
        for (client, tx), (mine, others) in zip(txs, ("ab", "ba")):
            client.call("read", "t", others, {"tx": tx})
            client.call("write", "t", [mine, 1], {"tx": tx})
        ends = []
        for client, tx in txs:
            try:
                client.call("commit", tx)
                ends.append("committed")
            except Refused as refused:
                ends.append(refused.code)
        self.assertLessEqual(ends.count("committed"), 1)
        self.assertLessEqual(set(ends), {"committed", "conflict", "no_replica"})
        carried_out(first, ["write", "t", ["a", 2]], ["write", "t", ["b", 2]])  # nothing is held

    @steady
    def test_unbound(self):
        """A pattern of which only a part is given is of the whole table: what comes into it is a conflict."""
        first, second, _ = self.clients
        until_done(first, "create_table", "t", {"type": "ordered_set", "attributes": ["k", "v"]})
        for pattern in (["_", "x"], [["a", "_"], "_"], ["_", "_"]):
            tx = first.call("begin")
            self.assertEqual(first.call("match", "t", pattern, {"tx": tx}), [])
            first.call("write", "t", ["result", 0], {"tx": tx})
            carried_out(second, ["write", "t", [["a", 1], "x"]])
            with self.assertRaises(Refused) as refused:
                first.call("commit", tx)
            self.assertIn(refused.exception.code, ("conflict", "no_replica"))
            carried_out(second, ["delete", "t", ["a", 1]])
        self.assertEqual(first.call("read", "t", "result"), [])

    @steady
    def test_dirty_reads_regardless_of_trans(self):
        first, second, _ = self.clients
        until_done(first, "create_table", "t", {"attributes": ["k", "v"], "index": ["v"]})
        carried_out(first, ["write", "t", [1, "old"]])
        tx = first.call("begin")
        first.call("write", "t", [1, "new"], {"tx": tx})
        first.call("write", "t", [2, "new"], {"tx": tx})
        for client in self.clients:
            for dirty in ({}, {"context": "dirty"}):
                self.assertEqual(client.call("read", "t", 1, dirty), [[1, "old"]])
            self.assertEqual(client.call("index_read", "t", "v", "new"), [])
            self.assertEqual(client.call("size", "t"), 1)
        first.call("abort", tx)
        self.assertEqual(second.call("match", "t", ["_", "_"]), [[1, "old"]])

    @steady
    def test_rr_kill_copy(self):
        """A copy that is read dies, and no update is lost."""
        until_done(self.clients[0], "create_table", "t", {})
        until_done(self.clients[0], "write", "t", ["n", 0])
        for _ in range(10):
            last = self.incremented(self.clients[0])
        self.cluster.kill(2)
        self.is_killed = True
        for _ in range(10):
            self.assertEqual(self.incremented(self.clients[0]), last := last + 1)
        self.assertEqual(carried_out(self.clients[1], ["read", "t", "n"]), [[["n", 20]]])

    @steady
    def test_mnesia_down_during_infinite_trans(self):
        """What a dead node's transaction had touched is nobody's."""
        until_done(self.clients[0], "create_table", "t", {"shards": 4})
        carried_out(self.clients[0], *(["write", "t", [k, 0]] for k in range(8)))
        last = self.clients[2]
        tx = last.call("begin", {"timeout_ms": 600000})
        for k in range(8):
            last.call("update_counter", "t", k, "value", 1, {"tx": tx})
        self.cluster.kill(2)
        self.cluster.wait_for_view([0, 1])
        self.assertEqual(carried_out(self.clients[0], *(["update_counter", "t", k, "value", 5] for k in range(8))), [5] * 8)

    @steady
    def test_restart_one_two(self):
        """The only copy is lost in the middle: the commit says so, and nothing of it is elsewhere."""
        first, _, last = self.clients
        until_done(first, "create_table", "all", {})
        until_done(first, "create_table", "one", {"copies": 1, "shards": 64})
        until_done(first, "write_many", "one", [[k, 0] for k in range(300)])
        tx = first.call("begin", {"timeout_ms": 600000})
        for k in range(300):
            first.call("write", "one", [k, 1], {"tx": tx})
        first.call("write", "all", [1, 1], {"tx": tx})
        self.cluster.kill(2)
        self.cluster.wait_for_view([0, 1])
        with self.assertRaises(Refused) as refused:
            first.call("commit", tx)
        self.assertIn(refused.exception.code, ("conflict", "no_replica"))
        eventually(lambda: carried_out(first, ["read", "all", 1]) == [[]], "nothing of it")
        last.close()

    @steady
    def test_coord_dies(self):
        """Its client's connection ends within it: the value is what it was, and free."""
        first, second, _ = self.clients
        until_done(first, "create_table", "t", {})
        carried_out(first, ["write", "t", ["n", 100]])
        tx = first.call("begin")
        self.assertEqual(first.call("update_counter", "t", "n", "value", 1, {"tx": tx}), 101)
        first.close()
        self.assertEqual(carried_out(second, ["read", "t", "n"]), [[["n", 100]]])
        self.assertEqual(carried_out(second, ["update_counter", "t", "n", "value", 1]), [101])


if __name__ == "__main__":
    main()
