#!/usr/bin/env python3
"""seam -- the layers ask nothing of the world, and keep no state, behind the seam.

    seam.py ARCHIVE ...     static archives of the layers (lib/libeg_*.a)

Reads the symbol tables.  Fails where an object other than *_uv.c, *_rocks.c or
alloc.c refers to a clock, a thread, a socket, a file, randomness or malloc, where
any object has a mutable global, or where another than *_openssl.c knows OpenSSL or
loads a library.
This is what lets the simulator run the whole of a node under one seed."""
import re
import subprocess
import sys

CRYPTO = re.compile(r"^(HMAC|dl(open|sym)|(EVP|CRYPTO|OPENSSL|SSL|RAND|BIO|ERR|SHA256|X509|PEM)_)")
IS_CRYPTO = re.compile(r"_openssl\.c\.o$")

# Objects whose business is the outside.
OUTSIDE = re.compile(r"(_uv|_rocks|^alloc)\.c\.o$")

WORLD = re.compile(
    r"""^( uv_.* | rocksdb_.* | pthread_.* | thrd_.* | mtx_.* | cnd_.*
      | time | gettimeofday | clock | clock_.* | nanosleep | usleep | sleep | localtime.* | gmtime.*
      | s?rand(om)?(_r)? | [dejlmn]rand48 | arc4random.* | getrandom | getentropy
      | socket | connect | bind | listen | accept4? | send(to|msg)? | recv(from|msg)? | poll | select
      | epoll_.* | open(at)?(64)? | creat(64)? | read | write | p(read|write)(v|64)? | readv | writev
      | fopen(64)? | freopen(64)? | fread | fwrite | fgets | fsync | fdatasync | rename | unlink | mkdir | opendir
      | malloc | calloc | realloc | free | aligned_alloc | posix_memalign | strn?dup | v?asprintf
      | mmap(64)? | munmap | getenv | signal | sigaction | fork | vfork | exec[lv].* | system
      | getpid | gethostname | uname )$""",
    re.VERBOSE,
)

# (object, symbol): why it is right there.
ALLOWED = {
    ("err.c.o", "fwrite"): "an assertion's last words before abort()",
    ("runtime.c.o", "current"): "which scheduler the calling thread runs: a lent actor runs on any thread",
}

MUTABLE = re.compile(r"^(\.data(?!\.rel\.ro)|\.bss|\.tbss|\.tdata|\*COM\*)")


def symbols(archive):
    """Yield (object, section, name, is_object) for each line of objdump -t."""
    text = subprocess.run(["objdump", "-t", archive], check=True, capture_output=True, text=True).stdout
    member = ""
    for line in text.splitlines():
        if m := re.match(r"(\S+):\s+file format", line):
            member = m[1]
        elif m := re.match(r"[0-9a-f]{8,} (.{7}) (\S+)\t[0-9a-f]+ (?:\.\w+ )?(\S+)$", line):
            yield member, m[2], m[3], "d" not in m[1]


def check(archive):
    for member, section, name, real in symbols(archive):
        if (member, name) in ALLOWED:
            continue
        if section == "*UND*" and WORLD.match(name) and not OUTSIDE.search(member):
            yield f"{member} reaches around the seam: {name}"
        elif section == "*UND*" and CRYPTO.match(name) and not IS_CRYPTO.search(member):
            yield f"{member} knows OpenSSL or loads libraries: {name}"
        elif real and MUTABLE.match(section):
            yield f"{member} has a mutable global: {name} in {section}"


def main(archives):
    failures = [failure for archive in archives for failure in check(archive)]
    print("\n".join(failures) if failures else f"{len(archives)} layers stay behind the seam")
    return bool(failures) or not archives


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
