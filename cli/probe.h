/* Questions to this host, each answered by trying. Whatever a probe makes is gone when it returns.
 */
#pragma once

#include <stddef.h>

enum probe_answer { PROBE_YES, PROBE_LIMITED, PROBE_NO };

#define PROBE_NOTE 256

/* arg is the row's own number (a CLONE_* flag, a controller, ...); note says what was found, may
 * stay empty. */
typedef enum probe_answer (*probe_test)(long arg, char note[PROBE_NOTE]);

enum probe_answer probe_kernel(long arg, char note[PROBE_NOTE]);
enum probe_answer probe_root(long arg, char note[PROBE_NOTE]);
enum probe_answer probe_programs(long arg, char note[PROBE_NOTE]);
enum probe_answer probe_caps(long arg, char note[PROBE_NOTE]);
enum probe_answer probe_namespace(long arg, char note[PROBE_NOTE]);  /* CLONE_NEW* */
enum probe_answer probe_controller(long arg, char note[PROBE_NOTE]); /* enum cg_controller */
enum probe_answer probe_devices(long arg, char note[PROBE_NOTE]);
enum probe_answer probe_group_file(long arg, char note[PROBE_NOTE]); /* enum probe_group */
enum probe_answer probe_psi(long arg, char note[PROBE_NOTE]);
enum probe_answer probe_seccomp(long arg, char note[PROBE_NOTE]);
enum probe_answer probe_mount_api(long arg, char note[PROBE_NOTE]);
enum probe_answer probe_overlay(long arg, char note[PROBE_NOTE]);
enum probe_answer probe_idmap(long arg, char note[PROBE_NOTE]);
enum probe_answer probe_openat2(long arg, char note[PROBE_NOTE]);
enum probe_answer probe_pidfd(long arg, char note[PROBE_NOTE]);
enum probe_answer probe_pidfd_exit(long arg, char note[PROBE_NOTE]);
enum probe_answer probe_pipe(long arg, char note[PROBE_NOTE]);

/* What a group of our own in the v2 tree has. */
enum probe_group { GROUP_KILL, GROUP_PRESSURE, GROUP_CLONE };
