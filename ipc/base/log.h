/* Diagnostics for people, one line each, on stderr: "program[id]: level: text". The stream of
 * events is the journal, not this. Only code that decides logs; code that returns makes a fault. */
#pragma once

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* name and id are kept, not copied; id may be NULL. Environment HOLDFAST_LOG=error|warn|info|debug
 * sets the level; the default is info for daemons. */
void log_init(const char *name, const char *id);
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
