/* loader.c -- a window of requests, sent again where the node was busy. */
#include "tools/loader.h"

#include <poll.h>
#include <string.h>

enum {
    BATCH_RECORDS = 1000,
    BATCH_BYTES = 128 * 1024,
    UNDER_WAY_BYTES = 1 << 20, /* the node reads no further than it writes anyway */
    BUSY_WAIT_MS = 5,
};

int loader_mode_of(const char *text, enum loader_mode *mode) {
    static const char *const names[] = {"skip", "replace", "clear"};

    *mode = LOADER_REPLACE;
    for (size_t i = 0; text != NULL && i < EG_COUNTOF(names); i++) {
        if (strcmp(names[i], text) == 0) {
            *mode = (enum loader_mode) i;
            return EXIT_OK;
        }
    }
    return text == NULL
               ? EXIT_OK
               : shell_fail(EXIT_USAGE, "--mode is skip, replace or clear, not \"%s\"", text);
}

void loader_init(struct loader *l, struct shell *s, const char *what) {
    memset(l, 0, sizeof *l);
    l->shell = s;
    l->what = what;
    l->start_ms = shell_now_ms();
    pack_init(&l->table, s->alloc);
    pack_init(&l->records, s->alloc);
    for (uint32_t i = 0; i < LOADER_WINDOW; i++)
        pack_init(&l->ring[i].params, s->alloc);
}

void loader_fini(struct loader *l) {
    progress_end(l->shell);
    pack_fini(&l->table);
    pack_fini(&l->records);
    for (uint32_t i = 0; i < LOADER_WINDOW; i++)
        pack_fini(&l->ring[i].params);
}

static int no_memory(void) {
    return shell_fail(EXIT_REFUSED, "out of memory");
}

/* ---- requests -------------------------------------------------------------------- */

static struct loader_request *request_at(struct loader *l, uint32_t place) {
    return &l->ring[(l->head + place) % LOADER_WINDOW];
}

static int send_request(struct loader *l, struct loader_request *q) {
    struct err_note note = {""};
    eg_err err = client_send(l->shell->client, q->method, pack_value(&q->params), &q->id, &note);

    q->answered = false;
    return err == EG_OK ? EXIT_OK : shell_fail_err(err, &note);
}

static void retire(struct loader *l) {
    struct loader_request *q = request_at(l, 0);

    l->written += q->records;
    l->under_way_bytes -= q->params.bytes.size_bytes;
    l->head = (l->head + 1) % LOADER_WINDOW;
    l->under_way--;
    progress_show(l->shell, l->start_ms, l->what, l->written, l->all);
}

/* Whether the request may be sent again: nothing has happened, or the same again is no more. */
static bool may_repeat(const struct loader *l) {
    static const char *const codes[] = {"busy", "no_replica", "in_doubt", "timeout"};

    for (size_t i = 0; i < (l->alone ? EG_COUNTOF(codes) : 1); i++)
        if (shell_refused_as(l->shell, codes[i]))
            return true;
    return false;
}

/* Take one answer, of whichever request. */
static int take_answer(struct loader *l, uint64_t give_up_ms) {
    struct shell *s = l->shell;
    struct err_note note = {""};
    struct loader_request *q = NULL;
    eg_err err = client_receive(s->client, &s->last, &note);

    if (err != EG_OK)
        return shell_fail_err(err, &note);
    for (uint32_t i = 0; i < l->under_way && q == NULL; i++)
        if (!request_at(l, i)->answered && request_at(l, i)->id == s->last.id)
            q = request_at(l, i);
    if (q == NULL)
        return shell_fail(EXIT_REFUSED, "an answer to nothing that was asked");
    if (!s->last.refused) {
        q->answered = true;
        return EXIT_OK;
    }
    if (!may_repeat(l) || shell_now_ms() > give_up_ms) {
        (void) shell_refused(s);
        return shell_fail(EXIT_REFUSED, "it stopped behind %llu records",
                          (unsigned long long) l->written);
    }
    poll(NULL, 0, BUSY_WAIT_MS);
    return send_request(l, q);
}

/* Wait until at most so much is under way. */
static int settle(struct loader *l, uint32_t requests, size_t bytes) {
    uint64_t give_up_ms = shell_now_ms() + (uint64_t) l->shell->timeout_ms;
    int code = EXIT_OK;

    while (code == EXIT_OK && l->under_way > 0 &&
           (l->under_way > requests || l->under_way_bytes > bytes)) {
        if (request_at(l, 0)->answered)
            retire(l);
        else
            code = take_answer(l, give_up_ms);
    }
    return code;
}

/* Room for one more; `*q` is sent by submit() when its params are there. */
static int prepare(struct loader *l, const char *method, struct loader_request **q) {
    int code = settle(l, LOADER_WINDOW - 1, UNDER_WAY_BYTES);

    if (code == EXIT_OK)
        code = shell_connect(l->shell);
    if (code != EXIT_OK)
        return code;
    *q = request_at(l, l->under_way);
    (*q)->method = method;
    pack_clear(&(*q)->params);
    return EXIT_OK;
}

static int submit(struct loader *l, struct loader_request *q, uint32_t records) {
    if (q->params.failed)
        return no_memory();
    q->records = records;
    l->under_way++;
    l->under_way_bytes += q->params.bytes.size_bytes;
    return send_request(l, q);
}

/* ---- records ----------------------------------------------------------------------- */

static int send_collected(struct loader *l) {
    struct loader_request *q;
    int code;

    if (l->count == 0)
        return EXIT_OK;
    if (l->records.failed || l->table.failed)
        return no_memory();
    code = prepare(l, "write_many", &q);
    if (code != EXIT_OK)
        return code;
    pack_array(&q->params, 2);
    pack_raw(&q->params, pack_value(&l->table));
    pack_array(&q->params, l->count);
    pack_raw(&q->params,
             (struct value){l->records.bytes.at, (uint32_t) l->records.bytes.size_bytes});
    code = submit(l, q, l->count);
    pack_clear(&l->records);
    l->count = 0;
    return code;
}

/* One that expires goes by itself: write_many has one ttl for all. */
static int send_expiring(struct loader *l, struct value table, struct value record,
                         uint64_t ttl_ms) {
    struct loader_request *q;
    int code = prepare(l, "write", &q);

    if (code != EXIT_OK)
        return code;
    pack_array(&q->params, 3);
    pack_raw(&q->params, table);
    pack_raw(&q->params, record);
    pack_map(&q->params, 1);
    pack_text(&q->params, "ttl");
    pack_double(&q->params, (double) ttl_ms / 1000);
    return submit(l, q, 1);
}

int loader_add(struct loader *l, struct value table, struct value record, uint64_t ttl_ms) {
    int code = EXIT_OK;

    if (ttl_ms != 0)
        return send_expiring(l, table, record, ttl_ms);
    if (l->count > 0 && (l->count >= BATCH_RECORDS ||
                         l->records.bytes.size_bytes + record.size_bytes > BATCH_BYTES ||
                         !value_equal(pack_value(&l->table), table)))
        code = send_collected(l);
    if (l->count == 0) {
        pack_clear(&l->table);
        pack_raw(&l->table, table);
    }
    pack_raw(&l->records, record);
    l->count++;
    return code;
}

int loader_finish(struct loader *l) {
    int code = send_collected(l);

    return code == EXIT_OK ? settle(l, 0, 0) : code;
}

/* ---- tables -------------------------------------------------------------------------- */

static int ask_about(struct loader *l, const char *method, struct value name) {
    pack_raw(shell_params(l->shell, 1), name);
    return shell_ask(l->shell, method);
}

static int create(struct loader *l, struct value name, struct value options) {
    struct pack *p = shell_params(l->shell, 2);

    pack_raw(p, name);
    pack_raw(p, options);
    return shell_try(l->shell, "create_table");
}

int loader_table(struct loader *l, struct value name, struct value options, enum loader_mode mode,
                 bool *wanted) {
    struct shell *s = l->shell;
    int code = create(l, name, options);

    *wanted = true;
    if (code == EXIT_OK)
        return code;
    if (!shell_refused_as(s, "exists"))
        return s->last.refused ? shell_refused(s) : code;
    switch (mode) {
    case LOADER_SKIP:
        *wanted = false;
        return EXIT_OK;
    case LOADER_CLEAR:
        return ask_about(l, "clear_table", name);
    default:
        code = ask_about(l, "drop_table", name);
        if (code == EXIT_OK)
            code = create(l, name, options);
        return code != EXIT_OK && s->last.refused ? shell_refused(s) : code;
    }
}

int loader_sync(struct loader *l, struct value table) {
    return ask_about(l, "sync_table", table);
}
