/* Secrets by reference: read when they are needed, wiped behind it. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/build.h"

#define SECRET_BYTES_MAX (64 << 10) /* a chain of certificates with its key is 10 KiB */

/* --- files -------------------------------------------------------------------------------------------------------- */

static void wipe(char *text, size_t len)
{
    OPENSSL_cleanse(text, len);
    free(text);
}

static bool file_open(const char *file, bool others_may_write, int *out_fd, struct err *err)
{
    struct stat status;
    int fd = open(file, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &status) != 0) {
        err_set_code(err, ERR_CONFIG, errno, "%s: %s", file, strerror(errno));
    } else if (!others_may_write && (status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        err_set(err, ERR_CONFIG, "%s may be written by others", file);
        err_hint(err, "chmod go-w %s", file);
    } else {
        *out_fd = fd;
        return true;
    }
    if (fd >= 0) {
        close(fd);
    }
    return false;
}

char *build_read_file(const char *file, size_t most, bool others_may_write, size_t *out_len,
                      struct err *err)
{
    int fd;

    if (!file_open(file, others_may_write, &fd, err)) {
        return NULL;
    }
    char *text = build_heap(calloc(1, most + 2));
    size_t len = 0;
    ssize_t got;
    while ((got = read(fd, text + len, most + 1 - len)) > 0) {
        len += (size_t)got;
    }
    int error = got < 0 ? errno : EFBIG;
    close(fd);
    if (got < 0 || len > most) {
        err_set_code(err, ERR_CONFIG, error, "%s: %s", file, strerror(error));
        wipe(text, most + 2);
        return NULL;
    }
    *out_len = len;
    return text;
}

/* --- secrets ------------------------------------------------------------------------------------------------------ */

/* A file that is not there yet may be mounted later: said when it is read. */
bool build_secret(const struct build *build, struct config_secret *secret, const char *path,
                  const char *name, const json_t *value)
{
    struct stat status;

    *secret = (struct config_secret){.name = build_copy(name),
                                     .file = build_string(value, "file"),
                                     .env = build_string(value, "env")};
    if (secret->file != NULL && stat(secret->file, &status) == 0 &&
        (status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        return parse_error(build->file, build->err, path,
                           "%.200s may be written by others: chmod go-w", secret->file);
    }
    return true;
}

void build_secret_done(struct config_secret *secret)
{
    build_drop(secret->name);
    build_drop(secret->file);
    build_drop(secret->env);
}

static char *read_reference(const struct config_secret *secret, size_t *out_len, struct err *err)
{
    if (secret->file != NULL) {
        return build_read_file(secret->file, SECRET_BYTES_MAX, false, out_len, err);
    }
    const char *value = getenv(secret->env);
    if (value == NULL) {
        err_set(err, ERR_CONFIG, "the environment has no %s", secret->env);
        return NULL;
    }
    *out_len = strlen(value);
    return build_heap(strdup(value));
}

char *config_secret_read(const struct config_secret *secret, struct err *err)
{
    const char *where = secret->file != NULL ? secret->file : secret->env;
    size_t len = 0;
    char *text = read_reference(secret, &len, err);

    if (text == NULL) {
        err_wrap(err, "secret %s", secret->name);
        return NULL;
    }
    if (strlen(text) != len) {
        err_set(err, ERR_CONFIG, "secret %s: %s holds a zero byte", secret->name, where);
        wipe(text, len);
        return NULL;
    }
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r')) {
        text[--len] = '\0';
    }
    if (len == 0) {
        err_set(err, ERR_CONFIG, "secret %s: %s is empty", secret->name, where);
        config_secret_free(text);
        return NULL;
    }
    return text;
}

void config_secret_free(char *text)
{
    if (text != NULL) {
        wipe(text, strlen(text));
    }
}

bool config_client_read(const struct config_client *client, const char *property, char **out,
                        struct err *err)
{
    const char *value = config_client_get(client, property);

    if (value != NULL) {
        *out = build_heap(strdup(value));
        return true;
    }
    for (size_t i = 0; i < client->secrets_count; i++) {
        if (strcmp(client->secrets[i].name, property) == 0) {
            *out = config_secret_read(&client->secrets[i], err);
            return *out != NULL;
        }
    }
    *out = NULL;
    return true;
}
