#!/usr/bin/env escript
%%! +sbwt none +P 3000000 +S 2
%% beam.escript -- BEAM processes at what bench_actor and bench_otp measure.
%%
%%     beam.escript [--smoke]
%%
%% Processes are pinned with the scheduler option of spawn_opt, so that "one scheduler" and
%% "across" mean here what they mean there.
-mode(compile).

-export([init/1, handle_call/3, handle_cast/2]).

main(["--smoke"]) -> run(20000, 5000);
main([]) -> run(1000000, 100000).

run(Processes, Calls) ->
    spawns(Processes),
    [print("call, " ++ Where, median([calls(On, Calls) || _ <- lists:seq(1, 5)]), "calls/s")
     || {Where, On} <- [{"one scheduler", 1}, {"across", 2}]].

spawns(N) ->
    Before = erlang:memory(processes),
    T0 = erlang:monotonic_time(nanosecond),
    Pids = spawn_all(N, []),
    T1 = erlang:monotonic_time(nanosecond),
    print("spawn", (T1 - T0) / N, "ns"),
    print("idle actor", (erlang:memory(processes) - Before) / N, "bytes"),
    [Pid ! stop || Pid <- Pids].

spawn_all(0, Pids) -> Pids;
spawn_all(N, Pids) -> spawn_all(N - 1, [spawn(fun() -> receive stop -> ok end end) | Pids]).

calls(On, N) ->
    {ok, Server} = gen_server:start(?MODULE, [], [{spawn_opt, [{scheduler, On}]}]),
    Self = self(),
    spawn_opt(fun() ->
        T0 = erlang:monotonic_time(nanosecond),
        call(Server, N),
        Self ! {took, erlang:monotonic_time(nanosecond) - T0}
    end, [link, {scheduler, 1}]),
    Took = receive {took, Ns} -> Ns end,
    gen_server:stop(Server),
    N * 1.0e9 / Took.

call(_, 0) -> ok;
call(Server, N) ->
    N = gen_server:call(Server, N),
    call(Server, N - 1).

init([]) -> {ok, []}.
handle_call(N, _From, State) -> {reply, N, State}.
handle_cast(_, State) -> {noreply, State}.

median(List) -> lists:nth(length(List) div 2 + 1, lists:sort(List)).

print(What, Value, Unit) -> io:format("~-44s ~14.1f ~s~n", [What, Value, Unit]).
