#!/usr/bin/env python3
"""What is installed is enough: the examples are built against it and nothing else.

Each is compiled by pkg-config (shared and static) and by find_package (both), from
a copy outside the source tree, and run.  The manuals and the rest are in place."""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ["ENGRAM_BIN"]).parent
CC = os.environ.get("CC", "cc")
EXAMPLES = sorted((ROOT / "docs/examples").glob("*.c"))

PROJECT = """\
cmake_minimum_required(VERSION 3.22)
project(consumer C)
set(CMAKE_C_STANDARD 17)
find_package(engram REQUIRED)
find_package(Threads REQUIRED)
foreach(example {names})
  foreach(kind engram engram_static)
    add_executable(${{example}}_${{kind}} ${{example}}.c)
    target_link_libraries(${{example}}_${{kind}} PRIVATE engram::${{kind}} Threads::Threads)
  endforeach()
endforeach()
"""


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=240, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.dir)
        cls.prefix = cls.dir / "prefix"
        run("cmake", "--install", BUILD, "--prefix", cls.prefix)
        for example in EXAMPLES:
            shutil.copy(example, cls.dir)
        cls.env = dict(os.environ, PKG_CONFIG_PATH=str(cls.prefix / "lib/pkgconfig"),
                       LD_LIBRARY_PATH=str(cls.prefix / "lib"))

    def flags(self, *options):
        # The prefix is elsewhere than the build was configured for.
        return run("pkg-config", f"--define-variable=prefix={self.prefix}", "--cflags", "--libs", *options,
                   "engram", env=self.env).split()

    def build_and_run(self, example, name, flags):
        program = self.dir / name
        run(CC, "-std=c17", "-Wall", "-Wextra", "-Werror", "-pthread", self.dir / example.name, *flags, "-o", program)
        return run(program, env=self.env)

    def test_there_are_examples(self):
        self.assertGreaterEqual(len(EXAMPLES), 2)

    def test_pkg_config_shared(self):
        for example in EXAMPLES:
            with self.subTest(example.name):
                self.build_and_run(example, example.stem, self.flags())

    def test_the_example_in_the_readme(self):
        program = re.search(r"```c\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
        (self.dir / "readme.c").write_text(program)
        self.assertIn("found 6 bytes", self.build_and_run(pathlib.Path("readme.c"), "readme", self.flags()))

    def test_pkg_config_static_needs_no_libengram_at_run_time(self):
        flags = ["-l:libengram.a" if flag == "-lengram" else flag for flag in self.flags("--static")]
        for example in EXAMPLES:
            with self.subTest(example.name):
                self.build_and_run(example, example.stem + "_static", flags)
                self.assertNotIn("libengram", run("ldd", self.dir / (example.stem + "_static")))

    def test_find_package_shared_and_static(self):
        names = " ".join(example.stem for example in EXAMPLES)
        (self.dir / "CMakeLists.txt").write_text(PROJECT.format(names=names))
        run("cmake", "-S", self.dir, "-B", self.dir / "build", "-G", "Ninja", f"-DCMAKE_C_COMPILER={CC}",
            f"-DCMAKE_PREFIX_PATH={self.prefix}")
        run("cmake", "--build", self.dir / "build")
        for example in EXAMPLES:
            for kind in ("engram", "engram_static"):
                with self.subTest(example.name, kind=kind):
                    run(self.dir / "build" / f"{example.stem}_{kind}", env=self.env)

    def test_programs_manuals_and_the_rest_are_in_place(self):
        for path in ("bin/engramd", "bin/engram", "include/engram.h", "include/engram/error.h", "lib/libengram.so.0",
                     "lib/libengram.a", "share/man/man1/engram.1", "share/man/man8/engramd.8",
                     "share/man/man1/engram-partition.1", "share/man/man1/engram-soak.1",
                     "share/bash-completion/completions/engram-partition",
                     "share/bash-completion/completions/engram-soak",
                     "share/bash-completion/completions/engram", "lib/systemd/system/engramd.service",
                     "etc/engram/engramd.conf"):
            self.assertTrue((self.prefix / path).exists(), path)
        self.assertRegex(run(self.prefix / "bin/engramd", "--version"), r"^engramd \d+\.\d+\.\d+\n$")
        for program in ("engram", "engram-partition", "engram-soak"):
            self.assertRegex(run(self.prefix / "bin" / program, "--version"), rf"^{program} \d+\.\d+\.\d+\n$")


if __name__ == "__main__":
    unittest.main()
