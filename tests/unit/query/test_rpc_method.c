/* test_rpc_method.c -- every method is found by its name, and only what fits it gets through. */
#include "query/rpc_method.h"

#include <criterion/criterion.h>
#include <string.h>

static struct rpc_methods methods;

static const struct rpc_method *find(const char *name) {
    return rpc_method_find(&methods, (const uint8_t *) name, strlen(name));
}

static void setup(void) {
    rpc_methods_init(&methods);
}

TestSuite(rpc_method, .init = setup, .timeout = 240);

Test(rpc_method, every_name_that_users_were_promised_is_found) {
    static const char *const names[] = {
        "ping",
        "hello",
        "create_table",
        "drop_table",
        "clear_table",
        "tables",
        "table_info",
        "add_index",
        "drop_index",
        "write",
        "insert_new",
        "read",
        "read_many",
        "write_many",
        "delete",
        "delete_object",
        "take",
        "update",
        "update_counter",
        "size",
        "first",
        "last",
        "next",
        "prev",
        "index_read",
        "match",
        "stats",
        "processes",
        "process_info",
        "subscribe",
        "unsubscribe",
        "select",
        "select_reverse",
        "select_count",
        "select_delete",
        "select_replace",
        "select_next",
        "add_attribute",
        "drop_attribute",
        "rename_attribute",
        "change_storage",
        "transform_table",
        "sync_table",
        "backup_open",
        "backup_read",
        "backup_close",
        "query",
        "explain",
        "cluster_status",
        "join",
        "leave",
        "remove",
        "conflicts",
        "scrub",
        "begin",
        "commit",
        "abort",
        "transaction",
        "transaction_status",
        "transactions",
    };

    cr_assert_eq(rpc_method_count(), EG_COUNTOF(names));
    for (size_t i = 0; i < EG_COUNTOF(names); i++) {
        cr_assert_not_null(find(names[i]), "%s", names[i]);
        cr_assert_str_eq(find(names[i])->name, names[i]);
        cr_assert_eq(rpc_method_at(rpc_method_number(find(names[i]))), find(names[i]));
    }
}

Test(rpc_method, names_that_are_nearly_right_are_not) {
    static const char *const names[] = {"",
                                        "p",
                                        "pin",
                                        "pings",
                                        "PING",
                                        "auth",
                                        "redd",
                                        "begins",
                                        "reads",
                                        "update_count",
                                        "nvim_set_client_info",
                                        "create_tabla",
                                        "writ\xff"};

    for (size_t i = 0; i < EG_COUNTOF(names); i++)
        cr_assert_null(find(names[i]), "%s", names[i]);
    cr_assert_null(rpc_method_find(&methods, (const uint8_t *) "ping\0", 5));
}

/* ---- parameters ------------------------------------------------------------------ */

static eg_err check_bytes(const char *method, const char *params, size_t params_bytes,
                          struct rpc_call *c) {
    static struct err_note note;
    size_t used_bytes;
    eg_err err;

    cr_assert_eq(value_scan((const uint8_t *) params, params_bytes, &used_bytes), EG_OK);
    cr_assert_eq(used_bytes, params_bytes);
    note.text[0] = '\0';
    *c = (struct rpc_call){.method = find(method), .note = &note};
    err = rpc_call_check(c, (struct value){(const uint8_t *) params, (uint32_t) params_bytes});
    cr_assert((err == EG_OK) == (note.text[0] == '\0'), "%s: %s", method, note.text);
    return err;
}

#define CHECK(method, params) check_bytes((method), (params), sizeof(params) - 1, &call)

Test(rpc_method, parameters_are_counted_and_options_may_be_left_out) {
    struct rpc_call call;

    cr_assert_eq(CHECK("ping", "\x90"), EG_OK);
    cr_assert_eq(CHECK("ping", "\x91\x80"), EG_BAD_REQUEST);
    cr_assert_eq(CHECK("read", "\x92\xa1t\x01"), EG_OK);
    cr_assert_eq(CHECK("read", "\x93\xa1t\x01\x80"), EG_OK);
    cr_assert_eq(CHECK("read", "\x91\xa1t"), EG_BAD_REQUEST);
    cr_assert_eq(CHECK("read", "\x94\xa1t\x01\x80\x80"), EG_BAD_REQUEST);
    cr_assert_eq(CHECK("read", "\x93\xa1t\x01\xc0"), EG_BAD_REQUEST);
    cr_assert_eq(CHECK("read", "\x92\x07\x01"), EG_BAD_REQUEST);
    cr_assert_eq(CHECK("create_table", "\x91\xa1t"), EG_OK);
    cr_assert_eq(CHECK("create_table", "\x91\x01"), EG_BAD_REQUEST);
    cr_assert_eq(CHECK("update_counter", "\x94\xa1t\x01\xa1"
                                         "a\x05"),
                 EG_OK);
}

Test(rpc_method, options_are_known_and_have_the_right_type) {
    struct rpc_call call;

    cr_assert_eq(CHECK("write", "\x93\xa1t\x91\x01\x81\xa3ttl\x02"), EG_OK);
    cr_assert_eq(call.options.ttl_ms, 2000);
    cr_assert_eq(CHECK("write", "\x93\xa1t\x91\x01\x81\xa3ttl\x00"), EG_BAD_REQUEST);
    cr_assert_eq(CHECK("write", "\x93\xa1t\x91\x01\x81\xa3ttl\xa1x"), EG_BAD_REQUEST);
    cr_assert_eq(CHECK("read", "\x93\xa1t\x01\x81\xa3ttl\x02"), EG_BAD_REQUEST);
    cr_assert_eq(CHECK("read", "\x93\xa1t\x01\x81\xa7"
                               "context\xa5"
                               "dirty"),
                 EG_OK);
    cr_assert_eq(CHECK("read", "\x93\xa1t\x01\x81\xa7"
                               "context\xa5"
                               "clean"),
                 EG_BAD_REQUEST);
    cr_assert_eq(CHECK("read", "\x93\xa1t\x01\x81\xa2tx\x05"), EG_OK);
    cr_assert_eq(CHECK("read", "\x93\xa1t\x01\x81\xa2tx\xa1x"), EG_OK);
    cr_assert_eq(CHECK("read", "\x93\xa1t\x01\x81\xa2tx\x90"), EG_BAD_REQUEST);
    cr_assert_eq(CHECK("read", "\x93\xa1t\x01\x81\x05\x05"), EG_BAD_REQUEST);
    cr_assert_eq(CHECK("match", "\x93\xa1t\x91\x01\x81\xa5limit\x05"), EG_OK);
    cr_assert_eq(call.options.limit, 5);
    cr_assert_eq(CHECK("match", "\x93\xa1t\x91\x01\x81\xa5limit\x00"), EG_BAD_REQUEST);
    cr_assert_eq(CHECK("hello", "\x91\x81\xa6"
                                "client\xa1x"),
                 EG_OK);
    cr_assert_eq(CHECK("hello", "\x91\x81\xa6"
                                "client\x01"),
                 EG_BAD_REQUEST);
}
