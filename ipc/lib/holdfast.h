/* libholdfast: a client of a container's API sockets. One object is one connection, used by one
 * thread at a time. Every function blocks until it is done, until the peer is gone, or until the
 * timeout.
 *
 * Results: >= 0 done; < 0 a negative errno, and holdfast_error() has a sentence for people that
 * names the thing, the value and the cure. -EREMOTEIO: the container refused, holdfast_code() says
 * with what google.rpc.Code. After -EPIPE or -ETIMEDOUT close the connection.
 *
 * Messages are those of holdfast/v1/supervisor.proto, encoded: whoever has a protobuf library of
 * his own uses holdfast_call() and holdfast_stream(); the rest of this header is for whoever has
 * none. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HOLDFAST_API __attribute__((visibility("default")))

struct holdfast;

enum holdfast_socket {
	HOLDFAST_CONTROL, /* every method; root alone */
	HOLDFAST_OBSERVE, /* what changes nothing */
};

/* Connects to the container `id` of the realm (NULL: "local") below the state directory's root
 * (NULL: $HOLDFAST_STATE_DIR, else /run/holdfast). 0 and *ret, to be closed by the caller; -ENOENT:
 * there is no such container; -ECONNREFUSED: nobody supervises it; -EAGAIN: it has more clients
 * than it takes. On failure *ret is an object that holds the sentence and is to be closed as well,
 * or NULL when there is no memory. */
HOLDFAST_API int holdfast_open(const char *root, const char *realm, const char *id,
	enum holdfast_socket which, struct holdfast **ret);
HOLDFAST_API void holdfast_close(struct holdfast *h); /* NULL is fine */

HOLDFAST_API const char *holdfast_error(const struct holdfast *h); /* never NULL */
HOLDFAST_API int holdfast_code(const struct holdfast *h);	   /* google.rpc.Code, 0: none */

/* For calls to come; usec without an answer or the next message. 0 (the beginning): for ever. */
HOLDFAST_API void holdfast_timeout(struct holdfast *h, uint64_t usec);

/* To be polled for reading; what was read ahead is told by holdfast_pending(). */
HOLDFAST_API int holdfast_fd(const struct holdfast *h);
HOLDFAST_API bool holdfast_pending(const struct holdfast *h);

/* One call of holdfast.v1.Supervisor. *ret (*len bytes) is valid until the next call on h. */
HOLDFAST_API int holdfast_call(struct holdfast *h, const char *method, const void *request,
	size_t request_len, const void **ret, size_t *len);

/* Opens the stream of a method; holdfast_next() takes its messages. One stream at a time. */
HOLDFAST_API int holdfast_stream(
	struct holdfast *h, const char *method, const void *request, size_t request_len);
/* 1 and a message (valid until the next call on h), 0: the stream has ended, or < 0. */
HOLDFAST_API int holdfast_next(struct holdfast *h, const void **ret, size_t *len);

/* Without protobuf --------------------------------------------------------------------------- */

enum holdfast_phase {
	HOLDFAST_CREATED = 1,
	HOLDFAST_STARTING,
	HOLDFAST_RUNNING,
	HOLDFAST_RESTARTING,
	HOLDFAST_STOPPING,
	HOLDFAST_EXITED,
};

struct holdfast_exit {
	uint32_t run;
	uint32_t code, signal; /* exit code when signal is 0 */
	bool unknown;	       /* nobody can tell them */
	bool core_dumped, oom, stopped, start_failed;
	bool again; /* another run follows */
	uint64_t delay_usec;
	uint64_t end_time_usec; /* wall clock */
};

struct holdfast_state {
	enum holdfast_phase phase;
	uint32_t run;
	int32_t pid, init_pid, shim_pid, keeper_pid; /* on the host; 0: none */
	uint64_t restarts;
	uint64_t started_time_usec;
	struct holdfast_exit last;   /* run 0: none yet */
	uint64_t instance, sequence; /* the state is as of this event: see holdfast_watch() */
	bool paused;		     /* everything in it stands still */
};

HOLDFAST_API int holdfast_get_state(struct holdfast *h, struct holdfast_state *ret);

/* signal 0: the container's stop signal; grace_usec UINT64_MAX: its stop timeout. */
HOLDFAST_API int holdfast_stop(struct holdfast *h, uint32_t signal, uint64_t grace_usec);
HOLDFAST_API int holdfast_restart(struct holdfast *h, uint32_t signal, uint64_t grace_usec);
HOLDFAST_API int holdfast_kill(struct holdfast *h, uint32_t signal, bool all);
HOLDFAST_API int holdfast_wait(struct holdfast *h, struct holdfast_exit *ret); /* down for good */

struct holdfast_event {
	uint64_t sequence; /* from 1, without holes */
	uint32_t type;	   /* EventType of the .proto */
	uint32_t run;
	uint64_t time_usec, boottime_usec;
	bool inferred;
	struct holdfast_exit exit; /* run 0: not about an end */
	uint64_t missed;	   /* EVENT_GAP: so many events are no longer kept */
};

/* Events behind the one given (0/0: from the beginning), for ever: holdfast_watch_next() gives them
 * one by one. After a supervisor's crash the same sequence may come again: they are dropped here.
 * One of another instance (a container of this name that is gone) is the beginning. */
HOLDFAST_API int holdfast_watch(struct holdfast *h, uint64_t instance, uint64_t sequence);
HOLDFAST_API int holdfast_watch_next(struct holdfast *h, struct holdfast_event *ret);

/* Changes to what runs ------------------------------------------------------------------------ */

/* Every process of the container stands still, or goes on. Done already is done. */
HOLDFAST_API int holdfast_pause(struct holdfast *h);
HOLDFAST_API int holdfast_resume(struct holdfast *h);

struct holdfast_limit {
	bool given; /* false: stays as it is */
	bool none;  /* no limit any more; value is ignored */
	uint64_t value;
};

struct holdfast_update {
	struct holdfast_limit memory_bytes, memory_high_bytes;
	struct holdfast_limit memory_swap_bytes; /* memory and swap together */
	struct holdfast_limit cpu_milli;	 /* thousandths of a CPU */
	struct holdfast_limit cpu_weight;	 /* 1 to 10000 */
	struct holdfast_limit pids;
	struct holdfast_limit restart_delay_usec, restart_max_delay_usec; /* never none */
	const char *cpuset_cpus; /* "0-3,8"; NULL: stays as it is */
	const char *restart; /* "no", "on-failure", "always", "unless-stopped"; NULL: as it is */
	/* Rules as holdfast-rules(5) has them, and names of sets, in the place of all that there
	 * are; with rules_given and none of either the container is only watched. */
	bool rules_given;
	size_t rules_len, presets_len;
	char *const *rules, *const *presets;
};

#define HOLDFAST_WARNED 1

/* All of it at once, or nothing; for what runs and for every start from now on. HOLDFAST_WARNED:
 * done, and holdfast_error() says what of a set of rules was left out. */
HOLDFAST_API int holdfast_update(struct holdfast *h, const struct holdfast_update *u);

#ifdef __cplusplus
}
#endif
