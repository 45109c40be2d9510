"""client -- one connection to a node, and the three things that may become of a call.

    answer                  it happened
    Refused                 the node said no: `code` tells whether it may have happened all the same
    OSError                 no connection, or none any more: it may have happened, unless `unsent`

    Client("127.0.0.1:7340").call("write", "t", ["k", 1])"""
import os
import socket
import time

from .pack import Unpacker, pack

HAPPENED_NOT = {"conflict", "aborted", "busy", "no_replica", "no_majority"}
MAY_HAVE_HAPPENED = {"timeout", "in_doubt"}
DONE_BEFORE = {"exists", "no_table"}  # what a change of the schema says that is made once more
AGAIN_S = 0.05
PIECE_BYTES = 1 << 18


class Refused(Exception):
    """The node's error."""

    @property
    def code(self):
        return str(self).split(":")[0]

    @property
    def strange(self):
        """Is it none that a fault explains?"""
        return self.code not in HAPPENED_NOT | MAY_HAVE_HAPPENED


class Client:
    def __init__(self, address, timeout_s=15.0, user=None):
        if address.startswith("unix:"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout_s)
            self.socket.connect(address[5:])
        else:
            host, port = address.rsplit(":", 1)
            self.socket = socket.create_connection((host.strip("[]"), int(port)), timeout_s)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.unpacker, self.answers, self.last = Unpacker(), [], 0
        if user is not None:
            self.call("auth", user, os.environ.get("ENGRAM_PASSWORD", ""))

    def close(self):
        self.socket.close()

    def call(self, method, *params):
        answer, = self.call_all([(method, *params)])
        if isinstance(answer, Refused):
            raise answer
        return answer

    def call_until_done(self, within_s, *call):
        """What may be done twice, again while nothing has happened or nobody knows."""
        end, doubt = time.monotonic() + within_s, False
        while True:
            try:
                return self.call(*call)
            except Refused as refused:
                if doubt and refused.code in DONE_BEFORE:
                    return None
                if refused.strange or time.monotonic() > end:
                    raise
                doubt |= refused.code in MAY_HAVE_HAPPENED
            time.sleep(AGAIN_S)

    def call_all(self, calls):
        """Send them together; their answers in order, a Refused where one was refused."""
        first = self.last + 1
        self.last += len(calls)
        self.socket.sendall(b"".join(pack([0, first + at, call[0], call[1:]])
                                     for at, call in enumerate(calls)))
        answers = {}
        while len(answers) < len(calls):
            for kind, *rest in self.unpacker.values():
                if kind == 1:  # events are of nobody's asking
                    msgid, error, result = rest
                    answers[msgid] = result if error is None else Refused(error)
            if len(answers) < len(calls):
                self.fill()
        return [answers[first + at] for at in range(len(calls))]

    def fill(self):
        data = self.socket.recv(PIECE_BYTES)
        if not data:
            raise ConnectionError("the node closed the connection")
        self.unpacker.feed(data)
