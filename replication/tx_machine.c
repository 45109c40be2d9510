/* tx_machine.c -- two-phase commit with presumed abort, one transaction. */
#include "replication/tx_machine.h"

#include "engine/planted.h"

static bool all_firm(const struct tx_part *part, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (!part[i].firm)
            return false;
    return count != 0;
}

void tx_machine_begin(struct tx_machine *m, struct tx_part *part, uint32_t count, bool logs) {
    *m = (struct tx_machine){.state = TX_PREPARING,
                             .logs = logs,
                             .firm = all_firm(part, count),
                             .count = count,
                             .part = part};
}

void tx_machine_recall(struct tx_machine *m, struct tx_part *part, uint32_t count) {
    *m = (struct tx_machine){.state = TX_COMMITTING,
                             .logs = true,
                             .recalled = true,
                             .firm = all_firm(part, count),
                             .answered = true,
                             .count = count,
                             .part = part};
    for (uint32_t i = 0; i < count; i++)
        part[i].state = TX_PART_VOTED; /* of one that only read, who had to ask its master? */
    m->looks = m->firm;
}

/* ---- what is decided ------------------------------------------------------------------------- */

static bool any_is(const struct tx_machine *m, enum tx_part_state state) {
    for (uint32_t i = 0; i < m->count; i++)
        if (m->part[i].state == state)
            return true;
    return false;
}

/* But for those of which nothing is kept. */
static bool all_are(const struct tx_machine *m, enum tx_part_state a, enum tx_part_state b) {
    for (uint32_t i = 0; i < m->count; i++)
        if (m->part[i].state != a && m->part[i].state != b && m->part[i].state != TX_PART_STOOD)
            return false;
    return true;
}

/* From here on nobody commits anything that what we change does not fit to, unless he was before
 * us: then the look finds it. */
static bool all_changes_are_held(const struct tx_machine *m) {
    for (uint32_t i = 0; i < m->count; i++)
        if (!m->part[i].reads && m->part[i].state != TX_PART_VOTED)
            return false;
    return true;
}

/* Has what stands been looked at twice? */
static bool all_sure(const struct tx_machine *m) {
    for (uint32_t i = 0; i < m->count; i++)
        if (m->part[i].state == TX_PART_STOOD && !m->part[i].sure)
            return false;
    return true;
}

/* Has each been looked at, or is known to be over? */
static bool all_known(const struct tx_machine *m) {
    for (uint32_t i = 0; i < m->count; i++)
        if (!m->part[i].kept && m->part[i].state == TX_PART_VOTED)
            return false;
    return true;
}

/* And not told to commit: by then it may have been given up after all. */
static bool any_kept(const struct tx_machine *m) {
    for (uint32_t i = 0; i < m->count; i++)
        if (m->part[i].kept && m->part[i].under_way == TX_DO_NOTHING)
            return true;
    return false;
}

static bool any_under_way(const struct tx_machine *m) {
    for (uint32_t i = 0; i < m->count; i++)
        if (m->part[i].under_way != TX_DO_NOTHING)
            return true;
    return false;
}

/* Is it brought to its end as it comes, for it has taken too long? */
static bool is_hurried(const struct tx_machine *m) {
    return m->late && !m->firm;
}

/* A view has given it up, and nobody has made any of it. */
static bool is_given_up(const struct tx_machine *m) {
    bool any = false;

    for (uint32_t i = 0; i < m->count; i++) {
        any |= m->part[i].given_up;
        if (m->part[i].made)
            return false;
    }
    return any && m->firm;
}

/* Nobody has heard that it is committed. */
static void abort_all(struct tx_machine *m, eg_err why) {
    m->state = TX_ABORTING;
    m->outcome = why;
    for (uint32_t i = 0; i < m->count; i++)
        if (m->part[i].state == TX_PART_NEW && m->part[i].under_way == TX_DO_NOTHING)
            m->part[i].state = TX_PART_NONE; /* it was never asked */
}

/* None is made: what holds its keys still is told to let them go. */
static void give_up_all(struct tx_machine *m) {
    abort_all(m, EG_ABORTED);
    for (uint32_t i = 0; i < m->count; i++)
        if (m->part[i].state != TX_PART_VOTED)
            m->part[i].state = TX_PART_NONE;
}

static void decide(struct tx_machine *m) {
    if (m->state == TX_PREPARING && ((all_are(m, TX_PART_VOTED, TX_PART_VOTED) && all_sure(m)) ||
                                     (PLANTED(DECIDED_BY_ONE_VOTE) && any_is(m, TX_PART_VOTED))))
        m->state = m->logs ? TX_LOGGING : TX_COMMITTING;
    m->looks = m->looks && !is_hurried(m) && !all_known(m);
    if (m->state == TX_COMMITTING && is_given_up(m) && all_known(m) && !any_under_way(m))
        give_up_all(m);
    if (m->state == TX_COMMITTING && all_are(m, TX_PART_DONE, TX_PART_DONE)) {
        m->state = TX_OVER;
        m->outcome = EG_OK;
    } else if (m->state == TX_COMMITTING && !m->recalled &&
               all_are(m, TX_PART_GONE, TX_PART_GONE) && !any_under_way(m)) {
        m->state = TX_OVER;
        m->outcome = EG_ABORTED;
    } else if (m->state == TX_COMMITTING && PLANTED(GONE_NOT_MADE_ANEW) &&
               all_are(m, TX_PART_DONE, TX_PART_GONE)) {
        m->state = TX_OVER;
        m->outcome = EG_OK;
    } else if (m->state == TX_ABORTING && all_are(m, TX_PART_NONE, TX_PART_NONE) &&
               !any_under_way(m)) {
        m->state = TX_OVER;
    }
}

/* ---- what is to be done ---------------------------------------------------------------------- */

static enum tx_do wanted(const struct tx_machine *m, const struct tx_part *p) {
    switch (m->state) {
    case TX_PREPARING:
        if (p->state == TX_PART_STOOD && !p->sure && all_are(m, TX_PART_VOTED, TX_PART_VOTED))
            return TX_DO_CONFIRM;
        if (p->state != TX_PART_NEW)
            return TX_DO_NOTHING;
        if (!p->reads)
            return TX_DO_PREPARE;
        if (!all_changes_are_held(m) && !PLANTED(CHECKED_TOO_EARLY))
            return TX_DO_NOTHING;
        return p->asks ? TX_DO_PREPARE : TX_DO_CHECK;
    case TX_COMMITTING:
        if (m->looks || is_given_up(m))
            return p->state == TX_PART_VOTED && !p->kept ? TX_DO_LOOK : TX_DO_NOTHING;
        if (p->state == TX_PART_GONE)
            return m->recalled || any_is(m, TX_PART_DONE) || any_kept(m) ? TX_DO_REDO
                                                                         : TX_DO_NOTHING;
        if (p->kept && !is_hurried(m) && any_is(m, TX_PART_GONE))
            return TX_DO_NOTHING;
        return p->state == TX_PART_DONE || p->state == TX_PART_STOOD ? TX_DO_NOTHING : TX_DO_COMMIT;
    case TX_ABORTING:
        return p->state == TX_PART_VOTED || p->state == TX_PART_DOUBT ? TX_DO_ABORT : TX_DO_NOTHING;
    default:
        return TX_DO_NOTHING;
    }
}

static bool may_answer(const struct tx_machine *m) {
    return !m->answered &&
           (m->state == TX_ABORTING || m->state == TX_OVER || m->outcome == EG_IN_DOUBT);
}

struct tx_step tx_machine_next(struct tx_machine *m) {
    decide(m);
    if (may_answer(m)) {
        m->answered = true;
        return (struct tx_step){TX_DO_ANSWER, 0};
    }
    if (m->state == TX_LOGGING && !m->logging) {
        m->logging = true;
        return (struct tx_step){TX_DO_LOG, 0};
    }
    for (; m->at < m->count; m->at++) {
        struct tx_part *p = &m->part[m->at];
        enum tx_do what = p->under_way == TX_DO_NOTHING && !p->waits ? wanted(m, p) : TX_DO_NOTHING;

        if (what != TX_DO_NOTHING) {
            p->under_way = what;
            return (struct tx_step){what, m->at++};
        }
    }
    m->at = 0;
    if (m->state == TX_OVER && !m->ended) {
        m->ended = true;
        return (struct tx_step){TX_DO_END, 0};
    }
    return (struct tx_step){TX_DO_NOTHING, 0};
}

/* ---- what is heard --------------------------------------------------------------------------- */

/* It is not known whether it happened. */
static bool is_doubt(eg_err err) {
    return err == EG_IN_DOUBT || err == EG_TIMEOUT || err == EG_INTERNAL || err == EG_NOPROC;
}

/* It did not happen, and may a moment later. */
static bool is_moment(eg_err err) {
    return err == EG_BUSY || err == EG_AGAIN || err == EG_MEMORY;
}

/* What stood was looked at before the last of those that were asked is held: in between one may
 * have changed both, and what is seen of them would never have been at one time. */
static void look_again(struct tx_machine *m) {
    for (uint32_t i = 0; i < m->count; i++)
        if (m->part[i].asks && m->part[i].state == TX_PART_NEW)
            return; /* when that has voted, too */
    for (uint32_t i = 0; i < m->count; i++)
        if (m->part[i].state == TX_PART_STOOD) {
            m->part[i].state = TX_PART_NEW;
            m->part[i].sure = false;
        }
}

/* Nothing has happened where nobody knows: it is aborted, and can be tried again.  Who is told that
 * it was busy would send the same again, under an id that is used up. */
static void heard_prepare(struct tx_machine *m, struct tx_part *p, eg_err err) {
    p->state = err == EG_OK ? TX_PART_VOTED : is_doubt(err) ? TX_PART_DOUBT : TX_PART_NONE;
    if (err != EG_OK && m->state == TX_PREPARING)
        abort_all(m, is_doubt(err) || (is_moment(err) && err != EG_MEMORY) ? EG_CONFLICT : err);
    else if (m->state == TX_PREPARING && p->reads)
        look_again(m);
}

static void heard_check(struct tx_machine *m, struct tx_part *p, eg_err err) {
    p->asks = err == EG_AGAIN;
    p->sure = PLANTED(CHECKED_TOO_EARLY);
    if (err == EG_OK)
        p->state = TX_PART_STOOD;
    if (err == EG_OK || err == EG_AGAIN)
        return;
    p->state = TX_PART_NONE;
    if (m->state == TX_PREPARING)
        abort_all(m, err);
}

/* Who moves again and again is held, at its master. */
static void heard_confirm(struct tx_machine *m, struct tx_part *p, eg_err err) {
    enum { MOVES_MAX = 4 };

    if (m->state != TX_PREPARING)
        return;
    p->sure = err == EG_OK;
    if (err != EG_OK && err != EG_AGAIN) {
        p->state = TX_PART_NONE;
        abort_all(m, err);
    } else if (err == EG_AGAIN) {
        p->state = TX_PART_NEW;
        p->asks = ++p->moves >= MOVES_MAX;
        for (uint32_t i = 0; i < m->count; i++)
            m->part[i].sure = false;
    }
}

static void heard_commit(struct tx_machine *m, struct tx_part *p, eg_err err) {
    p->kept = p->kept && is_moment(err);
    if (err == EG_OK || err == EG_NO_TABLE) /* what is dropped has nothing that could lack */
        p->state = TX_PART_DONE;
    else if (err == EG_NOT_FOUND || err == EG_ABORTED)
        p->state = TX_PART_GONE;
    else
        p->waits = true;
    p->made |= err == EG_OK;
    p->given_up = err == EG_ABORTED;
    if (p->waits && !m->answered && !is_moment(err))
        m->outcome = EG_IN_DOUBT;
}

/* EG_EXISTS: it has been made. */
static void heard_look(struct tx_part *p, eg_err err) {
    if (err == EG_OK || err == EG_EXISTS)
        p->kept = true;
    else if (err == EG_NO_TABLE)
        p->state = TX_PART_DONE;
    else if (err == EG_NOT_FOUND || err == EG_ABORTED)
        p->state = TX_PART_GONE;
    else
        p->waits = true;
    p->made |= err == EG_EXISTS;
    p->given_up = err == EG_ABORTED;
}

static void heard_redo(struct tx_part *p, eg_err err) {
    if (err == EG_OK || err == EG_NO_TABLE || err == EG_BAD_RECORD || err == EG_BAD_REQUEST)
        p->state = TX_PART_DONE; /* the table is another by now */
    else
        p->waits = true;
    p->made |= err == EG_OK;
}

void tx_machine_heard(struct tx_machine *m, uint32_t part, enum tx_do what, eg_err err) {
    struct tx_part *p = &m->part[part];

    EG_ASSERT(part < m->count);
    if (p->under_way != what)
        return; /* who asked has been replaced since */
    p->under_way = TX_DO_NOTHING;
    m->at = 0;
    switch (what) {
    case TX_DO_PREPARE:
        heard_prepare(m, p, err);
        break;
    case TX_DO_CHECK:
        heard_check(m, p, err);
        break;
    case TX_DO_CONFIRM:
        heard_confirm(m, p, err);
        break;
    case TX_DO_COMMIT:
        heard_commit(m, p, err);
        break;
    case TX_DO_REDO:
        heard_redo(p, err);
        break;
    case TX_DO_LOOK:
        heard_look(p, err);
        break;
    case TX_DO_ABORT: /* who does not hear it asks (tx_ask.c) */
        if (is_moment(err) || err == EG_NO_REPLICA)
            p->waits = true;
        else
            p->state = TX_PART_NONE;
        break;
    default:
        break;
    }
}

void tx_machine_logged(struct tx_machine *m, eg_err err) {
    if (m->state != TX_LOGGING)
        return;
    m->at = 0;
    if (err == EG_OK)
        m->state = TX_COMMITTING;
    else /* as in heard_prepare() */
        abort_all(m, err == EG_BUSY ? EG_CONFLICT : err);
}

void tx_machine_log_lost(struct tx_machine *m) {
    if (m->state != TX_LOGGING)
        return;
    m->at = 0;
    m->unsure = true;
    abort_all(m, EG_IN_DOUBT);
}

void tx_machine_view(struct tx_machine *m) {
    if (m->state == TX_PREPARING) /* another try may well succeed, so that is what it is told */
        abort_all(m, EG_CONFLICT);
    m->looks = (m->state == TX_LOGGING || m->state == TX_COMMITTING) && (!m->recalled || m->firm) &&
               !is_hurried(m) && !any_is(m, TX_PART_DONE);
    for (uint32_t i = 0; i < m->count; i++)
        m->part[i].kept = false;
    tx_machine_retry(m);
}

void tx_machine_expire(struct tx_machine *m) {
    if (m->state == TX_PREPARING)
        abort_all(m, EG_ABORTED);
    else if (m->state == TX_LOGGING || m->state == TX_COMMITTING)
        m->outcome = EG_IN_DOUBT;
    m->late = true;
    m->at = 0;
}

void tx_machine_forget(struct tx_machine *m) {
    m->at = 0;
    for (uint32_t i = 0; i < m->count && m->state == TX_ABORTING; i++) {
        m->part[i].state = TX_PART_NONE;
        m->part[i].under_way = TX_DO_NOTHING;
    }
}

void tx_machine_retry(struct tx_machine *m) {
    m->at = 0;
    for (uint32_t i = 0; i < m->count; i++)
        m->part[i].waits = false;
}

void tx_machine_restart(struct tx_machine *m) {
    for (uint32_t i = 0; i < m->count; i++) {
        struct tx_part *p = &m->part[i];

        if (p->under_way == TX_DO_PREPARE)
            p->state = TX_PART_DOUBT;
        p->under_way = TX_DO_NOTHING;
    }
    m->logging = false;
    if (m->state == TX_PREPARING)
        abort_all(m, EG_CONFLICT);
    tx_machine_retry(m);
}

/* ---- what is known --------------------------------------------------------------------------- */

enum tx_status tx_machine_status(const struct tx_machine *m) {
    if (m->unsure)
        return TX_STATUS_UNKNOWN;
    switch (m->state) {
    case TX_PREPARING:
    case TX_LOGGING:
        return TX_STATUS_OPEN;
    case TX_COMMITTING:
        return any_is(m, TX_PART_DONE) ? TX_STATUS_COMMITTED : TX_STATUS_OPEN;
    case TX_ABORTING:
        return TX_STATUS_ABORTED;
    default:
        return m->outcome == EG_OK ? TX_STATUS_COMMITTED : TX_STATUS_ABORTED;
    }
}

bool tx_machine_waits(const struct tx_machine *m) {
    for (uint32_t i = 0; i < m->count; i++)
        if (m->part[i].waits)
            return true;
    return false;
}
