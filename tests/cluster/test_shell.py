#!/usr/bin/env python3
"""The shell does what its manual says: commands, forms of output, exit codes, files."""
import csv
import io
import json
import os
import pty
import random
import select
import socket
import subprocess
import threading
import time

import msgpack

from harness import ANSWER_SECONDS, BIN, ClusterTest, eventually, main, shell


class Shell(ClusterTest):
    def setUp(self):
        super().setUp()
        self.served = self.node(data=self.dir / "data")

    def run_ok(self, *words, **options):
        done = shell(*words, node=self.served, **options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def run_fails(self, code, text, *words, **options):
        done = shell(*words, node=self.served, **options)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertIn(text, done.stderr)
        return done

    def json(self, *words, **options):
        return json.loads(self.run_ok("--output", "json", *words, **options))

    # ---- commands

    def test_a_table_lives_from_create_to_drop(self):
        self.run_ok("create", "t", "--type", "ordered_set", "--attributes", "id,name", "--index", "name")
        self.assertEqual(self.run_ok("tables"), "t\n")
        info = self.json("info", "t")
        self.assertEqual((info["type"], info["attributes"], info["index"]), ("ordered_set", ["id", "name"], ["name"]))
        self.run_ok("write", "t", "1", "Ada")
        self.run_ok("write", "t", '["two", {"b": [null, 2.0]}]')
        self.run_ok("write", "t", '{"name": "Ada", "id": -5}')
        self.assertEqual(self.json("read", "t", "1"), [[1, "Ada"]])
        self.assertEqual(self.json("read", "t", "two"), [["two", {"b": [None, 2.0]}]])
        self.assertEqual(self.json("read", "t", "-5", "1", "9"), [[[-5, "Ada"]], [[1, "Ada"]], []])
        self.assertEqual(len(self.json("read", "t", "--index", "name", "Ada")), 2)
        self.run_ok("delete", "t", "1", "two")
        self.assertEqual(self.json("info", "t")["size"], 1)
        self.run_ok("drop", "t")
        self.assertEqual(self.run_ok("tables"), "")

    def test_keys_are_numbers_where_they_read_as_one_and_json_where_they_begin_so(self):
        self.run_ok("create", "t")
        for key, expected in (("7", 7), ("7.5", 7.5), ('"7"', "7"), ("seven", "seven"), ("[1, 2]", [1, 2])):
            self.run_ok("write", "t", key, "x")
            self.assertEqual(self.json("read", "t", key), [[expected, "x"]])

    def test_create_takes_json_too(self):
        self.run_ok("create", "t", '{"type": "bag", "attributes": ["a", "b", "c"]}')
        self.assertEqual(self.json("info", "t")["type"], "bag")

    def test_status_processes_top_and_call(self):
        self.assertIn("uptime_ms", self.run_ok("status"))
        self.assertNotEqual(self.run_ok("processes"), "")
        self.assertIn("requests", self.run_ok("top"))
        self.assertEqual(self.run_ok("call", "ping"), '"pong"\n')

    def test_a_transaction_is_all_that_stands_between_begin_and_commit(self):
        self.run_ok("create", "t", "--attributes", "key,value", "--index", "value")
        script = '''begin --timeout 60
query "insert into t values (1, 10), (2, 20)"
write t 3 30
write t 4 40 --ttl 1000
delete t 1
query "update t set value = ? where key = 2" 21
read t 2 3
read t --index value 30
select t [[["$1",40],[],["$1"]]]
query "select count(*) from t"
call size t
'''
        self.assertEqual(self.run_ok(stdin=script + "commit\n"),
                         "2\n1\n2\t21\n3\t30\n3\t30\n4\n3\n0\n")
        self.assertEqual(self.json("call", "size", "t"), 3)
        self.run_ok(stdin="begin\nquery 'delete from t'\nabort\n")
        done = self.run_fails(1, "no commit came", stdin="begin\nquery 'delete from t'\n")
        self.assertEqual(done.stdout, "3\n")
        self.run_fails(1, "exists", stdin="begin\nquery 'delete from t where key = 2'\nquery 'insert into t values (3, 0)'\ncommit\n")
        self.assertEqual(self.json("call", "size", "t"), 3)
        for line in ('begin; write t 5 "a; b"; read t 5; query "delete from t where key = 2"; commit', "begin;write t 6 x;abort"):
            on_one_line = {"begin; w": "5\ta; b\n1\n", "begin;wr": ""}[line[:8]]
            self.assertEqual(self.run_ok(line), on_one_line)
            self.assertEqual(self.run_ok(stdin=f"write t 2 0\n{line}\n# it isn't a command; nor is this\n"), on_one_line)
        self.assertEqual(self.json("call", "size", "t"), 4)
        self.run_fails(1, "no commit came", "begin; write t 7 x;")
        self.run_fails(1, "bad_record", "begin; write t 7 x; write t 8 x y z; commit")
        self.run_fails(2, "no command", "begin; nonsense; commit")
        self.assertEqual(self.json("call", "size", "t"), 4)
        for text, script in (("script", None), ("commit or abort", "begin\nbegin\n"), ("no transaction", "commit\n"),
                             ("no transaction", "abort\n"), ("--timeout", "begin --timeout x\n")):
            self.run_fails(2, text, *([] if script else ["begin"]), **({"stdin": script} if script else {}))

    # ---- output

    def test_plain_lines_escape_what_would_break_a_line(self):
        self.run_ok("create", "t")
        self.run_ok("write", "t", "k", "a\tb\nc\\d")
        self.assertEqual(self.run_ok("read", "t", "k"), "k\ta\\tb\\nc\\\\d\n")

    def test_table_csv_and_json_show_the_same_records(self):
        self.run_ok("create", "t", "--attributes", "id,name")
        self.run_ok("write", "t", "1", 'say "hi", Ada')
        self.assertEqual(self.run_ok("--output", "table", "read", "t", "1"), 'id  name\n1   say "hi", Ada\n')
        rows = list(csv.reader(io.StringIO(self.run_ok("--output", "csv", "read", "t", "1"), newline="")))
        self.assertEqual(rows, [["id", "name"], ["1", 'say "hi", Ada']])
        self.assertEqual(self.json("read", "t", "1"), [[1, 'say "hi", Ada']])

    def test_a_binary_is_a_cell_in_hexadecimal(self):
        self.run_ok("create", "t")
        self.served.client().call("write", "t", ["b", bytes([0, 255])])
        self.assertEqual(self.run_ok("read", "t", "b"), "b\t00ff\n")
        self.assertEqual(self.run_ok("--output", "csv", "read", "t", "b").split(), ["key,value", "b,00ff"])
        self.assertEqual(self.json("read", "t", "b"), [["b", "00ff"]])
        self.run_ok("export", "t", self.dir / "out.csv")
        self.assertEqual((self.dir / "out.csv").read_text().split(), ["key,value", "b,00ff"])

    def test_a_terminal_cannot_be_commanded_by_data(self):
        self.run_ok("create", "t")
        self.run_ok("write", "t", "k", "\x1b[2J")
        self.assertNotIn("\x1b", self.run_ok("--output", "table", "read", "t", "k"))

    # ---- exit codes

    def test_refused_is_1(self):
        self.run_fails(1, "no_table", "read", "nope", "1")
        self.run_ok("create", "t")
        self.run_fails(1, "exists", "create", "t")
        self.run_fails(1, "bad_record", "write", "t", "[1]")
        self.run_fails(1, "bad_request", "read", "t", "--index", "value", "1")

    def test_usage_is_2_and_asks_nothing(self):
        for words in (["frobnicate"], ["read"], ["read", "t"], ["create"], ["import", "t"], ["drop", "a", "b"],
                      ["tables", "--what"], ["--output", "xml", "tables"], ["--nonsense"], ["write", "t", "[1,"],
                      ["import", "t", "f", "--format", "xml"], ["--timeout", "-1", "tables"],
                      ["create", "t", "--shards", "abc"], ["create", "t", "--ttl", "1x"],
                      ["write", "t", "1", "2", "--ttl", ""]):
            with self.subTest(words):
                self.assertEqual(shell(*words).returncode, 2)

    def test_an_option_that_is_no_number_is_named(self):
        self.run_fails(2, "--shards: 'abc' is no number", "create", "t", "--shards", "abc")
        self.run_fails(1, "at most a century", "create", "t", "--ttl", "1e300")

    def test_no_node_is_3(self):
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            address = "127.0.0.1:%d" % closed.getsockname()[1]
        for address in (address, "unix:/no/such/socket", "127.0.0.1", "no.such.host.invalid:1"):
            done = shell("--connect", address, "tables")
            self.assertEqual(done.returncode, 3, done.stderr)
            self.assertEqual(len(done.stderr.strip().splitlines()), 1)

    def test_a_port_is_never_cut_to_another(self):
        port = int(self.served.address.rsplit(":")[-1])
        done = shell("--connect", f"127.0.0.1:{port + 65536}", "tables")
        self.assertEqual((done.returncode, done.stdout), (3, ""))
        self.assertIn("a port is a number from 0 to 65535", done.stderr)

    def fake_node(self, behave):
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def serve():
            try:
                while True:
                    peer, _ = listener.accept()
                    behave(peer)
            except OSError:
                pass

        threading.Thread(target=serve, daemon=True).start()
        return "127.0.0.1:%d" % listener.getsockname()[1]

    def test_no_answer_in_time_is_4(self):
        kept = []
        done = shell("--connect", self.fake_node(kept.append), "--timeout", "0.3", "tables")
        self.assertEqual(done.returncode, 4, done.stderr)

    def test_a_connection_that_is_lost_is_3(self):
        for answer in (b"", b"\x94\x01\x01\xc0", b"\x94\x01"):
            def behave(peer, answer=answer):
                peer.recv(1000)
                peer.sendall(answer)
                peer.close()

            self.assertEqual(shell("--connect", self.fake_node(behave), "tables").returncode, 3)

    def test_a_stranger_on_the_port_is_1_and_no_crash(self):
        for answer in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xc1", b"\x94\x01\x07\xc0\xc0", b"\xdd\xff\xff\xff\xff",
                       b"\x91" * 100, b"\x94\x01\x01\xc0\xc6\xff\xff\xff\xff"):
            def behave(peer, answer=answer):
                peer.recv(1000)
                peer.sendall(answer)
                peer.shutdown(socket.SHUT_WR)
                peer.recv(1000)

            done = shell("--connect", self.fake_node(behave), "--timeout", "30", "tables")
            self.assertIn(done.returncode, (1, 3), (answer, done.stderr))
            self.assertEqual(len(done.stderr.strip().splitlines()), 1)

    # ---- scripts and people

    def test_a_script_stops_at_its_first_failure(self):
        script = "# comment\ncreate t\nwrite t 1 [1, \"a b\"]\nread t 1\nread nope 1\nwrite t 2 x\n"
        done = self.run_fails(1, "no_table", stdin=script)
        self.assertEqual(done.stdout, '1\t[1, "a b"]\n')
        self.assertEqual(self.json("read", "t", "2"), [])

    def test_on_a_terminal_it_edits_completes_and_remembers(self):
        self.run_ok("create", "customers", "--attributes", "id,name")
        self.run_ok("write", "customers", "1", "Ada")
        leader, follower = pty.openpty()
        environment = dict(os.environ, TERM="vt100", XDG_STATE_HOME=str(self.dir / "state"))
        process = subprocess.Popen([BIN / "engram", "--connect", self.served.address], stdin=follower,
                                   stdout=follower, stderr=follower, env=environment, start_new_session=True)
        os.close(follower)
        seen = b""

        def until(text, typed=b""):
            nonlocal seen
            os.write(leader, typed)
            end = time.monotonic() + ANSWER_SECONDS
            while text not in seen:
                self.assertLess(time.monotonic(), end, seen)
                if select.select([leader], [], [], 1)[0]:
                    seen += os.read(leader, 4096)
            before, seen = seen.split(text, 1)
            return before

        until(b"engram> ")
        until(b"tomers", b"rea\tcus\t")  # only what was completed is drawn
        until(b"Ada", b"1\n")
        until(b"engram> ")
        until(b"no_table", b"drop nope\n")  # a failure does not end it
        until(b"engram> ")
        until(b"engram*> ", b"begin --timeout 0.001\n")
        eventually(lambda: b"abort to go on" in until(b"engram*> ", b"write customers 9 x\n"),
                   "what comes behind a transaction that is over is refused")
        until(b"engram> ", b"abort\n")
        os.write(leader, b"exit\n")
        self.assertEqual(process.wait(ANSWER_SECONDS), 0)
        os.close(leader)
        self.assertEqual(self.json("read", "customers", "9"), [])
        history = self.dir / "state/engram/history"
        self.assertIn("customers", history.read_text())
        self.assertEqual(history.stat().st_mode & 0o077, 0)

    # ---- import and export

    def test_csv_goes_in_and_out_unchanged(self):
        rows = [["id", "text", "note"], ["1", 'quotes " and, commas', "line\nbreak"], ["2", "", "ünïcode"], ["1a", "x", "y"]]
        out = io.StringIO(newline="")
        csv.writer(out).writerows(rows)
        path = self.file("in.csv", out.getvalue())
        self.assertEqual(self.run_ok("import", "t", path, "--create"), "3 rows imported\n")
        self.assertEqual(self.json("read", "t", '"1"'), [rows[1]])
        self.run_ok("export", "t", self.dir / "out.csv")
        with open(self.dir / "out.csv", newline="") as exported:
            text = exported.read()
        self.assertTrue(text.startswith("id,text,note\r\n"))
        self.assertCountEqual(csv.reader(io.StringIO(text, newline="")), rows)

    def test_key_puts_its_column_first_and_the_later_of_two_rows_wins(self):
        path = self.file("in.csv", "name,id,age\nAda,7,36\nBob,8,1\nEve,7,2\n")
        self.run_ok("import", "t", path, "--create", "--key", "id", "--types", "id=int,age=int", "--index", "name")
        self.assertEqual(self.json("info", "t")["attributes"], ["id", "name", "age"])
        self.assertEqual(self.json("info", "t")["size"], 2)
        self.assertEqual(self.json("read", "t", "7"), [[7, "Eve", 2]])
        self.assertEqual(self.json("read", "t", "--index", "name", "Ada"), [])

    def test_into_a_table_that_exists_columns_go_by_name(self):
        self.run_ok("create", "t", "--attributes", "a,b,c")
        self.run_ok("import", "t", self.file("in.csv", "c,a\n1,x\n"))
        self.assertEqual(self.json("read", "t", "x"), [["x", None, "1"]])
        self.run_fails(1, "no attribute", "import", "t", self.file("in.csv", "a,z\n1,2\n"))
        self.run_fails(1, "key", "import", "t", self.file("in.csv", "b\n1\n"))
        self.run_fails(1, "not the key", "import", "t", self.file("in.csv", "a,b\n1,2\n"), "--key", "b")

    def test_without_create_a_missing_table_is_refused(self):
        self.run_fails(1, "no_table", "import", "t", self.file("in.csv", "a\n1\n"))
        self.assertEqual(self.run_ok("tables"), "")

    def test_a_bad_row_is_named_and_nothing_is_written(self):
        path = self.file("in.csv", "a,b\n" + "1,2\n" * 2000 + "1,2,3\n" + "4,5\n")
        self.run_fails(1, "row 2001 (line 2002)", "import", "t", path, "--create")
        self.assertEqual(self.run_ok("tables"), "")
        self.run_ok("create", "t", "--attributes", "a,b")
        self.run_fails(1, "row 2001", "import", "t", path)
        self.assertEqual(self.json("info", "t")["size"], 0)

    def test_bad_rows_are_passed_over_where_told_to(self):
        path = self.file("in.csv", 'a,b\n1,2\n3\n4,5\n"6" x,7\n8,9\n')
        done = shell("import", "t", path, "--create", "--skip-bad", node=self.served)
        self.assertEqual((done.returncode, done.stdout), (0, "3 rows imported, 2 skipped\n"), done.stderr)
        self.assertIn("row 2 (line 3)", done.stderr)
        self.assertIn("row 4 (line 5)", done.stderr)
        self.assertEqual(self.json("info", "t")["size"], 3)

    def test_json_lines_keep_their_types(self):
        records = [{"k": 1, "v": 2.0}, {"k": "s", "v": [None, {"x": -7}]}, {"k": [1, 2], "v": True}]
        path = self.file("in.jsonl", "".join(json.dumps(record) + "\n" for record in records))
        self.run_ok("import", "t", path, "--create")
        self.run_ok("export", "t", self.dir / "out.jsonl")
        lines = (self.dir / "out.jsonl").read_text().splitlines()
        self.assertCountEqual([json.loads(line) for line in lines], records)
        self.assertIn("2.0", "".join(lines))
        self.assertEqual(self.json("import", "t", path), {"imported": 3, "skipped": 0})
        bad = self.file("bad.jsonl", '{"k": 1, "v": 2}\n{"v": 3}\n')
        self.run_fails(1, "row 2 (line 2)", "import", "t", bad)

    def test_a_busy_node_is_asked_again_and_the_later_row_still_wins(self):
        """A node that refuses every third batch, and answers in any order."""
        stored, refusals, rng = {}, [], random.Random(7)

        def serve(peer):
            unpacker, waiting, batches = msgpack.Unpacker(), [], 0
            while data := peer.recv(1 << 20):
                unpacker.feed(data)
                for _, msgid, method, params in unpacker:
                    error, result = None, None
                    if method == "table_info":
                        result = {"attributes": ["id", "v"]}
                    else:
                        batches += 1
                        if batches % 3 == 0:
                            error = "busy: a queue is at its bound"
                            refusals.append(msgid)
                        else:
                            stored.update(params[1])
                            result = len(params[1])
                    waiting.append(msgpack.packb([1, msgid, error, result]))
                rng.shuffle(waiting)
                peer.sendall(b"".join(waiting))
                waiting.clear()
            peer.close()

        rows = [(str(rng.randrange(3000)), str(n)) for n in range(20000)]
        path = self.file("in.csv", "id,v\n" + "".join(f"{key},{value}\n" for key, value in rows))
        done = shell("--connect", self.fake_node(serve), "import", "t", path)
        self.assertEqual((done.returncode, done.stdout), (0, "20000 rows imported\n"), done.stderr)
        self.assertEqual(stored, dict(rows))
        self.assertGreater(len(refusals), 5)

    def test_standard_input_and_output_are_files_too(self):
        self.run_ok("import", "t", "-", "--create", stdin="k,v\n1,2\n")
        self.assertEqual(self.run_ok("export", "t", "-"), "k,v\r\n1,2\r\n".replace("\r\n", "\n"))

    def test_files_that_cannot_be_read_or_written(self):
        self.run_fails(1, "/no/such", "import", "t", "/no/such/file", "--create")
        self.run_fails(1, "cannot read", "import", "t", self.dir, "--create")
        self.run_fails(1, "no header", "import", "t", self.file("empty.csv", ""), "--create")
        self.run_ok("create", "t")
        self.run_fails(1, "cannot write", "export", "t", self.dir / "no/such/file")
        self.run_fails(1, "no_table", "export", "nope", self.dir / "out.csv")
        self.assertFalse((self.dir / "out.csv").exists())

    def test_a_table_larger_than_one_answer_is_walked(self):
        rows = 25000
        path = self.file("in.csv", "id,v\n" + "".join(f"{n},{n % 7}\n" for n in range(rows)))
        self.run_ok("import", "t", path, "--create", "--types", "int,int", "--type", "ordered_set")
        self.run_ok("export", "t", self.dir / "out.csv")
        self.assertEqual((self.dir / "out.csv").read_text().split("\n"), path.read_text().split("\n"))

    def test_the_whole_registry_comes_back_as_it_was(self):
        registry = "/usr/share/ieee-data/oui.csv"
        if not os.path.exists(registry):
            self.skipTest("ieee-data is not installed")
        self.run_ok("import", "oui", registry, "--create", "--key", "Assignment", "--storage", "disc")
        with open(registry, newline="") as original:
            expected = {row["Assignment"]: row for row in csv.DictReader(original)}
        self.run_ok("export", "oui", self.dir / "out.csv")
        with open(self.dir / "out.csv", newline="") as exported:
            self.assertEqual({row["Assignment"]: row for row in csv.DictReader(exported)}, expected)


if __name__ == "__main__":
    main()
