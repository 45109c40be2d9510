/* fuzz_membership.c -- what a node that knows the cookie may say of members and views.
 *
 * The first byte says which of the two is to propose views.  Then come steps: a byte says which,
 * and for the first two a value follows, where it is one.
 *
 *     0  a message of membership from the peer       2  time passes, by the next byte x 16 ms
 *     1  a message of views from it                  3  what was to stop has stopped */
#include "replication/swim.h"
#include "replication/view.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct node {
    struct swim *swim;
    struct views *views;
    uint64_t now_ms, peer;
    struct view_id stopping;
    const struct view *view;
};

static void on_send(void *user, uint64_t to, struct value payload) {
    size_t used_bytes;

    (void) user;
    EG_ASSERT(to != 0);
    EG_ASSERT(value_scan(payload.at, payload.size_bytes, &used_bytes) == EG_OK);
    EG_ASSERT(used_bytes == payload.size_bytes);
}

static void on_changed(void *user, const struct swim_member *m, enum swim_state before) {
    (void) user;
    EG_ASSERT(m->info.incarnation > 0);
    EG_ASSERT(swim_state_name(m->state) != NULL && swim_state_name(before) != NULL);
}

static uint64_t on_random(void *user) {
    return ((struct node *) user)->now_ms * 0x9e3779b97f4a7c15;
}

static void on_stop(void *user, struct view_id proposed) {
    ((struct node *) user)->stopping = proposed;
}

static eg_err on_report(void *user, struct buffer *out) {
    (void) user;
    return buffer_append(out, "\xc0", 1) ? EG_OK : EG_MEMORY;
}

static void on_install(void *user, const struct view *v) {
    struct node *n = user;

    EG_ASSERT(n->view == NULL || v->id.epoch > n->view->id.epoch);
    for (uint32_t i = 0; i < v->count; i++)
        EG_ASSERT(v->member[i].report.size_bytes > 0);
    if (n->view != NULL)
        view_unref(n->view);
    view_ref(v);
    n->view = v;
}

static void node_open(struct node *n, bool proposes) {
    static const struct swim_ops swim = {on_send, on_changed, on_random};
    static const struct view_ops views = {on_send, on_stop, on_report, on_install, on_random};
    struct node_info self = {.incarnation = 5, .weight = 100, .address = "a:1"};
    struct node_info peer = {.incarnation = 6, .weight = 100, .name = "peer", .address = "b:1"};

    *n = (struct node){.now_ms = 1000};
    strcpy(self.name, proposes ? "self" : "selfb"); /* by their ids */
    self.id = node_id_of(self.name);
    peer.id = n->peer = node_id_of(peer.name);
    EG_ASSERT(swim_open(&n->swim, alloc_system(), &self, &swim, n) == EG_OK);
    EG_ASSERT(views_open(&n->views, alloc_system(), &self, 0, &views, n) == EG_OK);
    swim_linked(n->swim, &peer, n->now_ms);
    views_reach(n->views, &peer, 1, n->now_ms);
}

static void tick(struct node *n) {
    EG_ASSERT(swim_tick(n->swim, n->now_ms, 1000000 + (int64_t) n->now_ms) > n->now_ms);
    (void) views_tick(n->views, n->now_ms); /* it may want to be called at once */
}

/* How much of the rest was used; 0: it is no value. */
static size_t receive(struct node *n, uint8_t which, const uint8_t *at, size_t size) {
    struct value v = {at, 0};
    size_t used_bytes;

    if (value_scan(at, size, &used_bytes) != EG_OK)
        return 0;
    v.size_bytes = (uint32_t) used_bytes;
    if (which == 0)
        swim_receive(n->swim, n->peer, v, n->now_ms, 1000000);
    else
        views_receive(n->views, n->peer, v, n->now_ms);
    return used_bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct node n;

    if (size == 0)
        return 0;
    node_open(&n, *data % 2 != 0);
    data++, size--;
    while (size > 1) {
        uint8_t which = *data % 4;
        size_t used = 0;

        data++, size--;
        if (which < 2) {
            used = receive(&n, which, data, size);
            if (used == 0)
                break;
        } else if (which == 2) {
            n.now_ms += (uint64_t) *data * 16;
            used = 1;
        } else {
            view_stopped(n.views, n.stopping, n.now_ms);
        }
        data += used;
        size -= used;
        tick(&n);
    }
    EG_ASSERT(swim_count(n.swim) <= SWIM_MEMBERS_MAX);
    if (n.view != NULL)
        view_unref(n.view);
    views_close(n.views);
    swim_close(n.swim);
    return 0;
}
