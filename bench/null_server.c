/* null_server.c -- one epoll loop: read, one answer a request, write. */
#include "bench/null_server.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FDS_MAX = 4096, INPUT_BYTES = 256 * 1024, OUTPUT_BYTES = 512 * 1024 };

struct peer {
    uint8_t tail[WIRE_REQUEST_MAX]; /* an unfinished request */
    size_t tail_bytes;
};

/* Requests of both kinds have one size each; their first bytes tell which. */
static enum wire_op op_of(const struct wire *w, const uint8_t *at) {
    size_t told_at = w->protocol == WIRE_RESP ? 1 : 8; /* the array's size; "r" or "w" */

    return at[told_at] == w->op[WIRE_WRITE].bytes[told_at] ? WIRE_WRITE : WIRE_READ;
}

static bool serve(const struct wire *w, int fd, struct peer *p) {
    static uint8_t input[INPUT_BYTES], output[OUTPUT_BYTES];
    size_t have = p->tail_bytes, used = 0, out = 0;
    ssize_t n;

    memcpy(input, p->tail, have);
    n = read(fd, input + have, INPUT_BYTES / 4 - have);
    if (n <= 0)
        return false;
    have += (size_t) n;
    while (have - used > 8) {
        enum wire_op op = op_of(w, input + used);
        size_t size_bytes = w->op[op].size_bytes;
        if (have - used < size_bytes)
            break;
        out += wire_null_reply(w, input + used, op, output + out);
        used += size_bytes;
    }
    p->tail_bytes = have - used;
    memcpy(p->tail, input + used, p->tail_bytes);
    return out == 0 || write(fd, output, out) == (ssize_t) out;
}

static void serve_for_ever(const struct wire *w, int listener) {
    struct peer *peers = calloc(FDS_MAX, sizeof *peers);
    struct epoll_event events[64], e = {.events = EPOLLIN, .data.fd = listener};
    int poll = epoll_create1(0), on = 1;

    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &e);
    for (;;) {
        int n = epoll_wait(poll, events, 64, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                fd = accept(listener, NULL, NULL);
                if (fd < 0 || fd >= FDS_MAX)
                    continue;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                peers[fd].tail_bytes = 0;
                e = (struct epoll_event){.events = EPOLLIN, .data.fd = fd};
                epoll_ctl(poll, EPOLL_CTL_ADD, fd, &e);
            } else if (!serve(w, fd, &peers[fd])) {
                close(fd);
            }
        }
    }
}

pid_t null_server_start(const struct wire *w, uint16_t *port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size_bytes = sizeof a;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    pid_t pid;

    if (bind(listener, (struct sockaddr *) &a, sizeof a) != 0 || listen(listener, 512) != 0 ||
        getsockname(listener, (struct sockaddr *) &a, &size_bytes) != 0) {
        perror("null server");
        exit(1);
    }
    *port = ntohs(a.sin_port);
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* never outlives the generator */
        serve_for_ever(w, listener);
    }
    close(listener);
    return pid;
}

void null_server_stop(pid_t pid) {
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}
