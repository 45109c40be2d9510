/* thread.c -- what each thread of the program holds on a node. */
#include "node/node.h"

static void lock(eg_node *n) {
    while (atomic_flag_test_and_set_explicit(&n->threads_lock, memory_order_acquire))
        EG_CPU_RELAX();
}

static void unlock(eg_node *n) {
    atomic_flag_clear_explicit(&n->threads_lock, memory_order_release);
}

void node_thread_free(struct node_thread *t) {
    api_errands_close(t);
    api_txs_close(t->txs);
    if (t->foreign != NULL)
        foreign_close(t->foreign);
    reader_close(&t->reader);
    alloc_put(t->owner->alloc, t, sizeof *t);
}

static void thread_gone(struct thread_object *o) {
    struct node_thread *t = EG_CONTAINER_OF(o, struct node_thread, object);

    lock(t->owner);
    list_remove(&t->node);
    unlock(t->owner);
    node_thread_free(t);
}

static struct node_thread *thread_new(eg_node *n, eg_err *err) {
    struct node_thread *t = alloc_zero(n->alloc, sizeof *t);

    if (t == NULL) {
        *err = EG_MEMORY;
        return NULL;
    }
    t->object.gone = thread_gone;
    t->owner = n;
    t->number = atomic_fetch_add(&n->thread_count, 1) + 1;
    list_init(&t->underway);
    *err = reader_open(&t->reader, n->epoch, n->alloc);
    if (*err != EG_OK)
        goto free_thread;
    *err = thread_slot_set(n->threads, &t->object);
    if (*err != EG_OK)
        goto close_reader;
    lock(n);
    list_push_back(&n->all_threads, &t->node);
    unlock(n);
    return t;

close_reader:
    reader_close(&t->reader);
free_thread:
    alloc_put(n->alloc, t, sizeof *t);
    return NULL;
}

struct node_thread *node_thread(eg_node *n, eg_err *err) {
    struct thread_object *o = thread_slot_get(n->threads);

    return EG_LIKELY(o != NULL) ? EG_CONTAINER_OF(o, struct node_thread, object)
                                : thread_new(n, err);
}

void node_threads_each(eg_node *n, void (*see)(void *context, const struct node_thread *t),
                       void *context) {
    lock(n);
    for (struct list_node *at = n->all_threads.next; at != &n->all_threads; at = at->next)
        see(context, EG_CONTAINER_OF(at, struct node_thread, node));
    unlock(n);
}

struct foreign *node_foreign(struct node_thread *t, eg_err *err) {
    *err = EG_OK;
    if (t->foreign == NULL)
        *err = foreign_open(&t->foreign, t->owner->runtime);
    return *err == EG_OK ? t->foreign : NULL;
}
