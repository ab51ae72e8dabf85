/* What a process need not keep mapped. */
#pragma once

/* Gives back the program's own pages that are as its file has them, text and constants: what is
 * needed again is mapped again, from the page cache. For a process that has set up much and then
 * sleeps. */
void pages_forget(void);
