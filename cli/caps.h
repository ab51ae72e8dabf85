/* Capabilities by name, as sets of bits. */
#pragma once

#include <stdint.h>

/* "NET_RAW", "cap_net_raw" -> its bit, "ALL" -> all that this build knows; 0 for anything else. */
uint64_t caps_parse(const char *name);

/* "CAP_CHOWN"; NULL beyond the last one. */
const char *caps_name(unsigned number);

/* CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID */
uint64_t caps_default(void);

/* What --cap-add and --cap-drop make of base. ALL is the ground that single names stand out from:
 * drop ALL + add X leaves X; add ALL + drop X leaves all but X. */
uint64_t caps_apply(uint64_t base, uint64_t add, uint64_t drop);
