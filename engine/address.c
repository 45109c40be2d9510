/* address.c -- take addresses apart. */
#include "engine/address.h"

#include <string.h>

static const char LOCAL_PREFIX[] = "unix:";

static eg_err parse_path(const char *path, struct address *out, struct err_note *note) {
    size_t size_bytes = strlen(path);

    if (size_bytes == 0)
        return err_note(note, EG_BAD_REQUEST, "unix: needs a path");
    if (size_bytes >= sizeof out->path)
        return err_note(note, EG_BAD_REQUEST, "unix:%s: a socket's path has at most %zu bytes",
                        path, sizeof out->path - 1);
    out->local = true;
    memcpy(out->path, path, size_bytes + 1);
    return EG_OK;
}

static bool parse_port(const char *text, uint16_t *out) {
    uint32_t port = 0;

    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        port = port * 10 + (uint32_t) (*text - '0');
        if (port > UINT16_MAX)
            return false;
    }
    *out = (uint16_t) port;
    return true;
}

eg_err address_parse(const char *text, struct address *out, struct err_note *note) {
    const char *colon, *host = text;
    size_t host_bytes;

    memset(out, 0, sizeof *out);
    if (strncmp(text, LOCAL_PREFIX, sizeof LOCAL_PREFIX - 1) == 0)
        return parse_path(text + sizeof LOCAL_PREFIX - 1, out, note);

    colon = strrchr(text, ':');
    if (colon == NULL || colon == text)
        return err_note(note, EG_BAD_REQUEST, "%s: expected HOST:PORT or unix:PATH", text);
    if (!parse_port(colon + 1, &out->port))
        return err_note(note, EG_BAD_REQUEST, "%s: a port is a number from 0 to 65535", text);

    host_bytes = (size_t) (colon - text);
    if (host[0] == '[' && host_bytes > 2 && host[host_bytes - 1] == ']') {
        host += 1;
        host_bytes -= 2;
    } else if (memchr(host, ':', host_bytes) != NULL) {
        return err_note(note, EG_BAD_REQUEST, "%s: write an IPv6 address as [ADDRESS]:PORT", text);
    }
    if (host_bytes >= sizeof out->host)
        return err_note(note, EG_BAD_REQUEST, "%s: a host name has at most %zu bytes", text,
                        sizeof out->host - 1);
    memcpy(out->host, host, host_bytes);
    out->host[host_bytes] = '\0';
    return EG_OK;
}
