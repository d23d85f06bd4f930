#include "cli/render.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

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
            out[used++] = ',';
        }
        out[used++] = digits[i];
    }
    out[used] = '\0';
    return out;
}

char *render_seconds(double seconds, char out[RENDER_NUMBER_BYTES])
{
    long minutes = (long)(seconds / 60);
    if (seconds < 0) {
        snprintf(out, RENDER_NUMBER_BYTES, "unknown");
    } else if (seconds < 120) {
        snprintf(out, RENDER_NUMBER_BYTES, "%.1f s", seconds);
    } else if (minutes < 120) {
        snprintf(out, RENDER_NUMBER_BYTES, "%ld min", minutes);
    } else {
        snprintf(out, RENDER_NUMBER_BYTES, "%ld h %ld min", minutes / 60, minutes % 60);
    }
    return out;
}

static bool stands_right(const char *const *cells, int columns, int rows, int column)
{
    for (int row = 1; row < rows; row++) {
        const char *cell = cells[row * columns + column];
        if (!isdigit((unsigned char)cell[0]) && strcmp(cell, "unknown") != 0 && cell[0] != '-') {
            return false;
        }
    }
    return rows > 1;
}

void render_table(const char *const *cells, int columns, int rows)
{
    int widths[RENDER_COLUMNS_MAX] = {0};
    bool right[RENDER_COLUMNS_MAX];
    for (int column = 0; column < columns; column++) {
        for (int row = 0; row < rows; row++) {
            int len = (int)strlen(cells[row * columns + column]);
            widths[column] = len > widths[column] ? len : widths[column];
        }
        right[column] = stands_right(cells, columns, rows, column);
    }
    for (int row = 0; row < rows; row++) {
        for (int column = 0; column < columns; column++) {
            bool last = column + 1 == columns;
            int width = last && !right[column] ? 0 : widths[column];
            printf(right[column] ? "%*s%s" : "%-*s%s", width, cells[row * columns + column],
                   last ? "\n" : "  ");
        }
    }
}

void render_json(json_t *take_value)
{
    char *text = json_pretty(take_value);
    puts(text);
    free(text);
    json_decref(take_value);
}
