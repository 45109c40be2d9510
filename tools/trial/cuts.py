"""cuts -- plans by which a network is cut: which node does not hear which, and for how long.

A step is (what it is, pairs, seconds): `pairs` holds (from, to) by number where nothing that `from`
sends arrives.  No pairs: all is well for so long.  After the last step the network is whole."""
import collections
import itertools
import random

Step = collections.namedtuple("Step", "what pairs seconds")
Plan = collections.namedtuple("Plan", "nodes_min text steps")  # steps(nodes, seconds, options, random)

WHOLE = frozenset()


class Options:
    """What some plans can be told besides."""

    def __init__(self, times=None, cut_ms=None, whole_ms=None):
        self.times, self.cut_ms, self.whole_ms = times, cut_ms, whole_ms


def between(left, right):
    """Nothing passes between these, either way."""
    return frozenset(pair for one, other in itertools.product(left, right) for pair in ((one, other), (other, one)))


def sides(nodes):
    return range(nodes // 2), range(nodes // 2, nodes)


def halves(nodes, seconds, options, chance):
    yield Step("halves", between(*sides(nodes)), seconds)


def one_out(nodes, seconds, options, chance):
    out = chance.randrange(nodes)
    yield Step("one out", between([out], set(range(nodes)) - {out}), seconds)


def majorities(nodes, seconds, options, chance):
    reach = (nodes + 2) // 4  # to each side: the fewest that are a majority with itself
    far = {(one, other) for one, other in itertools.permutations(range(nodes), 2)
           if min((one - other) % nodes, (other - one) % nodes) > reach}
    yield Step("ring of majorities", frozenset(far), seconds)


def bridge(nodes, seconds, options, chance):
    left, right = range(nodes // 2), range(nodes // 2 + 1, nodes)
    yield Step("bridge", between(left, right), seconds)


def one_way(nodes, seconds, options, chance):
    mute = chance.randrange(nodes)
    yield Step("one way", frozenset((mute, other) for other in range(nodes) if other != mute), seconds)


def blips(nodes, seconds, options, chance):
    cut = between(*sides(nodes))
    for number in range(options.times or 100):
        yield Step(f"blip {number + 1}", cut, (options.cut_ms or 4) / 1000)
        yield Step("whole", WHOLE, (options.whole_ms or 20) / 1000)


def flapping(nodes, seconds, options, chance):
    cut, spent = between(*sides(nodes)), 0.0
    while spent < seconds:
        down = (options.cut_ms or chance.randint(50, 800)) / 1000
        up = (options.whole_ms or chance.randint(50, 800)) / 1000
        yield Step("flapping", cut, down)
        yield Step("whole", WHOLE, up)
        spent += down + up


def swizzle(nodes, seconds, options, chance):
    """Nodes are cut off one by one, and come back in another order."""
    out, each_s = set(), seconds / (2 * nodes)
    for number in chance.sample(range(nodes), nodes):
        out.add(number)
        yield Step(f"{len(out)} out", apart(nodes, out), each_s)
    for number in chance.sample(range(nodes), nodes - 1):
        out.remove(number)
        yield Step(f"{len(out)} out", apart(nodes, out), each_s)


def apart(nodes, out):
    """Each of these is alone."""
    return frozenset(pair for pair in itertools.permutations(range(nodes), 2) if out & {*pair})


PLANS = {
    "halves": Plan(2, "in two; of an odd number the second side is greater", halves),
    "one-out": Plan(2, "one node, alone", one_out),
    "majorities": Plan(4, "each node hears a majority, no two the same", majorities),
    "bridge": Plan(3, "in two, and one node hears both sides", bridge),
    "one-way": Plan(2, "what one node says is not heard; it hears all", one_way),
    "blips": Plan(2, "100 cuts of 4 ms (--times, --cut-ms, --whole-ms)", blips),
    "flapping": Plan(2, "in two and whole again, by chance (--cut-ms, --whole-ms)", flapping),
    "swizzle": Plan(3, "nodes leave one by one, and come back in another order", swizzle),
}


def steps_of(name, nodes, seconds, options, seed):
    return PLANS[name].steps(nodes, seconds, options, random.Random(f"{seed}/{name}"))


def pieces(nodes, pairs, names):
    """For people: who reaches whom both ways, as `a b | c`; None where that is not in pieces."""
    rest, found = list(range(nodes)), []
    while rest:
        piece = [other for other in rest if other == rest[0]
                 or not {(rest[0], other), (other, rest[0])} & pairs]
        inside = itertools.permutations(piece, 2)
        outside = between(piece, set(range(nodes)) - set(piece))
        if any(pair in pairs for pair in inside) or not outside <= pairs:
            return None
        found.append(" ".join(names[number] for number in piece))
        rest = [number for number in rest if number not in piece]
    return " | ".join(found)
