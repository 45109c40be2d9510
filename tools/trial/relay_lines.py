"""relay_lines -- engram-partition --relays: bad weather between nodes that others have started.

Prints `relay NAME HOST:PORT` for each name: what that node advertises.  Then, by lines on standard input:

    target NAME HOST:PORT     where the node listens for its peers
    cut a b | c d             nothing passes between these
    one-way a b               what a says does not reach b
    heal
Each is answered with `ok` or `error: why`.  Ends with standard input."""
import sys

from . import cuts, relays


def main(names):
    network = relays.Network(len(names), names)
    for number, name in enumerate(names):
        print(f"relay {name} {network.advertise(number)}", flush=True)
    for line in sys.stdin:
        try:
            obey(network, names, line.split())
            print("ok", flush=True)
        except (ValueError, IndexError) as why:
            print(f"error: {line.strip()}: {why}", flush=True)
    network.close()
    return 0


def obey(network, names, words):
    command, *rest = words
    if command == "target":
        network.started(names.index(rest[0]), rest[1])
    elif command == "cut":
        middle = rest.index("|")
        sides = ([names.index(name) for name in part] for part in (rest[:middle], rest[middle + 1:]))
        network.block(network.blocked | cuts.between(*sides))
    elif command == "one-way":
        one, other = (names.index(name) for name in rest)
        network.block(network.blocked | {(one, other)})
    elif command == "heal":
        network.block(cuts.WHOLE)
    else:
        raise ValueError("no such command: target cut one-way heal")
