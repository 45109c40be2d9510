#!/usr/bin/env python3
"""engramd keeps the manners of a daemon: ready line, exit codes, signals, settings."""
import os
import re
import signal
import socket
import subprocess
import time

from harness import BIN, ClusterTest, Client, eventually, main

DRAIN_S = 4  # for clients to read the rest; it takes a second more (query/server.h)


def engramd(*words, env=None):
    if "--peer-listen" not in words:
        words = ("--peer-listen", "127.0.0.1:0", *words)
    return subprocess.run([str(word) for word in (BIN / "engramd", *words)], capture_output=True, text=True,
                          timeout=60, env=dict(os.environ, **(env or {})))


class Engramd(ClusterTest):
    def assert_usage(self, done, text):
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn(text, done.stderr)
        self.assertEqual(done.stdout, "")

    def test_ready_line_names_what_it_bound(self):
        node = self.node("--name", "alpha", "--listen", f"unix:{self.dir}/s", "--http", "off")
        self.assertEqual(node.ready["name"], "alpha")
        self.assertEqual(int(node.ready["pid"]), node.process.pid)
        self.assertEqual(node.ready["http"], "off")
        tcp, unix = node.ready["listen"].split(",")
        self.assertRegex(tcp, r"^127\.0\.0\.1:[1-9]\d*$")
        self.assertEqual(unix, f"unix:{self.dir}/s")
        for address in (tcp, unix):
            self.assertEqual(Client(address).call("ping"), "pong")

    def test_bad_options_are_one_line_and_exit_code_2(self):
        for flags, text in (
            (["--frobnicate"], "frobnicate"),
            (["--listen", "nonsense"], "listen"),
            (["--listen", "0.0.0.0:0"], "loopback"),
            (["--listen", "[::]:0"], "loopback"),
            (["--listen", "::1:0"], "[ADDRESS]"),
            (["--listen", "127.0.0.1:65536"], "65535"),
            (["--listen", "unix:"], "path"),
            (["--listen", "unix:" + "x" * 200], "107"),
            (["--peer-listen", "0.0.0.0:0"], "cookie-file"),
            (["--http", "0.0.0.0:80"], "loopback"),
            (["--data", "/dev/null"], "not a directory"),
            (["--data", "/dev/null/sub"], "Not a directory"),
            (["--name", "a b"], "name"),
            (["--schedulers", "0"], "schedulers"),
            (["--log-level", "loud"], "log-level"),
            (["--config"], "argument"),
            (["--memory-limit", "1MiB"], "memory-limit"),
            (["--config", "/no/such/file"], "/no/such/file"),
            (["--cookie-file", "/no/such/file"], "/no/such/file"),
            (["--join", "nonsense"], "join"),
            (["--auth-file", "x"], "auth-file"),
            (["--tls-cert", "x"], "tls-cert"),
            (["extra"], "extra"),
        ):
            with self.subTest(flags):
                self.assert_usage(engramd("--listen", "127.0.0.1:0", *flags), text)

    def test_a_bad_option_leaves_no_trace(self):
        data = self.dir / "data"
        for flags in (["--frobnicate"], ["--listen", "0.0.0.0:0"], ["--check-config"]):
            engramd("--data", data, "--listen", f"unix:{self.dir}/s", *flags)
            self.assertEqual(list(self.dir.iterdir()), [])

    def test_a_cookie_that_others_can_read_is_refused(self):
        cookie = self.file("cookie", "secret\n")
        cookie.chmod(0o644)
        self.assert_usage(engramd("--cookie-file", cookie), "owner only")

    def test_a_file_of_options_and_the_environment_are_weaker_than_a_flag(self):
        conf = self.file("e.conf", "# a node\nname = from-file\nmax-frame = 1MiB\nlog-level = error\n")
        done = engramd("--config", conf, "--log-level", "debug", "--check-config",
                       env={"ENGRAM_NAME": "from-environment", "ENGRAM_LOG_LEVEL": "warning"})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("name = from-environment  # environment", done.stdout)
        self.assertIn("max-frame = 1048576  # file", done.stdout)
        self.assertIn("log-level = debug  # flag", done.stdout)

    def test_a_mistake_in_the_file_is_named_with_its_line(self):
        conf = self.file("e.conf", "name = x\n\nmax-frame = huge\n")
        self.assert_usage(engramd("--config", conf, "--check-config"), f"{conf}:3: max-frame")

    def test_a_port_for_nodes_in_use_is_no_error_where_nobody_asked_for_it(self):
        nodes = [self.node("--peer-listen", "127.0.0.1:0")]
        taken = nodes[0].ready["peer"]
        done = engramd("--listen", "127.0.0.1:0", "--peer-listen", taken)
        self.assertEqual((done.returncode, len(done.stderr.splitlines())), (1, 1), done)
        for _ in range(2): # of the default port one gets it at most
            nodes.append(self.node("--name", "n", usual_peers=True))
        self.assertIn("off", [node.ready["peer"] for node in nodes])

    def test_a_port_in_use_is_exit_code_1_and_one_line(self):
        node = self.node()
        done = engramd("--listen", node.address)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)

    def test_a_data_directory_in_use_is_refused_with_one_line(self):
        node = self.node(data=self.dir / "data")
        done = engramd("--listen", "127.0.0.1:0", "--data", self.dir / "data")
        self.assertGreater(done.returncode, 0)
        self.assertEqual(len([line for line in done.stderr.splitlines() if line.startswith("engramd:")]), 1,
                         done.stderr)
        self.assertEqual(node.client().call("ping"), "pong")

    def test_term_and_int_stop_in_order_and_lose_nothing(self):
        for how in (signal.SIGTERM, signal.SIGINT):
            node = self.node(data=self.dir / "data")
            client = node.client()
            if how == signal.SIGTERM:
                client.call("create_table", "t", {"storage": "disc"})
            for n in range(200):
                client.call("write", "t", [n, how.name])
            self.assertEqual(node.stop(how), 0)
        node = self.node(data=self.dir / "data")
        self.assertEqual(node.client().call("read", "t", 199), [[199, "SIGINT"]])

    def test_it_stops_while_clients_are_connected_and_one_never_reads(self):
        node = self.node()
        client = node.client()
        client.call("create_table", "t")
        client.call("write", "t", [1, "x" * 100000])
        idle, half = node.client(), node.client()
        half.socket.sendall(b"\x94\x00")
        for _ in range(400):
            client.send("read", "t", 1)
        self.assertEqual(node.stop(), 0)
        idle.close()

    def test_a_second_signal_stops_at_once(self):
        eventually(self.stopped_by_the_second_signal, "a second one that comes while it drains")

    def stopped_by_the_second_signal(self):
        """False: it came so late that the node had given the client up."""
        node = self.node()
        deaf = node.client()
        deaf.call("create_table", "t")
        deaf.call("write", "t", [1, "x" * 1000000])
        for _ in range(60):
            deaf.send("read", "t", 1)
        eventually(lambda: node.client().call("stats")["bytes"]["unread"] > 0, "it does not read")
        began = time.monotonic()
        node.process.send_signal(signal.SIGTERM)

        def refuses():
            try:
                node.client().close()
            except (ConnectionRefusedError, ConnectionResetError):
                return True  # reset: it was in the queue of the socket that closes

        eventually(refuses, "it drains")
        in_time = time.monotonic() < began + DRAIN_S
        code = node.stop()
        if in_time:
            self.assertNotEqual(code, 0)  # who has waited for the client says 0
        return in_time

    def test_a_socket_that_a_killed_node_left_is_taken_over_and_a_live_one_is_not(self):
        address = f"unix:{self.dir}/s"
        self.node("--listen", address).kill()
        self.assertTrue((self.dir / "s").is_socket())
        node = self.node("--listen", address)
        done = engramd("--listen", address)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(len(done.stderr.splitlines()), 1)
        self.assertEqual(Client(address).call("ping"), "pong")
        self.assertEqual(node.stop(), 0)
        self.assertFalse((self.dir / "s").exists())

    def test_what_was_acknowledged_while_it_stops_is_kept(self):
        node = self.node(data=self.dir / "data")
        client = node.client()
        client.call("create_table", "t", {"storage": "disc"})
        for n in range(20000):
            client.send("write", "t", [n, n])
        node.process.send_signal(signal.SIGTERM)
        acknowledged = 0
        try:
            while True:
                acknowledged += client.receive()[1] is None
        except ConnectionError:
            pass
        self.assertEqual(node.process.wait(60), 0)
        self.assertGreaterEqual(self.node(data=self.dir / "data").client().call("size", "t"), acknowledged)

    def test_the_name_is_remembered_with_the_data(self):
        self.node("--name", "beta", data=self.dir / "data").stop()
        self.assertEqual(self.node(data=self.dir / "data").ready["name"], "beta")

    def test_sighup_rereads_the_log_settings_and_nothing_else(self):
        conf = self.file("e.conf", "log-level = error\n")
        node = self.node("--config", conf)
        before = len(node.log_text())
        conf.write_text("log-level = info\nlog-format = json\n")
        node.process.send_signal(signal.SIGHUP)
        eventually(lambda: '"level":"info"' in node.log_text()[before:], "a JSON line in the log")
        conf.write_text("log-level = nonsense\n")
        node.process.send_signal(signal.SIGHUP)
        eventually(lambda: "nonsense" in node.log_text(), "the mistake in the log")
        self.assertEqual(node.client().call("ping"), "pong")

    def test_systemd_is_told(self):
        for path in (f"{self.dir}/notify", "@engram-test-%d" % os.getpid()):
            with self.subTest(path):
                listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                listener.bind("\0" + path[1:] if path[0] == "@" else path)
                listener.settimeout(60)
                node = self.node(env={"NOTIFY_SOCKET": path})
                self.assertEqual(listener.recv(100), b"READY=1")
                self.assertEqual(node.stop(), 0)
                self.assertEqual(listener.recv(100), b"STOPPING=1")
                listener.close()

    def test_without_data_disc_tables_are_refused(self):
        client = self.node().client()
        self.assert_refused("disc", client.call, "create_table", "t", {"storage": "disc"})
        self.assertEqual(client.call("tables"), [])

    def test_help_and_version(self):
        text = engramd("--help").stdout
        for option in ("--listen", "--data", "--memory-limit", "--check-config"):
            self.assertIn(option, text)
        self.assertTrue(re.match(r"engramd \d+\.\d+", engramd("--version").stdout))


if __name__ == "__main__":
    main()
