#include "mirror/group_round.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/heap.h"
#include "base/log.h"
#include "mirror/group_round_inside.h"

#define GATE_MS    50
#define GATE_TRIES 50    /* 2.5 s: the control topic is read each second */
#define TELL_MS    60000 /* what stays wrong is said again */

/* --- steps -------------------------------------------------------------------------------------------------------- */

static void begin_step(struct group_round *round);

void round_wait(struct group_round *round)
{
    round->waiting++;
}

void round_one_done(struct group_round *round)
{
    assert(round->waiting > 0);
    if (--round->waiting > 0 || round->stopped) {
        return;
    }
    if (round->err.kind != ERR_NONE) {
        round->step = ROUND_DONE;
    } else if (round->step != ROUND_LOAD || round->loaded) {
        round->step++;
    }
    begin_step(round);
}

void round_fail(struct group_round *round, const struct err *err)
{
    if (round->err.kind == ERR_NONE) {
        round->err = *err;
    }
}

void round_note(struct group_round *round, const struct err *err)
{
    if (round->trouble.kind == ERR_NONE) {
        round->trouble = *err;
    }
}

void round_incomplete(struct group_round *round, const struct err *err)
{
    round_note(round, err);
    round->incomplete = true;
}

/* --- GATE --------------------------------------------------------------------------------------------------------- */

static void gate(void *arg)
{
    struct group_round *round = arg;
    struct err why = {0};
    if (!round->options.may(round->options.arg, &why)) {
        if (why.kind == ERR_RETRY && ++round->gate_tries < GATE_TRIES) {
            loop_timer_set(round->gate, GATE_MS);
            return;
        }
        round_fail(round, &why);
    }
    round_one_done(round);
}

static void wait_for_gate(struct group_round *round)
{
    round->gate_tries = 0;
    round_wait(round);
    loop_timer_set(round->gate, 0);
}

/* --- the round ---------------------------------------------------------------------------------------------------- */

static void tell_trouble(struct group_round *round)
{
    const struct err *why = round->err.kind != ERR_NONE ? &round->err : &round->trouble;
    bool same = strncmp(round->told, why->what, sizeof(round->told) - 1) == 0;
    if (why->kind == ERR_NONE || (same && round_now_ms(round) - round->told_ms < TELL_MS)) {
        return;
    }
    round->told_ms = round_now_ms(round);
    snprintf(round->told, sizeof(round->told), "%.*s", (int)sizeof(round->told) - 1, why->what);
    log_warn("groups.trouble", "link=%s>%s why=%s doing=\"again in a second\"",
             round->options.source.site, round->options.target.site, log_quote(why->what).text);
}

static void finish(struct group_round *round)
{
    struct err err = round->err.kind == ERR_NONE && round->incomplete ? round->trouble : round->err;
    tell_trouble(round);
    if (round->store_failed) {
        group_table_unstored(round->options.table);
    }
    group_table_sweep(round->options.table);
    round->busy = false;
    round->totals.rounds++;
    round->options.done(round->options.arg, err.kind == ERR_NONE ? NULL : &err);
}

static void begin_step(struct group_round *round)
{
    static void (*const acts[])(struct group_round *) = {
        [ROUND_LOAD] = round_load,          [ROUND_LOOK] = round_look,
        [ROUND_READ] = round_read_source,   [ROUND_MAP] = round_map,
        [ROUND_LIMIT] = round_read_limits,  [ROUND_FIND] = round_find,
        [ROUND_TARGET] = round_read_target, [ROUND_GATE] = wait_for_gate,
        [ROUND_STORE] = round_store,        [ROUND_GATE_AGAIN] = wait_for_gate,
        [ROUND_COMMIT] = round_commit,
    };
    if (round->step == ROUND_DONE) {
        finish(round);
        return;
    }
    round->waiting = 1;
    acts[round->step](round);
    round_one_done(round);
}

struct group_round *group_round_new(const struct group_round_options *options)
{
    struct group_round *round = must(calloc(1, sizeof(*round)));
    round->options = *options;
    round->base = offset_base_key(options->prefix, options->service->name, options->source.site,
                                  options->target.site);
    round->meta_key = offset_print("%s{%s}:meta", options->prefix, options->service->name);
    round->checkpoints_key = offset_print("%s:checkpoints", round->base);
    round->groups_key = offset_print("%s:groups", round->base);
    round->read_key = offset_print("%s:groups-read", round->base);
    round->lately_key = offset_print("%s:groups-lately", round->base);
    round->members_key = offset_print("%s:groups-members", round->base);
    TAILQ_INIT(&round->calls);
    round->floors = offset_script_floors;
    round->groups = offset_script_groups;
    round->gate = loop_timer_new(options->loop, gate, round);
    snprintf(round->cursor, sizeof(round->cursor), "0");
    return round;
}

void group_round_stop(struct group_round *round)
{
    round->stopped = true;
    loop_timer_cancel(round->gate);
    round_pump_calls(round);
}

void group_round_free(struct group_round *round)
{
    if (round == NULL) {
        return;
    }
    loop_timer_free(round->gate);
    free(round->base);
    free(round->meta_key);
    free(round->checkpoints_key);
    free(round->groups_key);
    free(round->read_key);
    free(round->lately_key);
    free(round->members_key);
    free(round->members_told);
    free(round);
}

void group_round_service(struct group_round *round, const struct config_service *service)
{
    round->options.service = service;
}

void group_round_start(struct group_round *round)
{
    assert(!round->busy);
    round->busy = true;
    round->number++;
    round->err = (struct err){0};
    round->trouble = (struct err){0};
    round->incomplete = false;
    round->step = round->loaded ? ROUND_LOOK : ROUND_LOAD;
    begin_step(round);
}

bool group_round_busy(const struct group_round *round)
{
    return round->busy;
}

const struct group_totals *group_round_totals(const struct group_round *round)
{
    return &round->totals;
}
