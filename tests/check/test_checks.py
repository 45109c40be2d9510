#!/usr/bin/env python3
"""Every check fails on the fault it is there for: each test plants one."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CC = os.environ.get("CC", "cc")


class Planted(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.dir)

    def plant(self, name, text):
        path = self.dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def run_check(self, *command):
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=self.dir)
        return done.returncode, done.stdout + done.stderr

    def assert_found(self, what, *command):
        code, text = self.run_check(*command)
        self.assertNotEqual(code, 0, text)
        self.assertIn(what, text)

    def assert_clean(self, *command):
        code, text = self.run_check(*command)
        self.assertEqual(code, 0, text)


class Tidy(Planted):
    def tidy(self):
        return sys.executable, ROOT / "tools/tidy.py", self.dir

    def test_accepts_includes_that_point_down(self):
        self.plant("tables/a.c", '/* a.c -- one. */\n#include "tables/a.h"\n#include "engine/base.h"\n')
        self.assert_clean(*self.tidy())

    def test_finds_an_include_that_points_up(self):
        self.plant("engine/a.c", '/* a.c -- one. */\n#include "tables/store.h"\n')
        self.assert_found("engine/a.c:2: engine/ may not know tables/store.h", *self.tidy())

    def test_finds_the_public_facade_in_the_engine(self):
        self.plant("engine/a.c", '/* a.c -- one. */\n#include "engram.h"\n')
        self.assert_found("may not know engram.h", *self.tidy())

    def test_finds_an_inner_header_in_a_public_one(self):
        self.plant("include/engram/a.h", '/* a.h -- one. */\n#include "engine/base.h"\n')
        self.assert_found("may not know engine/base.h", *self.tidy())

    def test_finds_a_foreign_private_header(self):
        self.plant("tables/a.c", '/* a.c -- one. */\n#include "engine/runtime_private.h"\n')
        self.assert_found("private to engine/", *self.tidy())

    def test_finds_an_include_not_written_from_the_root(self):
        self.plant("tables/a.c", '/* a.c -- one. */\n#include "store.h"\n')
        self.assert_found("from the root", *self.tidy())

    def test_finds_a_file_that_does_not_say_what_it_is(self):
        self.plant("query/a.c", "int x;\n")
        self.assert_found("query/a.c:1: first line", *self.tidy())


class Seam(Planted):
    def archive(self, text, name="a.c"):
        source = self.plant(name, text)
        subprocess.run([CC, "-O1", "-fPIC", "-c", source, "-o", f"{source}.o"], check=True)
        subprocess.run(["ar", "rc", self.dir / "lib.a", f"{source}.o"], check=True)
        return sys.executable, HERE / "seam.py", self.dir / "lib.a"

    def test_accepts_constants_and_pure_code(self):
        text = 'static const char *const names[] = {"a", "b"}; const char *pick(int i) { return names[i]; }'
        self.assert_clean(*self.archive(text))

    def test_finds_a_clock(self):
        self.assert_found("a.c.o reaches around the seam: time",
                          *self.archive("#include <time.h>\nlong now(void) { return time(0); }"))

    def test_finds_malloc_and_a_lock(self):
        text = "#include <stdlib.h>\n#include <pthread.h>\nvoid *f(pthread_mutex_t *m) " \
               "{ pthread_mutex_lock(m); return malloc(9); }"
        self.assert_found("malloc", *self.archive(text))
        self.assert_found("pthread_mutex_lock", *self.archive(text))

    def test_lets_the_seam_itself_reach_out(self):
        self.assert_clean(*self.archive("#include <time.h>\nlong now(void) { return time(0); }", "env_uv.c"))

    def test_finds_mutable_globals_even_in_the_seam(self):
        text = "static int hits; int hit(void) { return ++hits; } int level = 3;"
        self.assert_found("mutable global: hits", *self.archive(text, "env_uv.c"))
        self.assert_found("mutable global: level", *self.archive(text))

    def test_finds_state_of_a_thread(self):
        self.assert_found("mutable global: depth",
                          *self.archive("static _Thread_local int depth; int f(void) { return ++depth; }"))

    def test_finds_openssl_outside_its_file(self):
        text = "void HMAC(void); void EVP_sha256(void); void f(void) { HMAC(); EVP_sha256(); }"
        self.assert_found("knows OpenSSL or loads libraries: HMAC", *self.archive(text))
        (self.dir / "lib.a").unlink()
        self.assert_clean(*self.archive(text, "proof_openssl.c"))


class Exports(Planted):
    def built(self, text, *flags):
        source, out = self.plant("a.c", text), self.dir / ("lib.so" if flags else "lib.a")
        if flags:
            subprocess.run([CC, "-fPIC", *flags, source, "-o", out], check=True)
        else:
            subprocess.run([CC, "-c", source, "-o", f"{source}.o"], check=True)
            subprocess.run(["ar", "rc", out, f"{source}.o"], check=True)
        return sys.executable, HERE / "exports.py", out

    def test_accepts_the_prefix(self):
        self.assert_clean(*self.built("int eg_open(void) { return 0; }", "-shared"))
        self.assert_clean(*self.built("int eg_open(void) { return 0; }"))

    def test_finds_a_leaked_name(self):
        text = "int eg_open(void) { return 0; } int table_get(void) { return 1; }"
        self.assert_found("table_get is visible", *self.built(text, "-shared"))
        self.assert_found("table_get is visible", *self.built(text))

    def test_refuses_a_library_that_exports_nothing(self):
        self.assert_found("exports nothing", *self.built("static int x; int *eg_hidden(void);", "-shared"))


class Runner(Planted):
    """tools/test counts what ctest counted, and a build that fails is a failure."""

    CMAKE = """
        cmake_minimum_required(VERSION 3.22)
        project(planted NONE)
        enable_testing()
        add_test(NAME good COMMAND true)
        add_test(NAME bad COMMAND false)
        add_test(NAME idle COMMAND sh -c "exit 77")
        set_tests_properties(idle PROPERTIES SKIP_RETURN_CODE 77)
    """

    def plant_tree(self, cmake):
        (self.dir / "tools").mkdir()
        shutil.copy(ROOT / "tools/test", self.dir / "tools")
        shutil.copy(ROOT / "CMakePresets.json", self.dir)
        self.plant("CMakeLists.txt", cmake)

    def last_line(self):
        done = subprocess.run(["tools/test", "--no-install", "release"], capture_output=True, text=True, cwd=self.dir)
        return done.returncode, done.stdout.splitlines()[-1]

    def test_counts_each_kind(self):
        self.plant_tree(self.CMAKE)
        self.assertEqual(self.last_line(), (1, "1 passed, 1 failed, 1 skipped"))

    def test_is_content_where_nothing_fails(self):
        self.plant_tree(self.CMAKE.replace("COMMAND false", "COMMAND true"))
        self.assertEqual(self.last_line(), (0, "2 passed, 0 failed, 1 skipped"))

    def test_a_tree_that_does_not_build_is_a_failure(self):
        self.plant_tree(self.CMAKE + "add_custom_target(broken ALL COMMAND false)")
        self.assertEqual(self.last_line(), (1, "0 passed, 1 failed, 0 skipped"))


class Claims(Planted):
    HEAD = "| what | proved by |\n|---|---|\n"

    def claims(self, line, scenario="| 1 halves | `test_cut.py` 01 |"):
        self.plant("docs/contexts.md", self.HEAD + line)
        self.plant("tests/cluster/README.md", self.HEAD + scenario)
        self.plant("tests/cluster/test_cut.py", "def test_01_halves")
        return sys.executable, HERE / "claims.py", self.dir

    def test_accepts_what_is_there(self):
        self.assert_clean(*self.claims("| one key | `cluster_cut`, `test_cut` |"))

    def test_finds_a_test_that_is_not_there(self):
        self.assert_found("contexts.md:3: there is no cluster_cuts", *self.claims("| one key | `cluster_cuts` |"))

    def test_finds_a_line_without_a_test(self):
        self.assert_found("which test proves this line?", *self.claims("| one key | surely |"))

    def test_finds_a_scenario_that_its_file_does_not_have(self):
        self.assert_found("test_cut.py has no 02", *self.claims("| a | `test_cut` |", "| 2 one | `test_cut.py` 02 |"))


class Format(Planted):
    def test_finds_a_file_nobody_formatted(self):
        if not shutil.which("clang-format"):
            self.skipTest("clang-format is not installed")
        shutil.copy(ROOT / ".clang-format", self.dir)
        self.plant("engine/a.c", "int  f( void ){return 1 ;}\n")
        self.assert_found("engine/a.c", "sh", HERE / "format.sh", self.dir)


if __name__ == "__main__":
    unittest.main()
