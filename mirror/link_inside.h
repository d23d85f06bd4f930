/* Inside of a link: what its parts share. Nobody else includes this.
 *
 *   link         life, states, gates; clusters and Redis
 *   link_membership  ferry's group: partitions come and go, joining again
 *   link_control what the control topic says: role, streams, the list of topics; what our keeper did
 *   link_index   which parts there are, by place and by id
 *   link_part    one partition: its states, resume inputs, acks, faults
 *   link_order   what an operator has ordered about a partition
 *   link_commit  the second checkpoint and the send deadline that its success gives
 *   link_report  heartbeat, faults
 *   link_ready   /readyz
 *   link_metrics what Prometheus reads
 *   link_rebuild what of the map is unmapped, and its rebuilding from the logs
 *   link_sweep   what Redis holds of topics that neither side has
 */
#ifndef FERRY_MIRROR_LINK_INSIDE_H
#define FERRY_MIRROR_LINK_INSIDE_H

#include <jansson.h>

#include "base/backoff.h"
#include "base/metrics.h"
#include "base/redis.h"
#include "kafka/control.h"
#include "kafka/membership.h"
#include "mirror/deadline.h"
#include "mirror/engine.h"
#include "mirror/group_sync.h"
#include "mirror/heartbeat.h"
#include "mirror/keeper.h"
#include "mirror/lag.h"
#include "mirror/link.h"
#include "mirror/link_fsm.h"
#include "mirror/rebuild_io.h"
#include "mirror/throttle.h"
#include "offsets/offset_rebuild.h"
#include "offsets/offset_store.h"

#define LINK_TICK_MS  200
#define LINK_LEAVE_MS 2000 /* for a LeaveGroup that is answered */
/* What flies lands or fails within the produce time-out and some grace; then it is given back. */
#define LINK_REVOKE_MS           4000
#define LINK_METADATA_REFRESH_MS 2000
#define LINK_DENIED_BYTES        400 /* a principal and a topic's name in it */

/* What must be so before a batch leaves; why nothing does, for link_metrics. */
enum link_gate {
    GATE_ROLE,
    GATE_STREAMS,
    GATE_ORDER,
    GATE_CONTROL,
    GATE_DEADLINE,
    LINK_GATES_COUNT
};

struct part_stretch { /* of the map, unmapped */
    struct offset_open open;
    bool stopped; /* the rest cannot be rebuilt */
};

struct part_rebuild {
    bool known; /* `stretches` is what Redis said */
    bool asking;
    bool wanted; /* ask again as soon as possible */
    int64_t looked_ms;
    int64_t again_ms;               /* after a failure: not before */
    struct part_stretch *stretches; /* newest first */
    size_t stretches_count;
    struct rebuild_pace pace;
    char why[512]; /* of the last one that stopped */
};

struct link_part {
    struct link *link;
    uint64_t id; /* late answers find their part by it, or nobody */
    char topic[250];
    int32_t partition;
    enum part_state state;
    struct task *task; /* NULL until both topic ids are known */
    struct uuid source_topic_id;
    struct uuid target_topic_id;
    struct offset_track *track; /* NULL until placed */
    struct checkpoint at;
    uint64_t
        placements; /* times that it was placed: a commit that was sent before is of another position */
    uint64_t question; /* to the store and the group; answers to earlier ones are nobody's */
    bool acked;        /* since it was placed */
    char why[256];     /* of the state, for people */
    int64_t since_ms;
    struct loop_timer *timer; /* stalled: when to try again */
    struct backoff backoff;
    /* resume inputs */
    bool load_group_wanted;
    int32_t loads_left;
    struct task_stored stored;
    int64_t resume_depth;     /* bytes; an operator's retry may go deeper */
    int64_t foreign_seen_end; /* what a fault showed before an operator said retry */
    int64_t accept_from;      /* source offsets that an operator leaves out; equal = none */
    int64_t accept_to;
    bool resync; /* an operator has it mirrored anew */
    int64_t resync_from;
    char order_id[17]; /* of the decision that is being carried out; "" = none */
    bool not_guarded;  /* the broker holds no state of our id: order is not guarded by it */
    /* commits */
    bool
        commit_wanted; /* now: a position that must stand before the first batch, or the last one */
    bool commit_flying;
    int64_t committed_ms;
    int64_t committed_target_next;
    int64_t bytes_since_commit;
    /* going */
    bool leaving;
    bool drained;
    /* fault */
    enum resume_fault fault;
    struct err fault_err;
    int64_t fault_source_from, fault_source_to, fault_target_from, fault_target_to;
    int64_t fault_wall_ms;
    struct part_rebuild rebuild;
    struct lag lag;
    struct link_part_metrics {
        struct series *lag_records;
        struct series *lag_seconds;
        struct series *records;
        struct series *bytes;
    } metrics;
};

struct link {
    struct loop *loop;
    const struct config *config;
    const struct config_service *service;
    const struct config_site *from;
    const struct config_site *to;
    struct link_callbacks callbacks;
    enum link_state state;
    char why[256];
    int64_t started_wall_ms;
    /* doors */
    struct buf_pool *pool;
    struct cluster *source;
    struct cluster *target;
    struct engine *engine; /* NULL, like the keeper: the path is not known yet */
    struct redis *redis;   /* NULL: the site has none */
    struct offset_store *store;
    struct err map_err; /* why no map is kept now; ERR_REFUSED: until somebody changes that Redis */
    struct control *control;
    struct keeper *keeper;
    struct group_sync *groups; /* NULL: no Redis, or not begun */
    struct membership *membership;
    struct heartbeat *heartbeat;
    /* what the control topic says */
    char control_topic[CONTROL_TOPIC_BYTES];
    struct uuid control_topic_id;
    int64_t control_trouble_ms; /* told last; 0 = none now */
    int control_trouble_code;
    /* Which ACL is missing for the control topic, and for ferry's group or commits to it; "" = none. */
    char control_denied[LINK_DENIED_BYTES];
    char group_denied[LINK_DENIED_BYTES];
    int64_t commit_trouble_ms; /* a commit's refusal, told last; 0 = none now */
    int64_t control_read_ms;
    int64_t control_end;
    int64_t role_epoch;
    bool operation_open;           /* as the control topic says */
    bool target_is_primary;        /* likewise: nothing protects what clients write there */
    bool source_is_primary;        /* likewise: we mirror, if nobody fences us */
    struct heartbeat_role witness; /* what Redis remembers; epoch 0 = nothing, or Redis is away */
    bool distrusted;               /* said already */
    bool role_ours;
    enum config_path
        path; /* what the engine does; PATH_AUTO: not chosen yet, and there is no engine and no keeper */
    bool path_unchosen;    /* by `ferry enable`: of "path": "auto" nobody has said which */
    uint64_t streams_hash; /* ours */
    bool streams_pending;  /* a reload wants others, and the control topic does not say so yet */
    uint64_t streams_next; /* their hash */
    struct control_state streams_seen; /* of the control topic; its streams_* alone */
    bool streams_match;
    int32_t streams_generation; /* least that a stream may go on in */
    bool paused;
    char fence[65];       /* an operation's order to stop writing: its id, "" = none */
    char fence_acked[65]; /* that one, once nothing of ours can arrive any more */
    bool retreat_dirty;   /* something flew when our time was up */
    bool retreat_leaving;
    struct loop_timer *retreat_timer;
    bool has_list;
    int64_t list_epoch;
    json_t *adopted; /* of the role record: topic -> [[partition, end], ...]; NULL = nothing */
    /* topics that we subscribe to */
    char **topics;
    size_t topics_count;
    int64_t partitions_listed; /* of them, as the keeper wrote them down; -1 = no list */
    bool subscribed_all;
    /* membership */
    bool control_ours; /* we are the keeper */
    struct deadline deadline;
    struct link_part **parts; /* in the order of their ids */
    size_t parts_count;
    void *parts_by_place; /* of tsearch() */
    size_t leaving_turn;  /* which part was found not at rest last; see link_look_at_leaving() */
    uint64_t ids_count;
    int64_t
        waiting_ms; /* since when we are in the group and have no assignment of it; 0 = we have */
    const char *join_again; /* the membership is of no use any more, and why; NULL = it is */
    bool revoking;          /* membership waits for membership_revoked_done() */
    bool revoke_flushed;
    struct loop_timer *revoke_timer;
    struct loop_timer *load_timer;
    struct loop_timer *commit_timer;
    struct loop_timer *tick;
    struct loop_timer *stop_timer;
    struct loop_timer *prepare_timer;
    bool commit_flying;
    bool control_committed; /* our term as keeper has its first commit */
    size_t commit_turn;
    int64_t commit_last_ms;
    bool stopping;
    bool stop_leaving;
    bool told_stopped;
    /* rates */
    struct engine_counters counters_before;
    int64_t rates_ms;
    double records_per_s;
    uint64_t repeated_records; /* found on the target a second time, since the start */
    double seen_records_per_s; /* while the source still told its ends */
    double bytes_per_s;
    json_t *topics_report; /* topic_sync_report() of our keeper; NULL = it has not looked */
    int64_t drifted_topics;
    int64_t not_mirrored_topics;
    int64_t source_deleted_topics;
    struct group_report groups_report; /* of the last round; done_ms 0 = there was none */
    int64_t groups_done_ms;            /* of the last one that was done; 0 = there was none */
    uint64_t topic_changes;            /* settings that our keeper changed at the target */
    struct link_rebuild {
        struct loop_timer *tick;
        struct throttle throttle;
        struct rebuild_run *run; /* one block at a time */
        uint64_t run_part;       /* whose; its id */
        size_t run_stretch;      /* which, of its stretches */
        uint64_t runs_count;     /* so far: an answer to an older one is nobody's */
        size_t turn;             /* which part is worked for next */
        size_t look_turn;        /* which part's stretches are looked at next */
        bool away;               /* Redis was, at the last look */
        uint64_t stretches_seen; /* recorded by us so far */
        uint64_t bytes;
        uint64_t offsets;        /* source offsets that are mapped again */
        uint64_t offsets_before; /* at the last look at the rate */
        int64_t rate_ms;
        double offsets_per_s; /* while there is something to do */
    } rebuild;
    struct link_sweep {
        struct loop_timer *timer; /* NULL = a site without Redis */
        json_t *rows;             /* {TOPIC: {FIELD: checkpoint}} at the last look: not mirrored */
        json_t *mirrored;         /* {TOPIC: true} while Redis is asked */
        size_t turn;
    } sweep;
    uint64_t keeper_terms; /* times that the control topic's partition was given to us */
    struct link_metrics {
        struct metric *part_lag_records;
        struct metric *part_lag_seconds;
        struct metric *part_records;
        struct metric *part_bytes;
        struct metric *faults;
        struct series *faults_by_kind[FAULT_KINDS_COUNT]; /* NULL: there was none of it */
        struct series *partitions[PART_STATES_COUNT];
        struct series *gates[LINK_GATES_COUNT];
        /* of engine counters */
        struct series *records;
        struct series *bytes;
        struct series *batches;
        struct series *fetches;
        struct series *produces;
        struct series *resumes;
        struct series *doubts;
        struct series *read_back;
        struct series *repeated;
        struct series *source_throttle;
        struct series *target_throttle;
        /* of the link */
        struct series *state;
        struct series *may_send;
        struct series *role_epoch;
        struct series *operation_open;
        struct series *unprotected;
        struct series *streams_epoch;
        struct series *deadline_s;
        struct series *commit_age;
        struct series *control_age;
        struct series *keeper;
        struct series *keeper_terms;
        struct series *at_risk;
        struct series *lag_seconds;
        struct series *lag_unknown;
        struct series *buffer_bytes;
        struct series *source_up;
        struct series *target_up;
        struct series *source_conns;
        struct series *target_conns;
        /* of the map */
        struct series *redis_up;
        struct series *map_ready;
        struct series *map_pending;
        struct series *map_stored;
        struct series *map_unmapped;
        struct series *map_unmapped_offsets;
        struct series *map_left;
        struct series *map_stopped;
        struct series *map_rebuilt;
        struct series *map_rebuild_bytes;
        struct series *limited[FLOW_LIMITS_COUNT];
        struct series *slow;
        struct series *limit_initial;
        struct series *limit_steady;
        /* of topics: the keeper's */
        struct series *drifted_topics;
        struct series *not_mirrored_topics;
        struct series *source_deleted_topics;
        struct series *topic_changes;
        /* of groups: the keeper's */
        struct series *groups;
        struct series *group_members;
        struct series *group_kinds[GROUP_KINDS_COUNT]; /* NULL: carried */
        struct series *group_verdicts[VERDICT_UNMAPPED + 1];
        struct series *group_holds[GROUP_HOLDS_COUNT]; /* GROUP_FREE: NULL */
        struct series *reread_groups;
        struct series *reread_records;
        struct series *reread_unknown;
        struct series *failover_s;
        struct series *group_age;
        struct series *group_took;
        struct series *group_commits;
        struct series *group_refused;
        struct series *group_stored;
        struct series *recoded[BATCH_VERDICTS_COUNT]; /* NULL: never a reason to re-encode */
        struct series *recode_made;
        struct series *filtered[RECORD_VERDICTS_COUNT];
    } metrics;
};

/* link */
/* Whatever came: is there something to begin? */
void link_step(struct link *link);
bool link_may_send(const struct link *link);
bool link_gate_open(const struct link *link, enum link_gate gate);
/* An event of mirror/link_fsm: go where its edge leads, or log that it is refused. */
void link_event(struct link *link, enum link_event event, const char *why);
/* The link is over: tell its owner, once. why NULL = as asked. */
void link_stopped(struct link *link, const struct err *why);

/* link_membership */
/* Subscribe to the control topic, and to the link's topics with it. */
void link_subscribe(struct link *link, bool with_list);
/* Become a member of ferry's group; a failure is logged, and the tick tries again. */
void link_join(struct link *link);
/* Each tick: join when it is time, and again when librdkafka's handle is of no use any more: it read certificates that were
 * renewed since, or gave up. A static member gets its partitions back; what was in flight is looked for by the resume procedure. A
 * link that stops or retreats leaves: it joins nothing. */
void link_tend_membership(struct link *link);
/* At once, nothing is drained: no partition is ours, nothing is sent any more. */
void link_drop_all(struct link *link);
/* Likewise, and the membership ends without a word: the session's time-out gives the partitions back. */
void link_leave_group(struct link *link);
/* Parts that are `leaving` drain from now on. */
void link_leave_marked(struct link *link);
/* Parts that were told to go are at rest: flush, commit, give back. */
void link_look_at_leaving(struct link *link);
void link_revoke_late(void *arg); /* timer: they are given back as they are */
/* Keep what a broker refused for want of an ACL, for the heartbeat; "" when that is not why. */
void link_note_denied(char denied[LINK_DENIED_BYTES], const struct err *why);

/* link_retreat */
/* Did an operation's order come or go? Told at once when nothing of ours can arrive any more. */
void link_look_at_fence(struct link *link);
void link_retreat(void *arg); /* timer: what was in the kernel is gone; leave the group */

/* link_control */
void link_topics_clear(struct link *link); /* the list is empty */
/* Both clusters' metadata of what we mirror; nothing else is asked for. */
void link_follow_topics(struct link *link);
/* The list, to group sync: commits of other topics are not carried. */
void link_tell_groups(struct link *link);
/* End offset up to which foreign records of this partition were adopted; -1 = none. */
int64_t link_adopted_end(const struct link *link, const char *topic, int32_t partition);
/* What we mirror by is the control topic's; a reload that waited for it comes into force. */
void link_streams_compare(struct link *link);
/* Make engine and keeper for it. @pre there are none */
void link_take_path(struct link *link, enum config_path path);
/* control_callbacks.state, keeper_callbacks.synced and .trouble */
void link_control_changed(void *arg, const struct control_state *state, const struct err *err);
void link_keeper_synced(void *arg, const struct topic_sync *sync, const struct err *err);
void link_keeper_trouble(void *arg, const struct err *err);

/* link_index */
/* Its id, and its place among the link's parts. @pre its topic and partition stand, and no other part has them */
void link_index_add(struct link_part *part);
void link_index_remove(struct link_part *part);
struct link_part *part_find(struct link *link, const char *topic, int32_t partition); /* or NULL */
struct link_part *part_by_id(struct link *link, uint64_t id);                         /* or NULL */

/* link_part */
/* Its stream may be older than the filter: resume looks. */
void part_refilter(struct link_part *part);
struct link_part *part_new(struct link *link, const char *topic, int32_t partition);
void part_free(struct link_part *part);     /* removes it from the link */
void part_metadata(struct link_part *part); /* topic ids may have come or changed */
void part_leave(struct link_part *part);    /* drain; link_look_at_leaving() when at rest */
void part_committed(struct link_part *part);
void part_conflict(struct link_part *part, const struct checkpoint *found);
/* An event of mirror/link_fsm: go where its edge leads, or log that it is refused. */
void part_event(struct link_part *part, enum part_event event, const char *why);
/* Write an event of the partition to Redis. */
void part_record_event(struct link_part *part, const char *event, json_t *take_detail);
void link_engine_callbacks(struct link *link, struct engine_callbacks *out);
void link_load_groups(void *arg); /* timer: one request for all that wait */

/* link_order */
/* An operator's word about the partition: retry, accept or resync; hostile until checked. true: done with, or about nothing
 * that stands; false: it stays in Redis, for us (what stands is not known yet, or the decision has no position yet) or for
 * the next owner. */
bool part_order(struct link_part *part, const json_t *order);

/* link_commit */
void link_commit_soon(struct link *link);
void link_commit(void *arg); /* timer */

/* link_rebuild */
void link_rebuild_start(struct link *link);
void link_rebuild_done(struct link *link);
/* The map of a part is another one by now, or nobody's: what was known is forgotten. */
void link_rebuild_forget(struct link_part *part);
struct
    rebuild_left { /* source offsets; `known` false: Redis did not say of every part that mirrors */
    bool known;
    int64_t offsets;   /* will be rebuilt */
    int64_t stopped;   /* cannot be */
    int64_t stretches; /* with a rest of either kind */
    const char *why;   /* of one that cannot; NULL = none */
};
struct rebuild_left link_rebuild_left(const struct link *link);
struct rebuild_left link_rebuild_part_left(const struct link_part *part);

/* link_sweep */
void link_sweep_start(struct link *link);
void link_sweep_done(struct link *link); /* behind redis_free() */
/* keeper_callbacks.gone */
void link_sweep_gone(void *arg, const json_t *topics);

/* link_report */
void link_groups_reported(void *arg, const struct group_report *report);
json_t *link_report(void *arg);
void link_report_fault(struct link_part *part);

/* link_metrics */
struct link_lag { /* -1 = unknown */
    int64_t records;
    int64_t ms;
};
/* The source's end as far as it is known now; -1 = unknown (not told lately, or an error stands in between). */
int64_t link_part_end(const struct link_part *part);
struct link_lag link_part_lag(const struct link_part *part);
void link_metrics_start(struct link *link, struct metrics *metrics);
void link_metrics_part(struct link_part *part);
void link_metrics_part_gone(struct link_part *part);
void link_metrics_ack(struct link_part *part, const struct ack *ack);
void link_metrics_tick(struct link *link);

#endif
