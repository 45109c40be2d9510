#!/usr/bin/python3
"""lying_engramd -- an engramd that lies to clients, for what must find that out.

Takes engramd's flags, starts the real one behind itself and passes everything on, but for what
LIE says:

    lose       every 10th write is answered with true and never done
    undelete   every other delete likewise
    deny       every 10th write is done and answered with busy
    double     every 5th update_counter is done twice
    forget     every other update of a set is answered with true and never done
    forget_all every other read of a majority table is answered with nothing
    invent     every 10th write is answered with an error that no fault explains"""
import collections
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))

from trial.pack import Unpacker, pack  # noqa: E402: from there

LIE = os.environ["LIE"]
METHOD, EVERY = {"lose": ("write", 10), "undelete": ("delete", 2), "deny": ("write", 10),
                 "double": ("update_counter", 5), "forget": ("update", 2), "forget_all": ("read", 2),
                 "invent": ("write", 10)}[LIE]
PIECE_BYTES = 1 << 18


class Session:
    """One client's connection, and ours for it."""
    count = collections.Counter()

    def __init__(self, client, address):
        self.client, self.node = client, socket.socket(socket.AF_UNIX)
        self.node.connect(address)
        self.changed = {}  # msgid -> the answer that is given instead, or None for none at all
        for work in (self.requests, self.answers):
            threading.Thread(target=work, daemon=True).start()

    def requests(self):
        for frame in frames(self.client):
            kind, msgid, method, params = frame
            if method == METHOD and (LIE != "forget_all" or params[0].endswith("_agreed")):
                self.count[METHOD] += 1
                if self.count[METHOD] % EVERY == 0 and not self.lie(msgid, method, params):
                    continue
            self.node.sendall(pack(frame))
        self.node.close()

    def lie(self, msgid, method, params):
        """Is it passed on?"""
        if LIE in ("lose", "undelete", "forget"):
            self.client.sendall(pack([1, msgid, None, True]))
        elif LIE == "forget_all":
            self.client.sendall(pack([1, msgid, None, []]))
        elif LIE == "invent":
            self.client.sendall(pack([1, msgid, "internal: the moon", None]))
        elif LIE == "deny":
            self.changed[msgid] = [1, msgid, "busy: not today", None]
        elif LIE == "double":
            self.changed[msgid + (1 << 31)] = None
            self.node.sendall(pack([0, msgid + (1 << 31), method, params]))
        return LIE in ("deny", "double")

    def answers(self):
        for frame in frames(self.node):
            frame = self.changed.pop(frame[1], frame)
            if frame is not None:
                self.client.sendall(pack(frame))
        self.client.close()


def frames(end):
    unpacker = Unpacker()
    try:
        while data := end.recv(PIECE_BYTES):
            unpacker.feed(data)
            yield from unpacker.values()
    except OSError:
        pass


def main():
    words = sys.argv[1:]
    place = words.index("--listen") + 1
    ours = words[place].removeprefix("unix:")
    words[place] = f"unix:{ours}.true"
    node = subprocess.Popen([os.environ["TRUE_ENGRAMD"], *words], stdout=subprocess.PIPE, text=True)
    signal.signal(signal.SIGTERM, lambda *_: node.terminate())
    server = socket.socket(socket.AF_UNIX)
    server.bind(ours)
    server.listen(100)
    print(node.stdout.readline().replace(f"{ours}.true", ours), end="", flush=True)

    def accept():
        while True:
            Session(server.accept()[0], f"{ours}.true")
    threading.Thread(target=accept, daemon=True).start()
    node.wait()
    os._exit(0)


main()
