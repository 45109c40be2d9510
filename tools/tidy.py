#!/usr/bin/env python3
"""tidy -- the checks a reviewer should not have to make.  Run by `ctest -R tidy`.

Fails on: an include that points up; an include that is not written from the
root; a private header used outside its folder; a file that does not say what it
is.  Tells, without failing: a function longer than a screen.  Style is by
example; only the shape of the building is law."""
import pathlib
import re
import sys

LAYERS = ["include", "engine", "tables", "replication", "query", "node", "tools"]
LEAVES = {"engine": {"engram/error.h", "engram/types.h", "engram/actor.h"}}
SCREEN_LINES = 70


def layer_of(include):
    """The folder a quoted include stands in; the public headers are one layer."""
    top = include.split("/")[0]
    if top in ("engram", "engram.h"):
        return "include"
    return top if "/" in include and top in LAYERS else None


def check_include(here, include):
    """What is wrong with `#include "include"` in a file of layer `here`, or None."""
    there = layer_of(include)
    if there is None:
        return f"write includes from the root: {include}"
    if LAYERS.index(there) > LAYERS.index(here):
        return f"{here}/ may not know {include}"
    if here == "include" and there != "include":
        return f"a public header includes only public headers, not {include}"
    if there == "include" and here in LEAVES and include not in LEAVES[here]:
        return f"{here}/ may not know {include}"
    if include.endswith("_private.h") and there != here:
        return f"{include} is private to {there}/"
    return None


def long_functions(lines):
    start = None
    for number, line in enumerate(lines, 1):
        if start is None and re.match(r"\w.*\) \{$", line):
            start = number
        elif start is not None and line == "}":
            if number - start >= SCREEN_LINES:
                yield start, number - start + 1
            start = None


def check_file(root, path):
    text, rel = path.read_text(), path.relative_to(root)
    if not text.startswith(f"/* {path.name} -- "):
        yield f"{rel}:1: first line should say: /* {path.name} -- what it is for"
    for number, line in enumerate(text.splitlines(), 1):
        if m := re.match(r'\s*#\s*include "([^"]+)"', line):
            if wrong := check_include(rel.parts[0], m[1]):
                yield f"{rel}:{number}: {wrong}"
    for start, length in long_functions(text.splitlines()):
        print(f"note: {rel}:{start}: {length} lines; does it split where it reads well?")


def main(root):
    files = sorted(p for layer in LAYERS for p in (root / layer).rglob("*.[ch]"))
    failures = [failure for path in files for failure in check_file(root, path)]
    print("\n".join(failures) if failures else f"{len(files)} files are tidy")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
