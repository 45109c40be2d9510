/* config.c -- one table of settings, and the one way to set them. */
#include "node/config.h"

#include "engine/address.h"
#include "engine/scheduler.h"
#include "node/node.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum config_kind {
    TEXT,
    NAME,
    ADDRESS,
    ADDRESS_OR_OFF,
    PEERS,     /* a list of HOST:PORT                  */
    LISTENERS, /* a list of HOST:PORT and of unix:PATH */
    SIZE,
    COUNT,
    LEVEL,
    FORMAT,
};

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define TIB (1024 * GIB)

struct config_row {
    struct config_key_help help;
    enum config_kind kind;
    bool later;        /* a version to come serves it: known, and refused */
    size_t at;         /* offset in struct config                         */
    uint64_t min, max; /* of a SIZE or COUNT                              */
};

#define KEY(Kind, field) .kind = Kind, .at = offsetof(struct config, field)

/* clang-format off */
static const struct config_row rows[] = {
    {{"name", "NAME", "node name, unique in the cluster (host name, or remembered in --data)", NULL},
     KEY(NAME, name)},
    {{"data", "DIR", "where disc tables live (none: RAM only, disc tables are refused)", NULL},
     KEY(TEXT, data)},
    {{"listen", "HOST:PORT", "clients, MessagePack-RPC; may repeat; also unix:PATH", "127.0.0.1:7340"},
     KEY(LISTENERS, listen)},
    {{"peer-listen", "HOST:PORT", "other nodes", "127.0.0.1:7341"},
     KEY(LISTENERS, peer_listen)},
    {{"http", "HOST:PORT|off", "metrics and dashboard; not served yet", "off"},
     KEY(ADDRESS_OR_OFF, http)},
    {{"advertise", "HOST:PORT", "the address other nodes dial (--peer-listen)", NULL},
     KEY(ADDRESS, advertise)},
    {{"join", "HOST:PORT", "a peer to join; may repeat", NULL}, KEY(PEERS, join)},
    {{"cookie-file", "FILE", "the cluster's shared secret", NULL},
     KEY(TEXT, cookie_file)},
    {{"auth-file", "FILE", "users of the client port; refused until served", NULL},
     KEY(TEXT, auth_file), .later = true},
    {{"tls-cert", "FILE", "certificate; refused until served", NULL},
     KEY(TEXT, tls_cert), .later = true},
    {{"tls-key", "FILE", "its private key; refused until served", NULL},
     KEY(TEXT, tls_key), .later = true},
    {{"tls-ca", "FILE", "whom to trust; refused until served", NULL},
     KEY(TEXT, tls_ca), .later = true},
    {{"schedulers", "N", "scheduler threads, 1 to 254 (one per core)", NULL},
     KEY(COUNT, schedulers), .min = 1, .max = SCHEDULERS_MAX},
    {{"memory-limit", "SIZE", "soft limit, 64MiB and up (80 % of the machine or its cgroup)", NULL},
     KEY(SIZE, memory_limit_bytes), .min = NODE_MEMORY_MIN_BYTES, .max = 1024 * TIB},
    {{"max-frame", "SIZE", "largest message of a client, 4KiB to 1GiB", "16MiB"},
     KEY(SIZE, max_frame_bytes), .min = 4 * KIB, .max = GIB},
    {{"max-input", "SIZE", "unfinished messages of all clients, 64KiB to 64GiB", "64MiB"},
     KEY(SIZE, max_input_bytes), .min = 64 * KIB, .max = 64 * GIB},
    {{"max-connections", "N", "clients at one time, 1 to 1000000", "10000"},
     KEY(COUNT, max_connections), .min = 1, .max = 1000000},
    {{"log-level", "LEVEL", "error, warning, info or debug", "info"},
     KEY(LEVEL, log_level)},
    {{"log-format", "FORMAT", "text or json", "text"},
     KEY(FORMAT, log_format)},
};
/* clang-format on */

static const char *const levels[] = {"error", "warning", "info", "debug"};
static const char *const formats[] = {"text", "json"};
static const char *const sources[] = {"default", "file", "environment", "flag"};

static const struct config_row *row_find(const char *key) {
    for (size_t i = 0; i < EG_COUNTOF(rows); i++)
        if (strcmp(rows[i].help.name, key) == 0)
            return &rows[i];
    return NULL;
}

const struct config_key_help *config_key(uint32_t number) {
    return number < EG_COUNTOF(rows) ? &rows[number].help : NULL;
}

/* ---- values ------------------------------------------------------------- */

static bool digits_to_u64(const char *text, const char **end, uint64_t *out) {
    uint64_t n = 0;
    const char *at = text;

    for (; *at >= '0' && *at <= '9'; at++) {
        unsigned digit = (unsigned) (*at - '0');
        if (n > (UINT64_MAX - digit) / 10)
            return false;
        n = 10 * n + digit;
    }
    *end = at;
    *out = n;
    return at != text;
}

/* "64MiB", "1gb", "4096": bytes, with a unit of 1024s (KiB) or 1000s (kB). */
static bool size_to_bytes(const char *text, uint64_t *out) {
    static const struct {
        const char *name;
        uint64_t bytes;
    } units[] = {
        {"", 1},
        {"b", 1},
        {"k", KIB},
        {"kib", KIB},
        {"m", MIB},
        {"mib", MIB},
        {"g", GIB},
        {"gib", GIB},
        {"t", TIB},
        {"tib", TIB},
        {"kb", 1000},
        {"mb", 1000 * 1000},
        {"gb", 1000000000},
        {"tb", 1000000000000},
    };
    const char *unit;
    uint64_t n;

    if (!digits_to_u64(text, &unit, &n))
        return false;
    for (size_t i = 0; i < EG_COUNTOF(units); i++) {
        if (strcasecmp(unit, units[i].name) == 0 && n <= UINT64_MAX / units[i].bytes) {
            *out = n * units[i].bytes;
            return true;
        }
    }
    return false;
}

static bool is_unix(const char *address) {
    return strncmp(address, "unix:", 5) == 0;
}

bool config_is_name(const char *text) {
    size_t length = strlen(text);
    return length >= 1 && length <= 63 &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
               length;
}

static bool choice_find(const char *const *choices, size_t count, const char *text, uint64_t *out) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(choices[i], text) == 0) {
            *out = i;
            return true;
        }
    }
    return false;
}

/* ---- setting ------------------------------------------------------------ */

static eg_err refuse(struct err_note *note, const char *key, const char *value, const char *want) {
    return err_note(note, EG_BAD_REQUEST, "%s: \"%s\" is not %s", key, value, want);
}

static eg_err address_check(const char *key, const char *value, bool unix_too,
                            struct err_note *note) {
    struct address a;
    eg_err err = address_parse(value, &a, note);

    if (err != EG_OK)
        err_note_prefix(note, "%s", key);
    else if (a.local && !unix_too)
        err = refuse(note, key, value, "HOST:PORT");
    return err;
}

/* What a value of this row must be; *number is set for the numeric kinds. */
static eg_err value_check(const struct config_row *row, const char *value, uint64_t *number,
                          struct err_note *note) {
    const char *key = row->help.name;
    const char *end;

    if (strlen(value) >= CONFIG_TEXT_BYTES)
        return err_note(note, EG_BAD_REQUEST, "%s: longer than %d bytes", key,
                        CONFIG_TEXT_BYTES - 1);
    switch (row->kind) {
    case TEXT:
        return *value == '\0' ? refuse(note, key, value, "a path") : EG_OK;
    case NAME:
        return config_is_name(value) ? EG_OK : refuse(note, key, value, CONFIG_NAME_IS);
    case ADDRESS_OR_OFF:
        if (strcmp(value, "off") == 0)
            return EG_OK;
        /* fall through */
    case ADDRESS:
    case PEERS:
        return address_check(key, value, false, note);
    case LISTENERS:
        return address_check(key, value, true, note);
    case SIZE:
        if (!size_to_bytes(value, number))
            return refuse(note, key, value, "a size such as 64MiB");
        break;
    case COUNT:
        if (!digits_to_u64(value, &end, number) || *end != '\0')
            return refuse(note, key, value, "a number");
        break;
    case LEVEL:
        return choice_find(levels, EG_COUNTOF(levels), value, number)
                   ? EG_OK
                   : refuse(note, key, value, "error, warning, info or debug");
    case FORMAT:
        return choice_find(formats, EG_COUNTOF(formats), value, number)
                   ? EG_OK
                   : refuse(note, key, value, "text or json");
    }
    if (*number < row->min || *number > row->max)
        return err_note(note, EG_BAD_REQUEST, "%s: %s is out of bounds: %s", key, value,
                        row->help.text);
    return EG_OK;
}

static void text_copy(char *to, const char *from) {
    memcpy(to, from, strlen(from) + 1); /* value_check has measured it */
}

static eg_err row_set(struct config *c, const struct config_row *row, const char *value,
                      enum config_source source, struct err_note *note) {
    size_t number_of_row = (size_t) (row - rows);
    void *field = (char *) c + row->at;
    struct config_list *list = field;
    uint64_t number = 0;
    eg_err err = value_check(row, value, &number, note);

    if (err != EG_OK || c->source[number_of_row] > source)
        return err;
    switch (row->kind) {
    case PEERS:
    case LISTENERS:
        if (c->source[number_of_row] != source)
            list->count = 0;
        if (list->count == CONFIG_LIST_MAX)
            return err_note(note, EG_BAD_REQUEST, "%s: more than %d of them", row->help.name,
                            CONFIG_LIST_MAX);
        text_copy(list->item[list->count++], value);
        break;
    case TEXT:
    case NAME:
    case ADDRESS:
    case ADDRESS_OR_OFF:
        text_copy(field, value);
        break;
    case SIZE:
    case COUNT:
    case LEVEL:
    case FORMAT:
        *(uint64_t *) field = number;
        break;
    }
    c->source[number_of_row] = source;
    return EG_OK;
}

void config_init(struct config *c) {
    EG_ASSERT(EG_COUNTOF(rows) <= CONFIG_KEY_COUNT_MAX);
    memset(c, 0, sizeof *c);
    for (size_t i = 0; i < EG_COUNTOF(rows); i++)
        if (rows[i].help.initial != NULL)
            EG_ASSERT(row_set(c, &rows[i], rows[i].help.initial, CONFIG_DEFAULT, NULL) == EG_OK);
}

eg_err config_set(struct config *c, const char *key, const char *value, enum config_source source,
                  struct err_note *note) {
    const struct config_row *row = row_find(key);

    if (row == NULL)
        return err_note(note, EG_BAD_REQUEST, "unknown option: %s", key);
    return row_set(c, row, value, source, note);
}

/* ---- file and environment ------------------------------------------------ */

static char *trim(char *text) {
    size_t length;

    text += strspn(text, " \t");
    length = strlen(text);
    while (length > 0 && strchr(" \t\r", text[length - 1]) != NULL)
        length--;
    text[length] = '\0';
    return text;
}

static eg_err line_parse(struct config *c, char *line, struct err_note *note) {
    char *key = trim(line);
    char *equals;

    if (*key == '\0' || *key == '#')
        return EG_OK;
    equals = strchr(key, '=');
    if (equals == NULL)
        return err_note(note, EG_BAD_REQUEST, "expected name = value");
    *equals = '\0';
    return config_set(c, trim(key), trim(equals + 1), CONFIG_FILE, note);
}

eg_err config_parse(struct config *c, const char *text, size_t size_bytes, const char *file,
                    struct err_note *note) {
    char line[2 * CONFIG_TEXT_BYTES];
    size_t at = 0;

    for (unsigned number = 1; at < size_bytes; number++) {
        const char *start = text + at;
        const char *newline = memchr(start, '\n', size_bytes - at);
        size_t length = newline != NULL ? (size_t) (newline - start) : size_bytes - at;
        eg_err err;

        if (length >= sizeof line || memchr(start, '\0', length) != NULL)
            return err_note(note, EG_BAD_REQUEST, "%s:%u: not a line of options", file, number);
        memcpy(line, start, length);
        line[length] = '\0';
        err = line_parse(c, line, note);
        if (err != EG_OK) {
            err_note_prefix(note, "%s:%u", file, number);
            return err;
        }
        at += length + 1;
    }
    return EG_OK;
}

/* A repeating key's values stand between commas. */
static eg_err environment_set(struct config *c, const struct config_row *row, const char *value,
                              struct err_note *note) {
    char item[CONFIG_TEXT_BYTES];

    while (row->kind == PEERS || row->kind == LISTENERS) {
        size_t length = strcspn(value, ",");
        eg_err err;
        if (length >= sizeof item)
            break; /* refused below, as one long value */
        memcpy(item, value, length);
        item[length] = '\0';
        err = row_set(c, row, item, CONFIG_ENVIRONMENT, note);
        if (err != EG_OK || value[length] == '\0')
            return err;
        value += length + 1;
    }
    return row_set(c, row, value, CONFIG_ENVIRONMENT, note);
}

eg_err config_environment(struct config *c, const char *(*get)(const char *name),
                          struct err_note *note) {
    for (size_t i = 0; i < EG_COUNTOF(rows); i++) {
        char variable[64];
        const char *value;
        int length = snprintf(variable, sizeof variable, "ENGRAM_%s", rows[i].help.name);

        for (int at = 7; at < length; at++) {
            if (variable[at] == '-')
                variable[at] = '_';
            else if (variable[at] >= 'a' && variable[at] <= 'z')
                variable[at] = (char) (variable[at] - 'a' + 'A');
        }
        value = get(variable);
        if (value != NULL && *value != '\0') {
            eg_err err = environment_set(c, &rows[i], value, note);
            if (err != EG_OK) {
                err_note_prefix(note, "environment");
                return err;
            }
        }
    }
    return EG_OK;
}

/* ---- the whole ----------------------------------------------------------- */

static bool is_loopback(const char *address) {
    return is_unix(address) || strncmp(address, "127.", 4) == 0 ||
           strncmp(address, "localhost:", 10) == 0 || strncmp(address, "[::1]:", 6) == 0;
}

static eg_err loopback_check(const char *key, const char *address, const char *without,
                             struct err_note *note) {
    if (is_loopback(address))
        return EG_OK;
    return err_note(note, EG_BAD_REQUEST,
                    "%s: %s is not loopback; without %s only 127.0.0.1, [::1], localhost and "
                    "unix:PATH are served",
                    key, address, without);
}

/* Nobody can dial a wildcard. */
static eg_err advertise_check(const struct config *c, struct err_note *note) {
    static const char *const wildcard[] = {"0.0.0.0", "::", "*"};

    for (uint32_t i = 0; c->advertise[0] == '\0' && i < c->peer_listen.count; i++) {
        struct address a;
        if (address_parse(c->peer_listen.item[i], &a, NULL) != EG_OK || a.local)
            continue;
        for (size_t j = 0; j < EG_COUNTOF(wildcard); j++) {
            if (strcmp(a.host, wildcard[j]) == 0)
                return err_note(note, EG_BAD_REQUEST,
                                "peer-listen: %s is no address that other nodes could dial; say "
                                "which with advertise",
                                c->peer_listen.item[i]);
        }
    }
    return EG_OK;
}

eg_err config_check(const struct config *c, struct err_note *note) {
    eg_err err = EG_OK;

    for (size_t i = 0; i < EG_COUNTOF(rows); i++)
        if (rows[i].later && c->source[i] != CONFIG_DEFAULT)
            return err_note(note, EG_BAD_REQUEST, "%s: this version does not serve it yet",
                            rows[i].help.name);
    for (uint32_t i = 0; err == EG_OK && i < c->listen.count; i++)
        err = loopback_check("listen", c->listen.item[i], "users and passwords", note);
    for (uint32_t i = 0; err == EG_OK && c->cookie_file[0] == '\0' && i < c->peer_listen.count; i++)
        err = loopback_check("peer-listen", c->peer_listen.item[i], "a cookie-file", note);
    if (err == EG_OK)
        err = advertise_check(c, note);
    if (err == EG_OK && strcmp(c->http, "off") != 0)
        err = loopback_check("http", c->http, "users and passwords", note);
    if (err == EG_OK && c->max_frame_bytes > c->max_input_bytes)
        err = err_note(note, EG_BAD_REQUEST, "max-input is smaller than max-frame");
    return err;
}

/* Did nobody say anything of the field? */
static bool is_default(const struct config *c, const void *field) {
    for (uint32_t i = 0; i < EG_COUNTOF(rows); i++)
        if ((const char *) c + rows[i].at == (const char *) field)
            return c->source[i] == CONFIG_DEFAULT;
    return false;
}

void config_options(const struct config *c, eg_options *out) {
    memset(out, 0, sizeof *out);
    out->name = c->name[0] != '\0' ? c->name : NULL;
    out->data_dir = c->data[0] != '\0' ? c->data : NULL;
    for (uint32_t i = 0; i < c->listen.count && i < EG_LISTEN_MAX; i++)
        out->listen[i] = c->listen.item[i];
    for (uint32_t i = 0; i < c->peer_listen.count && i < EG_LISTEN_MAX; i++)
        out->peer_listen[i] = c->peer_listen.item[i];
    for (uint32_t i = 0; i < c->join.count && i < EG_LISTEN_MAX; i++)
        out->join[i] = c->join.item[i];
    out->advertise = c->advertise[0] != '\0' ? c->advertise : NULL;
    out->peer_optional = is_default(c, &c->peer_listen) && c->join.count == 0;
    out->schedulers = (uint32_t) c->schedulers;
    out->memory_limit_bytes = c->memory_limit_bytes;
    out->connections_max = (uint32_t) c->max_connections;
    out->max_frame_bytes = c->max_frame_bytes;
    out->max_input_bytes = c->max_input_bytes;
    out->log_level = (int) c->log_level;
}

/* The value as config_set() would take it; "" where nothing was said. */
static void row_print(const struct config_row *row, const void *field, char *value, size_t bytes) {
    const struct config_list *list = field;
    const uint64_t *number = field;
    size_t used = 0;

    value[0] = '\0';
    switch (row->kind) {
    case PEERS:
    case LISTENERS:
        for (uint32_t i = 0; i < list->count; i++)
            used += (size_t) snprintf(value + used, bytes - used, "%s%s", i > 0 ? "," : "",
                                      list->item[i]);
        break;
    case TEXT:
    case NAME:
    case ADDRESS:
    case ADDRESS_OR_OFF:
        snprintf(value, bytes, "%s", (const char *) field);
        break;
    case SIZE:
    case COUNT:
        if (*number != 0)
            snprintf(value, bytes, "%" PRIu64, *number);
        break;
    case LEVEL:
        snprintf(value, bytes, "%s", levels[*number]);
        break;
    case FORMAT:
        snprintf(value, bytes, "%s", formats[*number]);
        break;
    }
}

int config_print(const struct config *c, uint32_t number, char *buffer, size_t size_bytes) {
    char value[CONFIG_LIST_MAX * (CONFIG_TEXT_BYTES + 1)];

    EG_ASSERT(number < EG_COUNTOF(rows));
    row_print(&rows[number], (const char *) c + rows[number].at, value, sizeof value);
    return snprintf(buffer, size_bytes, "%s = %s  # %s", rows[number].help.name, value,
                    sources[c->source[number]]);
}
