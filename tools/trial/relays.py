"""relays -- the network between nodes on loopback: one LinkProxy before each, and silence between any two.

For where network namespaces are not allowed.  What is sent while a pair is blocked arrives when it is
not any more, as TCP would have it."""
from .link_proxy import LinkProxy


class Network:
    kind = "relays on loopback"

    def __init__(self, nodes, names):
        self.names, self.blocked = names, frozenset()
        self.proxies = [LinkProxy(names, seed=number + 1) for number in range(nodes)]

    def close(self):
        for proxy in self.proxies:
            proxy.close()

    def prefix(self, number):
        return []

    def peer_listen(self, number):
        return self.proxies[number].target or "127.0.0.1:0"

    def advertise(self, number):
        return self.proxies[number].address

    def started(self, number, peer):
        self.proxies[number].target = peer

    def block(self, pairs):
        """From now on just these are blocked."""
        pairs = frozenset(pairs)
        for one, other in pairs ^ self.blocked:
            still = (one, other) in pairs
            self.proxies[other].set(self.names[one], towards=True, still=still)
            self.proxies[one].set(self.names[other], towards=False, still=still)
        self.blocked = pairs
