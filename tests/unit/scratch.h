/* A directory of a test's own, in memory, gone afterwards. */
#pragma once

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/unit.h"

struct scratch {
	char path[64];
	int fd;
};

static inline int scratch_setup(void **state)
{
	struct scratch *s = malloc(sizeof(*s));

	if (!s)
		return -1;
	snprintf(s->path, sizeof(s->path), "/dev/shm/holdfast-unit-XXXXXX");
	if (!mkdtemp(s->path))
		return -1;
	s->fd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = s;
	return s->fd < 0 ? -1 : 0;
}

/* Not with the product's dir_remove(): that is what is tested. */
static inline int scratch_teardown(void **state)
{
	struct scratch *s = *state;
	char command[96];
	int r;

	close(s->fd);
	snprintf(command, sizeof(command), "rm -rf %s", s->path);
	r = system(command);
	free(s);
	return r;
}

#define in_scratch(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)
