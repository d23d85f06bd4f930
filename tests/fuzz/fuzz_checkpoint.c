/* A checkpoint as Redis or the group's commit metadata give it, and the other texts of the map: what is taken must come
 * back as the same text, and nothing else is taken. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "offsets/checkpoint.h"
#include "offsets/offset_script.h"

static void try_checkpoint(const char *text, size_t size)
{
    struct checkpoint checkpoint;
    struct err err = {0};
    char again[CHECKPOINT_TEXT_BYTES];
    char name[INCARNATION_BYTES];
    if (!checkpoint_parse(text, size, &checkpoint, &err)) {
        if (err.kind != ERR_REFUSED || err.what[0] == '\0') {
            abort();
        }
        return;
    }
    checkpoint_text(&checkpoint, again);
    if (strlen(again) != size || memcmp(again, text, size) != 0 ||
        strlen(checkpoint_incarnation(&checkpoint, name)) >= INCARNATION_BYTES) {
        abort();
    }
}

static void try_index(const char *text, size_t size)
{
    struct offset_index index;
    char again[INDEX_TEXT_BYTES];
    if (!offset_index_parse(text, size, &index)) {
        return;
    }
    if (index.first.source > index.next.source || index.run_end.source > index.next.source ||
        index.run_end.target > index.next.target) {
        abort();
    }
    const char *behind_ordinal = memchr(text, ' ', size);
    offset_index_text(&index, again);
    size_t head = (size_t)(behind_ordinal - text) + 1;
    if (strlen(again) != size - head || memcmp(again, behind_ordinal + 1, size - head) != 0) {
        abort();
    }
}

static void try_others(const char *text, size_t size)
{
    struct offset_place id;
    struct offset_stretch stretch;
    char again[STRETCH_TEXT_BYTES];
    if (offset_id_parse(text, size, &id)) {
        char id_again[OFFSET_ID_BYTES];
        offset_id_text(id, id_again);
        if (strlen(id_again) != size || memcmp(id_again, text, size) != 0) {
            abort();
        }
    }
    if (offset_stretch_parse(text, size, "a", &stretch) &&
        (strlen(offset_stretch_text(&stretch, again)) != size - 2 ||
         memcmp(again, text + 2, size - 2) != 0)) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1); /* as long as it is, so that a read beyond is seen */
    memcpy(text, data, size);
    text[size] = '\0';
    try_checkpoint(text, size);
    try_index(text, size);
    try_others(text, size);
    free(text);
    return 0;
}
