#!/usr/bin/env escript
%% ets_oracle -- what ETS answers to match specifications that are written in MessagePack.
%%
%%     ets_oracle.escript CASES ANSWERS
%%
%% CASES is a row of [mode, spec, [record, ...]]; ANSWERS one of [[result] or [], ...], or
%% "badarg" where ETS refuses the specification.  Mode 0 makes lists of arrays, 1 tuples: what
%% works on the one does not work on the other.  Strings are binaries, nil is an atom, an
%% integer past 64 bits is what Engram says there: "EXIT".
-mode(compile).

main([Cases, Answers]) ->
    {ok, Bytes} = file:read_file(Cases),
    ok = file:write_file(Answers, run(Bytes, [])).

run(<<>>, Done) ->
    lists:reverse(Done);
run(Bytes, Done) ->
    {[Mode, Spec, Records], Rest} = unpack(Bytes),
    run(Rest, [answer(Mode, Spec, Records) | Done]).

answer(Mode, Spec, Records) ->
    try ets:match_spec_compile([clause(Mode, C) || C <- Spec]) of
        Compiled ->
            pack([ets:match_spec_run([list_to_tuple([term(Mode, F) || F <- R])], Compiled)
                  || R <- Records])
    catch
        error:badarg -> pack({string, <<"badarg">>})
    end.

%% ---- Engram's terms as ETS's ------------------------------------------------

clause(Mode, [Head, Guards, Body]) ->
    {head(Mode, Head), [expr(Mode, G) || G <- Guards], [expr(Mode, B) || B <- Body]}.

head(Mode, Head) when is_list(Head) ->
    list_to_tuple([pattern(Mode, F) || F <- Head]);
head(Mode, Head) ->
    pattern(Mode, Head).

pattern(Mode, L) when is_list(L) -> array(Mode, [pattern(Mode, E) || E <- L]);
pattern(_, {string, <<"_">>}) -> '_';
pattern(Mode, X) -> variable(Mode, X).

array(0, L) -> L;
array(1, L) -> list_to_tuple(L).

term(Mode, L) when is_list(L) -> array(Mode, [term(Mode, E) || E <- L]);
term(Mode, M) when is_map(M) ->
    maps:from_list([{term(Mode, K), term(Mode, V)} || {K, V} <- maps:to_list(M)]);
term(_, {string, S}) -> S;
term(_, X) -> X.

variable(_, {string, <<$$, Rest/binary>> = Name}) when Rest =/= <<>> ->
    case Rest of
        <<"_">> -> '$_';
        <<"$">> -> '$$';
        _ ->
            case re:run(Rest, "^[0-9]+$", [{capture, none}]) of
                match -> binary_to_atom(Name);
                nomatch -> Name
            end
    end;
variable(Mode, X) -> term(Mode, X).

expr(Mode, [L]) when is_list(L) ->
    Elements = [expr(Mode, E) || E <- L],
    case Mode of
        0 -> Elements;
        1 -> {list_to_tuple(Elements)}
    end;
expr(Mode, [{string, <<"const">>}, X]) -> {const, term(Mode, X)};
expr(Mode, [{string, <<"is_nil">>}, X]) -> {'=:=', expr(Mode, X), nil};
expr(Mode, [{string, Op} | Args]) ->
    list_to_tuple([operator(Op) | [expr(Mode, A) || A <- Args]]);
expr(Mode, M) when is_map(M) ->
    maps:from_list([{expr(Mode, K), expr(Mode, V)} || {K, V} <- maps:to_list(M)]);
expr(Mode, X) -> variable(Mode, X).

operator(<<"!=">>) -> '/=';
operator(<<"<=">>) -> '=<';
operator(<<"is_string">>) -> is_binary;
operator(Op) -> binary_to_atom(Op).

%% ---- MessagePack -------------------------------------------------------------

unpack(<<N, R/binary>>) when N < 16#80 -> {N, R};
unpack(<<N, R/binary>>) when N >= 16#e0 -> {N - 256, R};
unpack(<<2#1000:4, N:4, R/binary>>) -> unpack_map(N, R, []);
unpack(<<2#1001:4, N:4, R/binary>>) -> unpack_array(N, R, []);
unpack(<<2#101:3, N:5, S:N/binary, R/binary>>) -> {{string, S}, R};
unpack(<<16#c0, R/binary>>) -> {nil, R};
unpack(<<16#c2, R/binary>>) -> {false, R};
unpack(<<16#c3, R/binary>>) -> {true, R};
unpack(<<16#cb, F/float, R/binary>>) -> {F, R};
unpack(<<16#cc, N:8, R/binary>>) -> {N, R};
unpack(<<16#cd, N:16, R/binary>>) -> {N, R};
unpack(<<16#ce, N:32, R/binary>>) -> {N, R};
unpack(<<16#cf, N:64, R/binary>>) -> {N, R};
unpack(<<16#d0, N:8/signed, R/binary>>) -> {N, R};
unpack(<<16#d1, N:16/signed, R/binary>>) -> {N, R};
unpack(<<16#d2, N:32/signed, R/binary>>) -> {N, R};
unpack(<<16#d3, N:64/signed, R/binary>>) -> {N, R};
unpack(<<16#d9, N:8, S:N/binary, R/binary>>) -> {{string, S}, R};
unpack(<<16#dc, N:16, R/binary>>) -> unpack_array(N, R, []).

unpack_array(0, R, Done) -> {lists:reverse(Done), R};
unpack_array(N, R, Done) ->
    {X, Rest} = unpack(R),
    unpack_array(N - 1, Rest, [X | Done]).

unpack_map(0, R, Done) -> {maps:from_list(Done), R};
unpack_map(N, R, Done) ->
    {K, R1} = unpack(R),
    {V, R2} = unpack(R1),
    unpack_map(N - 1, R2, [{K, V} | Done]).

pack(L) when is_list(L) -> [<<16#dc, (length(L)):16>> | [pack(E) || E <- L]];
pack({string, S}) -> pack(S);
pack(T) when is_tuple(T) -> pack(tuple_to_list(T));
pack(M) when is_map(M) ->
    [<<16#de, (map_size(M)):16>> | [[pack(K), pack(V)] || {K, V} <- maps:to_list(M)]];
pack(nil) -> <<16#c0>>;
pack(false) -> <<16#c2>>;
pack(true) -> <<16#c3>>;
pack('EXIT') -> pack(<<"EXIT">>);
pack(S) when is_binary(S) -> [<<16#da, (byte_size(S)):16>>, S];
pack(F) when is_float(F) -> <<16#cb, F/float>>;
pack(N) when N >= 1 bsl 64; N < -(1 bsl 63) -> pack(<<"EXIT">>);
pack(N) when N >= 0 -> <<16#cf, N:64>>;
pack(N) -> <<16#d3, N:64/signed>>.
