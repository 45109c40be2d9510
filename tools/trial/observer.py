"""observer -- a thread that asks all nodes again and again which view they serve in.

`changes` has (when, {node: members of its view, or None}) for each time that something was new."""
import threading
import time

from .client import Client, Refused

EVERY_S = 0.05
ANSWER_S = 2.0
REDIAL_S = 0.2
NEAR_S = 5.0


class Observer:
    def __init__(self, addresses, user=None):
        self.addresses, self.user, self.everybody = addresses, user, frozenset(addresses)
        self.clients, self.redial_at = {}, {}
        self.changes, self.views = [], {}
        self.changed = threading.Condition()
        self.ending = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def end(self):
        self.ending = True
        self.thread.join()

    def wait_for_one_view(self, seconds, pump=None):
        """When all were in one view first, from now on; None where they are not within the time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with self.changed:
                if self.is_one(self.views):
                    return time.monotonic()
                if pump is None:
                    self.changed.wait(0.1)
            if pump is not None:
                pump(0.05)
        return None

    def others(self):
        """Members of the view who are not asked; from now on they belong to one view too."""
        with self.changed:
            self.everybody = self.everybody.union(*(members for _, members in self.views.values()))
        return sorted(self.everybody - set(self.addresses))

    def changed_near(self, when):
        """Was some node in another view shortly before?"""
        with self.changed:
            return any(when - NEAR_S < at < when + ANSWER_S for at, _ in self.changes)

    def is_one(self, views):
        return len({ident for ident, _ in views.values() if ident}) == 1 and \
            all(views.get(name, (None, frozenset()))[1] >= self.everybody for name in self.addresses)

    # ---- its own thread

    def run(self):
        while not self.ending:
            seen = {name: self.look(name) for name in self.addresses}
            if seen != self.views:
                with self.changed:
                    self.views = seen
                    self.changes.append((time.monotonic(), {name: sorted(members) if ident else None
                                                            for name, (ident, members) in seen.items()}))
                    self.changed.notify_all()
            time.sleep(EVERY_S)

    def look(self, name):
        """(id of the view or None, its members)"""
        try:
            if name not in self.clients:
                if time.monotonic() < self.redial_at.get(name, 0):
                    return None, frozenset()
                self.clients[name] = Client(self.addresses[name], ANSWER_S, self.user)
            status = self.clients[name].call("cluster_status")
        except (OSError, Refused):
            if name in self.clients:
                self.clients.pop(name).close()
            self.redial_at[name] = time.monotonic() + REDIAL_S
            return None, frozenset()
        if status["view"] is None:
            return None, frozenset()
        return str(status["view"]), frozenset(member["name"] for member in status["members"]
                                              if member["state"] == "up")
