#!/usr/bin/env escript
%%! +sbwt none -mnesia dump_log_write_threshold 100000 -mnesia no_table_loaders 4
%% mnesia.escript -- how fast Mnesia starts with the disc_copies table of bench_start.
%%
%%     mnesia.escript DIRECTORY fill|load RECORDS
%%
%% Before it stops, fill makes Mnesia dump its log, so that load finds the table in the form
%% that Mnesia loads fastest.
-mode(compile).

main([Directory, What, Records]) ->
    application:set_env(mnesia, dir, Directory),
    run(What, list_to_integer(Records)).

run("fill", Records) ->
    ok = mnesia:create_schema([node()]),
    ok = mnesia:start(),
    {atomic, ok} = mnesia:create_table(t, [{disc_copies, [node()]}]),
    Value = binary:copy(<<1>>, 64),
    [ok = mnesia:dirty_write({t, key(N), Value}) || N <- lists:seq(0, Records - 1)],
    dumped = mnesia:dump_log(),
    stopped = mnesia:stop();
run("load", Records) ->
    T0 = erlang:monotonic_time(nanosecond),
    ok = mnesia:start(),
    ok = mnesia:wait_for_tables([t], infinity),
    [_] = mnesia:dirty_read(t, key(Records - 1)),
    Records = mnesia:table_info(t, size),
    T1 = erlang:monotonic_time(nanosecond),
    io:format("~-44s ~14.1f records/s~n", ["load", Records * 1.0e9 / (T1 - T0)]),
    mnesia:stop().

key(N) -> list_to_binary(io_lib:format("~16.16.0b", [N])).
