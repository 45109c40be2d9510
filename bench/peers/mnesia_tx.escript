#!/usr/bin/env escript
%%! +sbwt none -sname engram_bench_tx
%% mnesia_tx.escript -- what Mnesia reaches with transactions.
%%
%%     mnesia_tx.escript [--smoke] NODES [pair | tatp | tpcb]
%%
%% NODES BEAM nodes on this machine (1 or 3), ram_copies tables on all of them.  On one node the
%% clients are one process, and then two; on three, eight dealt out over the nodes.
%%
%% pair   one read and one write of a random key of 10,000.
%% tatp   the telecom benchmark: its four tables, its seven transactions in their standard mix and
%%        with its uneven choice of subscribers; 100,000 of them.  Keys of several columns are tuples.
%% tpcb   account, teller, branch, history; ten branches of ten tellers, 10,000 accounts each.
-mode(compile).
-define(KEYS, 10000).
-define(BRANCHES, 10).
-define(ACCOUNTS, 10000). % of each branch

main(["--smoke" | Rest]) -> run(Rest, 200, 1000);
main(Rest) -> run(Rest, 2000, 100000).

run([Count], Millis, Subscribers) -> [run([Count, W], Millis, Subscribers) || W <- ["pair", "tatp", "tpcb"]];
run([Count, What], Millis, Subscribers) ->
    Nodes = [node() | [start_peer() || _ <- lists:seq(2, list_to_integer(Count))]],
    _ = module(),
    [ok = rpc:call(N, application, start, [mnesia]) || N <- Nodes],
    {ok, _} = mnesia:change_config(extra_db_nodes, tl(Nodes)),
    Workload = list_to_atom(What),
    fill(Workload, Nodes, Subscribers),
    [measure(Workload, Clients, Nodes, Millis, Subscribers) || Clients <- clients(Nodes)],
    [rpc:call(N, init, stop, []) || N <- tl(Nodes)],
    mnesia:stop().

clients([_]) -> [1, 2];
clients(_) -> [8].

start_peer() ->
    {ok, _, Node} = peer:start_link(#{name => peer:random_name(),
                                      args => ["+sbwt", "none", "-setcookie",
                                               atom_to_list(erlang:get_cookie())]}),
    {Module, Binary, File} = module(),
    {module, Module} = rpc:call(Node, code, load_binary, [Module, File, Binary]),
    Node.

%% This script as a module, here and on the other nodes: escript's own functions have no name that
%% another node could call.
module() ->
    {ok, Forms} = epp:parse_file(escript:script_name(), [], []),
    Named = [{attribute, 1, module, mnesia_clients}, {attribute, 1, compile, [export_all, nowarn_export_all]} |
             [F || F = {function, _, _, _, _} <- Forms]],
    {ok, Module, Binary} = compile:forms(Named),
    {module, Module} = code:load_binary(Module, "mnesia_clients.erl", Binary),
    {Module, Binary, "mnesia_clients.erl"}.

table(Name, Nodes, Attributes, Options) ->
    {atomic, ok} = mnesia:create_table(Name, [{ram_copies, Nodes}, {attributes, Attributes} | Options]).

measure(Workload, Clients, Nodes, Millis, Subscribers) ->
    Self = self(),
    Before = erlang:monotonic_time(nanosecond),
    Pids = [spawn(lists:nth(1 + N rem length(Nodes), Nodes), mnesia_clients, client,
                  [Self, Workload, Millis, N, Subscribers]) || N <- lists:seq(1, Clients)],
    Done = lists:sum([receive {P, Count} -> Count end || P <- Pids]),
    Took = erlang:monotonic_time(nanosecond) - Before,
    Name = io_lib:format("~s, ~w nodes, ~w clients", [Workload, length(Nodes), Clients]),
    io:format("~-44s ~14.1f /s~n", [Name, Done * 1.0e9 / Took]).

client(Parent, Workload, Millis, Seed, Subscribers) ->
    rand:seed(exsss, Seed),
    Until = erlang:monotonic_time(millisecond) + Millis,
    Parent ! {self(), loop(Workload, Subscribers, Until, 0)}.

loop(Workload, Subscribers, Until, Count) ->
    work(Workload, Subscribers),
    case Count rem 16 =:= 0 andalso erlang:monotonic_time(millisecond) >= Until of
        true -> Count + 1;
        false -> loop(Workload, Subscribers, Until, Count + 1)
    end.

%% ---- one read and one write ----------------------------------------------------------

fill(pair, Nodes, _) ->
    table(pair, Nodes, [key, value], []),
    [ok = mnesia:dirty_write({pair, N, 0}) || N <- lists:seq(1, ?KEYS)];

%% ---- TATP ------------------------------------------------------------------------------

fill(tatp, Nodes, Subscribers) ->
    table(subscriber, Nodes, [s_id, sub_nbr, bits, hexes, bytes, msc_location, vlr_location],
          [{index, [sub_nbr]}]),
    table(access_info, Nodes, [key, data1, data2, data3, data4], []),
    table(special_facility, Nodes, [key, is_active, error_cntrl, data_a, data_b], []),
    table(call_forwarding, Nodes, [key, end_time, numberx], []),
    rand:seed(exsss, 1),
    [subscriber(S) || S <- lists:seq(1, Subscribers)];

%% ---- TPC-B -------------------------------------------------------------------------------

fill(tpcb, Nodes, _) ->
    [table(Name, Nodes, [id, branch, balance], []) || Name <- [branch, teller, account]],
    table(history, Nodes, [id, teller, branch, account, delta], []),
    [ok = mnesia:dirty_write({branch, B, B, 0}) || B <- lists:seq(0, ?BRANCHES - 1)],
    [ok = mnesia:dirty_write({teller, T, T div 10, 0}) || T <- lists:seq(0, ?BRANCHES * 10 - 1)],
    [ok = mnesia:dirty_write({account, A, A div ?ACCOUNTS, 0})
     || A <- lists:seq(0, ?BRANCHES * ?ACCOUNTS - 1)].

sub_nbr(S) -> list_to_binary(io_lib:format("~15..0w", [S])).

some_of(Four) -> % 1 to 4 of them, at random
    lists:sublist([X || {_, X} <- lists:sort([{rand:uniform(), X} || X <- Four])], rand:uniform(4)).

subscriber(S) ->
    ok = mnesia:dirty_write({subscriber, S, sub_nbr(S), rand:uniform(1024) - 1,
                             rand:bytes(5), rand:bytes(10), rand:uniform(1 bsl 32), rand:uniform(1 bsl 32)}),
    [ok = mnesia:dirty_write({access_info, {S, T}, rand:uniform(256), rand:uniform(256), <<"abc">>, <<"abcde">>})
     || T <- some_of([1, 2, 3, 4])],
    [begin
         ok = mnesia:dirty_write({special_facility, {S, T}, rand:uniform(100) =< 85, rand:uniform(256),
                                  rand:uniform(256), <<"abcde">>}),
         [ok = mnesia:dirty_write({call_forwarding, {S, T, From}, From + rand:uniform(8), sub_nbr(S)})
          || From <- lists:sublist([0, 8, 16], rand:uniform(4) - 1)]
     end || T <- some_of([1, 2, 3, 4])].

%% The benchmark's uneven choice.
some_subscriber(Subscribers) ->
    A = if Subscribers =< 1000000 -> 65535; true -> 1048575 end,
    (((rand:uniform(A + 1) - 1) bor rand:uniform(Subscribers)) rem Subscribers) + 1.

work(pair, _) ->
    Key = rand:uniform(?KEYS),
    {atomic, ok} = mnesia:transaction(fun() ->
        [{pair, _, N}] = mnesia:read(pair, Key),
        mnesia:write({pair, Key, N + 1})
    end);
work(tpcb, _) ->
    Account = rand:uniform(?BRANCHES * ?ACCOUNTS) - 1,
    Teller = rand:uniform(?BRANCHES * 10) - 1,
    Branch = Teller div 10,
    Delta = rand:uniform(1999999) - 1000000,
    Id = {node(), erlang:unique_integer()},
    {atomic, ok} = mnesia:transaction(fun() ->
        [{account, _, B, Old}] = mnesia:read(account, Account, write),
        ok = mnesia:write({account, Account, B, Old + Delta}),
        [{teller, _, T, OldT}] = mnesia:read(teller, Teller, write),
        ok = mnesia:write({teller, Teller, T, OldT + Delta}),
        [{branch, _, _, OldB}] = mnesia:read(branch, Branch, write),
        ok = mnesia:write({branch, Branch, Branch, OldB + Delta}),
        mnesia:write({history, Id, Teller, Branch, Account, Delta})
    end);
work(tatp, Subscribers) ->
    S = some_subscriber(Subscribers),
    case rand:uniform(100) of
        N when N =< 35 -> get_subscriber_data(S);
        N when N =< 45 -> get_new_destination(S);
        N when N =< 80 -> get_access_data(S);
        N when N =< 82 -> update_subscriber_data(S);
        N when N =< 96 -> update_location(S);
        N when N =< 98 -> insert_call_forwarding(S);
        _ -> delete_call_forwarding(S)
    end.

start_time() -> (rand:uniform(3) - 1) * 8.

get_subscriber_data(S) ->
    {atomic, [_]} = mnesia:transaction(fun() -> mnesia:read(subscriber, S) end).

get_new_destination(S) ->
    Type = rand:uniform(4), Start = start_time(), End = rand:uniform(24),
    {atomic, _} = mnesia:transaction(fun() ->
        case mnesia:read(special_facility, {S, Type}) of
            [{_, _, true, _, _, _}] ->
                [Number || From <- lists:seq(0, Start, 8),
                           {_, _, To, Number} <- mnesia:read(call_forwarding, {S, Type, From}), End < To];
            _ -> []
        end
    end).

get_access_data(S) ->
    Type = rand:uniform(4),
    {atomic, _} = mnesia:transaction(fun() -> mnesia:read(access_info, {S, Type}) end).

update_subscriber_data(S) ->
    Bits = rand:uniform(1024) - 1, Data = rand:uniform(256) - 1, Type = rand:uniform(4),
    mnesia:transaction(fun() ->
        [Subscriber] = mnesia:read(subscriber, S, write),
        ok = mnesia:write(setelement(4, Subscriber, Bits)),
        case mnesia:read(special_facility, {S, Type}, write) of
            [Facility] -> mnesia:write(setelement(5, Facility, Data));
            [] -> mnesia:abort(no_facility)
        end
    end).

update_location(S) ->
    Number = sub_nbr(S), Location = rand:uniform(1 bsl 32),
    {atomic, ok} = mnesia:transaction(fun() ->
        [Subscriber] = mnesia:index_read(subscriber, Number, sub_nbr),
        mnesia:write(setelement(8, Subscriber, Location))
    end).

insert_call_forwarding(S) ->
    Number = sub_nbr(S), Type = rand:uniform(4), Start = start_time(), End = Start + rand:uniform(8),
    mnesia:transaction(fun() ->
        [Subscriber] = mnesia:index_read(subscriber, Number, sub_nbr),
        Id = element(2, Subscriber),
        _ = [T || T <- [1, 2, 3, 4], mnesia:read(special_facility, {Id, T}) =/= []],
        case {mnesia:read(special_facility, {Id, Type}), mnesia:read(call_forwarding, {Id, Type, Start}, write)} of
            {[_], []} -> mnesia:write({call_forwarding, {Id, Type, Start}, End, Number});
            _ -> mnesia:abort(refused)
        end
    end).

delete_call_forwarding(S) ->
    Number = sub_nbr(S), Type = rand:uniform(4), Start = start_time(),
    mnesia:transaction(fun() ->
        [Subscriber] = mnesia:index_read(subscriber, Number, sub_nbr),
        Key = {element(2, Subscriber), Type, Start},
        case mnesia:read(call_forwarding, Key, write) of
            [_] -> mnesia:delete({call_forwarding, Key});
            [] -> mnesia:abort(absent)
        end
    end).
