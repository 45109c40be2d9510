/* list.h -- a doubly linked list inside its elements.
 *
 * A head is a node too; an empty list points at itself.  An element finds itself
 * by EG_CONTAINER_OF.
 */
#ifndef ENGINE_LIST_H
#define ENGINE_LIST_H

#include "engine/base.h"

struct list_node {
    struct list_node *next, *prev;
};

static inline void list_init(struct list_node *head) {
    head->next = head->prev = head;
}
static inline bool list_is_empty(const struct list_node *head) {
    return head->next == head;
}
static inline void list_push_back(struct list_node *head, struct list_node *n) {
    n->next = head;
    n->prev = head->prev;
    head->prev->next = n;
    head->prev = n;
}
static inline void list_push_front(struct list_node *head, struct list_node *n) {
    list_push_back(head->next, n);
}
/* Take `n` out of its list and make it an empty one, so removing twice is harmless. */
static inline void list_remove(struct list_node *n) {
    n->prev->next = n->next;
    n->next->prev = n->prev;
    list_init(n);
}

#endif /* ENGINE_LIST_H */
