#!/usr/bin/env escript
%%! +sbwt none -sname engram_bench
%% mnesia_cluster.escript -- what Mnesia pays for writes to a table with copies on three nodes.
%%
%%     mnesia_cluster.escript [--smoke]
%%
%% Three BEAM nodes on this machine, a ram_copies table on all of them, eight writers dealt out
%% over them, random keys.  Then how many keys differ between copies (concurrent dirty writes leave
%% some), and how fast a new copy fills.
-mode(compile).
-compile([nowarn_unused_function]). % they run as a module on the other nodes
-define(WRITERS, 8).
-define(KEYS, 10000).

main(["--smoke"]) -> run(200, 20000);
main([]) -> run(2000, 1000000).

run(Millis, Records) ->
    Nodes = [node() | [start_peer() || _ <- [1, 2]]],
    [ok = rpc:call(N, application, start, [mnesia]) || N <- Nodes],
    {ok, _} = mnesia:change_config(extra_db_nodes, tl(Nodes)),
    {atomic, ok} = mnesia:create_table(t, [{ram_copies, Nodes}, {attributes, [key, value]}]),
    [measure(Context, Nodes, Millis) || Context <- [sync_dirty, async_dirty]],
    timer:sleep(500),
    Differ = length([K || K <- lists:seq(1, ?KEYS),
                          length(lists:usort([rpc:call(N, mnesia, dirty_read, [t, K]) || N <- Nodes])) > 1]),
    io:format("~-44s ~14.1f keys~n", ["keys that differ", float(Differ)]),
    fill(Nodes, Records),
    [rpc:call(N, init, stop, []) || N <- tl(Nodes)],
    mnesia:stop().

start_peer() ->
    {ok, _, Node} = peer:start_link(#{name => peer:random_name(),
                                      args => ["+sbwt", "none", "-setcookie",
                                               atom_to_list(erlang:get_cookie())]}),
    {Module, Binary, File} = module(),
    {module, Module} = rpc:call(Node, code, load_binary, [Module, File, Binary]),
    Node.

%% This script as a module, for the other nodes.
module() ->
    {ok, Forms} = epp:parse_file(escript:script_name(), [], []),
    Named = [{attribute, 1, module, mnesia_writers}, {attribute, 1, export, [{writer, 4}]} |
             [F || F = {function, _, Name, _, _} <- Forms, lists:member(Name, [writer, loop])]],
    {ok, Module, Binary} = compile:forms(Named),
    {module, Module} = code:load_binary(Module, "mnesia_writers.erl", Binary),
    {Module, Binary, "mnesia_writers.erl"}.

measure(Context, Nodes, Millis) ->
    Self = self(),
    Before = erlang:monotonic_time(nanosecond),
    Pids = [spawn(lists:nth(1 + N rem 3, Nodes), mnesia_writers, writer, [Self, Context, Millis, N])
            || N <- lists:seq(1, ?WRITERS)],
    Done = lists:sum([receive {P, Count} -> Count end || P <- Pids]),
    Took = erlang:monotonic_time(nanosecond) - Before,
    io:format("~-44s ~14.1f /s~n", [atom_to_list(Context), Done * 1.0e9 / Took]).

writer(Parent, Context, Millis, Seed) ->
    rand:seed(exsss, Seed),
    Until = erlang:monotonic_time(millisecond) + Millis,
    Parent ! {self(), loop(Context, binary:copy(<<1>>, 64), Until, 0)}.

loop(Context, Value, Until, Count) ->
    Key = rand:uniform(10000),
    ok = mnesia:Context(fun() -> mnesia:write({t, Key, Value}) end),
    case Count rem 16 =:= 0 andalso erlang:monotonic_time(millisecond) >= Until of
        true -> Count + 1;
        false -> loop(Context, Value, Until, Count + 1)
    end.

fill(Nodes, Records) ->
    {atomic, ok} = mnesia:create_table(f, [{ram_copies, [hd(Nodes)]}, {attributes, [key, value]}]),
    Value = binary:copy(<<1>>, 64),
    [ok = mnesia:dirty_write({f, N, Value}) || N <- lists:seq(1, Records)],
    Before = erlang:monotonic_time(nanosecond),
    {atomic, ok} = mnesia:add_table_copy(f, lists:last(Nodes), ram_copies),
    Took = erlang:monotonic_time(nanosecond) - Before,
    io:format("~-44s ~14.1f /s~n", ["an empty copy fills", Records * 1.0e9 / Took]).
