/* notify.c -- the protocol of sd_notify(3): one datagram to a unix socket. */
#include "tools/notify.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void notify_send(const char *state) {
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t length = path != NULL ? strlen(path) : 0;
    int fd;

    if (length == 0 || length >= sizeof to.sun_path)
        return;
    memcpy(to.sun_path, path, length);
    if (to.sun_path[0] == '@')
        to.sun_path[0] = '\0'; /* the abstract name space */
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    /* systemd notices by its own deadline where this is lost */
    (void) sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *) &to,
                  (socklen_t) (offsetof(struct sockaddr_un, sun_path) + length));
    close(fd);
}
