#!/usr/bin/env python3
"""What Mnesia itself has backed up comes into tables; what is no such file, does not."""
import json
import random
import shutil
import struct
import subprocess
import sys

from harness import QUICK, ClusterTest, main, shell

SCRIPT = r"""
main([Dir, File]) ->
    application:load(mnesia),
    application:set_env(mnesia, dir, Dir),
    ok = mnesia:create_schema([node()]),
    ok = mnesia:start(),
    {atomic, ok} = mnesia:create_table(person, [{attributes, [id, name, age]}, {disc_copies, [node()]}, {index, [age]}]),
    {atomic, ok} = mnesia:create_table(event, [{type, bag}, {ram_copies, [node()]}]),
    {atomic, ok} = mnesia:create_table(score, [{type, ordered_set}, {attributes, [k, v]}, {record_name, point}, {disc_copies, [node()]}]),
    {atomic, ok} = mnesia:create_table(big, [{disc_only_copies, [node()]}]),
    {atomic, ok} = mnesia:create_table(wide, [{disc_copies, [node()]}, {index, [f9]},
        {attributes, [f1, f2, f3, f4, f5, f6, f7, f8, f9]}]),
    [ok = mnesia:dirty_write({person, I, "name " ++ integer_to_list(I), I rem 10}) || I <- lists:seq(1, 3000)],
    [ok = mnesia:dirty_write({event, I rem 3, {at, I, <<"b", 0, 255>>}}) || I <- lists:seq(1, 30)],
    [ok = mnesia:dirty_write(score, {point, I * 1.5, #{a => [1, 2], <<"b">> => undefined, 3 => -1}}) || I <- lists:seq(1, 10)],
    Values = [1 bsl 63, -(1 bsl 63), (1 bsl 64) - 1, -1, 255, 256, -2147483649, lists:duplicate(70000, $a),
              "", [], "z\x{e4}\x{3a9}\n", [1, 2, 3], [[$a], []], <<"\x{3a9}"/utf8>>, <<255>>, true, false, undefined, nil,
              'an atom \x{e4}', 1.0e300, -0.5, {}, {a, {b, [c]}}, list_to_tuple(lists:seq(1, 300)), lists:seq(1, 300),
              binary:copy(<<"x">>, 100000), #{}, #{1 => #{2 => [3]}}, [$a, 1.5], list_to_atom(lists:duplicate(255, 16#3a9))],
    [ok = mnesia:dirty_write({big, N, V}) || {N, V} <- lists:zip(lists:seq(1, length(Values)), Values)],
    ok = mnesia:dirty_write({wide, 1, 2, 3, 4, 5, 6, 7, 8, nine}),
    {ok, Name, _} = mnesia:activate_checkpoint([{max, mnesia:system_info(tables)}, {ram_overrides_dump, true}]),
    ok = mnesia:backup_checkpoint(Name, File),
    {atomic, ok} = mnesia:create_table(odd, [{disc_copies, [node()]}]),
    [ok = mnesia:dirty_write({odd, N, V}) || {N, V} <- [{1, self()}, {2, fine}, {3, 1 bsl 64}, {4, [a | b]}, {5, make_ref()},
                                                        {6, <<1:3>>}, {7, fun lists:map/2}]],
    ok = mnesia:backup(File ++ ".odd").
"""

EXPECTED = [1 << 63, -(1 << 63), (1 << 64) - 1, -1, 255, 256, -2147483649, "a" * 70000,
            [], [], "zäΩ\n", [1, 2, 3], ["a", []], "Ω", b"\xff", True, False, None, "nil",
            "an atom ä", 1.0e300, -0.5, [], ["a", ["b", ["c"]]], list(range(1, 301)), list(range(1, 301)),
            "x" * 100000, {}, {1: {2: [3]}}, [97, 1.5], "Ω" * 255]


class Mnesia(ClusterTest):
    def setUp(self):
        super().setUp()
        self.file = self.dir / "mnesia.bup"
        script = self.dir / "make.escript"
        script.write_text("#!/usr/bin/env escript\n" + SCRIPT)
        made = subprocess.run(["escript", script, self.dir / "mnesia", self.file], capture_output=True, text=True)
        self.assertEqual(made.returncode, 0, made.stdout + made.stderr)
        self.served = self.node(data=self.dir / "data")
        self.client = self.served.client()

    def run_ok(self, *words):
        done = shell(*words, node=self.served)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def run_fails(self, text, *words):
        done = shell(*words, node=self.served)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn(text, done.stderr)

    def test_tables_and_records_come_as_they_were(self):
        said = json.loads(self.run_ok("--output", "json", "import-mnesia", self.file))
        self.assertEqual(said, {"tables": 5, "records": 3000 + 30 + 10 + len(EXPECTED) + 1, "skipped": 0})
        self.assertEqual(self.client.call("tables"), ["big", "event", "person", "score", "wide"])
        info = self.client.call("table_info", "person")
        self.assertEqual([info[key] for key in ("type", "storage", "attributes", "index")],
                         ["set", "disc", ["id", "name", "age"], ["age"]])
        self.assertEqual(self.client.call("size", "person"), 3000)
        self.assertEqual(self.client.call("read", "person", 77), [[77, "name 77", 7]])
        self.assertEqual(len(self.client.call("index_read", "person", "age", 7)), 300)
        info = self.client.call("table_info", "event")
        self.assertEqual([info[key] for key in ("type", "storage", "attributes")], ["bag", "ram", ["key", "val"]])
        self.assertEqual(sorted(self.client.call("read", "event", 1)), [[1, ["at", i, b"b\0\xff"]] for i in range(1, 31, 3)])
        info = self.client.call("table_info", "score")
        self.assertEqual([info[key] for key in ("type", "attributes")], ["ordered_set", ["k", "v"]])
        self.assertEqual(self.client.call("read", "score", 1.5), [[1.5, {"a": [1, 2], "b": None, 3: -1}]])
        self.assertEqual(self.client.call("table_info", "big")["storage"], "disc_only")
        self.assertEqual([self.client.call("read", "big", n + 1)[0][1] for n in range(len(EXPECTED))], EXPECTED)
        self.assertEqual(self.client.call("table_info", "wide")["index"], ["f9"])
        self.assertEqual(self.client.call("index_read", "wide", "f9", "nine"), [[1, 2, 3, 4, 5, 6, 7, 8, "nine"]])

    def test_chosen_tables_storage_lists_and_modes(self):
        self.client.call("create_table", "person", {"attributes": ["mine"]})
        self.run_ok("import-mnesia", self.file, "person", "wide", "--mode", "skip", "--storage", "ram")
        self.assertEqual(self.client.call("table_info", "person")["attributes"], ["mine"])
        self.assertEqual(self.client.call("table_info", "wide")["storage"], "ram")
        self.run_ok("import-mnesia", self.file, "person", "--lists", "--mode", "replace")
        self.assertEqual(self.client.call("read", "person", 1), [[1, list(b"name 1"), 1]])
        self.run_fails("no table nothing", "import-mnesia", self.file, "nothing")

    def test_terms_that_mean_nothing_here_are_told_of_or_passed_over(self):
        odd = str(self.file) + ".odd"
        self.run_fails("nothing was changed", "import-mnesia", odd)
        self.assertEqual(self.client.call("tables"), [])
        done = shell("import-mnesia", odd, "--skip-bad", node=self.served)
        self.assertEqual(done.returncode, 0, done.stderr)
        for word in ("pid", "64 bits", "improper", "reference", "bit string", "fun"):
            self.assertIn(word, done.stderr)
        self.assertEqual(self.client.call("match", "odd", ["_", "_"]), [[2, "fine"]])

    def test_damaged_files_are_refused_before_anything_is_touched(self):
        whole = self.file.read_bytes()
        chance = random.Random(11)
        bad = [whole[:cut] for cut in [0, 1, 7, 9, 20, len(whole) - 1] + [chance.randrange(8, len(whole)) for _ in range(3 if QUICK else 12)]]
        bad += [b"\6" + whole[1:], whole[:4] + bytes([6, 7, 8, 9]) + whole[8:], b"key,value\n1,2\n", whole + b"x",
                whole[:8] + struct.pack(">I", 0xffffffff) + whole[12:], whole[:8] + struct.pack(">I", 100 << 20) + whole[12:],
                whole[:16] + b"\x83h\xff" + whole[19:]]
        for content in bad:
            (self.dir / "bad").write_bytes(content)
            done = shell("import-mnesia", self.dir / "bad", node=self.served)
            if done.returncode == 0:  # cut between two items: a shorter log is a log
                for name in self.client.call("tables"):
                    self.client.call("drop_table", name)
                continue
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn("bad:", done.stderr)
            self.assertEqual(self.client.call("tables"), [])
        for _ in range(10 if QUICK else 60):  # whatever it makes of flipped bits, it lives
            at = chance.randrange(len(whole))
            (self.dir / "bad").write_bytes(whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1:])
            self.assertIn(shell("import-mnesia", self.dir / "bad", node=self.served).returncode, (0, 1))


if __name__ == "__main__":
    if shutil.which("escript") is None or subprocess.run(
            ["erl", "-noshell", "-eval", "halt(case application:load(mnesia) of ok -> 0; _ -> 1 end)."]).returncode != 0:
        print("skipped: Erlang with Mnesia is not installed (erlang-mnesia)")
        sys.exit(77)
    main()
