"""link_proxy -- sits on the links to a node, and is bad weather for them.

    node b --dials--> proxy of a --dials--> node a        a says --advertise PROXY

Everything that other nodes send to `a`, and what it answers them, goes through here.  Who dials is
read from the first bytes it sends (a handshake says its name, packed as a text of MessagePack), so
each direction of each pair of nodes has a Weather of its own.  What a network may do to a TCP
connection is done: bytes are late, few a second, hold still, break off; and, what TCP itself
would hardly let through, some are changed.  A link that the other node dials goes through the
other node's proxy: set both.

Threads: the proxy has one; set() and cut() from any."""
import asyncio
import collections
import random
import threading

CHUNK_BYTES = 64 * 1024
QUEUED_CHUNKS = 64
STILL_S = 0.001  # how exactly a cut ends


class Weather:
    """Of one direction between two nodes; the defaults are a fine day."""

    def __init__(self):
        self.delay_s = 0.0
        self.jitter_s = 0.0
        self.bytes_per_s = 0      # 0: as many as come
        self.still = False        # nothing passes, and nobody is told
        self.corrupt_one_in = 0   # bytes; 0: none
        self.passed_bytes = 0
        self.corrupted_bytes = 0


def packed(name):
    """As a handshake says it.  Its length before it: two letters alone stand in a nonce now and then."""
    text = name.encode()
    assert len(text) < 32, "longer names are packed otherwise"
    return bytes([0xa0 + len(text)]) + text


class LinkProxy:
    def __init__(self, names=(), seed=1):
        """`names`: of the nodes that may dial.  `target` is told when it is known."""
        self.names = {name: packed(name) for name in names}
        self.target = None
        self.random = random.Random(seed)
        self.weather = collections.defaultdict(Weather)  # (who dials, towards the target?)
        self.refused = set()                             # who is cut off; None: everybody
        self.open = collections.defaultdict(set)         # who dials -> writers
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        self.ready.wait()

    def set(self, dialler, towards=None, **changes):
        """Change the weather for one node that dials, in one direction or (None) in both."""
        def apply():
            for way in (True, False) if towards is None else (towards,):
                for key, value in changes.items():
                    assert hasattr(Weather(), key), key
                    setattr(self.weather[dialler, way], key, value)
        self.ask(apply)

    def cut(self, dialler=None):
        """Break its connections (None: everybody's) and refuse new ones."""
        def apply():
            self.refused.add(dialler)
            self.abort(dialler)
        self.ask(apply)

    def break_off(self, dialler=None):
        """Break its connections, once."""
        self.ask(lambda: self.abort(dialler))

    def heal(self):
        def apply():
            self.refused.clear()
            for weather in self.weather.values():
                weather.__init__()
        self.ask(apply)

    def close(self):
        self.ask(self.loop.stop)
        self.thread.join()

    # ---- the proxy's own thread

    def ask(self, what):
        done = threading.Event()

        def run():
            what()
            done.set()
        self.loop.call_soon_threadsafe(run)
        done.wait()

    def abort(self, dialler):
        for name in list(self.open) if dialler is None else [dialler]:
            for writer in list(self.open[name]):
                writer.transport.abort()

    def run(self):
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(asyncio.start_server(self.accept, "127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % server.sockets[0].getsockname()[1]
        self.ready.set()
        self.loop.run_forever()
        server.close()
        self.abort(None)
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0.01))
        self.loop.close()

    def who(self, hello):
        return next((name for name, text in self.names.items() if text in hello), None)

    async def accept(self, reader, writer):
        try:
            hello = await reader.read(CHUNK_BYTES)
            name = self.who(hello)
            if not hello or None in self.refused or name in self.refused or self.target is None:
                writer.transport.abort()
                return
            host, port = self.target.rsplit(":", 1)
            there, here = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, here}
        self.open[name] |= pair
        try:
            await asyncio.gather(self.carry(hello, reader, here, name, True),
                                 self.carry(b"", there, writer, name, False))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self.open[name] -= pair
            for end in pair:
                end.transport.abort()

    async def carry(self, first, reader, writer, name, towards):
        queue = asyncio.Queue(QUEUED_CHUNKS)
        feeding = asyncio.ensure_future(self.feed(first, reader, queue, name, towards))
        try:
            await self.drain(queue, writer, name, towards)
        finally:
            feeding.cancel()

    async def feed(self, data, reader, queue, name, towards):
        """Note of each piece when it may arrive."""
        try:
            while True:
                weather = self.weather[name, towards]
                late = weather.delay_s + self.random.random() * weather.jitter_s
                if data:
                    await queue.put((self.loop.time() + late, data))
                data = await reader.read(CHUNK_BYTES)
                if not data:
                    break
        except OSError:
            pass
        except asyncio.CancelledError:
            return
        await queue.put((0, b""))

    async def drain(self, queue, writer, name, towards):
        while True:
            due, data = await queue.get()
            if not data:
                if writer.can_write_eof():
                    writer.write_eof()
                return
            weather = self.weather[name, towards]
            await asyncio.sleep(max(0, due - self.loop.time()))
            while weather.still:
                await asyncio.sleep(STILL_S)
            if weather.corrupt_one_in:
                data = self.corrupt(data, weather)
            if weather.bytes_per_s:
                await asyncio.sleep(len(data) / weather.bytes_per_s)
            weather.passed_bytes += len(data)
            writer.write(data)
            await writer.drain()

    def corrupt(self, data, weather):
        changed = bytearray(data)
        for at in range(len(changed)):
            if self.random.randrange(weather.corrupt_one_in) == 0:
                changed[at] ^= 1 << self.random.randrange(8)
                weather.corrupted_bytes += 1
        return bytes(changed)
