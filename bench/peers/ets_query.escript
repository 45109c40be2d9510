#!/usr/bin/env escript
%%! +sbwt none
%% ets_query.escript -- ETS at what bench_query measures: same records, same questions.
%%
%%     ets_query.escript [--smoke] select|range
%%
%% The specification is compiled by each select, as in programs; a table of its own
%% process, with and without read_concurrency, of which bench/run takes the better.
-mode(compile).

main(["--smoke", What]) -> run(What, 20000, 50);
main([What]) -> run(What, 1000000, 1000).

run(What, Records, Ms) ->
    [measure(What, Options, Records, Ms) || Options <- [[], [{read_concurrency, true}]]].

key(N) -> list_to_binary(io_lib:format("~16.16.0b", [N])).

measure("select", Options, Records, Ms) ->
    T = ets:new(t, [set, public | Options]),
    Value = binary:copy(<<1>>, 64),
    [ets:insert(T, {key(N), N rem 1000, Value}) || N <- lists:seq(0, Records - 1)],
    Spec = [{{'$1', '$2', '_'}, [{'<', '$2', 10}], ['$1']}],
    Wanted = Records div 1000 * 10,
    rate("one guard", Ms, fun() -> Wanted = length(ets:select(T, Spec)) end, Records),
    ets:delete(T);
measure("range", Options, Records, Ms) ->
    T = ets:new(t, [ordered_set, public | Options]),
    Value = binary:copy(<<1>>, 64),
    [ets:insert(T, {{key(N div 100), N rem 100}, N rem 1000, Value}) ||
        N <- lists:seq(0, Records - 1)],
    Select = fun() ->
        First = key(rand:uniform(Records div 100) - 1),
        100 = length(ets:select(T, [{{{First, '_'}, '_', '_'}, [], ['$_']}]))
    end,
    rate("range of 100", Ms, Select, 100),
    ets:delete(T).

%% In a process with a heap of its own, as what selects would be.
rate(What, Ms, Fun, Each) ->
    Self = self(),
    spawn_link(fun() ->
        Start = erlang:monotonic_time(nanosecond),
        Done = loop(Fun, Start + Ms * 1000000, 0),
        Self ! {done, Done, erlang:monotonic_time(nanosecond) - Start}
    end),
    receive
        {done, Done, Took} ->
            io:format("~-44s ~14.1f ~s~n", [What, Done * Each * 1.0e9 / Took, "/s"])
    end.

loop(Fun, End, Done) ->
    Fun(),
    case erlang:monotonic_time(nanosecond) < End of
        true -> loop(Fun, End, Done + 1);
        false -> Done + 1
    end.
