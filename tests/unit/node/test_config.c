/* test_config.c -- settings keep their bounds, their precedence and their manners. */
#include "node/config.h"

#include <criterion/criterion.h>
#include <string.h>

static struct config config;
static struct err_note note;

static void setup(void) {
    config_init(&config);
    note.text[0] = '\0';
}

TestSuite(config, .init = setup, .timeout = 240);

static eg_err flag(const char *key, const char *value) {
    return config_set(&config, key, value, CONFIG_FLAG, &note);
}

static eg_err file(const char *text) {
    return config_parse(&config, text, strlen(text), "engram.conf", &note);
}

static const char *environment_of_listen(const char *name) {
    return strcmp(name, "ENGRAM_LISTEN") == 0 ? "127.0.0.1:1,unix:/run/e" : NULL;
}

static const char *environment_of_bad_size(const char *name) {
    return strcmp(name, "ENGRAM_MAX_FRAME") == 0 ? "many" : NULL;
}

Test(config, defaults_are_loopback_and_pass_the_check) {
    cr_assert_eq(config.listen.count, 1);
    cr_assert_str_eq(config.listen.item[0], "127.0.0.1:7340");
    cr_assert_eq(config.max_frame_bytes, 16u << 20);
    cr_assert_eq(config.log_level, 2);
    cr_assert_eq(config_check(&config, &note), EG_OK);
}

Test(config, a_stronger_source_wins_in_whatever_order_they_are_read) {
    cr_assert_eq(flag("log-level", "debug"), EG_OK);
    cr_assert_eq(file("log-level = error\nmax-connections = 7\n"), EG_OK);
    cr_assert_eq(config.log_level, 3);
    cr_assert_eq(config.max_connections, 7);
    cr_assert_eq(flag("max-connections", "8"), EG_OK);
    cr_assert_eq(config.max_connections, 8);
}

Test(config, a_repeated_key_collects_and_a_stronger_source_replaces_the_list) {
    cr_assert_eq(file("listen = 127.0.0.1:5\nlisten = 127.0.0.1:6\n"), EG_OK);
    cr_assert_eq(config.listen.count, 2);
    cr_assert_eq(config_environment(&config, environment_of_listen, &note), EG_OK);
    cr_assert_eq(config.listen.count, 2);
    cr_assert_str_eq(config.listen.item[1], "unix:/run/e");
    cr_assert_eq(flag("listen", "127.0.0.1:0"), EG_OK);
    cr_assert_eq(config.listen.count, 1);
}

Test(config, more_of_a_repeated_key_than_fit_are_refused) {
    for (int i = 0; i < CONFIG_LIST_MAX; i++)
        cr_assert_eq(flag("listen", "127.0.0.1:0"), EG_OK);
    cr_assert_eq(flag("listen", "127.0.0.1:0"), EG_BAD_REQUEST);
}

Test(config, sizes_have_units_and_bounds) {
    static const struct {
        const char *text;
        uint64_t bytes; /* 0: refused */
    } cases[] = {
        {"64MiB", 64u << 20},
        {"64mib", 64u << 20},
        {"64M", 64u << 20},
        {"67108864", 64u << 20},
        {"100mb", 100000000},
        {"63MiB", 0},
        {"64 parsecs", 0},
        {"", 0},
        {"-1", 0},
        {"99999999999TiB", 0},
        {"18446744073709551616", 0},
    };
    for (size_t i = 0; i < EG_COUNTOF(cases); i++) {
        eg_err err = flag("memory-limit", cases[i].text);
        cr_assert_eq(err == EG_OK, cases[i].bytes != 0, "%s", cases[i].text);
        if (err == EG_OK)
            cr_assert_eq(config.memory_limit_bytes, cases[i].bytes, "%s", cases[i].text);
        else
            cr_assert_neq(note.text[0], '\0');
    }
}

Test(config, bad_values_are_refused_with_their_key_and_change_nothing) {
    static const char *const cases[][2] = {
        {"listen", "7340"},
        {"listen", "host:"},
        {"listen", "host:65536"},
        {"listen", ":7340"},
        {"listen", "unix:"},
        {"http", "unix:/x"},
        {"name", "two words"},
        {"name", ""},
        {"schedulers", "0"},
        {"schedulers", "257"},
        {"schedulers", "two"},
        {"log-level", "loud"},
        {"log-format", "xml"},
        {"max-connections", ""},
        {"data", ""},
    };
    struct config before = config;
    for (size_t i = 0; i < EG_COUNTOF(cases); i++) {
        cr_assert_eq(flag(cases[i][0], cases[i][1]), EG_BAD_REQUEST, "%s", cases[i][0]);
        cr_assert_eq(strncmp(note.text, cases[i][0], strlen(cases[i][0])), 0, "%s", note.text);
    }
    cr_assert_eq(memcmp(&before, &config, sizeof config), 0);
    cr_assert_eq(flag("no-such-key", "1"), EG_BAD_REQUEST);
}

Test(config, a_file_has_comments_blanks_and_numbered_mistakes) {
    cr_assert_eq(file("# node\n\n  name = one \r\nlog-format=json"), EG_OK);
    cr_assert_str_eq(config.name, "one");
    cr_assert_eq(config.log_format, 1);
    cr_assert_eq(file("name = two\nwhat\n"), EG_BAD_REQUEST);
    cr_assert_str_eq(note.text, "engram.conf:2: expected name = value");
    cr_assert_eq(config_parse(&config, "a\0b", 3, "f", &note), EG_BAD_REQUEST);
}

Test(config, the_environment_is_named_where_it_is_wrong) {
    cr_assert_eq(config_environment(&config, environment_of_bad_size, &note), EG_BAD_REQUEST);
    cr_assert_eq(strncmp(note.text, "environment: max-frame", 22), 0, "%s", note.text);
}

Test(config, what_is_not_served_yet_and_open_addresses_are_refused) {
    cr_assert_eq(flag("listen", "0.0.0.0:7340"), EG_OK);
    cr_assert_eq(config_check(&config, &note), EG_BAD_REQUEST);
    config_init(&config);
    cr_assert_eq(flag("listen", "[::1]:0"), EG_OK);
    cr_assert_eq(config_check(&config, &note), EG_OK);
    cr_assert_eq(flag("join", "127.0.0.1:7"), EG_OK);
    cr_assert_eq(config_check(&config, &note), EG_OK);
    config_init(&config);
    cr_assert_eq(flag("tls-cert", "c.pem"), EG_OK);
    cr_assert_eq(config_check(&config, &note), EG_BAD_REQUEST);
}

Test(config, prints_each_key_with_its_value_and_source) {
    char line[256];
    bool seen = false;

    cr_assert_eq(flag("max-frame", "1MiB"), EG_OK);
    for (uint32_t i = 0; config_key(i) != NULL; i++) {
        config_print(&config, i, line, sizeof line);
        seen |= strcmp(line, "max-frame = 1048576  # flag") == 0;
    }
    cr_assert(seen);
}
