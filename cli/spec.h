/* What the user asked of the sandbox, and the OCI config.json made of it: from scratch for --rootfs
 * and the host's root, merged into the bundle's own for --bundle. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/spec_resources.h"
#include "ipc/settings.h"

#define SPEC_HOSTNAME_MAX 64 /* __NEW_UTS_LEN */

struct spec_mount {
	const char *type;   /* "bind" or "tmpfs" */
	const char *source; /* bind: absolute; in text */
	const char *target; /* absolute; in text */
	char *text;	    /* what the user wrote, cut up; owned */
	char *options;	    /* comma-separated; owned */
};

enum spec_network { NETWORK_UNSET, NETWORK_NONE, NETWORK_HOST };

struct spec {
	char **argv;		     /* NULL-terminated, empty: the bundle's */
	const char *rootfs, *bundle; /* absolute; both NULL: the host's root */
	const char *workdir, *user, *hostname;
	struct spec_list env;	 /* char *, "NAME=VALUE" */
	struct spec_list mounts; /* struct spec_mount */
	uint64_t memory;	 /* bytes, 0: no limit asked */
	uint64_t cpus;		 /* thousandths, 0: none */
	uint64_t pids;		 /* 0: no limit; counts only when pids_set */
	bool pids_set;
	uint64_t cap_add, cap_drop;
	enum spec_network network;
	bool read_only;
	bool userns;
	uint32_t userns_base, userns_size;
	struct spec_resources resources;
	struct spec_setup setup;
	bool print; /* for a reader's eyes */
	bool tty;
	uint16_t rows, cols; /* of the terminal at the start; 0: not known */
};

/* Appends a copy of the element: 0 or a fault. */
int spec_list_add(struct spec_list *list, const void *item, size_t size);
int spec_env_add(struct spec *spec, const char *pair); /* "NAME=VALUE", copied */
void spec_texts_finish(struct spec_list *list);	       /* of char * */
void spec_finish(struct spec *spec);

/* Is this a group's place below each hierarchy's root? Absolute, not the root itself, no empty
 * component, no "." and nothing with ".." in it, at most 255 bytes. */
bool spec_cgroup_ok(const char *path);

/* The host name when nobody gives one: the id, or as much of its beginning as the kernel takes. */
void spec_hostname(const char *id, char ret[SPEC_HOSTNAME_MAX + 1]);

/* The document as text, heap-allocated; fills in what it decides of settings (cgroup). Reads the
 * bundle and the root's user files, changes nothing. 0 or a fault: the message is for the user,
 * status 64. */
int spec_build(const struct spec *spec, struct settings *settings, char **ret);

/* "KEY" or "KEY=VALUE": does a created container have this label (an annotation of config.json)? */
bool spec_has_label(int state_dirfd, const char *label);

/* The command of a created container, as one escaped line that ends with "..." where it was cut.
 * Empty when its config.json can't be read. */
void spec_command(int state_dirfd, char *ret, size_t size);
