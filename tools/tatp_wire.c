/* tatp_wire.c -- the seven transactions as requests, and trying them again. */
#include "tools/tatp_wire.h"

#include <poll.h>
#include <string.h>
#include <time.h>

enum { PAUSE_TRIES_MAX = 5 }; /* the pause before a try grows up to 2^5 ms */

/* How a try ends. */
enum outcome {
    DONE,
    FAILED,   /* as the benchmark expects of some */
    AGAIN,    /* nothing has happened             */
    IN_DOUBT, /* it may have                      */
    BROKEN,   /* the exit code is in *code        */
};

struct try {
    struct tatp_client *client;
    const struct tatp_call *call;
    bool again; /* not the first */
    int code;
};

void tatp_client_init(struct tatp_client *c, const struct shell *like, const char *address,
                      uint64_t seed, uint64_t subscribers) {
    memset(c, 0, sizeof *c);
    c->shell = *like;
    c->shell.client = NULL;
    c->shell.address = address;
    c->random = seed;
    c->pauses = seed;
    c->subscribers = subscribers;
    pack_init(&c->shell.params, like->alloc);
    for (int kind = 0; kind < TATP_KINDS; kind++)
        hist_init(&c->count[kind].latency_ns);
}

void tatp_client_fini(struct tatp_client *c) {
    shell_disconnect(&c->shell);
    pack_fini(&c->shell.params);
}

void tatp_count_merge(struct tatp_count *to, const struct tatp_count *from) {
    to->done += from->done;
    to->failed += from->failed;
    to->in_doubt += from->in_doubt;
    to->retries += from->retries;
    hist_merge(&to->latency_ns, &from->latency_ns);
}

/* ---- asking ---------------------------------------------------------------------- */

static bool refused_as_any(const struct shell *s, const char *const *codes, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (shell_refused_as(s, codes[i]))
            return true;
    return false;
}

/* Call `method` with the parameters that are prepared. */
static enum outcome ask(struct try *t, const char *method) {
    static const char *const again[] = {"conflict", "aborted", "busy", "no_replica", "no_majority"};
    static const char *const doubt[] = {"in_doubt", "timeout"};
    struct shell *s = &t->client->shell;

    t->code = shell_try(s, method);
    if (t->code == EXIT_OK)
        return DONE;
    if (!s->last.refused)
        return BROKEN;
    if (refused_as_any(s, again, EG_COUNTOF(again)))
        return AGAIN;
    if (refused_as_any(s, doubt, EG_COUNTOF(doubt)))
        return IN_DOUBT;
    return shell_refused_as(s, "not_found") ? FAILED : BROKEN;
}

static struct pack *params(struct try *t, uint32_t count) {
    return shell_params(&t->client->shell, count);
}

static struct value answer(const struct try *t) {
    return t->client->shell.last.result;
}

/* Element `number` of an array, or a value of size 0. */
static struct value element(struct value array, uint32_t number) {
    struct value found = {NULL, 0};
    struct value_iter it;

    if (array.size_bytes == 0 || value_kind_of(array) != VALUE_ARRAY ||
        value_count(array) <= number)
        return found;
    it = value_iter_of(array);
    for (uint32_t i = 0; i <= number; i++)
        (void) value_iter_next(&it, &found); /* there are as many */
    return found;
}

static bool number_at(struct value record, uint32_t place, uint64_t *out) {
    struct value field = element(record, place);
    return field.size_bytes > 0 && value_get_u64(field, out);
}

static void pack_written(struct pack *p, const eg_writer *w) {
    eg_span bytes = eg_written(w);
    pack_raw(p, (struct value){bytes.at, (uint32_t) bytes.size_bytes});
}

static void pack_key(struct pack *p, uint64_t subscriber, uint64_t type) {
    uint8_t room[TATP_KEY_BYTES];
    eg_writer w = eg_writer_init(room, sizeof room);

    tatp_put_key(&w, subscriber, type);
    pack_written(p, &w);
}

static void pack_forwarding_key(struct pack *p, uint64_t subscriber, uint64_t type,
                                uint64_t start) {
    uint8_t room[TATP_KEY_BYTES];
    eg_writer w = eg_writer_init(room, sizeof room);

    tatp_put_forwarding_key(&w, subscriber, type, start);
    pack_written(p, &w);
}

/* The beginning of a call inside `transaction`: [method, table, ... */
static void pack_call(struct pack *p, uint32_t count, const char *method, enum tatp_table table) {
    pack_array(p, count);
    pack_text(p, method);
    pack_text(p, tatp_schema[table].name);
}

/* {attribute: number} */
static void pack_change(struct pack *p, enum tatp_table table, uint32_t place, uint64_t to) {
    pack_map(p, 1);
    pack_text(p, tatp_schema[table].attribute[place]);
    pack_u64(p, to);
}

/* ---- in one request ---------------------------------------------------------------- */

static enum outcome get_subscriber_data(struct try *t) {
    struct pack *p = params(t, 1);
    enum outcome end;

    pack_array(p, 1);
    pack_call(p, 3, "read", TATP_SUBSCRIBER);
    pack_u64(p, t->call->subscriber);
    end = ask(t, "transaction");
    return end == DONE && element(element(answer(t), 0), 0).size_bytes == 0 ? FAILED : end;
}

static enum outcome get_access_data(struct try *t) {
    struct pack *p = params(t, 1);
    enum outcome end;

    pack_array(p, 1);
    pack_call(p, 3, "read", TATP_ACCESS_INFO);
    pack_key(p, t->call->subscriber, t->call->type);
    end = ask(t, "transaction");
    return end == DONE && element(element(answer(t), 0), 0).size_bytes == 0 ? FAILED : end;
}

/* Does an active facility forward to somebody, now and until then? */
static bool has_destination(struct value results, uint64_t until) {
    struct value is_active = element(element(element(results, 0), 0), 1);
    uint64_t end;

    if (is_active.size_bytes == 0 || value_kind_of(is_active) != VALUE_TRUE)
        return false;
    for (uint32_t i = 1; i < value_count(results); i++)
        if (number_at(element(element(results, i), 0), 1, &end) && end > until)
            return true;
    return false;
}

static enum outcome get_new_destination(struct try *t) {
    const struct tatp_call *c = t->call;
    uint32_t starts = (uint32_t) (c->start / TATP_HOURS) + 1;
    struct pack *p = params(t, 1);
    enum outcome end;

    pack_array(p, 1 + starts);
    pack_call(p, 3, "read", TATP_SPECIAL_FACILITY);
    pack_key(p, c->subscriber, c->type);
    for (uint32_t i = 0; i < starts; i++) {
        pack_call(p, 3, "read", TATP_CALL_FORWARDING);
        pack_forwarding_key(p, c->subscriber, c->type, (uint64_t) i * TATP_HOURS);
    }
    end = ask(t, "transaction");
    return end == DONE && !has_destination(answer(t), c->until) ? FAILED : end;
}

/* Without the facility all is undone. */
static enum outcome update_subscriber_data(struct try *t) {
    const struct tatp_call *c = t->call;
    struct pack *p = params(t, 1);

    pack_array(p, 2);
    pack_call(p, 4, "update", TATP_SUBSCRIBER);
    pack_u64(p, c->subscriber);
    pack_change(p, TATP_SUBSCRIBER, TATP_PLACE_BITS, c->bits);
    pack_call(p, 4, "update", TATP_SPECIAL_FACILITY);
    pack_key(p, c->subscriber, c->type);
    pack_change(p, TATP_SPECIAL_FACILITY, TATP_PLACE_DATA_A, c->data);
    return ask(t, "transaction");
}

/* ---- held open ------------------------------------------------------------------------ */

static enum outcome begin(struct try *t) {
    struct tatp_client *c = t->client;
    bool aged = t->again && c->tx[0] != '\0';
    struct pack *p = params(t, aged);
    const uint8_t *at;
    uint32_t size_bytes;
    enum outcome end;

    if (aged) { /* it goes on with the age of the try before */
        pack_map(p, 1);
        pack_text(p, "retry");
        pack_text(p, c->tx);
    }
    c->tx[0] = '\0';
    end = ask(t, "begin");
    if (end == FAILED) /* not_found: the try before is forgotten, and its age with it */
        return AGAIN;
    if (end != DONE)
        return end;
    if (!value_get_bytes(answer(t), &at, &size_bytes) || size_bytes >= sizeof c->tx) {
        t->code = shell_fail(EXIT_REFUSED, "begin answers what is no id of a transaction");
        return BROKEN;
    }
    memcpy(c->tx, at, size_bytes);
    c->tx[size_bytes] = '\0';
    return DONE;
}

static void pack_inside(struct try *t) {
    struct pack *p = &t->client->shell.params;

    pack_map(p, 1);
    pack_text(p, "tx");
    pack_text(p, t->client->tx);
}

/* By the index, as those do who know a number only. */
static enum outcome find_subscriber(struct try *t, uint64_t *s_id) {
    struct pack *p = params(t, 4);
    uint8_t room[TATP_KEY_BYTES];
    eg_writer w = eg_writer_init(room, sizeof room);
    enum outcome end;

    tatp_put_number(&w, t->call->subscriber);
    pack_text(p, tatp_schema[TATP_SUBSCRIBER].name);
    pack_text(p, tatp_schema[TATP_SUBSCRIBER].index);
    pack_written(p, &w);
    pack_inside(t);
    end = ask(t, "index_read");
    if (end != DONE)
        return end;
    return number_at(element(answer(t), 0), 0, s_id) ? DONE : FAILED;
}

static enum outcome change_location(struct try *t, uint64_t s_id) {
    struct pack *p = params(t, 4);

    pack_text(p, tatp_schema[TATP_SUBSCRIBER].name);
    pack_u64(p, s_id);
    pack_change(p, TATP_SUBSCRIBER, TATP_PLACE_LOCATION, t->call->data);
    pack_inside(t);
    return ask(t, "update");
}

static enum outcome find_facility(struct try *t, uint64_t s_id) {
    struct pack *p = params(t, 3);
    enum outcome end;

    pack_text(p, tatp_schema[TATP_SPECIAL_FACILITY].name);
    pack_array(p, TATP_TYPES);
    for (uint64_t type = 1; type <= TATP_TYPES; type++)
        pack_key(p, s_id, type);
    pack_inside(t);
    end = ask(t, "read_many");
    if (end != DONE)
        return end;
    return element(element(answer(t), (uint32_t) t->call->type - 1), 0).size_bytes > 0 ? DONE
                                                                                       : FAILED;
}

static enum outcome insert_forwarding(struct try *t, uint64_t s_id) {
    struct pack *p;
    uint8_t room[TATP_RECORD_BYTES];
    eg_writer w = eg_writer_init(room, sizeof room);
    enum outcome end = find_facility(t, s_id);

    if (end != DONE)
        return end;
    tatp_put_forwarding(&w, s_id, t->call->type, t->call->start, t->call->end);
    p = params(t, 3);
    pack_text(p, tatp_schema[TATP_CALL_FORWARDING].name);
    pack_written(p, &w);
    pack_inside(t);
    end = ask(t, "insert_new");
    return end == DONE && value_kind_of(answer(t)) == VALUE_FALSE ? FAILED : end;
}

static enum outcome take_forwarding(struct try *t, uint64_t s_id) {
    struct pack *p = params(t, 3);
    enum outcome end;

    pack_text(p, tatp_schema[TATP_CALL_FORWARDING].name);
    pack_forwarding_key(p, s_id, t->call->type, t->call->start);
    pack_inside(t);
    end = ask(t, "take");
    return end == DONE && element(answer(t), 0).size_bytes == 0 ? FAILED : end;
}

/* Begin, look the subscriber up, do the rest with its id, commit.  What has failed is committed as
 * well: it has changed nothing, and only so is known to be true of one moment. */
static enum outcome held_open(struct try *t, enum outcome (*rest)(struct try *t, uint64_t s_id)) {
    enum outcome end = begin(t), commit;
    uint64_t s_id = 0;

    if (end != DONE)
        return end;
    end = find_subscriber(t, &s_id);
    if (end == DONE)
        end = rest(t, s_id);
    if (end == BROKEN)
        return end;
    pack_text(params(t, 1), t->client->tx);
    if (end != DONE && end != FAILED) { /* over already, most often: what it says is no matter */
        int code = shell_try(&t->client->shell, "abort");
        t->code = code;
        return code != EXIT_OK && !t->client->shell.last.refused ? BROKEN : AGAIN;
    }
    commit = ask(t, "commit");
    if (commit == FAILED) /* not_found: it was over before */
        return AGAIN;
    return commit == DONE ? end : commit;
}

static enum outcome update_location(struct try *t) {
    return held_open(t, change_location);
}

static enum outcome insert_call_forwarding(struct try *t) {
    return held_open(t, insert_forwarding);
}

static enum outcome delete_call_forwarding(struct try *t) {
    return held_open(t, take_forwarding);
}

/* ---- one after the other ---------------------------------------------------------------- */

static enum outcome run(struct try *t) {
    static enum outcome (*const of_kind[TATP_KINDS])(struct try * t) = {
        [TATP_GET_SUBSCRIBER_DATA] = get_subscriber_data,
        [TATP_GET_NEW_DESTINATION] = get_new_destination,
        [TATP_GET_ACCESS_DATA] = get_access_data,
        [TATP_UPDATE_SUBSCRIBER_DATA] = update_subscriber_data,
        [TATP_UPDATE_LOCATION] = update_location,
        [TATP_INSERT_CALL_FORWARDING] = insert_call_forwarding,
        [TATP_DELETE_CALL_FORWARDING] = delete_call_forwarding,
    };
    return of_kind[t->call->kind](t);
}

static uint64_t now_ns(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec;
}

/* Before try number `tries`: clients that have met do not meet again. */
static void pause_before(struct tatp_client *c, uint64_t tries) {
    uint64_t most_ms = UINT64_C(1) << EG_MIN(tries, PAUSE_TRIES_MAX);
    struct tatp_call chance;

    tatp_draw(&chance, &c->pauses, c->subscribers);
    (void) poll(NULL, 0, (int) (chance.data % most_ms)); /* a signal only makes it shorter */
}

int tatp_client_step(struct tatp_client *c) {
    uint64_t began_ns = now_ns(), limit_ns = (uint64_t) c->shell.timeout_ms * 1000000;
    struct tatp_call call;
    struct try t = {.client = c, .call = &call};
    struct tatp_count *count;
    enum outcome end;

    tatp_draw(&call, &c->random, c->subscribers);
    count = &c->count[call.kind];
    for (uint64_t tries = 1; (end = run(&t)) == AGAIN; tries++) {
        if (now_ns() - began_ns > limit_ns)
            return shell_fail(EXIT_NO_ANSWER, "%s has met others for %d ms",
                              tatp_kind_name[call.kind], c->shell.timeout_ms);
        count->retries++;
        t.again = true;
        pause_before(c, tries);
    }
    if (end == BROKEN)
        return c->shell.last.refused ? shell_refused(&c->shell) : t.code;
    count->done++;
    count->failed += end == FAILED;
    count->in_doubt += end == IN_DOUBT;
    hist_record(&count->latency_ns, now_ns() - began_ns);
    return EXIT_OK;
}
