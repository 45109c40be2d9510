"""lan -- machines of their own for nodes, as engram-partition makes them (tools/trial/namespaces.py).

    lan.enter()                      first of all: the test goes on in namespaces of its own
    lan = lan.Lan(5)
    subprocess.Popen(lan.prefix(0) + [engramd, "--peer-listen", lan.address(0) + ":7341", ...])
    lan.split({0, 1}, {2, 3, 4})     nothing passes between these
    lan.join()

Where namespaces are not allowed enter() says why and ends the test as skipped (77).  All of it is
gone with the last process: nothing is left on the machine."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))

from trial import cuts, namespaces  # noqa: E402: from there


def enter():
    """Begin this program anew, inside."""
    why = namespaces.enter()
    if why is not None:
        print(f"skipped: no network namespaces here: {why}")
        sys.exit(77)


class Lan(namespaces.Network):
    def __init__(self, machines):
        super().__init__(machines, None)

    def split(self, left, right):
        self.block(cuts.between(left, right))

    def join(self):
        self.block(cuts.WHOLE)

    def unplug(self, number):
        self.block(self.blocked | cuts.between([number], set(range(self.nodes)) - {number}))

    def plug(self, number):
        self.block(pair for pair in self.blocked if number not in pair)
