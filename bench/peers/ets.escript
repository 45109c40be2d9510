#!/usr/bin/env escript
%%! +sbwt none
%% ets.escript -- ETS at what bench_table measures: same records, same loops.
%%
%%     ets.escript [--smoke] set|ordered_set
%%
%% ETS at its best: each figure is taken with every concurrency option that helps some
%% load and printed once for each, and bench/run takes the highest; keys lie in a
%% persistent term, which processes share without copying; and 100 records from a key on
%% are read by next and lookup, and by a select that binds the first part of a key made
%% of two, which is the one way to bound a select.
-mode(compile).

-define(DRAWS, 1048576).

main(["--smoke", Type]) -> run(list_to_atom(Type), 20000, 50);
main([Type]) -> run(list_to_atom(Type), 1000000, 1000).

run(Type, Records, Ms) ->
    memory(Type, Records),
    Keys = [key(rand:uniform(Records) - 1) || _ <- lists:seq(1, ?DRAWS)],
    persistent_term:put(keys, list_to_tuple(Keys)),
    [measure(Type, Options, Records, Ms) ||
        Options <- [[], [{read_concurrency, true}],
                    [{read_concurrency, true}, {write_concurrency, true}]]],
    Type =:= ordered_set andalso bounded_range(Records, Ms).

key(N) -> list_to_binary(io_lib:format("~16.16.0b", [N])).

memory(Type, Records) ->
    T = ets:new(t, [Type, public]),
    fill(T, binary:copy(<<1>>, 64), Records),
    garbage_collect(),
    {ok, Statm} = file:read_file("/proc/self/statm"),
    [_, Pages | _] = string:split(Statm, " ", all),
    print("process over payload", binary_to_integer(Pages) * 4096 / Records - 80, "bytes/record"),
    Words = ets:info(T, memory) * erlang:system_info(wordsize),
    print("table over payload", Words / Records - 80, "bytes/record"),
    ets:delete(T).

measure(Type, Options, Records, Ms) ->
    T = ets:new(t, [Type, public | Options]),
    Value = binary:copy(<<1>>, 64),
    fill(T, Value, Records),
    [rate("read", N, Ms, fun(K) -> [_] = ets:lookup(T, K) end, 1) || N <- [1, 2]],
    [rate("overwrite", N, Ms, fun(K) -> ets:insert(T, {K, Value}) end, 1) || N <- [1, 2]],
    Type =:= ordered_set andalso
        rate("range of 100", 1, Ms, fun(K) -> walk(T, K, 100) end, 100),
    ets:delete(T).

fill(_, _, 0) -> ok;
fill(T, Value, N) ->
    ets:insert(T, {key(N - 1), Value}),
    fill(T, Value, N - 1).

walk(_, _, 0) -> ok;
walk(_, '$end_of_table', _) -> ok;
walk(T, K, N) ->
    [_] = ets:lookup(T, K),
    walk(T, ets:next(T, K), N - 1).

bounded_range(Records, Ms) ->
    T = ets:new(t, [ordered_set, public, {read_concurrency, true}]),
    Value = binary:copy(<<1>>, 64),
    [ets:insert(T, {{key(N div 100), N rem 100}, Value}) || N <- lists:seq(0, Records - 1)],
    Select = fun(K) ->
        Hundred = key(binary_to_integer(K, 16) div 100),
        100 = length(ets:select(T, [{{{Hundred, '_'}, '_'}, [], ['$_']}]))
    end,
    rate("range of 100", 1, Ms, Select, 100).

rate(What, N, Ms, Fun, Each) ->
    Self = self(),
    Flag = atomics:new(1, []),
    T0 = erlang:monotonic_time(nanosecond),
    Pids = [spawn_link(fun() -> Self ! {self(), loop(Flag, Fun, P * 31337, 0)} end)
            || P <- lists:seq(1, N)],
    timer:sleep(Ms),
    atomics:put(Flag, 1, 1),
    Done = lists:sum([receive {Pid, Count} -> Count end || Pid <- Pids]),
    T1 = erlang:monotonic_time(nanosecond),
    Plural = case N of 1 -> ""; _ -> "s" end,
    print(io_lib:format("~s ~b thread~s", [What, N, Plural]),
          Done * Each * 1.0e9 / (T1 - T0), "/s").

loop(Flag, Fun, At, Done) ->
    case atomics:get(Flag, 1) of
        1 -> Done;
        0 -> loop(Flag, Fun, round64(persistent_term:get(keys), Fun, At, 64), Done + 64)
    end.

round64(_, _, At, 0) -> At;
round64(Keys, Fun, At, N) ->
    Fun(element(At band (?DRAWS - 1) + 1, Keys)),
    round64(Keys, Fun, At + 1, N - 1).

print(What, Value, Unit) ->
    io:format("~-44s ~14.1f ~s~n", [What, Value, Unit]).
