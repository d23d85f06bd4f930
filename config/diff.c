/* Two configurations side by side: the trees that `ferry config show` prints, walked together with the table of keys. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "config/build.h"
#include "config/keys.h"

struct walk {
    void (*each)(void *arg, const struct config_change *change);
    void *arg;
};

static void tell(const struct walk *walk, const struct key *key, const char *path,
                 const json_t *before, const json_t *after)
{
    char *texts[] = {before == NULL ? NULL : json_text(before),
                     after == NULL ? NULL : json_text(after)};
    const struct config_change change = {
        .path = path,
        .before = texts[0] == NULL ? "" : texts[0],
        .after = texts[1] == NULL ? "" : texts[1],
        .restart =
            key == NULL || key->restart, /* what the table does not know is not ours to change */
    };

    walk->each(walk->arg, &change);
    free(texts[0]);
    free(texts[1]);
}

static void look(const struct walk *walk, const struct key *key, const char *path,
                 const json_t *before, const json_t *after);

static void look_at_member(const struct walk *walk, const struct key *parent, const char *path,
                           const char *name, const json_t *before, const json_t *after)
{
    char below[BUILD_PATH_BYTES];

    snprintf(below, sizeof(below), "%s%s%s", path, path[0] == '\0' ? "" : ".", name);
    look(walk, keys_member(parent == NULL ? "" : parent->path, name), below,
         json_object_get(before, name), json_object_get(after, name));
}

static void look(const struct walk *walk, const struct key *key, const char *path,
                 const json_t *before, const json_t *after)
{
    bool has_members = path[0] == '\0' || (key != NULL && key->type == KEY_OBJECT);

    if (before != NULL && after != NULL && json_equal(before, after)) {
        return;
    }
    if (!has_members || !json_is_object(before) || !json_is_object(after)) {
        tell(walk, key, path, before, after); /* came or went whole: a site, a service, a list */
        return;
    }
    json_t *names = json_object(); /* of both sides, each once */
    const char *name;
    json_t *value;
    json_object_update(names, (json_t *)(uintptr_t)before);
    json_object_update(names, (json_t *)(uintptr_t)after);
    json_object_foreach (names, name, value) {
        look_at_member(walk, key, path, name, before, after);
    }
    json_decref(names);
}

void config_diff(const struct config *before, const struct config *after,
                 void (*each)(void *arg, const struct config_change *change), void *arg)
{
    const struct walk walk = {.each = each, .arg = arg};
    json_t *trees[] = {build_tree(before), build_tree(after)};

    look(&walk, NULL, "", trees[0], trees[1]);
    json_decref(trees[0]);
    json_decref(trees[1]);
}
