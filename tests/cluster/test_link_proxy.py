"""The proxy itself: what goes in comes out, as late, as slowly, as broken as was asked for."""
import pathlib
import socket
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))

from trial.link_proxy import LinkProxy  # noqa: E402: from there

TEXT = b"hello from \xa6node-b, which dials " * 1000


class LinkProxyTest(unittest.TestCase):
    def setUp(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.server.close)
        self.proxy = LinkProxy(["node-a", "node-b"])
        self.addCleanup(self.proxy.close)
        self.proxy.target = "127.0.0.1:%d" % self.server.getsockname()[1]
        threading.Thread(target=self.echo, daemon=True).start()

    def echo(self):
        """Answer every connection with what it sends."""
        while True:
            try:
                end, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self.echo_one, args=(end,), daemon=True).start()

    @staticmethod
    def echo_one(end):
        try:
            while data := end.recv(1 << 16):
                end.sendall(data)
        except OSError:
            pass
        end.close()

    def dial(self):
        host, port = self.proxy.address.rsplit(":", 1)
        end = socket.create_connection((host, int(port)))
        end.settimeout(30)
        self.addCleanup(end.close)
        return end

    def ask(self, end, data=TEXT):
        end.sendall(data)
        answer = b""
        while len(answer) < len(data):
            part = end.recv(1 << 16)
            if not part:
                break
            answer += part
        return answer

    def test_bytes_pass_unchanged_and_ends_too(self):
        end = self.dial()
        self.assertEqual(self.ask(end), TEXT)
        end.shutdown(socket.SHUT_WR)
        self.assertEqual(end.recv(1), b"")
        self.assertEqual(self.proxy.weather["node-b", True].passed_bytes, len(TEXT))

    def test_delay_is_added_and_bandwidth_taken(self):
        self.proxy.set("node-b", True, delay_s=0.2)
        self.proxy.set("node-b", False, bytes_per_s=100000)
        begin = time.monotonic()
        self.assertEqual(self.ask(self.dial()), TEXT)
        self.assertGreater(time.monotonic() - begin, 0.2 + len(TEXT) / 100000 - 0.05)

    def test_who_is_not_meant_is_left_alone(self):
        self.proxy.cut("node-a")
        self.proxy.set("node-a", still=True)
        self.assertEqual(self.ask(self.dial()), TEXT)

    def test_a_name_among_random_bytes_is_nobodys(self):
        self.proxy.cut("node-a")
        nonce = b"3node-a8 of " + TEXT
        self.assertEqual(self.ask(self.dial(), nonce), nonce)

    def test_still_air_holds_everything_until_it_moves(self):
        end = self.dial()
        self.assertEqual(self.ask(end), TEXT)
        self.proxy.set("node-b", False, still=True)
        end.sendall(TEXT)
        end.settimeout(0.2)
        with self.assertRaises(socket.timeout):
            end.recv(1)
        end.settimeout(30)
        self.proxy.heal()
        self.assertTrue(end.recv(1))

    def test_a_cut_breaks_and_refuses(self):
        end = self.dial()
        self.assertEqual(self.ask(end), TEXT)
        self.proxy.cut("node-b")
        with self.assertRaises(OSError):
            if not end.recv(1):
                raise OSError("ended")
        with self.assertRaises(OSError):
            if not self.ask(self.dial()):
                raise OSError("refused")
        self.proxy.heal()
        self.assertEqual(self.ask(self.dial()), TEXT)

    def test_corruption_changes_some_bytes_and_their_number_not(self):
        self.proxy.set("node-b", True, corrupt_one_in=1000)
        answer = self.ask(self.dial())
        changed = sum(a != b for a, b in zip(answer, TEXT))
        self.assertEqual(len(answer), len(TEXT))
        self.assertEqual(changed, self.proxy.weather["node-b", True].corrupted_bytes)
        self.assertGreater(changed, 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
