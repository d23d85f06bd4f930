#include "cli/render.h"

#include <assert.h>
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

/* --- numbers ------------------------------------------------------------------------------------------------------ */

char *render_count(int64_t value, char out[RENDER_NUMBER_BYTES])
{
    char digits[RENDER_NUMBER_BYTES];
    if (value < 0) {
        snprintf(out, RENDER_NUMBER_BYTES, "unknown");
        return out;
    }
    int len = snprintf(digits, sizeof(digits), "%lld", (long long)value);
    int used = 0;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0) {
            out[used++] = ','; /* 19 digits and 6 commas fit */
        }
        out[used++] = digits[i];
    }
    out[used] = '\0';
    return out;
}

char *render_seconds(double seconds, char out[RENDER_NUMBER_BYTES])
{
    if (!(seconds >= 0) || seconds > 1e12) {
        snprintf(out, RENDER_NUMBER_BYTES, "unknown");
        return out;
    }
    long long minutes = (long long)(seconds / 60);
    if (seconds < 120) {
        snprintf(out, RENDER_NUMBER_BYTES, "%.1f s", seconds);
    } else if (minutes < 120) {
        snprintf(out, RENDER_NUMBER_BYTES, "%lld min", minutes);
    } else if (minutes < 48 * 60) {
        snprintf(out, RENDER_NUMBER_BYTES, "%lld h %lld min", minutes / 60, minutes % 60);
    } else {
        snprintf(out, RENDER_NUMBER_BYTES, "%lld d %lld h", minutes / 1440, minutes / 60 % 24);
    }
    return out;
}

char *render_share(int64_t done, int64_t all, char out[RENDER_NUMBER_BYTES])
{
    if (done < 0 || all < 0) {
        snprintf(out, RENDER_NUMBER_BYTES, "unknown");
    } else if (all == 0) {
        snprintf(out, RENDER_NUMBER_BYTES, "-");
    } else if (done >= all) {
        snprintf(out, RENDER_NUMBER_BYTES, "100.0 %%");
    } else {
        snprintf(out, RENDER_NUMBER_BYTES, "%.1f %%",
                 floor(1000.0 * (double)done / (double)all) / 10.0);
    }
    return out;
}

char *render_time(int64_t wall_ms, char out[RENDER_TIME_BYTES])
{
    char bracket[32];
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc;
    struct tm local;
    if (wall_ms < 0 || gmtime_r(&seconds, &utc) == NULL || localtime_r(&seconds, &local) == NULL) {
        snprintf(out, RENDER_TIME_BYTES, "unknown");
        return out;
    }
    size_t used = strftime(out, RENDER_TIME_BYTES, "%Y-%m-%dT%H:%M:%SZ", &utc);
    if (local.tm_gmtoff != 0 && strftime(bracket, sizeof(bracket), " [%H:%M:%S %Z]", &local) > 0) {
        snprintf(out + used, RENDER_TIME_BYTES - used, "%s", bracket);
    }
    return out;
}

/* --- text --------------------------------------------------------------------------------------------------------- */

struct render_safe render_safe(const char *text)
{
    struct render_safe safe;
    size_t used = 0;
    for (const unsigned char *at = (const unsigned char *)(text == NULL ? "" : text);
         *at != '\0' && used + 1 < sizeof(safe.text); at++) {
        bool upper_control = at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0; /* U+0080..U+009F */
        if (*at < 0x20 || *at == 0x7f || upper_control) {
            safe.text[used++] = '?';
            at += upper_control ? 1 : 0;
        } else {
            safe.text[used++] = (char)*at;
        }
    }
    safe.text[used] = '\0';
    return safe;
}

void render_wrapped(FILE *out, const char *text, int width, int begin, int indent)
{
    int used = begin;
    bool first = true; /* on its line */
    while (*text != '\0') {
        int len = (int)strcspn(text, " \n");
        if (!first && used + 1 + len > width) {
            fprintf(out, "\n%*s", indent, "");
            used = indent;
            first = true;
        }
        fprintf(out, "%s%.*s", first ? "" : " ", len, text);
        used += len + (first ? 0 : 1);
        first = len == 0 && first;
        text += len;
        if (*text == '\n' && text[1] != '\0') {
            fprintf(out, "\n%*s", indent, "");
            used = indent;
            first = true;
        }
        text += *text == '\0' ? 0 : 1;
    }
    fputc('\n', out);
}

/* --- tables ------------------------------------------------------------------------------------------------------- */

static bool is_number(const char *cell)
{
    return isdigit((unsigned char)cell[0]) || strcmp(cell, "unknown") == 0 ||
           strcmp(cell, "-") == 0;
}

struct layout {
    int widths[RENDER_COLUMNS_MAX];
    bool right[RENDER_COLUMNS_MAX];
};

static void measure(struct layout *layout, const char *const *cells, int columns, int rows)
{
    int others = 0;
    for (int column = columns - 1; column >= 0; column--) {
        bool right = rows > 1 && column > 0;
        int width = 0;
        /* A first cell that leaves no room for the others does not count: it gets a line. */
        int most = column == 0 && columns > 1 ? RENDER_WIDTH - others : RENDER_WIDTH * 4;
        for (int row = 0; row < rows; row++) {
            const char *cell = cells[row * columns + column];
            int len = (int)strlen(cell);
            width = len > width && len <= most ? len : width;
            right = right && (row == 0 || is_number(cell));
        }
        layout->widths[column] = width;
        layout->right[column] = right;
        others += width + 2;
    }
}

static void print_row(FILE *out, const struct layout *layout, const char *const *row, int columns)
{
    for (int column = 0; column < columns; column++) {
        bool last = column + 1 == columns;
        int width = layout->widths[column];
        if (layout->right[column]) {
            fprintf(out, "%*s", width, row[column]);
        } else {
            fprintf(out, "%-*s", last ? 0 : width, row[column]);
        }
        if (column == 0 && !last && (int)strlen(row[0]) > width) {
            fprintf(out, "\n%*s", width, "");
        }
        fputs(last ? "\n" : "  ", out);
    }
}

void render_table(FILE *out, const char *const *cells, int columns, int rows)
{
    struct layout layout;
    assert(columns > 0 && columns <= RENDER_COLUMNS_MAX);
    measure(&layout, cells, columns, rows);
    for (int row = 0; row < rows; row++) {
        print_row(out, &layout, cells + row * columns, columns);
    }
}

/* --- JSON --------------------------------------------------------------------------------------------------------- */

/* Reals as people write them: 17 digits would make 0.13500000000000001 of 0.135. */
#define JSON_FLAGS (JSON_SORT_KEYS | JSON_REAL_PRECISION(12))

static void print_json(json_t *take_value, size_t flags)
{
    int rc = json_dumpf(take_value, stdout, flags | JSON_FLAGS);
    assert(rc == 0 || ferror(stdout)); /* our results are valid UTF-8 */
    (void)rc;
    putchar('\n');
    json_decref(take_value);
}

void render_json(json_t *take_value)
{
    print_json(take_value, JSON_INDENT(2));
}

void render_json_line(json_t *take_value)
{
    print_json(take_value, JSON_COMPACT);
}

json_t *render_string(const char *text)
{
    json_t *string = text == NULL ? json_null() : json_string(text);
    if (string == NULL) {
        struct render_safe safe = render_safe(text);
        for (char *at = safe.text; *at != '\0'; at++) {
            *at = (unsigned char)*at < 0x80 ? *at : '?';
        }
        string = json_string(safe.text);
    }
    return string;
}

json_t *render_int_or_null(int64_t value)
{
    return value < 0 ? json_null() : json_integer(value);
}

json_t *render_real_or_null(double value)
{
    return value >= 0 ? json_real(value) : json_null();
}

json_t *render_time_or_null(int64_t wall_ms)
{
    char text[CLOCK_TEXT_BYTES];
    return wall_ms < 0 ? json_null() : json_string(clock_rfc3339(wall_ms, text));
}

/* --- colours ------------------------------------------------------------------------------------------------------ */

bool render_color_wanted(bool terminal, const char *no_color, const char *term)
{
    bool refused = no_color != NULL && no_color[0] != '\0'; /* no-color.org: not empty */
    return terminal && !refused && term != NULL && term[0] != '\0' && strcmp(term, "dumb") != 0;
}

const char *render_color(enum render_color color)
{
    static const char *const codes[] = {"\033[0m", "\033[32m", "\033[33m", "\033[1;31m"};
    return render_color_wanted(isatty(STDOUT_FILENO) != 0, getenv("NO_COLOR"), getenv("TERM"))
               ? codes[color]
               : "";
}
