"""cluster -- nodes of our own: started, found in one view, stopped.

Their clients' ports are sockets in the trial's directory, which any program reaches, whatever
network the node is in."""
import base64
import os
import pathlib
import select
import subprocess
import tempfile
import time

READY_S = 60


class NotStarted(Exception):
    """Why a node does not serve."""


class Cluster:
    def __init__(self, network, names, engramd, directory, storage, flags=()):
        self.network, self.names, self.engramd, self.storage, self.flags = network, names, engramd, storage, flags
        self.dir = pathlib.Path(directory)
        self.cookie = self.dir / "cookie"
        self.cookie.write_bytes(base64.b64encode(os.urandom(32)))
        self.cookie.chmod(0o600)
        self.peers, self.processes = {}, {}
        self.addresses = {name: f"unix:{self.dir / name}.socket" for name in names}

    def start(self):
        for number in range(len(self.names)):
            self.start_node(number)

    def start_node(self, number):
        name = self.names[number]
        words = [*self.network.prefix(number), self.engramd, "--name", name, "--listen", self.addresses[name],
                 "--peer-listen", self.network.peer_listen(number), "--http", "off", "--cookie-file", self.cookie]
        if self.network.advertise(number):
            words += ["--advertise", self.network.advertise(number)]
        if self.storage != "ram":
            words += ["--data", self.dir / name]
        for other, peer in self.peers.items():
            words += ["--join", peer] if other != name else []
        with open(self.dir / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen([str(word) for word in [*words, *self.flags]], text=True,
                                                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        ready = self.read_ready(name)
        self.network.started(number, ready["peer"].split(",")[0])
        self.peers[name] = self.network.advertise(number) or ready["peer"].split(",")[0]

    def read_ready(self, name):
        process = self.processes[name]
        readable, _, _ = select.select([process.stdout], [], [], READY_S)
        line = process.stdout.readline() if readable else ""
        if not line.startswith("engramd ready "):
            said = (self.dir / f"{name}.log").read_text(errors="replace").strip().splitlines()
            raise NotStarted(f"node {name} does not start: {said[-1] if said else 'it says nothing'}")
        return dict(word.split("=", 1) for word in line.split()[2:])

    def died(self):
        """Names of nodes that have ended by themselves."""
        return [name for name, process in self.processes.items() if process.poll() is not None]

    def stop(self):
        for process in self.processes.values():
            process.terminate()
        end = time.monotonic() + 5
        for process in self.processes.values():
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


def directory():
    """A new one, short enough for names of sockets."""
    return tempfile.mkdtemp(prefix="engram-trial-")
