/* A group's place and its field's name as Redis gives them: what is taken must come back as the same text. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "offsets/group_entry.h"

static void try_entry(const char *text, size_t size)
{
    struct group_entry entry = {0};
    struct err err = {0};
    char again[GROUP_TEXT_BYTES];
    if (!group_entry_parse(text, size, &entry, &err)) {
        if (err.kind != ERR_REFUSED || err.what[0] == '\0') {
            abort();
        }
        return;
    }
    size_t len = group_entry_text(&entry, again);
    if (text[1] == '1') { /* the form before: written in the newer one */
        group_entry_done(&entry);
        return;
    }
    bool whole = memchr(text, '\0', size) == NULL; /* metadata ends at a NUL */
    if (len > size || memcmp(again, text, len) != 0 || (whole && len != size)) {
        abort();
    }
    group_entry_settle(&entry, 100);
    group_entry_done(&entry);
}

static void try_field(const char *text, size_t size)
{
    char group[GROUP_FIELD_BYTES];
    char topic[250];
    char again[GROUP_FIELD_BYTES];
    int32_t partition;
    if (group_field_parse(text, size, group, topic, &partition) &&
        (!group_field_text(group, topic, partition, again) || strlen(again) != size ||
         memcmp(again, text, size) != 0)) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1); /* as long as it is, so that a read beyond is seen */
    memcpy(text, data, size);
    text[size] = '\0';
    try_entry(text, size);
    try_field(text, size);
    free(text);
    return 0;
}
