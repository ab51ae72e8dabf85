/* What is asked of a container's health, and how it stands: two files of its state directory.
 *
 * `health` is written once, by the client that creates the container: the watchdog, and probes in
 * Kubernetes' words. `healthstate` is the shim's memory of them, shared by mapping: what a run has
 * said of itself, and each probe's counts. It is written in place and outlives every shim; readers
 * (ps, inspect, metrics) need nobody alive. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ipc/notify.h"

#define HEALTH_MAGIC   0x746c616568666864ULL /* "dhfhealt" */
#define HEALTH_VERSION 1
#define PROBES_MAX     8u
#define PROBE_WORDS    512u
#define PROBE_WHY      160u

enum probe_kind {
	PROBE_STARTUP,	 /* holds the others back until it passes; running out restarts */
	PROBE_READINESS, /* tells whether it is ready, and nothing else */
	PROBE_LIVENESS,	 /* failing restarts */
	PROBE_HEALTH,	 /* docker's health check: tells, and nothing else */
	PROBE_KINDS,
};

enum probe_how { PROBE_EXEC, PROBE_TCP, PROBE_HTTP, PROBE_UNIX, PROBE_HOWS };

struct probe_conf {
	uint32_t kind, how;
	uint64_t period_usec, timeout_usec;
	uint64_t delay_usec; /* from the start of the run to the first probe */
	uint64_t grace_usec; /* from the start of the run: till then a failure does not count,
			      * unless it has passed before (docker's start period) */
	uint32_t failures, successes; /* in a row that change its state */
	uint32_t v6, port;
	uint8_t addr[16]; /* in network order; 4 bytes of it for IPv4 */
	uint32_t words;	  /* of text, of a command */
	uint32_t pad;
	char text[PROBE_WORDS]; /* exec: words, each with a NUL; http: path; unix: path */
	char host[72];		/* http: as it stands in the request */
};

struct health_conf {
	uint64_t magic;
	uint32_t version, size;
	uint64_t watchdog_usec; /* 0: none */
	uint64_t start_usec;	/* READY=1 within this time of the start; 0: whenever */
	uint32_t count, pad;
	struct probe_conf probes[PROBES_MAX];
};

enum probe_standing {
	PROBE_STARTING, /* no verdict yet */
	PROBE_PASSING,
	PROBE_FAILING,
	PROBE_STANDINGS,
};

/* Times are monotonic usec, 0 for "none". */
struct probe_state {
	uint32_t standing;  /* enum probe_standing */
	uint32_t good, bad; /* results in a row */
	uint32_t exec;	    /* id of its command; with began 0 it is to be killed; 0: none */
	uint32_t pad;
	uint64_t next;		 /* when the next one begins */
	uint64_t began;		 /* the one under way did */
	uint64_t passed, failed; /* results of all runs */
	uint64_t took_usec;	 /* the newest result did */
	char why[PROBE_WHY];	 /* what the newest failure was; empty: none in this run */
};

enum service_said { SAID_NOTHING, SAID_READY, SAID_RELOADING, SAID_STOPPING, SAID_WORDS };

/* What all probes say together. */
enum health_verdict { HEALTH_NONE, HEALTH_STARTING, HEALTH_HEALTHY, HEALTH_UNHEALTHY, HEALTHS };

struct health_state {
	uint64_t magic;
	uint32_t version, size;
	uint32_t changing; /* odd while a text changes */
	uint32_t run;	   /* all below but for the totals is of this run */
	uint32_t said;	   /* enum service_said */
	uint32_t said_ready;
	uint32_t verdict;	/* enum health_verdict */
	uint32_t ready;		/* READY=1 where it is asked for, startup and readiness passed */
	uint64_t started;	/* monotonic usec */
	uint64_t heard;		/* the watchdog counts from here; 0: it does not count */
	uint64_t watchdog_usec; /* in force; 0: none */
	uint64_t start_until;	/* EXTEND_TIMEOUT_USEC= moves it */
	uint64_t paused_at;	/* all stands still since then; 0: it does not */
	uint64_t missed, unhealthy; /* runs ended for the watchdog; for a probe: of all */
	uint64_t exits_seen;	    /* exit records of probes up to this one need no journal */
	uint64_t notes_at;	    /* events are few: the last one's time and what is left */
	uint32_t notes_left;
	uint32_t pid_told; /* MAINPID= was warned about */
	int32_t errnum;	   /* ERRNO=, EXIT_STATUS=: 0 unless said */
	uint32_t exit_status;
	uint32_t next_exec;
	uint32_t pad;
	char status[NOTIFY_STATUS_MAX + 1];
	struct probe_state probes[PROBES_MAX];
};

/* The user's word as a probe: 0, or -EINVAL with the fault text, which begins with option. The
 * grammar is in ipc/health_parse.c. */
int probe_parse(const char *option, const char *text, struct probe_conf *ret);

/* A command line of words, quotes taken off: into conf->text. */
int probe_words(const char *option, const char *whole, const char *text, struct probe_conf *conf);

void probe_defaults(struct probe_conf *conf, enum probe_kind kind);

/* Impossible together: 0, or -EINVAL with the fault text. */
int probe_check(const char *option, const char *whole, const struct probe_conf *conf);

const char *probe_kind_name(uint32_t kind);   /* "liveness" */
const char *probe_standing_name(uint32_t s);  /* "passing" */
const char *health_verdict_name(uint32_t v);  /* "healthy"; "none" */
const char *service_said_name(uint32_t said); /* "reloading"; "" */
/* "http://127.0.0.1:80/x", "exec:/bin/check --all". */
void probe_target(const struct probe_conf *conf, char *ret, uint32_t size);

/* The files: 0 or a fault. A missing one is -ENOENT. What is read is whole and within bounds. */
int health_write(int state_dirfd, struct health_conf *conf);
int health_read(int state_dirfd, struct health_conf *ret);
int health_state_read(int state_dirfd, struct health_state *ret);
/* The file as shared memory of this process, made when it is missing or not sound. */
int health_state_map(int state_dirfd, struct health_state **ret);
