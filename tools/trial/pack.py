"""pack -- MessagePack, as much of it as the protocol of a node has: no extensions.

    pack(["a", 1])          bytes
    Unpacker: feed(bytes), then values() yields what is whole

Text that is no UTF-8 comes back with surrogates, so that nothing a node says is an error here."""
import struct

SHORT, LONG = 1 << 8, 1 << 16


class Incomplete(Exception):
    """The rest of the value has not come yet."""


def pack(value):
    out = bytearray()
    put(out, value)
    return bytes(out)


def put(out, value):
    if value is None:
        out.append(0xC0)
    elif value is True or value is False:
        out.append(0xC3 if value else 0xC2)
    elif isinstance(value, int):
        put_integer(out, value)
    elif isinstance(value, float):
        out += struct.pack(">Bd", 0xCB, value)
    elif isinstance(value, str):
        data = value.encode("utf-8", "surrogateescape")
        put_size(out, len(data), 0xA0, 32, 0xD9)
        out += data
    elif isinstance(value, (bytes, bytearray)):
        put_size(out, len(value), None, 0, 0xC4)
        out += value
    elif isinstance(value, (list, tuple)):
        put_size(out, len(value), 0x90, 16, None, 0xDC)
        for element in value:
            put(out, element)
    elif isinstance(value, dict):
        put_size(out, len(value), 0x80, 16, None, 0xDE)
        for key, element in value.items():
            put(out, key)
            put(out, element)
    else:
        raise TypeError(f"no MessagePack for {type(value).__name__}")


def put_integer(out, value):
    if 0 <= value < 128:
        out.append(value)
    elif -32 <= value < 0:
        out.append(value & 0xFF)
    elif value >= 0:
        out += struct.pack(">BI", 0xCE, value) if value < 1 << 32 else struct.pack(">BQ", 0xCF, value)
    else:
        out += struct.pack(">Bi", 0xD2, value) if value >= -1 << 31 else struct.pack(">Bq", 0xD3, value)


def put_size(out, size, fixed, fixed_below, one_byte, two_bytes=None):
    """A head: in one byte where it fits, else with 1, 2 or 4 bytes of size behind it."""
    if size < fixed_below:
        out.append(fixed | size)
    elif one_byte is not None and size < SHORT:
        out += struct.pack(">BB", one_byte, size)
    elif size < LONG:
        out += struct.pack(">BH", two_bytes or one_byte + 1, size)
    else:
        out += struct.pack(">BI", two_bytes + 1 if two_bytes else one_byte + 2, size)


NUMBERS = {0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
           0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}
NUMBERS = {head: struct.Struct(layout) for head, layout in NUMBERS.items()}
SIZES = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I", 0xD9: ">B", 0xDA: ">H", 0xDB: ">I",
         0xDC: ">H", 0xDD: ">I", 0xDE: ">H", 0xDF: ">I"}
SIZES = {head: struct.Struct(layout) for head, layout in SIZES.items()}
WORDS = {0xC0: None, 0xC2: False, 0xC3: True}


class Unpacker:
    def __init__(self):
        self.data = bytearray()

    def feed(self, data):
        self.data += data

    def values(self):
        """What is whole, one after the other; the rest stays."""
        at = 0
        try:
            while at < len(self.data):
                value, at = self.take(at)
                yield value
        except Incomplete:
            pass
        finally:
            del self.data[:at]

    def take(self, at):
        """(value, where the next one begins)"""
        if at >= len(self.data):
            raise Incomplete
        head = self.data[at]
        at += 1
        if head < 0x80:
            return head, at
        if head >= 0xE0:
            return head - 256, at
        if head < 0x90:
            return self.take_map(head & 15, at)
        if head < 0xA0:
            return self.take_array(head & 15, at)
        if head < 0xC0:
            return self.take_text(head & 31, at)
        if head in WORDS:
            return WORDS[head], at
        if head in NUMBERS:
            return self.take_number(NUMBERS[head], at)
        if head not in SIZES:
            raise ValueError(f"a byte 0x{head:02x} where a value begins")
        size, at = self.take_number(SIZES[head], at)
        if head >= 0xDE:
            return self.take_map(size, at)
        if head >= 0xDC:
            return self.take_array(size, at)
        return self.take_text(size, at) if head >= 0xD9 else self.take_bytes(size, at)

    def take_number(self, layout, at):
        if at + layout.size > len(self.data):
            raise Incomplete
        return layout.unpack_from(self.data, at)[0], at + layout.size

    def take_bytes(self, size, at):
        if at + size > len(self.data):
            raise Incomplete
        return bytes(self.data[at:at + size]), at + size

    def take_text(self, size, at):
        data, at = self.take_bytes(size, at)
        return data.decode("utf-8", "surrogateescape"), at

    def take_array(self, size, at):
        elements = []
        for _ in range(size):
            element, at = self.take(at)
            elements.append(element)
        return elements, at

    def take_map(self, size, at):
        elements = {}
        for _ in range(size):
            key, at = self.take(at)
            elements[tuple(key) if isinstance(key, list) else key], at = self.take(at)
        return elements, at
