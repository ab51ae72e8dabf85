/* A fault is a negative errno with one sentence of context, made where it happens and forwarded
 * bare. The sentence of the newest fault is kept per thread until the next one is made. */
#pragma once

/* Records "FMT: strerror" and returns err (which must be negative). err == -EINVAL with
 * fault_plain() leaves strerror out: the sentence itself says it all. */
int fault(int err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int fault_plain(int err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The newest fault's sentence; never NULL; valid until the thread's next fault. */
const char *fault_text(void);
