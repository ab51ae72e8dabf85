/* One line for people on stderr, without printf. Only before the service's supervision begins and
 * in stand-alone mode: nobody reads it later. */
#pragma once

/* "holdfast-init: WHAT: NAME (errno N)"; name may be NULL, err 0 leaves the number out. */
void say(const char *what, const char *name, int err);
