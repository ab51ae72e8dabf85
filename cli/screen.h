/* The whole terminal for a program of ours: alternate screen, keys one by one, and all of it given
 * back at every exit. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Is this a terminal that a screen can be drawn on? (TERM=dumb is none.) */
bool screen_possible(void);
bool screen_colour(void); /* NO_COLOR is not set */
bool screen_utf8(void);	  /* the locale's characters are UTF-8 */

/* 0 or a fault. Given back at exit, also when enter was called twice. */
int screen_enter(void);
void screen_leave(void);
void screen_size(unsigned *rows, unsigned *columns);

/* Keys beside those that are characters. */
enum screen_key {
	KEY_NONE = -1,
	KEY_UP = 256,
	KEY_DOWN,
	KEY_PAGE_UP,
	KEY_PAGE_DOWN,
	KEY_HOME,
	KEY_END
};

/* The next key that was typed, KEY_NONE: no more for now. */
int screen_key(void);

/* A picture under construction: lines cut to the width. */
struct picture {
	char *bytes; /* owned */
	size_t len, size;
	unsigned rows, columns, row;
};

void picture_begin(struct picture *p);
/* One line; style is what stands behind "\033[" ("1m", "31m"), or NULL. UTF-8, one column each. */
void picture_line(struct picture *p, const char *style, const char *text);
int picture_show(struct picture *p); /* 0 or a fault (the terminal is gone) */
void picture_finish(struct picture *p);
