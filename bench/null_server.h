/* null_server.h -- answers at once and stores nothing.
 *
 * What a load generator measures against it is the generator and the kernel: the
 * ceiling for any real server on this machine.
 */
#ifndef BENCH_NULL_SERVER_H
#define BENCH_NULL_SERVER_H

#include "bench/wire.h"

#include <sys/types.h>

/* Fork a process that serves on a free loopback port; its pid, and the port. */
pid_t null_server_start(const struct wire *w, uint16_t *port);
void null_server_stop(pid_t pid);

#endif /* BENCH_NULL_SERVER_H */
