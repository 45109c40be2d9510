/* rpc_backup.h -- backups that connections are reading.
 *
 *     backup_open({tables}) -> id      one moment of them is taken
 *     backup_read(id) -> bytes, ... nil    the file (tables/backup.h), about 256 KiB each
 *     backup_close(id) -> true         also after the end
 *
 * Bounds     A connection reads BACKUPS_SESSION_MAX at once.  A backup that nobody reads keeps
 *            memory: after BACKUP_IDLE_MS it is closed, and it ends with its connection.
 * Threads    Its session's scheduler.
 */
#ifndef QUERY_RPC_BACKUP_H
#define QUERY_RPC_BACKUP_H

#include "query/session.h"

enum {
    BACKUPS_SESSION_MAX = 4,
    BACKUP_IDLE_MS = 60 * 1000,
};

/* Close those that nobody reads; true: there are others. */
bool backup_expire(struct session *s, uint64_t now_ns);
void backup_end_all(struct session *s);

#endif /* QUERY_RPC_BACKUP_H */
