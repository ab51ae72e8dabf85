/* Of what is large and hardly touched: the linker puts it behind all other variables, libc's as
 * well, which then have one page together. Global, and not to be initialized. */
#pragma once

#define BEHIND __attribute__((common))
