#!/usr/bin/env escript
%%! +sbwt none
%% mnesia_index.escript -- what Mnesia pays for the look-ups of `bench_query index`.
%%
%%     mnesia_index.escript [--smoke]
-mode(compile).
-define(SAME, 10).

main(["--smoke"]) -> run(20000, 100000);
main([]) -> run(1000000, 1000000).

run(Records, LookUps) ->
    ok = mnesia:start(),
    {atomic, ok} = mnesia:create_table(t, [{ram_copies, [node()]}, {attributes, [key, number, value]},
                                           {index, [number]}]),
    Value = binary:copy(<<1>>, 64),
    [ok = mnesia:dirty_write({t, key(N), N div ?SAME, Value}) || N <- lists:seq(0, Records - 1)],
    ?SAME = length(mnesia:dirty_index_read(t, 1, number)),
    rand:seed(exsss, 1),
    Numbers = [rand:uniform(Records div ?SAME) - 1 || _ <- lists:seq(1, LookUps)],
    T0 = erlang:monotonic_time(nanosecond),
    lists:foreach(fun(N) -> mnesia:dirty_index_read(t, N, number) end, Numbers),
    T1 = erlang:monotonic_time(nanosecond),
    io:format("~-44s ~14.1f look-ups/s~n", ["index read of 10", LookUps * 1.0e9 / (T1 - T0)]),
    mnesia:stop().

key(N) -> list_to_binary(io_lib:format("~16.16.0b", [N])).
