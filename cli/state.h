/* Containers as directories: STATE_ROOT/local/ID and LOG_ROOT/local/ID. mkdir is the birth lock;
 * who supervises holds an OFD lock on `lock`. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "ipc/history.h"
#include "ipc/settings.h"

#define REALM "local"

struct state {
	char id[ID_MAX + 4];
	int dirfd; /* -1: none */
};

enum state_outcome { STATE_DONE, STATE_EXISTS /* the name is taken */ };

/* Makes the directory (and its parents), 0700 and ours, and log_dir: an outcome or a fault. */
int state_create(const char *id, const char *log_dir, struct state *ret);

/* Opens one by its whole id: 0, or a fault (-ENOENT: there is none). */
int state_open(const char *id, struct state *ret);

/* Opens by id, or by a unique prefix of at least four characters of a random id (twelve hex
 * digits): a name that somebody chose has to be written in full. 0, or a fault whose text tells the
 * cure. */
int state_find(const char *name, struct state *ret);

/* The status of a command that could not find or handle a container: CLI_USAGE when the name can be
 * several containers', else CLI_FAILED. */
int state_status(int fault);

/* All ids, sorted; the caller frees each and the list. 0 or a fault. */
int state_list(char ***ret, size_t *len);

/* Takes away what removals have left whose supervisors were killed in the middle. 0, or the first
 * fault. */
int state_sweep(void);

/* Undoes state_create, log directory included, unless the name is not this container's any more.
 * Only while nobody supervises. */
void state_discard(struct state *s, const char *log_dir);

void state_close(struct state *s);

/* Does a keeper or shim hold the lock? 1, 0, or a fault. */
int state_supervised(const struct state *s);

/* Takes the lock: its fd, -EAGAIN when somebody has it, or a fault. */
int state_lock(const struct state *s);

/* Does the directory still stand under its name? Whoever took the lock asks this. */
bool state_current(const struct state *s);

/* What the journal says, LIFE_NEW when there is none yet. *stale: it is of an earlier boot.
 * 0/fault. */
int state_history(const struct state *s, struct history *ret, bool *stale);

/* Removes an ended container's directories: takes the lock first. -EBUSY when it is supervised. */
int state_remove(struct state *s);

/* The same for one whose journal nobody can read: its processes are killed first, by the group that
 * its settings name. */
int state_remove_forced(struct state *s);

/* "ROOT/local/ID"; root NULL: LOG_ROOT */
void state_log_dir(const char *root, const char *id, char *ret, size_t size);
