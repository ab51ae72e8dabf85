/* config.json (and what settings add to it) -> the flat sandbox and the init plan. Runs only in the
 * unprivileged reader process; its one output is the two blobs. Pure but for what it is handed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "ipc/plan.h"
#include "ipc/settings.h"
#include "shim/launch/blob.h"
#include "shim/launch/node.h"
#include "shim/launch/sandbox.h"

struct bundle {
	const struct settings *set;
	unsigned cpus;	     /* configured on this host: per-CPU files to mask */
	bool has_lsm;	     /* AppArmor or SELinux is active on this host */
	char state_dir[512]; /* of this container; "" unknown */
	struct node root;
	struct sandbox head;
	struct blob blob;
	struct plan plan;
	struct blob plan_blob;
};

/* Reads text and leaves head, blob, plan and plan_blob filled: 0 or a fault. Either way the blobs
 * are finished by bundle_finish(). */
int bundle_read(struct bundle *b, const char *text, size_t len);

/* Copies the heads over the blobs' first bytes: after this blob.data and plan_blob.data are whole.
 */
void bundle_seal(struct bundle *b);
void bundle_finish(struct bundle *b);

/* The sections, in the order in which bundle_read() goes through them. */
int bundle_refuse(struct bundle *b); /* what we do not support, by name */
int bundle_namespaces(struct bundle *b);
int bundle_process(struct bundle *b);
int bundle_root(struct bundle *b);
int bundle_mounts(struct bundle *b);
int bundle_devices(struct bundle *b);
int bundle_paths(struct bundle *b);
int bundle_sysctls(struct bundle *b);
int bundle_resources(struct bundle *b);
/* Of bundle_resources: right behind the unified files, and behind all limits. */
void bundle_changed_files(struct bundle *b);
void bundle_changed(struct bundle *b);
int bundle_seccomp(struct bundle *b);

/* Harmless oddities: told to the user once the container runs. */
void bundle_warn(struct bundle *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* An absolute path without "//", "/./", ".." and trailing slashes into buf: 0 or a fault. */
int bundle_path(const struct node *of, const char *key, const char *path, char *buf, size_t size);

static inline bool bundle_new_ns(const struct bundle *b, uint64_t type)
{
	return (b->head.namespaces & type) != 0;
}

/* Made or joined: not the host's. */
bool bundle_own_ns(const struct bundle *b, uint64_t type);
