#!/usr/bin/env python3
"""Clients of MessagePack-RPC that others wrote work as they are: pynvim's session,
the editor neovim, and lua-mpack.  One that is not installed is skipped, and says so."""
import json
import pathlib
import re
import shutil
import subprocess
import unittest

from harness import ClusterTest, main

LUA = """
local uv, mpack = require('luv'), require('mpack')
local pack, session = mpack.Packer(), mpack.Session({unpack = mpack.Unpacker()})
local socket, answers = uv.new_tcp(), {}
local calls = {
  {'write', {'t', {'lua', {1, 2.5, 'three'}}}},
  {'read', {'t', 'lua'}},
  {'frobnicate', {}},
  {'update_counter', {'t', 'n', 'value', 5}},
  {'ping', {}},
}

local function plain(v)
  return v == mpack.NIL and 'nil' or type(v) == 'table' and #v .. ' elements' or tostring(v)
end

socket:connect('127.0.0.1', tonumber(arg[1]), function(err)
  assert(not err, err)
  for i, call in ipairs(calls) do -- pipelined: all are sent before one is answered
    local data = session:request(function(e, result)
      print(call[1] .. ' ' .. plain(e) .. ' ' .. plain(result))
      answers[#answers + 1] = i
      if #answers == #calls then socket:close() end
    end)
    socket:write(data .. pack(call[1]) .. pack(call[2]))
  end
  socket:read_start(function(e, data)
    assert(not e, e)
    local at = 1
    while data and at <= #data do
      local kind, callback, fault, result
      kind, callback, fault, result, at = session:receive(data, at)
      if kind == 'response' then callback(fault, result) end
    end
  end)
end)
uv.run()
"""


class Clients(ClusterTest):
    def setUp(self):
        super().setUp()
        self.served = self.node()
        self.port = self.served.address.rsplit(":", 1)[1]
        self.client = self.served.client()
        self.client.call("create_table", "t")

    def run_program(self, *command):
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60,
                              stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_pynvim(self):
        try:
            from pynvim.msgpack_rpc import tcp_session
        except ImportError:
            self.skipTest("python3-pynvim is not installed")
        session = tcp_session("127.0.0.1", int(self.port))
        session.error_wrapper = lambda error: Exception(error)
        self.assertEqual(session.request("ping"), "pong")
        self.assertTrue(session.request("write", "t", ["py", {"a": [1, 2.5, None, True]}]))
        self.assertEqual(session.request("read", "t", "py"), [["py", {"a": [1, 2.5, None, True]}]])
        self.assertEqual(session.request("read", "t", "absent"), [])
        with self.assertRaisesRegex(Exception, "no_method"):
            session.request("nvim_set_client_info", "x", {}, "remote", {}, {})
        with self.assertRaisesRegex(Exception, "no_table"):
            session.request("read", "nope", 1)
        self.assertEqual(session.request("size", "t"), 1)
        for number in range(500):
            session.request("write", "t", [number, "x" * number])
        self.assertEqual(session.request("size", "t"), 501)
        session.close()

    def test_neovim(self):
        if not shutil.which("nvim"):
            self.skipTest("neovim is not installed")
        out = self.dir / "out"
        script = self.file("script.vim", f"""
            let node = sockconnect('tcp', '127.0.0.1:{self.port}', {{'rpc': v:true}})
            let said = [rpcrequest(node, 'ping')]
            call add(said, rpcrequest(node, 'write', 't', ['vim', [1, 2.5, v:null]]))
            call add(said, rpcrequest(node, 'read', 't', 'vim'))
            try
              call rpcrequest(node, 'read', 'nope', 1)
            catch
              call add(said, v:exception)
            endtry
            call add(said, rpcrequest(node, 'size', 't'))
            call writefile([json_encode(said)], '{out}')
            qall!
        """)
        self.run_program("nvim", "--headless", "-u", "NONE", "-i", "NONE", "-n", "-S", script)
        pong, written, read, refusal, size = json.loads(out.read_text())
        self.assertEqual((pong, written, read, size), ("pong", True, [["vim", [1, 2.5, None]]], 1))
        self.assertIn("no_table", refusal)

    def test_lua_mpack(self):
        lua = shutil.which("lua5.1")
        if not lua or subprocess.run([lua, "-e", "require('luv') require('mpack')"], capture_output=True).returncode:
            self.skipTest("lua5.1, lua-luv or lua-mpack is not installed")
        said = self.run_program(lua, self.file("script.lua", LUA), self.port).splitlines()
        self.assertEqual(len(said), 5)
        self.assertIn("write nil true", said)
        self.assertIn("read nil 1 elements", said)
        self.assertIn("update_counter nil 5", said)
        self.assertIn("ping nil pong", said)
        self.assertTrue(any(line.startswith("frobnicate no_method") for line in said), said)
        self.assertEqual(self.client.call("read", "t", "lua"), [["lua", [1, 2.5, "three"]]])

    def test_the_python_in_the_readme(self):
        readme = pathlib.Path(__file__).resolve().parents[2] / "README.md"
        script = re.search(r"```python\n(.*?)```", readme.read_text(), re.DOTALL)[1].replace("7340", self.port)
        self.assertEqual(self.run_program("/usr/bin/python3", self.file("readme.py", script)),
                         "[[1, 'Ada']] [[1, 'Ada']]\n")

    def test_a_method_may_come_as_binary_and_a_notification_is_carried_out(self):
        import msgpack
        self.client.last += 1
        self.client.socket.sendall(msgpack.packb([2, "write", ["t", ["quiet", 1]]]) +
                                   msgpack.packb([0, self.client.last, b"read", ["t", "quiet"]]))
        self.assertEqual(self.client.receive(), (self.client.last, None, [["quiet", 1]]))


if __name__ == "__main__":
    main()
