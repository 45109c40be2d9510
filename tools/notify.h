/* notify.h -- tell systemd that a service is ready or stopping. */
#ifndef TOOLS_NOTIFY_H
#define TOOLS_NOTIFY_H

/* Send `state` ("READY=1") to the socket that NOTIFY_SOCKET names.  Does nothing
 * where there is none: nobody waits for us then. */
void notify_send(const char *state);

#endif /* TOOLS_NOTIFY_H */
