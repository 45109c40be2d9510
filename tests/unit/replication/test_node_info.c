/* What a node says of itself comes back as it was said, and nothing else is taken for it. */
#include "replication/node_info.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { ROOM = 1024 };

static const struct node_info sample = {
    .incarnation = UINT64_C(1) << 60,
    .weight = 250,
    .has_disc = true,
    .name = "zurich-1.rack_2",
    .address = "unix:/tmp/Zürich",
};

static struct value put(const struct node_info *info, uint8_t *room) {
    struct value_writer w = value_writer_init(room, ROOM);

    node_info_put(info, &w);
    cr_assert(!w.overflow);
    return (struct value){room, (uint32_t) (w.at - room)};
}

Test(node_info, comes_back_as_it_was_put) {
    uint8_t room[ROOM];
    struct node_info got;

    cr_assert_eq(node_info_get(&got, put(&sample, room)), EG_OK);
    cr_assert_str_eq(got.name, sample.name);
    cr_assert_str_eq(got.address, sample.address);
    cr_assert_eq(got.incarnation, sample.incarnation);
    cr_assert_eq(got.weight, sample.weight);
    cr_assert(got.has_disc);
    cr_assert_eq(got.id, node_id_of(sample.name));
}

Test(node_info, an_id_is_the_same_for_ever) {
    cr_assert_eq(node_id_of("n1"), UINT64_C(0xd733a26dd4b49b94));
    cr_assert_neq(node_id_of("n1"), node_id_of("n2"));
    cr_assert_neq(node_id_of(""), 0);
}

static void refused(const char *what, const struct node_info *info) {
    uint8_t room[ROOM];
    struct node_info got;

    cr_assert_eq(node_info_get(&got, put(info, room)), EG_BAD_REQUEST, "%s", what);
}

Test(node_info, what_cannot_be_a_node_is_refused) {
    struct node_info i = sample;

    i.name[0] = '\0';
    refused("no name", &i);
    i = sample;
    i.name[3] = '\n';
    refused("a name of two lines", &i);
    i = sample;
    i.name[1] = ' ';
    refused("a name of two words", &i);
    i = sample;
    i.address[0] = '\x1b';
    refused("an address that speaks to a terminal", &i);
    i = sample;
    i.address[0] = (char) 0xff;
    refused("an address that is no text", &i);
    i = sample;
    i.weight = NODE_WEIGHT_MAX + 1;
    refused("more weight than there is", &i);
}

Test(node_info, other_shapes_and_kinds_are_refused) {
    uint8_t room[ROOM];
    struct node_info got;
    char long_text[STREAM_ADDRESS_BYTES + 1];

    memset(long_text, 'a', sizeof long_text);
    for (uint32_t broken = 0; broken <= 7; broken++) {
        struct value_writer w = value_writer_init(room, ROOM);
        value_put_array(&w, broken == 5 ? 4 : broken == 6 ? 6 : 5);
        if (broken == 0)
            value_put_binary(&w, "n1", 2);
        else
            value_put_text(&w, "n1");
        if (broken == 1)
            value_put_i64(&w, -1);
        else
            value_put_u64(&w, 1);
        value_put_string(&w, long_text,
                         broken == 2 ? STREAM_ADDRESS_BYTES : STREAM_ADDRESS_BYTES - 1);
        if (broken == 3)
            value_put_nil(&w);
        else
            value_put_bool(&w, false);
        if (broken == 4)
            value_put_double(&w, 100);
        else if (broken != 5)
            value_put_u64(&w, 100);
        if (broken == 6)
            value_put_nil(&w);
        cr_assert_eq(node_info_get(&got, (struct value){room, (uint32_t) (w.at - room)}),
                     broken == 7 ? EG_OK : EG_BAD_REQUEST, "%u", broken);
    }
    cr_assert_eq(node_info_get(&got, (struct value){(const uint8_t *) "\xc0", 1}), EG_BAD_REQUEST);
}
