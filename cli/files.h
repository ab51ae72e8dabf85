/* /etc/hosts, /etc/hostname and /etc/resolv.conf of a container: made of its options and, where it
 * shares the host's network, of the host's own. They lie in the state directory; launch gives each
 * start a private copy, so that what the service writes into them touches nobody. */
#pragma once

#include <stdbool.h>

#include "cli/spec.h"
#include "ipc/settings.h"

/* What the user asked for: lists of heap-allocated strings. */
struct files {
	struct spec_list hosts;	  /* "IP\tNAME" */
	struct spec_list dns;	  /* addresses */
	struct spec_list search;  /* domains; "." alone: none */
	struct spec_list options; /* of resolv.conf */
};

void files_finish(struct files *f);

/* Adds to spec the mounts of those files that this container gets: all three on a root that the
 * host shows it, those that exist in a --rootfs, and whatever was asked for by option. 0 or a
 * fault. */
int files_mount(const struct files *f, struct spec *spec, const struct settings *settings);

/* Writes them into the state directory: 0 or a fault. */
int files_write(const struct files *f, const struct spec *spec, const struct settings *settings,
	int state_dirfd);

/* Their texts, heap-allocated; NULL without memory. host: the host's own file, NULL: none. */
char *files_hosts(const struct files *f, const char *name, const char *host);
char *files_resolv(const struct files *f, const char *host);
