/* test_store_disc_model.c -- the disc store keeps what every store promises, on
 * the twin and on RocksDB, with one record a key and with many.
 *
 * Shards 2 and 4 of the same table hold a record each, which nobody may see. */
#include "tests/store_conformance.h"
#include "tests/support/disc_twin.h"
#include "tests/support/disc_wait.h"
#include "tests/support/temp_dir.h"

#include "tables/disc_record.h"

static struct disc *disc;
static struct temp_dir dir;

static eg_err open_in(struct store **out, const struct store_opts *o) {
    struct disc_table *table = NULL;
    struct disc_batch b;
    _Alignas(8) uint8_t memory[64];
    struct record *rec;

    rec = record_init(memory, (struct value){(const uint8_t *) "\x93\x01\x02\x03", 4},
                      (struct record_version){1, 1}, 0);
    cr_assert_eq(disc_wait_create(disc, "t", &table), EG_OK);
    disc_batch_init(&b, alloc_system());
    cr_assert_eq(disc_record_put(&b, table, 2, rec, o->bag), EG_OK);
    cr_assert_eq(disc_record_put(&b, table, 4, rec, o->bag), EG_OK);
    cr_assert_eq(disc_wait_write(disc, &b, false), EG_OK);
    disc_batch_fini(&b);
    return store_disc_open(out, o, disc, table, 3);
}

static eg_err open_on_twin(struct store **out, const struct store_opts *o) {
    struct disc_twin *twin;

    cr_assert_eq(disc_twin_open(&twin, &(struct disc_twin_opts){.alloc = alloc_system()}), EG_OK);
    disc = disc_twin_disc(twin);
    return open_in(out, o);
}

static void twin_closed(void) {
    disc_close(disc);
}

static eg_err open_on_rocks(struct store **out, const struct store_opts *o) {
    struct err_note note;

    dir = temp_dir_make();
    cr_assert_eq(
        disc_rocks_open(&disc,
                        &(struct disc_rocks_opts){.alloc = alloc_system(), .directory = dir.path},
                        &note),
        EG_OK, "%s", note.text);
    return open_in(out, o);
}

static void rocks_closed(void) {
    disc_close(disc);
    temp_dir_remove(&dir);
}

STORE_CONFORMANCE(store_disc_twin,
                  (struct conformance){
                      .open = open_on_twin, .closed = twin_closed, .ordered = true, .disc = true})
STORE_CONFORMANCE(store_disc_rocks,
                  (struct conformance){
                      .open = open_on_rocks, .closed = rocks_closed, .ordered = true, .disc = true})
STORE_CONFORMANCE(store_disc_bag, (struct conformance){.open = open_on_rocks,
                                                       .closed = rocks_closed,
                                                       .ordered = true,
                                                       .bag = true,
                                                       .disc = true})
