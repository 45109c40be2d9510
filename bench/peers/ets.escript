#!/usr/bin/env escript
%% ets.escript -- ETS at what bench_table measures: same records, same loops.
%%! +sbwt none -smp enable
-mode(compile).

key(N) -> list_to_binary(io_lib:format("~16.16.0b", [N])).

main(Args) ->
    {Records, Ms} = case Args of ["--smoke" | _] -> {20000, 50}; _ -> {1000000, 2000} end,
    [measure(Type, Records, Ms) || Type <- [set, ordered_set]].

measure(Type, Records, Ms) ->
    T = ets:new(t, [Type, public, {read_concurrency, true}, {write_concurrency, true}]),
    Value = binary:copy(<<1>>, 64),
    T0 = erlang:monotonic_time(nanosecond),
    [ets:insert(T, {key(I), Value}) || I <- lists:seq(0, Records - 1)],
    T1 = erlang:monotonic_time(nanosecond),
    print(Type, "fill 1 thread", Records * 1.0e9 / (T1 - T0), "/s"),
    Words = ets:info(T, memory) * erlang:system_info(wordsize),
    print(Type, "memory over payload", Words / Records - 80, "bytes/record"),
    Keys = list_to_tuple([key(rand:uniform(Records) - 1) || _ <- lists:seq(1, 100000)]),
    Get = fun(K) -> [_] = ets:lookup(T, K) end,
    Put = fun(K) -> ets:insert(T, {K, Value}) end,
    [rate(Type, "read", N, Ms, Keys, Get, 1) || N <- [1, 2]],
    [rate(Type, "overwrite", N, Ms, Keys, Put, 1) || N <- [1, 2]],
    case Type of
        ordered_set ->
            Range = fun(K) ->
                {L, _} = ets:select(T, [{{'$1', '$2'}, [{'>=', '$1', K}], ['$_']}], 100),
                length(L)
            end,
            rate(Type, "range of 100", 1, Ms, Keys, Range, 100);
        set -> ok
    end,
    ets:delete(T).

rate(Type, What, N, Ms, Keys, Fun, Each) ->
    Self = self(),
    Flag = atomics:new(1, []),
    T0 = erlang:monotonic_time(nanosecond),
    Pids = [spawn_link(fun() -> Self ! {self(), loop(Flag, Keys, Fun, P * 31337, 0)} end)
            || P <- lists:seq(1, N)],
    timer:sleep(Ms),
    atomics:put(Flag, 1, 1),
    Done = lists:sum([receive {Pid, Count} -> Count end || Pid <- Pids]),
    T1 = erlang:monotonic_time(nanosecond),
    Plural = case N of 1 -> ""; _ -> "s" end,
    print(Type, io_lib:format("~s ~b thread~s", [What, N, Plural]), Done * Each * 1.0e9 / (T1 - T0), "/s").

loop(Flag, Keys, Fun, At, Done) ->
    case atomics:get(Flag, 1) of
        1 -> Done;
        0 -> loop(Flag, Keys, Fun, round64(Keys, Fun, At, 64), Done + 64)
    end.

round64(_, _, At, 0) -> At;
round64(Keys, Fun, At, N) ->
    Fun(element(At rem tuple_size(Keys) + 1, Keys)),
    round64(Keys, Fun, At + 1, N - 1).

print(Type, What, Value, Unit) ->
    io:format("~-44s ~14.1f ~s~n", [io_lib:format("~s ~s", [Type, What]), Value, Unit]).
