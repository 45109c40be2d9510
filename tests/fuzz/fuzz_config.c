/* fuzz_config.c -- no file of options makes the reader do anything but answer. */
#include "node/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct config c;
    struct err_note note;
    eg_options options;
    char line[CONFIG_LIST_MAX * CONFIG_TEXT_BYTES];

    config_init(&c);
    if (config_parse(&c, (const char *) data, size, "fuzz", &note) == EG_OK &&
        config_check(&c, &note) == EG_OK)
        config_options(&c, &options);
    for (uint32_t i = 0; config_key(i) != NULL; i++)
        config_print(&c, i, line, sizeof line);
    return 0;
}
